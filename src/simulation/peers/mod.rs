//! Other autoscalers, as they decide by default, for comparison in the reference plant. Written from their documents
//! and sources; simplified where it says so, and never used to steer a group.

use super::bound;
use super::reference::{INTERVAL, Removed, Seen, Settings};
use super::trace::Demand;
use crate::policy::Capacity;

pub mod hpa;
pub mod kpa;
pub mod nomad;
pub mod target_tracking;

pub use hpa::HorizontalPodAutoscaler;
pub use kpa::KnativePodAutoscaler;
pub use nomad::TargetValue;
pub use target_tracking::TargetTracking;

/// Whom policies are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The Horizontal Pod Autoscaler of Kubernetes.
    Hpa,
    /// The Knative Pod Autoscaler.
    Kpa,
    /// Target tracking of AWS on metrics of a minute.
    AwsTargetTracking,
    /// Target tracking of AWS on metrics of ten seconds.
    AwsTargetTrackingHighResolution,
    /// The Nomad Autoscaler.
    Nomad,
    /// As many instances as the highest demand needs, at all times.
    Static,
    /// One who knows the demand as far ahead as an instance takes to serve.
    Clairvoyant,
}

impl Peer {
    /// Everybody.
    pub const ALL: [Self; 7] = [
        Self::Hpa,
        Self::Kpa,
        Self::AwsTargetTracking,
        Self::AwsTargetTrackingHighResolution,
        Self::Nomad,
        Self::Static,
        Self::Clairvoyant,
    ];

    /// What a table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hpa => "Kubernetes HPA",
            Self::Kpa => "Knative KPA",
            Self::AwsTargetTracking => "AWS target tracking",
            Self::AwsTargetTrackingHighResolution => "AWS target tracking, high resolution",
            Self::Nomad => "Nomad target-value",
            Self::Static => "static fleet",
            Self::Clairvoyant => "clairvoyant",
        }
    }

    /// `settings` as this peer works: its interval, its lag, and what a scale-in takes.
    pub(super) fn placed(self, settings: &Settings) -> Settings {
        let (interval, lag) = match self {
            Self::Kpa => (KnativePodAutoscaler::INTERVAL, settings.lag),
            Self::AwsTargetTracking => TargetTracking::CLASSIC,
            Self::AwsTargetTrackingHighResolution => TargetTracking::HIGH_RESOLUTION,
            Self::Nomad => (TargetValue::INTERVAL, settings.lag),
            Self::Hpa | Self::Static | Self::Clairvoyant => (INTERVAL, settings.lag),
        };
        let removed = if matches!(self, Self::Hpa | Self::Kpa) { Removed::Youngest } else { settings.removed };
        Settings { interval, lag, removed, ..settings.clone() }
    }

    /// What it decides at `target`.
    pub(super) fn decider<'a>(
        self,
        target: f64,
        settings: &'a Settings,
        demand: &'a Demand,
    ) -> Box<dyn FnMut(&Seen) -> Capacity + 'a> {
        match self {
            Self::Hpa => {
                let mut hpa = HorizontalPodAutoscaler::new(target);
                Box::new(move |seen| hpa.decide(seen))
            }
            Self::Kpa => {
                let mut kpa = KnativePodAutoscaler::new(target, settings.service.workers);
                Box::new(move |seen| kpa.decide(seen))
            }
            Self::AwsTargetTracking | Self::AwsTargetTrackingHighResolution => {
                let mut tracking = TargetTracking::new(target);
                Box::new(move |seen| tracking.decide(seen))
            }
            Self::Nomad => {
                let mut nomad = TargetValue::new(target);
                Box::new(move |seen| nomad.decide(seen))
            }
            Self::Static => {
                let peak = settings.needed(demand.expected.iter().copied().fold(0.0, f64::max));
                Box::new(move |_| peak)
            }
            Self::Clairvoyant => Box::new(bound::look_ahead(settings, &demand.arrived)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::simulation::plant::Reading;

    /// What a peer sees of warm instances at this utilization.
    pub fn seen(second: i64, utilization: f64, in_service: u32, pending: u32) -> Seen {
        Seen {
            at: Timestamp::from_second(second).unwrap(),
            measured: Reading { utilization, arrival_rate: 0.0, p99: 0.0 },
            in_flight: 0.0,
            age: Duration::from_secs(3),
            desired: Capacity::new(in_service + pending),
            in_service: Capacity::new(in_service),
            warm: Capacity::new(in_service),
            pending: Capacity::new(pending),
            min: Capacity::ZERO,
            max: Capacity::MAX,
        }
    }

    #[test]
    fn a_static_fleet_is_what_the_peak_needs() {
        let demand = Demand { expected: vec![100.0, 900.0, 100.0], arrived: vec![100.0; 3], retried: 0.0 };
        let settings = Settings::reference(Capacity::new(2), Capacity::new(100));
        let asked = Peer::Static.decider(0.7, &settings, &demand)(&seen(0, 0.1, 2, 0));
        assert_eq!(asked.get(), 5, "900 / (200 × 0.9305) = 4.8");
    }
}
