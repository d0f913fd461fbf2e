//! Incremental PID in the log domain of demand.
//!
//! With `u` the logarithm of the capacity asked for and `x` that of the demand, the error is `x - u`: in logarithms a
//! utilization plant has gain −1 at every fleet size, so one set of gains serves 2 instances and 2,000. The group
//! itself is the integrator: `u` is clamped to the bounds and re-anchored to what the group really has, so it can't
//! wind up, and a restart is bumpless.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evaluation::Terms;
use crate::observation::elapsed;
use crate::policy::Capacity;

/// Time constant of the filter on the slope of demand, in seconds, at least: a longer lead needs a steadier slope.
const SLOPE_FILTER: f64 = 60.0;

/// The most that the derivative may add: half as much again.
const MOST_LEAD: f64 = 1.5;

/// Stands for no demand at all, whose logarithm does not exist; rounds to no instances.
const LEAST: f64 = 0.01;

/// What was seen longer ago says nothing of now.
const MEMORY: Duration = Duration::from_mins(15);

/// The group as a controller sees it.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub desired: Capacity,
    /// Instances that came into service lately may not carry a full share yet, so demand may be more than it seems.
    pub warming: bool,
}

/// What the controller of one metric remembers: nothing before its first evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PidMemory(Option<Last>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    /// When the first demand was seen. Until the filter has seen one time constant, its slope is not believed.
    since: Timestamp,
    at: Timestamp,
    /// The desired capacity that the group had.
    desired: Capacity,
    /// Logarithm of the capacity asked for.
    u: f64,
    /// The error.
    e: f64,
    /// Logarithm of demand.
    x: f64,
    /// Filtered slope of `x`, per second.
    slope: f64,
}

/// Gains, resolved: see [`Gains`](crate::policy::Gains).
#[derive(Clone, Copy, Debug)]
pub struct Law {
    pub kp: f64,
    pub ki: f64,
    /// In seconds.
    pub kd: f64,
}

/// The limits within which a controller remembers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub min: Capacity,
    pub max: Capacity,
}

/// `ln(value)`, with [`LEAST`] for nothing, and no more than the largest capacity there is.
pub fn log(value: f64) -> f64 {
    value.clamp(LEAST, Capacity::MAX.as_f64()).ln()
}

impl Limits {
    /// `u` within the logarithms of the limits.
    pub fn clamp(self, u: f64) -> f64 {
        u.min(log(self.max.as_f64())).max(log(self.min.as_f64()))
    }
}

/// The capacity, in instances before rounding, that `demand` (finite, not negative) asks for, and what it is made of.
pub fn ask(
    law: Law,
    limits: Limits,
    memory: &mut PidMemory,
    demand: f64,
    group: Group,
    now: Timestamp,
) -> (f64, Terms) {
    let desired = group.desired;
    let x = log(demand);
    let filter = law.kd.max(SLOPE_FILTER);
    let before = memory.0.take().filter(|last| elapsed(last.at, now) <= MEMORY);
    let followed = before.as_ref().is_some_and(|last| last.followed_by(desired) && !last.is_overtaken(desired, x));
    let anchor = before.as_ref().filter(|_| followed).map_or_else(|| log(desired.as_f64()), |last| last.u);
    let e = x - anchor;
    let change = before.as_ref().filter(|_| followed).map_or(0.0, |last| e - last.e);
    let mut terms = Terms { p: law.kp * change, i: law.ki * e, d: 0.0 };
    let asked = anchor + terms.p + terms.i;
    // What is remembered stays within the limits, so that it can't wind up; what is asked for says what is needed.
    // Nor does it learn to want less of a demand that may be more: with a small gain that would take back, again and again,
    // the instance that warms.
    let u = limits.clamp(if group.warming { asked.max(anchor) } else { asked });
    // A fall that may be none is not remembered either: its end would be taken for a rise, after every scale-out anew.
    let x = before.as_ref().filter(|_| group.warming).map_or(x, |last| x.max(last.x));
    // After a new beginning the proportional part sees the change of demand to come, not that of the anchor.
    let e = x - if followed { anchor } else { u };
    let slope = before.as_ref().map_or(0.0, |last| last.slope_towards(x, filter, now));
    let since = before.as_ref().map_or(now, |last| last.since);
    memory.0 = Some(Last { since, at: now, desired, u, e, x, slope });
    let settled = elapsed(since, now).as_secs_f64() >= filter;
    if settled {
        terms.d = (law.kd * slope).clamp(0.0, MOST_LEAD.ln());
    }
    ((asked + terms.d).exp(), terms)
}

