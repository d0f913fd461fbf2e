//! How far and how soon: tolerance, stabilization, step limits, bounds and cooldown.

use std::cmp::Reverse;

use super::controller::Asked;
use super::floors::Bounds;
use super::{Say, View};
use crate::control::reason::{Direction, Reason};
use crate::control::state::ControllerState;
use crate::observation::elapsed;
use crate::policy::{Capacity, PerDirection, StepLimit};

/// A measured number is not exact to the last digit, and a dead band includes its ends.
const EDGE: f64 = 1e-9;

/// Keeps the desired capacity while what the controller `asked` for, before rounding, lies inside the dead band or is
/// noise. What a floor or a cap has made of it is the owner's word, and has neither.
pub(super) fn tolerance(view: &View, asked: Asked, say: &mut Say, wanted: Capacity) -> Capacity {
    let desired = view.group.desired;
    if wanted == desired || Capacity::ceil(asked.capacity) != Some(wanted) {
        return wanted;
    }
    let Asked { capacity, firm, held } = asked;
    let share = |capacity: f64| capacity / desired.as_f64() - 1.0;
    let PerDirection { out, inward } = view.policy.tolerance;
    let (inside, quiet) = if wanted > desired {
        (share(capacity) <= out + EDGE, if share(firm) <= out + EDGE { desired } else { wanted })
    } else {
        (-share(capacity) <= inward + EDGE, Capacity::ceil(held).unwrap_or(desired).max(wanted).min(desired))
    };
    if inside {
        say.that(Reason::WithinTolerance { wanted });
        return desired;
    }
    if quiet != wanted {
        say.that(Reason::WithinNoise { wanted, allowed: quiet });
    }
    quiet
}

/// Scales in only to the highest recommendation of its window, and out only to the lowest of its own.
///
/// What tolerance left of the recommendation enters the windows. While a metric is invalid, nothing below the desired
/// capacity does, so that a full window of valid data stands behind every scale-in; and nothing enters the window of
/// scale-out, which missing data must not freeze.
pub(super) fn stabilization(
    view: &View,
    state: &mut ControllerState,
    all_valid: bool,
    say: &mut Say,
    wanted: Capacity,
) -> Capacity {
    let desired = view.group.desired;
    let windows = view.policy.stabilization;
    let cautious = if all_valid { wanted } else { wanted.max(desired) };
    let highest = state.highest.push(view.now, cautious, windows.inward);
    let lowest = if all_valid {
        state.lowest.push(view.now, Reverse(wanted), windows.out)
    } else {
        state.lowest.peek(view.now, windows.out).unwrap_or(Reverse(wanted))
    };
    let lowest = lowest.0;
    let (direction, allowed, window) = if wanted < desired {
        (Direction::In, highest.min(desired).max(wanted), windows.inward)
    } else {
        (Direction::Out, lowest.max(desired).min(wanted), windows.out)
    };
    if allowed != wanted {
        say.that(Reason::Stabilized { direction, wanted, allowed, window });
    }
    allowed
}

/// Keeps the change within what its period allows.
pub(super) fn step(view: &View, state: &ControllerState, say: &mut Say, wanted: Capacity) -> Capacity {
    let desired = view.group.desired;
    let (direction, allowed, limit) = if wanted > desired {
        (Direction::Out, wanted.min(most(view, state)), view.policy.step.out)
    } else {
        (Direction::In, wanted.max(least(view, state)), view.policy.step.inward)
    };
    if let Some(limit) = limit.filter(|_| allowed != wanted) {
        say.that(Reason::StepLimited { direction, wanted, allowed, per: limit.per });
    }
    allowed
}

/// The most capacity that the scale-out step leaves, at least the desired one.
fn most(view: &View, state: &ControllerState) -> Capacity {
    let desired = view.group.desired;
    view.policy.step.out.map_or(Capacity::MAX, |limit| {
        let base = state.capacity_before(desired, limit.per, view.now);
        base.plus(change(limit, base)).max(desired)
    })
}

/// The least capacity that the scale-in step leaves, at most the desired one.
fn least(view: &View, state: &ControllerState) -> Capacity {
    let desired = view.group.desired;
    view.policy.step.inward.map_or(Capacity::ZERO, |limit| {
        // What was added lately may never have come, or somebody else has taken it back: it is no reason to remove more.
        let base = state.capacity_before(desired, limit.per, view.now).max(desired);
        base.minus(change(limit, base)).min(desired)
    })
}

/// What `limit` allows to change, counted from `base`: percent or count, whichever is more. Percentages round up, so
/// that a small group can move at all.
fn change(limit: StepLimit, base: Capacity) -> Capacity {
    let percent = limit.percent.and_then(|percent| Capacity::ceil(base.as_f64() * percent / 100.0));
    let percent = percent.map(|percent| percent.max(Capacity::new(1)));
    percent.unwrap_or_default().max(limit.count.unwrap_or_default())
}

/// Keeps the capacity within the policy's and the group's own bounds. The minimum is restored at once; a maximum below
/// what is running is approached in scale-in steps, so that a slip of the pen does not end half the fleet.
pub(super) fn bounds(view: &View, state: &ControllerState, say: &mut Say, wanted: Capacity) -> Capacity {
    let Bounds { min, max, min_of, max_of } = view.bounds;
    if wanted < min {
        say.that(Reason::RaisedToMin { min, bound: min_of });
        return min;
    }
    if wanted > max {
        say.that(Reason::LoweredToMax { max, bound: max_of });
        return max.max(least(view, state)).min(wanted);
    }
    wanted
}

/// Rests after a scale event: scale-out after a scale-out, scale-in after either.
pub(super) fn cooldown(view: &View, state: &ControllerState, say: &mut Say, wanted: Capacity) -> Capacity {
    let desired = view.group.desired;
    let kept = view.kept(wanted);
    if wanted == kept {
        return wanted;
    }
    let (direction, rest, last) = if wanted > desired {
        (Direction::Out, view.policy.cooldown.out, state.last_event(Some(Direction::Out)))
    } else {
        (Direction::In, view.policy.cooldown.inward, state.last_event(None))
    };
    let since = last.map(|event| elapsed(event.at, view.now));
    match since.and_then(|since| rest.checked_sub(since)).filter(|remaining| !remaining.is_zero()) {
        Some(remaining) => {
            say.that(Reason::CoolingDown { direction, remaining });
            kept
        }
        None => wanted,
    }
}
