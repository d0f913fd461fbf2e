//! A workload recorded somewhere else: requests per second in bins, read from CSV, scaled, and drawn with noise.
//!
//! Pure: it takes text, never a path, and the same seed draws the same demand.

use super::noise::Noise;
use super::queue::INSTANCE_RATE;

/// Seconds of one step of the reference plant.
pub const STEP: f64 = 3.0;

/// The utilization at which the 99th percentile of the response time reaches the objective.
pub const CEILING: f64 = 0.9305;

/// Bins wider than this, in seconds, hide what happens within them; noise stands in for it.
const FINE_BIN: f64 = 60.0;

/// Standard deviation of the logarithm of that noise.
pub(super) const NOISE: f64 = 0.03;

/// Time constant of that noise, in seconds.
const NOISE_DECAY: f64 = 60.0;

/// Most bins that a trace may have: ten years of minutes.
const MAX_BINS: usize = 6_000_000;

/// The first line of a trace.
const HEADER: &str = "seconds,requests_per_second";

/// Why a text is not a trace.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// The first line is another one.
    #[error("line 1 is {found:?}, expected {HEADER:?}")]
    Header {
        /// What it is.
        found: String,
    },
    /// A line is not two finite numbers, the second of them not negative.
    #[error("line {line} is {found:?}, expected two numbers such as 300,12.5")]
    Row {
        /// Its number, from one.
        line: usize,
        /// What it is.
        found: String,
    },
    /// A bin does not begin where the one before it ends.
    #[error("line {line} begins at {found} s, expected {expected} s: bins are of one width")]
    Spacing {
        /// Its number, from one.
        line: usize,
        /// Where it begins, in seconds.
        found: f64,
        /// Where the bin before it ends, in seconds.
        expected: f64,
    },
    /// There is no shape to scale: fewer than two bins, too many, or no request at all.
    #[error("{bins} bins with {requests} requests, expected 2 to {MAX_BINS} bins with any requests")]
    Empty {
        /// How many bins there are.
        bins: usize,
        /// How many requests are in them.
        requests: f64,
    },
}

/// Mean rates in bins of one width.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// In seconds.
    width: f64,
    /// Requests per second, at least two bins.
    rates: Vec<f64>,
}

impl Trace {
    /// Reads `seconds,requests_per_second`: the start of each bin and the mean rate in it.
    pub fn read(csv: &str) -> Result<Self, TraceError> {
        let mut lines = csv.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line.trim());
        if header != HEADER {
            return Err(TraceError::Header { found: header.to_owned() });
        }
        let rows = lines.filter(|(_, line)| !line.trim().is_empty());
        let rows = rows.map(|(index, line)| row(index + 1, line)).collect::<Result<Vec<_>, _>>()?;
        let total: f64 = rows.iter().map(|row| row.rate).sum();
        let [first, second, ..] = &rows[..] else {
            return Err(TraceError::Empty { bins: rows.len(), requests: total });
        };
        let width = second.second - first.second;
        if rows.len() > MAX_BINS || total <= 0.0 {
            return Err(TraceError::Empty { bins: rows.len(), requests: total * width });
        }
        let mut expected = first.second;
        for row in &rows {
            if (row.second - expected).abs() > 1e-6 || width <= 0.0 {
                return Err(TraceError::Spacing { line: row.line, found: row.second, expected });
            }
            expected += width;
        }
        Ok(Self { width, rates: rows.iter().map(|row| row.rate).collect() })
    }

    /// The same shape, with a mean that keeps `instances` at [`CEILING`].
    #[must_use]
    pub fn scaled_to(mut self, instances: f64) -> Self {
        let mean = self.rates.iter().sum::<f64>() / count(self.rates.len());
        let factor = instances * INSTANCE_RATE * CEILING / mean;
        self.rates.iter_mut().for_each(|rate| *rate *= factor);
        self
    }

    /// The demand of this trace; coarse bins with noise.
    pub fn demand(&self, seed: u64) -> Demand {
        let noise = if self.width > FINE_BIN { NOISE } else { 0.0 };
        let span = count(self.rates.len()) * self.width;
        Demand::draw(span, noise, seed, |second| self.rate(second))
    }

    /// Requests per second at this second since the start: linear between the centres of bins, constant before the
    /// first and after the last.
    fn rate(&self, second: f64) -> f64 {
        let place = (second / self.width - 0.5).max(0.0);
        let bin = whole(place);
        match (self.rates.get(bin), self.rates.get(bin + 1)) {
            (Some(left), Some(right)) => left + (right - left) * place.fract(),
            _ => self.rates[self.rates.len() - 1],
        }
    }
}

struct Row {
    line: usize,
    second: f64,
    rate: f64,
}

fn row(line: usize, text: &str) -> Result<Row, TraceError> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers = text.split_once(',').and_then(|(left, right)| Some((number(left)?, number(right)?)));
    let valid = numbers.filter(|(_, rate)| *rate >= 0.0);
    let (second, rate) = valid.ok_or_else(|| TraceError::Row { line, found: text.to_owned() })?;
    Ok(Row { line, second, rate })
}

/// Requests per second in steps of [`STEP`], as expected and as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// The rate that a clairvoyant would provide for: with the noise of coarse bins, without that of arrivals.
    pub expected: Vec<f64>,
    /// The rate that came: Poisson arrivals of the expected one.
    pub arrived: Vec<f64>,
    /// The share of the requests that failed or took too long which clients send again at once: a closed loop.
    pub retried: f64,
}

