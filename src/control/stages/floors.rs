//! Floors and caps: open schedules, an operator's override, and the fallback of a policy that sees nothing.

use jiff::Timestamp;

use super::validity::Signals;
use super::{Say, View, patience};
use crate::control::reason::{Bound, Reason};
use crate::control::state::ControllerState;
use crate::observation::{GroupStatus, Override};
use crate::policy::{Capacity, Policy};

/// Raises `wanted` to the floors that hold now and lowers it to the caps; of the two, a floor has the last word.
pub(super) fn hold(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    wanted: Capacity,
) -> Capacity {
    let fallen_back = fall_back(view, state, signals, say, wanted);
    let Bounds { min, max, min_of, max_of } = view.bounds;
    let of_now = |bound| matches!(bound, Bound::Schedule | Bound::Override);
    if fallen_back < min && of_now(min_of) {
        say.that(Reason::RaisedToMin { min, bound: min_of });
        return min;
    }
    if fallen_back > max && of_now(max_of) {
        say.that(Reason::LoweredToMax { max, bound: max_of });
        return max;
    }
    fallen_back
}

/// After every metric has been gone for as long as the policy says, at least the fallback's capacity.
fn fall_back(view: &View, state: &mut ControllerState, signals: &Signals, say: &mut Say, wanted: Capacity) -> Capacity {
    if !signals.valid.is_empty() {
        state.blind = None;
        return wanted;
    }
    let blind = state.blind_for(patience(view.policy), view.now);
    match view.policy.fallback {
        Some(fallback) if blind >= fallback.after && wanted < fallback.capacity => {
            say.that(Reason::FellBack { blind, capacity: fallback.capacity });
            fallback.capacity
        }
        _ => wanted,
    }
}

/// The least and the most capacity that are allowed now, and by what.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub min: Capacity,
    pub max: Capacity,
    pub min_of: Bound,
    pub max_of: Bound,
}

impl Bounds {
    /// The bounds that hold at `now`. An open schedule's hold in place of the policy's own, an override holds within
    /// them, and where any contradict the group's own bounds those hold, since AWS would refuse anything else.
    pub(super) fn at(
        policy: &Policy,
        group: &GroupStatus,
        ordered: Option<Override>,
        state: &mut ControllerState,
        now: Timestamp,
    ) -> Self {
        let scheduled = state.scheduled(policy, now);
        let mut bounds = Self { min: policy.min, max: policy.max, min_of: Bound::Policy, max_of: Bound::Policy };
        if let Some(max) = scheduled.max {
            (bounds.max, bounds.max_of) = (max, Bound::Schedule);
        }
        if let Some(min) = scheduled.min {
            (bounds.min, bounds.min_of) = (min, Bound::Schedule);
        }
        // A floor never lowers, and is not lowered either.
        if bounds.max < bounds.min {
            (bounds.max, bounds.max_of) = (bounds.min, bounds.min_of);
        }
        if let Some(ordered) = ordered.filter(|ordered| now < ordered.until) {
            bounds.order(ordered);
        }
        bounds.within(group);
        bounds
    }

    fn order(&mut self, ordered: Override) {
        let within = |capacity: Capacity| capacity.max(self.min).min(self.max);
        let (floor, cap) = (ordered.floor.map(within), ordered.cap.map(within));
        if let Some(cap) = cap.filter(|cap| *cap < self.max) {
            (self.max, self.max_of) = (cap, Bound::Override);
        }
        if let Some(floor) = floor.filter(|floor| *floor > self.min) {
            (self.min, self.min_of) = (floor, Bound::Override);
            self.max = self.max.max(floor);
        }
    }

    fn within(&mut self, group: &GroupStatus) {
        let within = |capacity: Capacity| capacity.min(group.max).max(group.min);
        if within(self.min) != self.min {
            self.min_of = Bound::Group;
        }
        if within(self.max) != self.max {
            self.max_of = Bound::Group;
        }
        (self.min, self.max) = (within(self.min), within(self.max));
    }
}
