//! Latency: small, bounded steps on `ln(latency / target)`.
//!
//! Tail latency is not proportional to load, so `value ÷ target × capacity` is never used: near saturation it asks for
//! several times too much, far from it for nothing. This law takes small steps instead, and waits while capacity is on
//! its way. Where a metric that knows the demand stands beside it, that says how much is needed below the target (by way
//! of the learned [`Curve`](super::curve::Curve)); alone it gives back one bounded step well below the target, as it
//! can't tell how much is enough.

use crate::policy::Capacity;

/// Share of the logarithmic error that an evaluation corrects above the target.
const GAIN: f64 = 0.15;
/// The most that an evaluation may ask to change, either way.
const MOST_STEP: f64 = 1.2;
/// Below this share of the target, capacity may be given back.
const SLACK: f64 = 0.6;

/// What the law looks at beside the latency.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Desired capacity.
    pub desired: Capacity,
    /// In service and past warm-up; what the latency is owed to.
    pub warm: Capacity,
    /// What the demand asks for, where a metric of the same policy tells it.
    pub by_demand: Option<f64>,
}

/// The capacity, in instances before rounding, to ask for at `latency` (finite, not negative) against `target`.
pub fn ask(latency: f64, target: f64, around: Surroundings) -> f64 {
    let here = around.desired.as_f64();
    let ratio = latency / target;
    if ratio > 1.0 {
        // More than what is warm, which may be on its way already; and an instance at least, however small the fleet.
        let warm = around.warm.as_f64();
        let bounded = here.max(warm + 1.0).max(warm * ratio.powf(GAIN).min(MOST_STEP));
        bounded.max(around.by_demand.unwrap_or_default())
    } else if let Some(by_demand) = around.by_demand {
        by_demand
    } else if around.warm < around.desired {
        here
    } else {
        here * (ratio / SLACK).clamp(MOST_STEP.recip(), 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Surroundings = Surroundings { desired: Capacity::new(10), warm: Capacity::new(10), by_demand: None };

    fn at_ten(latency: f64, around: Surroundings) -> f64 {
        ask(latency, 0.5, around)
    }

    #[test]
    fn a_step_is_bounded_however_bad_the_latency() {
        assert!((at_ten(0.51, TEN) - 11.0).abs() < 1e-9);
        assert!((at_ten(60.0, TEN) - 12.0).abs() < 1e-9);
    }

    #[test]
    fn it_waits_for_capacity_in_flight_unless_that_is_too_little() {
        let warm = |warm| Surroundings { warm: Capacity::new(warm), ..TEN };
        assert!((at_ten(5.0, warm(8)) - 10.0).abs() < 1e-9);
        assert!((at_ten(5.0, warm(9)) - 10.8).abs() < 1e-9);
        assert!((at_ten(0.1, warm(9)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn it_keeps_between_slack_and_target() {
        assert!((at_ten(0.4, TEN) - 10.0).abs() < 1e-9);
        assert!((at_ten(0.5, TEN) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn below_its_target_it_asks_for_what_the_demand_needs() {
        let needs = |by_demand| Surroundings { by_demand: Some(by_demand), ..TEN };
        assert!((at_ten(0.1, needs(3.0)) - 3.0).abs() < 1e-9);
        assert!((at_ten(0.4, needs(13.0)) - 13.0).abs() < 1e-9);
        assert!((at_ten(0.51, needs(3.0)) - 11.0).abs() < 1e-9);
        assert!((at_ten(0.51, needs(30.0)) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn alone_it_gives_back_one_bounded_step() {
        assert!((at_ten(0.27, TEN) - 9.0).abs() < 1e-9);
        assert!((at_ten(0.0, TEN) - 10.0 / 1.2).abs() < 1e-9);
    }
}
