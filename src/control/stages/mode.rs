//! What the owner allows, last of all.

use super::{Say, View};
use crate::control::reason::Reason;
use crate::observation::Rivals;
use crate::policy::{Capacity, Mode, PerDirection};

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
    let PerDirection { out, inward } = view.seen.paused;
    let paused = if would > desired { out } else { inward };
    let objection = match view.policy.mode {
        _ if paused => Some(Reason::Paused { would }),
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
