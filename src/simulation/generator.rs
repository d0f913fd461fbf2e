//! Workloads by name: what a service has to live through, each from a base rate, a duration and a seed.

use std::f64::consts::TAU;
use std::time::Duration;

use super::noise::Noise;
use super::trace::{Demand, NOISE};
use super::workload::Workload;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// How far day and night are from their mean, as a share of it.
const SWING: f64 = 0.6;

/// The hour of the day with the most requests.
const BUSIEST: f64 = 16.0;

/// Of a weekday, on a day of the weekend.
const WEEKEND: f64 = 0.6;

/// Days of the week before the weekend; a demand begins on a Monday at midnight.
const WEEKDAYS: f64 = 5.0;

/// Mean seconds from one flash crowd to the next.
const SPIKE_EVERY: f64 = 2.0 * 3600.0;

/// Seconds in which a flash crowd gathers.
const SPIKE_RISE: f64 = 60.0;

/// Seconds in which it falls to 1/e.
const SPIKE_DECAY: f64 = 300.0;

/// Seconds after which less than a ten-thousandth of it is left.
const SPIKE_GONE: f64 = 10.0 * SPIKE_DECAY;

/// Requests of it at its height in times of the base rate, on average and at most.
const SPIKE_HEIGHT: (f64, f64) = (1.5, 6.0);

/// How long nothing comes through, and how long those who waited come on top.
const OUTAGE: [Duration; 2] = [Duration::from_mins(10), Duration::from_mins(5)];

/// How often bursts come in a retry storm, and how long each takes.
const BURSTS: [Duration; 2] = [Duration::from_hours(1), Duration::from_mins(2)];

/// The share of the requests that failed which clients send again, in a retry storm.
const RETRIED: f64 = 0.8;

/// A named workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Quiet, then six times as much within minutes as tickets go on sale; sold out, and quiet again. The base rate is that
    /// of the quiet. See [`Workload::ticket_sale_within`].
    TicketSale,
    /// Day and night, by a sine around the base rate: 1.6 times that at 16:00, 0.4 times at 04:00.
    Diurnal,
    /// Day and night, and on weekends six tenths of that. It begins on a Monday.
    Weekly,
    /// Three times as much from one moment to the next, for the middle third.
    Step,
    /// From the base rate to four times that, evenly over the middle half.
    Ramp,
    /// Flash crowds at random, one in two hours on average: they gather within a minute, mostly to two or three times the
    /// base rate, and are gone in a quarter of an hour.
    Spikes,
    /// Growth at a constant rate, to three times as much in the end.
    Drift,
    /// At half time hardly anything comes through for ten minutes; then everybody comes back at once, and for five minutes
    /// there is twice as much.
    OutageAndReturn,
    /// Two minutes of three times as much, once an hour, from clients that send eight of ten requests again which fail or
    /// take too long. A closed loop: how much comes depends on how well it is served.
    RetryStorm,
    /// Always the same.
    Constant,
}

impl Generator {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::TicketSale,
        Self::Diurnal,
        Self::Weekly,
        Self::Step,
        Self::Ramp,
        Self::Spikes,
        Self::Drift,
        Self::OutageAndReturn,
        Self::RetryStorm,
        Self::Constant,
    ];

    /// What it is called on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::TicketSale => "ticket-sale",
            Self::Diurnal => "diurnal",
            Self::Weekly => "weekly",
            Self::Step => "step",
            Self::Ramp => "ramp",
            Self::Spikes => "spikes",
            Self::Drift => "drift",
            Self::OutageAndReturn => "outage-and-return",
            Self::RetryStorm => "retry-storm",
            Self::Constant => "constant",
        }
    }

    /// The demand around `base` requests per second, with a noise of 3 % and Poisson arrivals. The same seed draws the same.
    pub fn demand(self, base: f64, duration: Duration, seed: u64) -> Demand {
        let shape = self.shape(duration, seed);
        let demand = Demand::draw(duration.as_secs_f64(), NOISE, seed, |second| base * shape(second));
        Demand { retried: if self == Self::RetryStorm { RETRIED } else { 0.0 }, ..demand }
    }

    /// The rate at a second since the start, in times of the base rate.
    fn shape(self, duration: Duration, seed: u64) -> Box<dyn Fn(f64) -> f64> {
        let seconds = duration.as_secs_f64();
        match self {
            Self::TicketSale => through(Workload::ticket_sale_within(1.0, duration)),
            Self::Diurnal => Box::new(of_day),
            Self::Weekly => {
                Box::new(|second| of_day(second) * if second / DAY % 7.0 < WEEKDAYS { 1.0 } else { WEEKEND })
            }
            Self::Step => {
                Box::new(move |second| if (1.0..2.0).contains(&(3.0 * second / seconds)) { 3.0 } else { 1.0 })
            }
            Self::Ramp => {
                through(Workload::through(vec![(duration.mul_f64(0.25), 1.0), (duration.mul_f64(0.75), 4.0)]))
            }
            Self::Spikes => {
                let spikes = spikes(seconds, seed);
                Box::new(move |second| 1.0 + spikes.iter().map(|spike| spike.at(second)).sum::<f64>())
            }
            Self::Drift => Box::new(move |second| 3.0_f64.powf(second / seconds)),
            Self::OutageAndReturn => through(outage(duration / 2)),
            Self::RetryStorm => {
                let [every, burst] = BURSTS.map(|time| time.as_secs_f64());
                // The first begins half an hour in.
                Box::new(move |second| if (second + every / 2.0) % every < burst { 3.0 } else { 1.0 })
            }
            Self::Constant => Box::new(|_| 1.0),
        }
    }
}

