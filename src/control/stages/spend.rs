//! What the group may cost.

use jiff::Timestamp;

use super::{Say, View};
use crate::control::reason::{Reason, SpendPeriod};
use crate::control::spending::{AHEAD, Spending};
use crate::policy::{Capacity, MaxSpend, Policy};

/// A quotient of two decimal numbers may fall short of the whole number that it is by no more than this share.
const ROUNDED: f64 = 1e-9;

/// The most capacity that the ceilings of a policy leave.
#[derive(Clone, Copy)]
pub(super) struct Affordable {
    pub most: Capacity,
    per: SpendPeriod,
    ceiling: f64,
    /// Of a day: what has been spent of it.
    spent: Option<f64>,
}

impl Affordable {
    /// At `now`; `None` where there is no ceiling.
    pub(super) fn at(policy: &Policy, spending: &Spending, now: Timestamp) -> Option<Self> {
        let price = policy.instance_price?;
        let MaxSpend { per_hour, per_day } = policy.max_spend;
        let hour = per_hour.map(|ceiling| {
            let most = whole(ceiling / price);
            Self { most, per: SpendPeriod::Hour, ceiling, spent: None }
        });
        let day = per_day.map(|ceiling| {
            let spent = spending.spent(now) * price;
            let hours = AHEAD.as_secs_f64() / 3600.0;
            let most = whole((ceiling - spent) / (price * hours));
            Self { most, per: SpendPeriod::Day, ceiling, spent: Some(spent) }
        });
        hour.into_iter().chain(day).min_by_key(|affordable| affordable.most)
    }
}

fn whole(instances: f64) -> Capacity {
    Capacity::floor(instances * (1.0 + ROUNDED)).unwrap_or_default()
}

/// Lowers a scale-out to what is affordable. A minimum is restored whatever it costs, and nothing is removed.
pub(super) fn limit(view: &View, say: &mut Say, wanted: Capacity) -> Capacity {
    let kept = view.kept(wanted);
    let Some(Affordable { most, per, ceiling, spent }) = view.affordable.filter(|limit| wanted > limit.most.max(kept))
    else {
        return wanted;
    };
    let allowed = most.max(kept);
    say.that(Reason::SpendLimited { wanted, allowed, per, ceiling, spent });
    allowed
}
