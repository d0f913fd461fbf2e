//! Reads `[[policy]]`: what one group must be kept at.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds;
use super::controller;
use super::duration;
use super::finding::Location;
use super::guard;
use super::metric;
use super::settings;
use super::table::{Field, Table, Taken};
use crate::policy::{Capacity, Controller, MAX_METRICS, MaxDrop, Metric, Mode, PerDirection, Policy, StepLimit};

/// Between two evaluations. Longer ones would be slower than any boot.
pub(super) const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;
const HOUR: Duration = Duration::from_hours(1);
pub(super) const UP_TO_AN_HOUR: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
pub(super) const UP_TO_A_DAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
/// What is counted within a period needs one that is longer than nothing.
pub(super) const PERIODS: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;

pub(super) const MODES: [(&str, Mode); 4] = [
    ("active", Mode::Active),
    ("observe", Mode::Observe),
    ("scale-out-only", Mode::ScaleOutOnly),
    ("paused", Mode::Paused),
];
const TOLERANCE: PerDirection<f64> = PerDirection { out: 0.0, inward: 0.08 };
const STEP_PERIOD: Duration = Duration::from_mins(1);

/// How fast a policy goes that does not say.
struct Pace {
    stabilization: PerDirection<Duration>,
    cooldown: PerDirection<Duration>,
    step: PerDirection<Option<StepLimit>>,
}

impl Pace {
    const DEFAULT: Pace = Pace {
        stabilization: PerDirection { out: Duration::ZERO, inward: Duration::from_mins(5) },
        cooldown: PerDirection { out: Duration::from_secs(30), inward: Duration::from_mins(1) },
        step: PerDirection {
            out: Some(StepLimit { percent: Some(100.0), count: Some(Capacity::new(4)), per: STEP_PERIOD }),
            inward: Some(StepLimit { percent: Some(20.0), count: None, per: STEP_PERIOD }),
        },
    };

    /// `risk` knows how long to hold what it foretells, and its margin is for the whole need at once.
    const RISK: Pace = Pace {
        stabilization: PerDirection { out: Duration::ZERO, inward: Duration::from_mins(1) },
        cooldown: PerDirection { out: Duration::from_secs(30), inward: Duration::from_mins(3) },
        step: PerDirection {
            out: Some(StepLimit { percent: Some(400.0), count: Some(Capacity::new(10)), per: STEP_PERIOD }),
            inward: Some(StepLimit { percent: Some(50.0), count: None, per: STEP_PERIOD }),
        },
    };

    /// The default under the policy's own controller.
    const fn under(controller: &Controller) -> Self {
        match controller {
            Controller::Pid(_) | Controller::Step(_) => Self::DEFAULT,
            Controller::Risk(_) => Self::RISK,
        }
    }
}

/// What a policy must agree with outside of itself.
pub(super) struct Surroundings {
    /// The interval of policies that state none.
    pub(super) interval: Duration,
    /// The region of `[aws]`.
    pub(super) region: Option<String>,
    /// What must end within an interval, by key.
    pub(super) deadlines: Vec<(&'static str, Duration)>,
    /// There is a `[prometheus]`; true after the first finding that there is none, so that one is enough.
    pub(super) has_prometheus: bool,
    pub(super) names: Taken,
    /// By name, the regions in which a group is taken, and where that is said.
    pub(super) groups: HashMap<String, Vec<(Option<String>, Location)>>,
}

/// Reads one `[[policy]]`.
pub(super) fn policy(table: &Table, around: &mut Surroundings) -> Option<Policy> {
    let name = table.need("name", "a name that logs and the API use").and_then(|f| {
        let name = f.name()?;
        around.names.take(name.to_owned(), &f, "this name");
        Some(name)
    });
    let mode = table.get("mode").and_then(|f| f.word(&MODES)).unwrap_or(Mode::Observe);
    let region = table.get("region").and_then(|f| settings::region(&f));
    let asg = table.need("asg", "the name of an Auto Scaling group").and_then(|f| group(&f, region, around));
    let interval = table.get("interval").and_then(|f| own_interval(&f, around)).unwrap_or(around.interval);
    let takeover = table.get("takeover").and_then(|f| f.boolean()).unwrap_or(false);
    let boot_time = table.get("boot_time").and_then(|f| f.duration(UP_TO_AN_HOUR));
    let warm_up = table.get("warm_up").and_then(|f| f.duration(UP_TO_AN_HOUR));
    let controller = table.section("controller", controller::controller);
    let pace = controller.as_ref().map_or(Pace::DEFAULT, Pace::under);
    let stabilization = per_direction(table, "stabilization", pace.stabilization, |f| f.duration(UP_TO_AN_HOUR));
    let cooldown = per_direction(table, "cooldown", pace.cooldown, |f| f.duration(UP_TO_A_DAY));
    let tolerance = per_direction(table, "tolerance", TOLERANCE, |f| {
        f.number("a share of the capacity from 0 to below 1", |share| (0.0..1.0).contains(&share))
    });
    let step = per_direction(table, "step", pace.step, step_limit);
    let max_drop = table.get("max_drop").and_then(|f| f.table(max_drop));
    let brake = guard::brake(table);
    let (instance_price, max_spend) = guard::spend(table, region.or(around.region.as_deref()));
    let metrics = metrics(table, interval, around);
    let hold_scale_in_while = guard::hold_signals(table, interval, &mut around.has_prometheus);
    let bounds = bounds::bounds(table, metrics.as_deref());
    let schedules = bounds::schedules(table, bounds);
    let fallback = table.get("fallback").and_then(|f| f.table(|t| bounds::fallback(t, bounds)));
    Some(Policy {
        name: name?.into(),
        asg: asg?.into(),
        region: region.map(Into::into),
        interval,
        mode,
        takeover,
        min: bounds.min?,
        max: bounds.max?,
        boot_time,
        warm_up,
        controller: controller?,
        tolerance,
        stabilization,
        step,
        cooldown,
        max_drop,
        instance_price,
        max_spend,
        brake,
        hold_scale_in_while: hold_scale_in_while?,
        schedules: schedules?,
        fallback,
        metrics: metrics?,
    })
}

fn group<'a>(field: &Field<'a>, region: Option<&str>, around: &mut Surroundings) -> Option<&'a str> {
    let asg = field.text_such("a group's name of at most 255 characters, without a colon or outer spaces", |name| {
        name.chars().count() <= 255 && name.trim() == name && !name.contains(|c: char| c == ':' || c.is_control())
    })?;
    let region = region.or(around.region.as_deref());
    let known = around.groups.entry(asg.to_owned()).or_default();
    // One without a region is in that of the environment, which may be any.
    let same = known.iter().find(|(other, _)| region.is_none() || other.is_none() || other.as_deref() == region);
    match same {
        Some((other, first)) if other.as_deref() == region => {
            field.wrong::<()>(format!("this group is taken at {first}, expected another"));
        }
        Some((_, first)) => {
            field.wrong::<()>(format!(
                "may be the group at {first}, since only one of the two has a region; expected region in [aws], or beside both"
            ));
        }
        None => known.push((region.map(str::to_owned), field.location().clone())),
    }
    Some(asg)
}

