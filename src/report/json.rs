//! Everything of a report, for programs: every figure of every score, and every change of capacity with its reason.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::figures::{DETAILS, FIGURES};
use super::{CAVEATS, Doubt, Report, Run};
use crate::observation::elapsed;
use crate::simulation::contest::{Course, Deed};
use crate::simulation::score::Score;

/// The report as one object. Times are seconds since the start of their run, shares are percent.
pub fn json(report: &Report) -> Value {
    json!({
        "title": report.title,
        "notes": report.notes,
        "runs": report.runs.iter().map(run).collect::<Vec<_>>(),
        "caveats": CAVEATS,
    })
}

fn run(run: &Run) -> Value {
    json!({
        "workload": run.workload,
        "notes": run.notes,
        "start": run.start,
        "optimum_instance_hours": run.optimum_hours,
        "target": { "utilization": run.targets.utilization, "p99_seconds": run.targets.p99 },
        "contestants": run.courses.iter().map(|course| contestant(course, run.start)).collect::<Vec<_>>(),
        "doubts": run.doubts.iter().map(|doubt| self::doubt(doubt, run.start)).collect::<Vec<_>>(),
    })
}

fn contestant(course: &Course, start: Timestamp) -> Value {
    json!({
        "name": course.name,
        "score": score(&course.score),
        "actions": course.actions.iter().map(|deed| action(deed, start)).collect::<Vec<_>>(),
    })
}

fn score(score: &Score) -> Map<String, Value> {
    FIGURES.iter().chain(&DETAILS).map(|figure| (figure.key.to_owned(), json!((figure.of)(score)))).collect()
}

fn action(deed: &Deed, start: Timestamp) -> Value {
    json!({ "seconds": seconds(start, deed.at), "from": deed.from, "to": deed.to, "because": deed.because })
}

fn doubt(doubt: &Doubt, start: Timestamp) -> Value {
    json!({ "from": seconds(start, doubt.from), "to": seconds(start, doubt.to), "because": doubt.because })
}

fn seconds(start: Timestamp, at: Timestamp) -> f64 {
    elapsed(start, at).as_secs_f64()
}
