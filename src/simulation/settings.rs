//! What the reference plant is made of.

use std::time::Duration;

use jiff::Timestamp;

use super::group::LEAST_BILLED;
use super::noise::Noise;
use super::plant::WARM_UP;
use super::queue::Service;
use crate::policy::Capacity;

/// One step of the plant.
pub const STEP: Duration = Duration::from_secs(3);

/// How often the controller of the reference plant is asked.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Launch to in service on the reference plant.
pub const BOOT: Duration = Duration::from_mins(2);

/// No boot takes more than this many times the median, however wide the distribution.
const MOST_SLOW: f64 = 100.0;

/// What a plant is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When the run begins.
    pub start: Timestamp,
    /// Launch to in service.
    pub boot: Boot,
    /// In service to full capacity, which grows from 60 % to all of it.
    pub warm_up: Duration,
    /// Least capacity.
    pub min: Capacity,
    /// Most capacity.
    pub max: Capacity,
    /// Between two questions to the controller, and what a measurement is the mean of; whole steps.
    pub interval: Duration,
    /// Age of the newest sample in a measurement; whole steps.
    pub lag: Duration,
    /// Between two [`Moment`](super::reference::Moment)s; whole steps.
    pub resolution: Duration,
    /// Share of the launches that never go into service: found out after the boot, and launched anew.
    pub launch_failures: f64,
    /// How fast instances are.
    pub speeds: Speeds,
    /// Which instance a scale-in takes.
    pub removed: Removed,
    /// Each instance is billed for this long at least.
    pub least_billed: Duration,
    /// What an instance of speed 1 can do.
    pub service: Service,
    /// Standard deviation of a measurement, as a share of it.
    pub noise: f64,
    /// Of boots, failures, speeds and noise.
    pub seed: u64,
}

/// Launch to in service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Boot {
    /// Always the same.
    Constant(Duration),
    /// The logarithm is normal.
    LogNormal {
        /// Half of the boots take longer.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

/// How fast instances are.
#[derive(Clone, Debug, PartialEq)]
pub enum Speeds {
    /// Every one at speed 1.
    Alike,
    /// Kinds, each with its share of the launches and its speed; not empty.
    Mix(Vec<(f64, f64)>),
}

/// Which instance a scale-in takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The oldest in service, and one that boots only when none is: an Auto Scaling group.
    Oldest,
    /// The youngest, and so those that boot first: the pods of Kubernetes.
    Youngest,
}

impl Settings {
    /// The reference plant: it boots in two minutes, is asked every 15 s, and starts at the Unix epoch.
    pub fn reference(min: Capacity, max: Capacity) -> Self {
        Self {
            start: Timestamp::UNIX_EPOCH,
            boot: Boot::Constant(BOOT),
            warm_up: WARM_UP,
            min,
            max,
            interval: INTERVAL,
            lag: STEP,
            resolution: INTERVAL,
            launch_failures: 0.0,
            speeds: Speeds::Alike,
            removed: Removed::Oldest,
            least_billed: LEAST_BILLED,
            service: Service::REFERENCE,
            noise: 0.0,
            seed: 0,
        }
    }

    /// Requests per second that an instance of mean speed bears within the objective.
    pub fn bearable(&self) -> f64 {
        self.service.rate * self.service.ceiling * self.speeds.mean()
    }

    /// The fewest instances that keep the objective at `rate` requests per second, at least the minimum; more than the
    /// maximum where that is too few.
    pub fn needed(&self, rate: f64) -> Capacity {
        Capacity::floor((rate / self.bearable()).ceil()).unwrap_or(Capacity::MAX).max(self.min)
    }
}

impl Boot {
    pub(super) fn draw(&self, dice: &mut Noise) -> Duration {
        match self {
            Self::Constant(boot) => *boot,
            Self::LogNormal { median, sigma } => median.mul_f64((sigma * dice.normal()).exp().min(MOST_SLOW)),
        }
    }

    /// The mean, in seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant(boot) => boot.as_secs_f64(),
            Self::LogNormal { median, sigma } => median.as_secs_f64() * (sigma * sigma / 2.0).exp(),
        }
    }

    /// What all but about one in a hundred stay within.
    pub fn longest(&self) -> Duration {
        match self {
            Self::Constant(boot) => *boot,
            Self::LogNormal { median, sigma } => median.mul_f64((2.326 * sigma).exp().min(MOST_SLOW)),
        }
    }
}

impl Speeds {
    /// The speed of the next instance.
    pub(super) fn draw(&self, dice: &mut Noise) -> f64 {
        let Self::Mix(kinds) = self else {
            return 1.0;
        };
        let mut left = dice.uniform() * kinds.iter().map(|(share, _)| share).sum::<f64>();
        let drawn = kinds.iter().find(|(share, _)| {
            left -= share;
            left <= 0.0
        });
        drawn.or(kinds.last()).map_or(1.0, |(_, speed)| *speed)
    }

    /// The mean speed.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Alike => 1.0,
            Self::Mix(kinds) => {
                let total: f64 = kinds.iter().map(|(share, _)| share).sum();
                kinds.iter().map(|(share, speed)| share * speed).sum::<f64>() / total
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    #[test]
    fn boots_are_spread_around_their_median() {
        let boot = Boot::LogNormal { median: Duration::from_mins(2), sigma: 0.5 };
        let mut dice = Noise::new(1);
        let mut drawn: Vec<Duration> = (0..4001).map(|_| boot.draw(&mut dice)).collect();
        drawn.sort();
        assert!((drawn[2000].as_secs_f64() - 120.0).abs() < 4.0, "{:?}", drawn[2000]);
        let mean = drawn.iter().map(Duration::as_secs_f64).sum::<f64>() / 4001.0;
        assert!((mean - boot.mean()).abs() < 4.0, "{mean}");
        near(boot.mean(), 120.0 * 0.125_f64.exp());
        let slower = drawn.iter().filter(|drawn| **drawn > boot.longest()).count();
        assert!((20..=60).contains(&slower), "{slower} of 4001");
    }

    #[test]
    fn what_is_needed_follows_the_mean_speed() {
        let speeds = Speeds::Mix(vec![(3.0, 1.0), (1.0, 0.5)]);
        near(speeds.mean(), 0.875);
        let needed = |speeds, rate| {
            let reference = Settings::reference(Capacity::new(2), Capacity::new(9));
            Settings { speeds, ..reference }.needed(rate).get()
        };
        assert_eq!((needed(Speeds::Alike, 100.0), needed(Speeds::Alike, 1116.0)), (2, 6));
        assert_eq!(needed(speeds, 1116.0), 7, "1116 / (200 × 0.9305 × 0.875) = 6.9");
        assert_eq!(needed(Speeds::Alike, 2000.0), 11, "more than there may be");
    }
}