fn own_interval(field: &Field, around: &Surroundings) -> Option<Duration> {
    let interval = field.duration(INTERVALS)?;
    for (key, deadline) in around.deadlines.iter().filter(|(_, deadline)| *deadline >= interval) {
        let deadline = duration::text(*deadline);
        field.wrong::<()>(format!("is too short, expected more than {key}, {deadline}"));
    }
    Some(interval)
}

fn per_direction<T: Copy>(
    table: &Table,
    key: &'static str,
    default: PerDirection<T>,
    read: impl Fn(&Field) -> Option<T>,
) -> PerDirection<T> {
    let directions = table.get(key).and_then(|f| {
        f.table(|t| {
            let out = t.get("out").and_then(|f| read(&f)).unwrap_or(default.out);
            let inward = t.get("in").and_then(|f| read(&f)).unwrap_or(default.inward);
            Some(PerDirection { out, inward })
        })
    });
    directions.unwrap_or(default)
}

#[expect(
    clippy::option_option,
    reason = "the outer one says whether it could be read, the inner one whether there is a limit"
)]
fn step_limit(field: &Field) -> Option<Option<StepLimit>> {
    if field.is_text() { field.word(&[("unlimited", None)]) } else { field.table(limit).map(Some) }
}

fn limit(table: &Table) -> Option<StepLimit> {
    let percent =
        table.get("percent").map(|f| f.number("a percentage above 0, at most 1000", |p| p > 0.0 && p <= 1000.0));
    let count = table.get("count").map(|f| f.integer(1..=Capacity::MAX.get()).map(Capacity::new));
    let per = table.get("per").and_then(|f| f.duration(PERIODS)).unwrap_or(STEP_PERIOD);
    if percent.is_none() && count.is_none() {
        table.wrong("limits nothing, expected percent or count, or \"unlimited\" in place of the table");
        return None;
    }
    Some(StepLimit { percent: percent.flatten(), count: count.flatten(), per })
}

fn max_drop(table: &Table) -> Option<MaxDrop> {
    let ratio = table
        .need("ratio", "the share of demand that may vanish, such as 0.5")
        .and_then(|f| f.number("a share above 0 and below 1", |ratio| ratio > 0.0 && ratio < 1.0));
    let per = table.need("per", "the window, such as \"1h\"").and_then(|f| f.duration(PERIODS));
    Some(MaxDrop { ratio: ratio?, per: per? })
}

fn metrics(table: &Table, interval: Duration, around: &mut Surroundings) -> Option<Vec<Metric>> {
    let mut names = Taken::default();
    let mut count = 0;
    table.need("metric", "at least one [[policy.metric]]")?.tables(|t| {
        count += 1;
        if count == MAX_METRICS + 1 {
            t.wrong(format!("is one too many, expected at most {MAX_METRICS} metrics in a policy"));
        }
        metric::metric(t, interval, &mut names, &mut around.has_prometheus)
    })
}