fn through(workload: Workload) -> Box<dyn Fn(f64) -> f64> {
    Box::new(move |second| workload.rate(Duration::from_secs_f64(second)))
}

fn of_day(second: f64) -> f64 {
    1.0 + SWING * (TAU * (second / DAY - BUSIEST / 24.0)).cos()
}

fn outage(begins: Duration) -> Workload {
    let [outage, rush] = OUTAGE;
    let moment = Duration::from_secs(1);
    let (returns, ends) = (begins + outage, begins + outage + rush);
    let corners = [(begins, 1.0), (begins + moment, 0.02), (returns, 0.02), (returns + moment, 2.0), (ends, 2.0)];
    Workload::through(corners.into_iter().chain([(ends + moment, 1.0)]).collect())
}

/// A flash crowd.
#[derive(Clone, Copy, Debug)]
struct Spike {
    begins: f64,
    height: f64,
}

impl Spike {
    fn at(&self, second: f64) -> f64 {
        let since = second - self.begins;
        if since <= 0.0 || since > SPIKE_GONE {
            0.0
        } else if since < SPIKE_RISE {
            self.height * since / SPIKE_RISE
        } else {
            self.height * (-(since - SPIKE_RISE) / SPIKE_DECAY).exp()
        }
    }
}

/// Flash crowds at exponential distances, of exponential heights.
fn spikes(seconds: f64, seed: u64) -> Vec<Spike> {
    // Apart from what draws the noise.
    let mut dice = Noise::new(!seed);
    let mut begins = 0.0;
    let spikes = std::iter::from_fn(|| {
        begins -= SPIKE_EVERY * dice.uniform().ln();
        let (mean, most) = SPIKE_HEIGHT;
        Some(Spike { begins, height: (-mean * dice.uniform().ln()).min(most) })
    });
    spikes.take_while(|spike| spike.begins < seconds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    /// Checks the shape of a workload of so many hours: at each of these hours, so many times the base rate.
    fn check(generator: Generator, hours: f64, expected: &[(f64, f64)]) {
        let shape = generator.shape(Duration::from_secs_f64(hours * HOUR), 1);
        for (hour, factor) in expected {
            let measured = shape(hour * HOUR);
            assert!((measured - factor).abs() < 1e-6, "{}: {measured} at {hour} h, not {factor}", generator.name());
        }
    }

    #[test]
    fn each_workload_has_its_shape() {
        let sale = (300.0 + 10.0 * 1050.0) / HOUR;
        check(Generator::TicketSale, sale, &[(0.1, 1.0), (1380.0 / HOUR, 6.0), (1.0, 6.0), (2.0, 1.0)]);
        check(Generator::Diurnal, 48.0, &[(4.0, 0.4), (10.0, 1.0), (16.0, 1.6), (40.0, 1.6)]);
        check(Generator::Weekly, 168.0, &[(16.0, 1.6), (4.0 * 24.0 + 16.0, 1.6), (5.0 * 24.0 + 16.0, 0.96)]);
        check(Generator::Step, 3.0, &[(0.99, 1.0), (1.01, 3.0), (1.99, 3.0), (2.01, 1.0)]);
        check(Generator::Ramp, 4.0, &[(1.0, 1.0), (2.0, 2.5), (3.0, 4.0), (4.0, 4.0)]);
        check(Generator::Drift, 2.0, &[(0.0, 1.0), (1.0, 3.0_f64.sqrt()), (2.0, 3.0)]);
        let minutes = |minutes: f64| 1.0 + minutes / 60.0;
        let outage = [(0.99, 1.0), (minutes(5.0), 0.02), (minutes(12.0), 2.0), (minutes(16.0), 1.0)];
        check(Generator::OutageAndReturn, 2.0, &outage);
        check(Generator::RetryStorm, 3.0, &[(0.1, 1.0), (0.51, 3.0), (0.6, 1.0), (1.51, 3.0)]);
        check(Generator::Constant, 1.0, &[(0.5, 1.0)]);
    }

    #[test]
    fn flash_crowds_come_as_often_as_they_should_and_differ_by_seed() {
        let of = |seed| spikes(1000.0 * SPIKE_EVERY, seed);
        assert!((900..1100).contains(&of(1).len()), "{}", of(1).len());
        assert!(of(1).iter().all(|spike| spike.height <= 6.0));
        assert!(of(1).len() != of(2).len() || of(1)[0].begins.to_bits() != of(2)[0].begins.to_bits());
        let spike = Spike { begins: 100.0, height: 2.0 };
        near(spike.at(99.0), 0.0);
        near(spike.at(130.0), 1.0);
        near(spike.at(160.0 + SPIKE_DECAY), 2.0 / 1.0_f64.exp());
    }

    #[test]
    fn every_workload_is_drawn_alike_by_one_seed_and_around_its_base() {
        for generator in Generator::ALL {
            let draw = |seed| generator.demand(100.0, Duration::from_hours(6), seed);
            assert_eq!(draw(3), draw(3), "{}", generator.name());
            assert_ne!(draw(3).arrived, draw(4).arrived, "{}", generator.name());
            near(draw(3).seconds(), 6.0 * HOUR);
            let mean = draw(3).arrived.iter().sum::<f64>() / (2.0 * HOUR);
            assert!((30.0..400.0).contains(&mean), "{}: {mean}", generator.name());
        }
    }

    #[test]
    fn no_two_workloads_share_a_name() {
        let names: std::collections::BTreeSet<_> = Generator::ALL.map(Generator::name).into_iter().collect();
        assert_eq!(names.len(), Generator::ALL.len());
    }
}
