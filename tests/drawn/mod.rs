//! Random policies with every feature, each from one number, and what the bounds are that hold under them.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use setpoint::observation::{GroupStatus, Measurement, Override};
use setpoint::policy::{
    Adjustment, Band, Bands, Brake, Capacity, Controller, Fallback, Gains, HoldSignal, MaxDrop, MaxSpend, Metric,
    MetricKind, Mode, PerDirection, Policy, Risk, Schedule, Source, StepLimit, Threshold,
};

/// `SplitMix64`: small, quick, and the same on every machine.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed);
        Self(rng.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..below`.
    pub fn below(&mut self, below: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(below)) >> 32).expect("less than `below`")
    }

    /// In `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let share = f64::from(u32::try_from(self.next() >> 32).expect("32 bits")) / 4_294_967_296.0;
        low + share * (high - low)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.between(0.0, 1.0) < share
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(u32::try_from(from.len()).expect("a short list")) as usize]
    }

    pub fn seconds(&mut self, below: u32) -> Duration {
        Duration::from_secs(u64::from(self.below(below)))
    }

    fn maybe<T>(&mut self, share: f64, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(share).then(|| draw(self))
    }
}

/// Daily windows: cron, time zone, the minute of the day at which it opens, and for how many.
type Daily = (&'static str, &'static str, i64, i64);
const DAILY: [Daily; 4] = [
    ("0 8 * * *", "UTC", 480, 20),
    ("30 8 * * *", "UTC", 510, 25),
    ("0 22 * * *", "UTC", 1320, 480),
    ("0 12 * * *", "Europe/Berlin", 720, 240),
];

/// Each of [`DAILY`], parsed once.
static SCHEDULES: LazyLock<Vec<(Schedule, TimeZone, Daily)>> = LazyLock::new(|| {
    let parse = |daily: Daily| {
        let (cron, zone, _, minutes) = daily;
        let duration = Duration::from_mins(minutes.unsigned_abs());
        (Schedule::new(cron, zone, duration).unwrap(), TimeZone::get(zone).unwrap(), daily)
    };
    DAILY.map(parse).to_vec()
});

/// Some year before 10,000, from which on schedules say nothing.
const END_OF_CALENDAR: i64 = 253_000_000_000;

fn is_open(schedule: &Schedule, now: Timestamp) -> bool {
    let (_, zone, (_, _, opens, minutes)) =
        SCHEDULES.iter().find(|(known, ..)| known.cron() == schedule.cron()).expect("one of ours");
    let local = now.as_second() + i64::from(zone.to_offset(now).seconds());
    now.as_second() < END_OF_CALENDAR && (local - opens * 60).rem_euclid(86_400) < minutes * 60
}

/// The least and the most capacity that hold: an open schedule's in place of the policy's own, an order within those, and
/// above all the group's own. A floor has the last word over a cap.
pub fn bounds(policy: &Policy, ordered: Option<Override>, group: &GroupStatus, now: Timestamp) -> (u32, u32) {
    let open = || policy.schedules.iter().filter(|schedule| is_open(schedule, now));
    let min = open().filter_map(|schedule| schedule.min).max().unwrap_or(policy.min).get();
    let max = open().filter_map(|schedule| schedule.max).min().unwrap_or(policy.max).get().max(min);
    let ordered = ordered.filter(|ordered| now < ordered.until);
    let floor = ordered.and_then(|ordered| ordered.floor).map_or(min, |floor| floor.get().clamp(min, max));
    let cap = ordered.and_then(|ordered| ordered.cap).map_or(max, |cap| cap.get().clamp(min, max));
    let within = |capacity: u32| capacity.min(group.max.get()).max(group.min.get());
    (within(floor), within(cap.max(floor)))
}

pub fn pid(rng: &mut Rng) -> Controller {
    let kp = if rng.chance(0.2) { rng.between(0.0, 0.3) } else { 0.0 };
    let ki = if rng.chance(0.5) { 1.0 } else { rng.between(0.1, 1.0) };
    Controller::Pid(Gains { kp, ki, kd: rng.maybe(0.6, |rng| rng.between(0.0, 200.0)) })
}

pub fn risk(rng: &mut Rng) -> Controller {
    Controller::Risk(Risk { share: rng.pick(&[0.001, 0.01, 0.05, 0.2]) })
}

pub fn step(rng: &mut Rng) -> Controller {
    let change = |rng: &mut Rng| {
        if rng.chance(0.5) { Adjustment::Percent(rng.between(5.0, 60.0)) } else { count(rng, 5) }
    };
    let above = vec![
        Band { from: rng.between(1.01, 1.3), change: change(rng) },
        Band { from: rng.between(1.3, 2.0), change: change(rng) },
    ];
    let below = vec![Band { from: rng.between(0.3, 0.9), change: change(rng) }];
    Controller::Step(Bands { above, below })
}

fn count(rng: &mut Rng, most: u32) -> Adjustment {
    Adjustment::Count(Capacity::new(1 + rng.below(most)))
}

fn controller(rng: &mut Rng) -> Controller {
    match rng.below(6) {
        0 => risk(rng),
        1 => step(rng),
        _ => pid(rng),
    }
}