impl Demand {
    /// The same expected rate for `seconds`; with `noise` as if it came from a trace of coarse bins.
    pub fn constant(rate: f64, seconds: f64, noise: bool, seed: u64) -> Self {
        Self::draw(seconds, if noise { NOISE } else { 0.0 }, seed, |_| rate)
    }

    /// `rate` at the middle of every step, times `exp` of an AR(1) noise of this standard deviation. A longer demand
    /// of the same seed begins with the shorter one.
    pub(super) fn draw(seconds: f64, deviation: f64, seed: u64, rate: impl Fn(f64) -> f64) -> Self {
        let mut noise = Noise::new(seed);
        let kept = (-STEP / NOISE_DECAY).exp();
        let mut drift = deviation * noise.normal();
        let steps = (0..whole(seconds / STEP)).map(|step| {
            drift = kept * drift + deviation * (1.0 - kept * kept).sqrt() * noise.normal();
            let expected = rate((count(step) + 0.5) * STEP) * drift.exp();
            (expected, noise.arrivals(expected * STEP) / STEP)
        });
        let (expected, arrived) = steps.unzip();
        Self { expected, arrived, retried: 0.0 }
    }

    /// How many seconds it lasts.
    pub fn seconds(&self) -> f64 {
        count(self.expected.len()) * STEP
    }
}

#[expect(clippy::cast_precision_loss, reason = "no trace has 2^52 steps")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a trace is finite and small")]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "seconds,requests_per_second\n0,100\n300,200\n600,60\n";

    fn near(measured: f64, expected: f64, tolerance: f64) {
        assert!((measured - expected).abs() <= tolerance, "{measured} is not {expected} ± {tolerance}");
    }

    #[test]
    fn the_rate_is_linear_between_the_centres_of_bins() {
        let trace = Trace::read(THREE).unwrap();
        let check = |second, rate| near(trace.rate(second), rate, 1e-9);
        check(0.0, 100.0);
        check(150.0, 100.0);
        check(300.0, 150.0);
        check(450.0, 200.0);
        check(675.0, 95.0);
        check(750.0, 60.0);
        check(900.0, 60.0);
    }

    #[test]
    fn the_mean_needs_the_instances_that_it_is_scaled_to() {
        let trace = Trace::read(THREE).unwrap().scaled_to(20.0);
        near(trace.rates.iter().sum::<f64>() / 3.0, 20.0 * 200.0 * 0.9305, 1e-9);
        near(trace.rates[1] / trace.rates[0], 2.0, 1e-9);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        let check = |text: &str, expected: &str| {
            let refusal = Trace::read(text).unwrap_err().to_string();
            assert!(refusal.starts_with(expected), "{text:?}: {refusal}");
        };
        check("", "line 1 is \"\", expected");
        check("time,rate\n0,1\n", "line 1 is \"time,rate\", expected");
        let rows = |rows: &str| format!("seconds,requests_per_second\n{rows}");
        check(&rows("0,1\n60\n"), "line 3 is \"60\", expected two numbers");
        check(&rows("0,1\n60,many\n"), "line 3 is \"60,many\"");
        check(&rows("0,1\n60,NaN\n"), "line 3 is \"60,NaN\"");
        check(&rows("0,-1\n60,1\n"), "line 2 is \"0,-1\"");
        check(&rows("0,1\n60,1\n180,1\n"), "line 4 begins at 180 s, expected 120 s");
        check(&rows("0,1\n0,1\n"), "line 2 begins at 0 s");
        check(&rows("0,1\n"), "1 bins");
        check(&rows("0,0\n60,0\n"), "2 bins with 0 requests");
    }

    #[test]
    fn the_same_seed_draws_the_same_demand() {
        let trace = Trace::read(THREE).unwrap();
        assert_eq!(trace.demand(5), trace.demand(5));
        assert_ne!(trace.demand(5), trace.demand(6));
        near(trace.demand(5).seconds(), 900.0, 0.0);
    }

    #[test]
    fn coarse_noise_has_its_deviation_and_its_time_constant() {
        let demand = Demand::constant(1000.0, 3_000_000.0, true, 3);
        let logs: Vec<f64> = demand.expected.iter().map(|rate| (rate / 1000.0).ln()).collect();
        let covariance = |lag: usize| {
            logs.iter().zip(&logs[lag..]).map(|(left, right)| left * right).sum::<f64>() / count(logs.len() - lag)
        };
        near(covariance(0).sqrt(), 0.03, 0.001);
        near(covariance(20) / covariance(0), (-1.0_f64).exp(), 0.03);
        assert!(Demand::constant(1000.0, 300.0, false, 3).expected.iter().all(|rate| (rate - 1000.0).abs() < 1e-9));
    }

    #[test]
    fn arrivals_scatter_around_what_is_expected() {
        let demand = Demand::constant(1000.0, 60_000.0, false, 3);
        let steps = count(demand.arrived.len());
        let mean = demand.arrived.iter().sum::<f64>() / steps;
        let variance = demand.arrived.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / steps;
        near(mean, 1000.0, 1.0);
        near(variance, 1000.0 / STEP, 15.0);
    }
}
