//! What the owner allows, last of all.

use super::{Say, View};
use crate::control::reason::Reason;
use crate::observation::Rivals;
use crate::policy::{Capacity, Mode};

/// Keeps the desired capacity unless the policy may act on this group.
pub(super) fn allow(view: &View, say: &mut Say, would: Capacity) -> Capacity {
    let desired = view.group.desired;
    if would == desired {
        return desired;
    }
    let rival = view.group.rivals;
    let contested = match rival {
        Rivals::None => false,
        Rivals::Operator => true,
        Rivals::Unknown | Rivals::ScalingPolicy | Rivals::ScheduledAction => !view.policy.takeover,
    };
    let objection = match view.policy.mode {
        Mode::Observe => Some(Reason::Observing { would }),
        Mode::Paused => Some(Reason::Paused { would }),
        Mode::ScaleOutOnly if would < desired => Some(Reason::ScaleOutOnly { would }),
        Mode::Active | Mode::ScaleOutOnly if contested => Some(Reason::Contested { would, rival }),
        Mode::Active | Mode::ScaleOutOnly => None,
    };
    let Some(reason) = objection else { return would };
    say.that(reason);
    desired
}