pub fn metric(rng: &mut Rng, name: &str, kind: MetricKind) -> Metric {
    let target = match kind {
        MetricKind::Utilization => rng.between(0.3, 0.9) * rng.pick(&[1.0, 100.0]),
        MetricKind::Total => rng.between(1.0, 200.0),
        MetricKind::Latency => rng.between(0.2, 2.0),
    };
    Metric {
        name: name.into(),
        kind,
        target,
        max_age: Duration::from_secs(90),
        controller: rng.maybe(0.3, controller),
        min_coverage: rng.pick(&[0.0, 0.5, 0.75, 0.9, 1.0]),
        source: Source::Prometheus { query: name.into(), per_instance: None },
    }
}

fn limit(rng: &mut Rng) -> Option<StepLimit> {
    let percent = rng.maybe(0.6, |rng| rng.between(1.0, 150.0));
    let count = rng.maybe(0.6, |rng| Capacity::new(1 + rng.below(9)));
    let per = Duration::from_secs(1) + rng.seconds(300);
    (percent.is_some() || count.is_some()).then_some(StepLimit { percent, count, per })
}

fn schedule(rng: &mut Rng) -> Schedule {
    let mut schedule = SCHEDULES[rng.below(4) as usize].0.clone();
    schedule.min = rng.maybe(0.6, |rng| Capacity::new(rng.below(30)));
    schedule.max = rng.maybe(0.6, |rng| Capacity::new(rng.below(60)));
    schedule
}

pub fn ordered(rng: &mut Rng, until: Timestamp) -> Override {
    let bound = |rng: &mut Rng| rng.maybe(0.6, |rng| Capacity::new(rng.below(60)));
    Override { floor: bound(rng), cap: bound(rng), until }
}

/// What so many hours of some fleet cost.
fn ceiling(rng: &mut Rng, share: f64, hours: f64, price: Option<f64>) -> Option<f64> {
    let price = price.filter(|_| rng.chance(share))?;
    Some(price * hours * rng.between(0.5, 60.0))
}

fn hold_signal(rng: &mut Rng, index: u32) -> HoldSignal {
    let name = ["errors", "saturation"][index as usize];
    let threshold = rng.between(0.2, 0.8);
    HoldSignal {
        name: name.into(),
        threshold: if rng.chance(0.5) { Threshold::Above(threshold) } else { Threshold::Below(threshold) },
        max_age: Duration::from_secs(90),
        source: Source::Prometheus { query: name.into(), per_instance: None },
    }
}

/// A policy that may act, evaluated every `interval` seconds; [`Mode`] and rivals are for the caller to spoil.
pub fn policy(rng: &mut Rng, interval: u32) -> Policy {
    let kinds = [MetricKind::Utilization, MetricKind::Total, MetricKind::Latency];
    let metrics = (0..=rng.below(3)).map(|index| {
        let kind = rng.pick(&kinds);
        metric(rng, ["a", "b", "c"][index as usize], kind)
    });
    let metrics = metrics.collect();
    let min = rng.below(15);
    let price = rng.maybe(0.5, |rng| rng.between(0.01, 3.0));
    let tolerance = |rng: &mut Rng| if rng.chance(0.3) { 0.0 } else { rng.between(0.0, 0.2) };
    let rarely = |rng: &mut Rng, below| if rng.chance(0.6) { Duration::ZERO } else { rng.seconds(below) };
    Policy {
        name: "drawn".into(),
        asg: "drawn".into(),
        region: None,
        interval: Duration::from_secs(u64::from(interval)),
        mode: Mode::Active,
        takeover: rng.chance(0.2),
        min: Capacity::new(min),
        max: Capacity::new(min + 1 + rng.below(50)),
        boot_time: rng.maybe(0.5, |rng| rng.seconds(600)),
        warm_up: rng.maybe(0.5, |rng| rng.seconds(180)),
        controller: controller(rng),
        tolerance: PerDirection { out: tolerance(rng), inward: tolerance(rng) },
        stabilization: PerDirection { out: rarely(rng, 120), inward: rng.seconds(600) },
        step: PerDirection { out: limit(rng), inward: limit(rng) },
        cooldown: PerDirection { out: rarely(rng, 120), inward: rng.seconds(600) },
        max_drop: rng
            .maybe(0.2, |rng| MaxDrop { ratio: rng.between(0.2, 0.9), per: Duration::from_mins(1) + rng.seconds(900) }),
        instance_price: price,
        max_spend: MaxSpend { per_hour: ceiling(rng, 0.2, 1.0, price), per_day: ceiling(rng, 0.2, 24.0, price) },
        brake: rng.maybe(0.8, |rng| Brake { factor: rng.between(1.5, 3.0) }),
        hold_scale_in_while: (0..rng.below(4).saturating_sub(1)).map(|index| hold_signal(rng, index)).collect(),
        schedules: (0..rng.below(5).saturating_sub(2)).map(|_| schedule(rng)).collect(),
        fallback: rng.maybe(0.3, |rng| Fallback { after: rng.seconds(900), capacity: Capacity::new(rng.below(40)) }),
        metrics,
    }
}

/// The number that a measurement carries, where it can be one: finite and not negative.
pub fn number(metric: &Metric, measurement: &Measurement) -> Option<f64> {
    let number = match *measurement {
        Measurement::Value { value, .. } => value,
        Measurement::Instances { mean, reporting, .. } if metric.kind == MetricKind::Total => {
            mean * f64::from(reporting)
        }
        Measurement::Instances { mean, .. } => mean,
        _ => return None,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}
