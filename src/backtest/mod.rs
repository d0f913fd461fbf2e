//! A policy over its owner's own history: what was measured becomes the demand that was, and the policy is replayed on it.
//!
//! Pure: it takes samples and gives a report, and reads no clock, no server and no file.
//!
//! | file | is |
//! |---|---|
//! | [`history`] | what was measured |
//! | [`demand`] | the load that must have been behind it, and where that can't be known |
//! | [`replay`](mod@replay) | who would have done what |

pub mod demand;
pub mod history;
pub mod replay;

pub use demand::Unknowable;
pub use history::{History, Launches, Samples};
pub use replay::{Question, Reconstruction, reconstruct, replay};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::policy::{
        Brake, Capacity, Controller, Gains, MaxSpend, Metric, MetricKind, Mode, PerDirection, Policy, Source, StepLimit,
    };

    pub fn metric(name: &str, kind: MetricKind, target: f64) -> Metric {
        let source = Source::Prometheus { query: name.into(), per_instance: None };
        let (name, max_age) = (name.into(), Duration::from_mins(1));
        Metric { name, kind, target, max_age, controller: None, min_coverage: 0.75, source }
    }

    /// From 2 to 20 instances that boot in two minutes, with the defaults of a configuration.
    pub fn policy(metrics: Vec<Metric>) -> Policy {
        let minute = Duration::from_mins(1);
        let step = |percent, count| Some(StepLimit { percent: Some(percent), count, per: minute });
        Policy {
            name: "web".into(),
            asg: "web".into(),
            region: None,
            interval: Duration::from_secs(15),
            mode: Mode::Active,
            takeover: false,
            min: Capacity::new(2),
            max: Capacity::new(20),
            boot_time: Some(2 * minute),
            warm_up: None,
            controller: Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }),
            tolerance: PerDirection { out: 0.0, inward: 0.08 },
            stabilization: PerDirection { out: Duration::ZERO, inward: 5 * minute },
            step: PerDirection { out: step(100.0, Some(Capacity::new(4))), inward: step(20.0, None) },
            cooldown: PerDirection { out: Duration::ZERO, inward: minute },
            max_drop: None,
            instance_price: None,
            max_spend: MaxSpend::default(),
            brake: Some(Brake::default()),
            hold_scale_in_while: Vec::new(),
            schedules: Vec::new(),
            fallback: None,
            metrics,
        }
    }
}
