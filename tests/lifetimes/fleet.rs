//! A group that boots, fails, dies and is meddled with, and the metrics that it and its load give.

use setpoint::observation::{GroupStatus, LaunchFailure, Measurement, Rivals, Suspended};
use setpoint::policy::{Capacity, Metric, MetricKind, Policy};

use crate::drawn::Rng;
use crate::moment;

/// What may go wrong for a while; of the last one there is one a metric.
#[derive(Clone, Copy)]
pub enum Trouble {
    Refresh,
    TerminateSuspended,
    LaunchSuspended,
    LaunchesFail,
    Undescribable,
    Rival,
    Spike,
    Unreported,
    BadMetric,
}

const TROUBLES: usize = Trouble::BadMetric as usize + 3;

/// The worst latency that is reported, in seconds.
const WORST: f64 = 60.0;

struct Instance {
    /// The second at which it goes into service, and carries a full share.
    serves: i64,
    warm: i64,
    healthy: bool,
}

/// An Auto Scaling group with its load. Time here never goes back.
pub struct Fleet {
    instances: Vec<Instance>,
    pub desired: u32,
    min: u32,
    max: u32,
    /// Work, in fully busy instances.
    pub demand: f64,
    warm_up: i64,
    boot: (f64, f64),
    /// The step at which each trouble ends.
    until: [u64; TROUBLES],
    step: u64,
}

impl Fleet {
    pub fn new(rng: &mut Rng, policy: &Policy) -> Self {
        let boot = rng.between(5.0, 300.0);
        Self {
            instances: Vec::new(),
            desired: policy.min.get() + rng.below(10),
            min: 0,
            max: 100,
            demand: rng.between(0.0, 30.0),
            warm_up: policy.warm_up.map_or(60, |warm_up| warm_up.as_secs().cast_signed()),
            boot: (boot, boot * rng.between(1.1, 4.0)),
            until: [0; TROUBLES],
            step: 0,
        }
    }

    fn troubled(&self, trouble: Trouble, of: usize) -> bool {
        self.step < self.until[trouble as usize + of]
    }

    /// Ends every trouble, and opens the group's own bounds.
    pub fn calm_down(&mut self, rng: &mut Rng) {
        self.until = [0; TROUBLES];
        (self.min, self.max) = (0, 100);
        self.instances.iter_mut().for_each(|instance| instance.healthy = true);
        self.demand = rng.between(0.0, 40.0);
    }

    /// Lets something go wrong now and then.
    pub fn trouble(&mut self, rng: &mut Rng) {
        self.demand = (self.demand * rng.between(0.9, 1.11)).clamp(0.01, 60.0);
        if rng.chance(0.03) {
            let long = if rng.chance(0.1) { 300 } else { 10 };
            self.until[rng.below(11) as usize] = self.step + 1 + u64::from(rng.below(long));
        }
        match rng.below(400) {
            0 => self.demand = rng.between(0.0, 50.0),
            1 => self.desired = rng.below(60),
            2 => {
                self.min = rng.below(20);
                self.max = self.min + rng.below(60);
            }
            3 => (self.min, self.max) = (0, 100),
            4 => self.instances.truncate(rng.below(10) as usize),
            5 => self.instances.iter_mut().take(2).for_each(|instance| instance.healthy = false),
            6..12 => self.instances.retain(|instance| instance.healthy),
            _ => {}
        }
        // As AWS does when the bounds are moved.
        self.desired = self.desired.clamp(self.min, self.max);
    }

    /// Launches and terminates.
    pub fn run(&mut self, rng: &mut Rng, now: i64) {
        self.step += 1;
        let desired = self.desired as usize;
        if self.instances.len() > desired && !self.troubled(Trouble::TerminateSuspended, 0) {
            self.instances.truncate(desired);
        }
        let launches = !self.troubled(Trouble::LaunchSuspended, 0) && !self.troubled(Trouble::LaunchesFail, 0);
        while launches && self.instances.len() < desired {
            #[expect(clippy::cast_possible_truncation, reason = "some minutes")]
            let serves = now + rng.between(self.boot.0, self.boot.1) as i64;
            self.instances.push(Instance { serves, warm: serves + self.warm_up, healthy: true });
        }
    }

