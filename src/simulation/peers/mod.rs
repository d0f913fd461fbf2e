//! Other autoscalers, as they decide by default, for comparison in the reference plant. Written from their documents
//! and sources; simplified where it says so, and never used to steer a group.

use super::bound;
use super::reference::{INTERVAL, STEP, Seen, Settings};
use super::trace::Demand;
use crate::policy::Capacity;

pub mod hpa;

pub use hpa::HorizontalPodAutoscaler;

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

    /// `settings` with the interval and the lag that this peer works at.
    pub(super) fn placed(self, settings: &Settings, demand: &Demand) -> Settings {
        let peak = demand.expected.iter().copied().fold(0.0, f64::max);
        let (interval, lag) = (INTERVAL, STEP);
        match self {
            Self::Static => Settings { min: settings.needed(peak).min(settings.max), ..settings.clone() },
            _ => Settings { interval, lag, ..settings.clone() },
        }
    }

    /// What it decides at `target`.
    pub(super) fn decider<'a>(
        self,
        target: f64,
        settings: &'a Settings,
        demand: &'a Demand,
    ) -> Box<dyn FnMut(&Seen) -> Capacity + 'a> {
        match self {
            Self::Hpa | Self::Kpa | Self::AwsTargetTracking | Self::AwsTargetTrackingHighResolution | Self::Nomad => {
                let mut peer = HorizontalPodAutoscaler::new(target);
                Box::new(move |seen| peer.decide(seen))
            }
            Self::Static => Box::new(|seen| seen.min),
            Self::Clairvoyant => Box::new(bound::look_ahead(settings, &demand.arrived)),
        }
    }
}