impl Last {
    /// Whether `desired` is on the way from what the group had to what was asked for. A step limit or a window that lets
    /// the group follow in parts only must not start the integral anew with each of them; anybody else's number does.
    fn followed_by(&self, desired: Capacity) -> bool {
        let asked = Capacity::ceil(self.u.exp()).unwrap_or(self.desired);
        (asked.min(self.desired)..=asked.max(self.desired)).contains(&desired)
    }

    /// Whether the group was kept from what was asked for, and demand now lies on the other side of what it has: what was
    /// refused must not be asked for still.
    fn is_overtaken(&self, desired: Capacity, x: f64) -> bool {
        let asked = Capacity::ceil(self.u.exp()).unwrap_or(self.desired);
        let has = log(desired.as_f64());
        asked > desired && x < has || asked < desired && x > has
    }

    /// The slope of `x`, filtered in first order with a time constant of `filter` seconds.
    fn slope_towards(&self, x: f64, filter: f64, now: Timestamp) -> f64 {
        let seconds = elapsed(self.at, now).as_secs_f64();
        if seconds == 0.0 {
            return self.slope;
        }
        let weight = seconds / (filter + seconds);
        self.slope + weight * ((x - self.x) / seconds - self.slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min: Capacity::new(1), max: Capacity::new(1000) };

    /// What is asked for, whatever it is made of.
    fn ask(law: Law, limits: Limits, memory: &mut PidMemory, demand: f64, group: Group, now: Timestamp) -> f64 {
        super::ask(law, limits, memory, demand, group, now).0
    }

    /// A group of this size, all of it warm.
    fn settled(size: u32) -> Group {
        Group { desired: Capacity::new(size), warming: false }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn with_ki_of_one_it_is_the_ratio_rule_at_every_size() {
        let law = Law { kp: 0.0, ki: 1.0, kd: 0.0 };
        for (warm, utilization) in [(2.0, 0.9), (20.0, 0.35), (200.0, 0.77)] {
            let demand: f64 = utilization * warm / 0.7;
            let asked = ask(law, LIMITS, &mut PidMemory::default(), demand, settled(7), at(0));
            assert!((asked - demand).abs() < 1e-9, "{asked} for {demand}");
        }
    }

    #[test]
    fn the_derivative_leads_a_ramp_and_never_takes_away() {
        let law = Law { kp: 0.0, ki: 1.0, kd: 60.0 };
        let run = |slope: f64| {
            let mut memory = PidMemory::default();
            (0..40).fold((0.0, 0.0), |_, step| {
                let demand = 20.0 * (slope * f64::from(step)).exp();
                (demand, ask(law, LIMITS, &mut memory, demand, settled(20), at(i64::from(step) * 15)))
            })
        };
        let (demand, asked) = run(0.015);
        let lead = (asked / demand).ln();
        assert!((lead - 0.06).abs() < 0.001, "60 s ahead of 0.1 % a second is 6 %, not {lead}");
        let (demand, asked) = run(-0.015);
        assert!((asked - demand).abs() < 1e-9);
    }

    #[test]
    fn a_small_integral_gain_converges_without_a_restart_at_each_evaluation() {
        let law = Law { kp: 0.0, ki: 0.1, kd: 0.0 };
        let mut memory = PidMemory::default();
        let asked = (0..60).map(|k| ask(law, LIMITS, &mut memory, 8.0, settled(10), at(k * 15))).last();
        assert!((asked.unwrap() - 8.0).abs() < 0.05);
    }

    #[test]
    fn what_warms_does_not_draw_a_small_integral_gain_down() {
        let law = Law { kp: 0.0, ki: 0.1, kd: 0.0 };
        let asked = |warming| {
            let mut memory = PidMemory::default();
            ask(law, LIMITS, &mut memory, 9.5, Group { warming, ..settled(10) }, at(0));
            ask(law, LIMITS, &mut memory, 10.0, settled(10), at(15))
        };
        assert!((asked(true) - 10.0).abs() < 1e-9);
        assert!(asked(false) < 9.96);
    }

    #[test]
    fn it_does_not_wind_up_at_the_bound() {
        let law = Law { kp: 0.0, ki: 0.5, kd: 0.0 };
        let limits = Limits { min: Capacity::new(1), max: Capacity::new(10) };
        let mut memory = PidMemory::default();
        for k in 0..1000 {
            ask(law, limits, &mut memory, 500.0, settled(10), at(k * 15));
        }
        let asked = (0..6).map(|k| ask(law, limits, &mut memory, 2.0, settled(10), at(15_000 + k * 15))).last();
        assert!(asked.unwrap() < 2.1, "six half-steps from 10 to 2");
    }

    #[test]
    fn what_it_was_kept_from_is_given_up_once_demand_lies_on_the_other_side() {
        let law = Law { kp: 0.0, ki: 0.1, kd: 0.0 };
        for (refused, then) in [(100.0, 9.0), (1.0, 11.0)] {
            let mut memory = PidMemory::default();
            (0..40).for_each(|k| _ = ask(law, LIMITS, &mut memory, refused, settled(10), at(k * 15)));
            let asked = ask(law, LIMITS, &mut memory, then, settled(10), at(600));
            assert!((asked - 10.0 * (then / 10.0_f64).powf(0.1)).abs() < 1e-9, "{asked} for {then} after {refused}");
        }
    }

    #[test]
    fn a_group_that_follows_in_parts_does_not_start_it_anew() {
        let law = Law { kp: 0.0, ki: 0.2, kd: 0.0 };
        let mut memory = PidMemory::default();
        let falling = (0..20).map(|k| ask(law, LIMITS, &mut memory, 10.0, settled(40 - k), at(i64::from(k) * 15)));
        assert!(falling.last().unwrap() < 11.0);
        let moved = ask(law, LIMITS, &mut memory, 10.0, settled(50), at(300));
        assert!(moved > 30.0, "somebody else wanted 50: {moved}");
    }

    #[test]
    fn no_demand_asks_for_the_least() {
        let law = Law { kp: 0.0, ki: 1.0, kd: 60.0 };
        let limits = Limits { min: Capacity::ZERO, max: Capacity::new(10) };
        let asked = ask(law, limits, &mut PidMemory::default(), 0.0, settled(3), at(0));
        assert_eq!(Capacity::ceil(asked), Some(Capacity::ZERO));
    }

    #[test]
    fn the_proportional_part_does_not_see_what_somebody_else_has_set() {
        let law = Law { kp: 0.5, ki: 0.2, kd: 0.0 };
        let mut memory = PidMemory::default();
        ask(law, LIMITS, &mut memory, 10.0, settled(10), at(0));
        let asked = ask(law, LIMITS, &mut memory, 10.0, settled(40), at(15));
        assert!(
            (asked.ln() - (40f64.ln() + 0.2 * 0.25f64.ln())).abs() < 1e-9,
            "the integral alone draws back: {asked}"
        );
        let Last { x, u, .. } = memory.0.clone().unwrap();
        let (asked, Terms { p, i, .. }) = super::ask(law, LIMITS, &mut memory, 10.0, settled(40), at(30));
        assert!(p.abs() < 1e-9, "demand has not changed: {p}");
        assert!((i - 0.2 * (x - u)).abs() < 1e-9 && (asked.ln() - (u + p + i)).abs() < 1e-9, "the parts are the whole");
    }
}
