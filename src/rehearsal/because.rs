//! Reasons by their word, as the API and the log have it: the `code` of a reason; of a veto, its guard.

use std::fmt;

use serde::Serialize;

use crate::control::{Guard, Reason};

/// A kind of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Because(&'static str);

impl Because {
    /// Every kind that there is.
    #[rustfmt::skip]
    pub const ALL: [Because; 36] = [
        Because("group-unknown"), Because("metric-invalid"), Because("metric-negative"), Because("nothing-serves"),
        Because("no-valid-metric"), Because("recommended"), Because("saturated"), Because("fell-back"),
        Because("within-tolerance"), Because("within-noise"), Because("stabilized"), Because("step-limited"),
        Because("raised-to-min"), Because("lowered-to-max"), Because("cooling-down"), Because("observing"),
        Because("paused"), Because("scale-out-only"), Because("contested"), Because("not-warm"),
        Because("capacity-pending"), Because("refreshing"), Because("terminate-suspended"),
        Because("launch-suspended"), Because("launches-failing"), Because("unhealthy"),
        Because("metric-above-target"), Because("metric-not-valid"), Because("coverage-low"),
        Because("demand-collapsed"), Because("journal-unavailable"), Because("scale-out-not-helping"),
        Because("spend-limited"), Because("signal-burning"), Because("signal-unknown"),
        Because("unit-unproven"),
    ];

    /// The kind of `reason`.
    pub fn of(reason: &Reason) -> Self {
        Self(match reason {
            Reason::GroupUnknown => "group-unknown",
            Reason::MetricInvalid { .. } => "metric-invalid",
            Reason::MetricNegative { .. } => "metric-negative",
            Reason::NothingServes { .. } => "nothing-serves",
            Reason::NoValidMetric => "no-valid-metric",
            Reason::Recommended { .. } => "recommended",
            Reason::Saturated { .. } => "saturated",
            Reason::FellBack { .. } => "fell-back",
            Reason::WithinTolerance { .. } => "within-tolerance",
            Reason::WithinNoise { .. } => "within-noise",
            Reason::Stabilized { .. } => "stabilized",
            Reason::StepLimited { .. } => "step-limited",
            Reason::RaisedToMin { .. } => "raised-to-min",
            Reason::LoweredToMax { .. } => "lowered-to-max",
            Reason::CoolingDown { .. } => "cooling-down",
            Reason::ScaleOutNotHelping { .. } => "scale-out-not-helping",
            Reason::SpendLimited { .. } => "spend-limited",
            Reason::Observing { .. } => "observing",
            Reason::Paused { .. } => "paused",
            Reason::ScaleOutOnly { .. } => "scale-out-only",
            Reason::Contested { .. } => "contested",
            Reason::Vetoed { guard } => Self::of_veto(guard),
        })
    }

    fn of_veto(guard: &Guard) -> &'static str {
        match guard {
            Guard::NotWarm { .. } => "not-warm",
            Guard::CapacityPending { .. } => "capacity-pending",
            Guard::JournalUnavailable => "journal-unavailable",
            Guard::Refreshing => "refreshing",
            Guard::TerminateSuspended => "terminate-suspended",
            Guard::LaunchSuspended => "launch-suspended",
            Guard::LaunchesFailing { .. } => "launches-failing",
            Guard::Unhealthy { .. } => "unhealthy",
            Guard::MetricAboveTarget { .. } => "metric-above-target",
            Guard::UnitUnproven { .. } => "unit-unproven",
            Guard::MetricNotValid { .. } => "metric-not-valid",
            Guard::CoverageLow { .. } => "coverage-low",
            Guard::DemandCollapsed { .. } => "demand-collapsed",
            Guard::SignalBurning { .. } => "signal-burning",
            Guard::SignalUnknown { .. } => "signal-unknown",
        }
    }

    /// Its word, in kebab case.
    pub fn word(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::Capacity;

    #[test]
    fn a_kind_has_the_word_that_the_api_has() {
        let check = |reason: Reason, key| {
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(json[key], Because::of(&reason).word());
            assert!(Because::ALL.contains(&Because::of(&reason)), "{json}");
        };
        check(Reason::GroupUnknown, "code");
        check(Reason::NothingServes { metric: "cpu".into() }, "code");
        check(Reason::FellBack { blind: Duration::ZERO, capacity: Capacity::ZERO }, "code");
        check(Reason::Vetoed { guard: Guard::NotWarm { remaining: Duration::ZERO } }, "guard");
        check(Reason::Vetoed { guard: Guard::Refreshing }, "guard");
        check(Reason::Vetoed { guard: Guard::LaunchesFailing { insufficient_capacity: true } }, "guard");
    }

    #[test]
    fn no_two_kinds_share_a_word() {
        let mut words = Because::ALL.map(Because::word);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
    }
}