    fn count(&self, such: impl Fn(&Instance) -> bool) -> u32 {
        u32::try_from(self.instances.iter().filter(|instance| such(instance)).count()).expect("a small fleet")
    }

    fn in_service(&self, now: i64) -> u32 {
        self.count(|instance| instance.serves <= now)
    }

    /// What a description says; `None` where there is none.
    pub fn described(&self, now: i64) -> Option<GroupStatus> {
        let in_service = self.in_service(now);
        let failing = self.troubled(Trouble::LaunchesFail, 0) && self.count(|_| true) < self.desired;
        (!self.troubled(Trouble::Undescribable, 0)).then(|| GroupStatus {
            desired: Capacity::new(self.desired),
            min: Capacity::new(self.min),
            max: Capacity::new(self.max),
            in_service: Capacity::new(in_service),
            warm: Capacity::new(self.count(|instance| instance.warm <= now)),
            pending: Capacity::new(self.count(|_| true) - in_service),
            healthy: Capacity::new(self.count(|instance| instance.serves <= now && instance.healthy)),
            suspended: Suspended {
                launch: self.troubled(Trouble::LaunchSuspended, 0),
                terminate: self.troubled(Trouble::TerminateSuspended, 0),
            },
            refreshing: self.troubled(Trouble::Refresh, 0),
            launch_failure: failing
                .then(|| LaunchFailure { at: moment(now), insufficient_capacity: self.step & 1 == 0 }),
            rivals: match (self.troubled(Trouble::Rival, 0), self.step % 64) {
                (false, _) => Rivals::None,
                (true, 0..8) => Rivals::Unknown,
                (true, 8..16) => Rivals::ScheduledAction,
                (true, 16..32) => Rivals::Operator,
                (true, _) => Rivals::ScalingPolicy,
            },
        })
    }

    /// What is read of the metric at `index`.
    pub fn measured(&self, rng: &mut Rng, metric: &Metric, index: usize, now: i64) -> Measurement {
        if self.troubled(Trouble::BadMetric, index) {
            return bad(rng);
        }
        let in_service = self.in_service(now);
        let demand = if self.troubled(Trouble::Spike, 0) { self.demand * rng.between(0.0, 1e4) } else { self.demand };
        let load = demand / f64::from(in_service);
        if in_service == 0 && metric.kind != MetricKind::Total {
            return Measurement::NoData;
        }
        let value = match metric.kind {
            MetricKind::Utilization => load.min(1.0) * metric.full_scale(),
            // An instance at 70 % is one at target, so that all metrics of a policy tell the same story.
            MetricKind::Total => demand / 0.7 * metric.target,
            MetricKind::Latency => metric.target * (0.1 + 0.2 / (1.0 - load).max(1e-3)).min(WORST / metric.target),
        };
        self.reported(rng, metric, value, in_service)
    }

    /// `value` as one number or as one an instance, of which some may be missing.
    fn reported(&self, rng: &mut Rng, metric: &Metric, value: f64, in_service: u32) -> Measurement {
        let per_instance = metric.min_coverage > 0.6 && metric.kind != MetricKind::Latency && in_service > 0;
        if !per_instance {
            return Measurement::of(value, None);
        }
        let missing = if self.troubled(Trouble::Unreported, 0) { rng.below(in_service) } else { 0 };
        let share = if metric.kind == MetricKind::Total { f64::from(in_service) } else { 1.0 };
        Measurement::Instances { mean: value / share, reporting: in_service - missing, age: None }
    }
}

fn bad(rng: &mut Rng) -> Measurement {
    let number = rng.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e300]);
    let stale = Measurement::Stale { age: rng.seconds(90_000) };
    let instances = Measurement::Instances { mean: number, reporting: rng.below(50), age: None };
    let value = Measurement::Value { value: number, age: None };
    rng.pick(&[
        Measurement::NoData,
        Measurement::NotFinite,
        Measurement::ManySeries { count: 3 },
        stale,
        value,
        instances,
    ])
}
