//! Latency: bounded integral action on `ln(latency / target)`.
//!
//! Tail latency is not proportional to load, so `value ÷ target × capacity` is never used: near saturation it asks for
//! several times too much, far from it for nothing. This law takes small steps instead, waits while capacity is on its
//! way, and gives capacity back only well below the target: step by step when it is alone, and by having no opinion
//! where a metric that knows the demand is beside it.

use super::pid::Limits;
use crate::policy::Capacity;

/// Share of the error that an evaluation corrects above the target.
const INTEGRAL_OUT: f64 = 0.15;
/// The same below; slower, because a removed instance takes a boot to come back.
const INTEGRAL_IN: f64 = 0.05;
/// The most that an evaluation may change, either way.
const MOST_STEP: f64 = 1.2;
/// Below this share of the target, capacity may be given back.
const SLACK: f64 = 0.6;

/// What the law looks at beside the latency.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Desired capacity.
    pub desired: Capacity,
    /// Capacity is on its way or warming up.
    pub in_flight: bool,
    /// A valid metric of the same policy tells the demand.
    pub accompanied: bool,
}

/// The capacity, in instances before rounding, to ask for at `latency` against `target`.
///
/// The latency is finite and not negative; `asked` is what was asked for last, before rounding.
pub fn ask(limits: Limits, latency: f64, target: f64, asked: Option<f64>, around: Surroundings) -> f64 {
    let here = around.desired.as_f64();
    let ratio = latency / target;
    if ratio < SLACK && around.accompanied {
        return limits.min.as_f64();
    }
    if around.in_flight {
        return here;
    }
    let step = |gain: f64, ratio: f64| (gain * ratio.ln()).clamp(-MOST_STEP.ln(), MOST_STEP.ln());
    let wanted = if ratio > 1.0 {
        here.max(1.0) * step(INTEGRAL_OUT, ratio).exp()
    } else if ratio < SLACK {
        // Small steps add up below one instance, but never to more than one full step from where the group is.
        let start = asked.map_or(here, |asked| asked.clamp(here / MOST_STEP, here));
        start * step(INTEGRAL_IN, (ratio / SLACK).max(f64::MIN_POSITIVE)).exp()
    } else {
        here
    };
    limits.clamp(super::pid::log(wanted)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min: Capacity::new(2), max: Capacity::new(100) };

    const TEN: Surroundings = Surroundings { desired: Capacity::new(10), in_flight: false, accompanied: false };

    fn at_ten(latency: f64, around: Surroundings) -> f64 {
        ask(LIMITS, latency, 0.5, None, around)
    }

    #[test]
    fn a_step_is_bounded_however_bad_the_latency() {
        assert!(at_ten(0.6, TEN) > 10.0);
        assert!((at_ten(60.0, TEN) - 12.0).abs() < 1e-9);
    }

    #[test]
    fn it_waits_for_capacity_in_flight_and_keeps_between_slack_and_target() {
        assert!((at_ten(5.0, Surroundings { in_flight: true, ..TEN }) - 10.0).abs() < 1e-9);
        assert!((at_ten(0.4, TEN) - 10.0).abs() < 1e-9);
        assert!((at_ten(0.4, Surroundings { accompanied: true, ..TEN }) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn far_below_its_target_it_leaves_the_word_to_a_metric_that_knows_the_demand() {
        assert!((at_ten(0.1, Surroundings { accompanied: true, ..TEN }) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn small_steps_add_up_to_one_scale_in() {
        let mut asked = None;
        let evaluations = (1..100)
            .find(|_| {
                asked = Some(ask(LIMITS, 0.05, 0.5, asked, TEN));
                asked.and_then(Capacity::ceil) < Some(Capacity::new(10))
            })
            .unwrap();
        assert!((2..=5).contains(&evaluations), "{evaluations}");
    }

    #[test]
    fn it_stays_within_one_step_of_the_group() {
        let asked = (0..1000).fold(None, |asked, _| Some(ask(LIMITS, 0.0, 0.5, asked, TEN)));
        assert!(asked.unwrap() >= 10.0 / (MOST_STEP * MOST_STEP) - 1e-9);
    }
}
