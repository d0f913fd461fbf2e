//! An evaluation in words, from top to bottom: what was measured, what each metric recommends, what each stage made of
//! it, the decision, and the rule that had the last word.
//!
//! It knows neither the stages nor the reasons by name, so that it says whatever an evaluation says.

use std::fmt::{self, Display};

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::Serialize;

use super::evaluation::{Decision, Evaluation, Recommendation, SignalReading, Stage, StatedReason};
use super::guard::Guard;
use super::number::Number;
use crate::observation::{GroupStatus, Measurement, Override};
use crate::policy::{MAX_METRICS, MetricKind};

/// Columns of a line.
const WIDTH: usize = 80;

/// Columns of a name; a longer one gets a line of its own.
const NAME: usize = 18;

/// A metric of the policy, as its reader knows it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its number means.
    pub kind: MetricKind,
    /// The value to keep.
    pub target: f64,
    /// What the source had to say.
    pub detail: Option<&'a str>,
}

/// An evaluation in words. `Display` gives lines of at most 80 columns.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    evaluation: &'a Evaluation,
    subjects: ArrayVec<Subject<'a>, MAX_METRICS>,
    group_detail: Option<&'a str>,
}

impl Evaluation {
    /// This evaluation in words; `subjects` are the policy's metrics in its order, and `group_detail` says why the group
    /// could not be described.
    pub fn explanation<'a>(
        &'a self,
        subjects: impl IntoIterator<Item = Subject<'a>>,
        group_detail: Option<&'a str>,
    ) -> Explanation<'a> {
        Explanation { evaluation: self, subjects: subjects.into_iter().take(MAX_METRICS).collect(), group_detail }
    }

    /// The rule that had the last word, with its stage.
    fn last_rule(&self) -> Option<&StatedReason> {
        let word = self.last_word()?;
        self.reasons.iter().find(|stated| stated.reason == *word)
    }
}

impl Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evaluation { policy, at, decision, .. } = self.evaluation;
        lines(f, 0, &format!("Policy {policy} at {}", Moment(*at)))?;
        self.write_observation(f)?;
        self.write_recommendations(f)?;
        self.write_stages(f)?;
        writeln!(f, "\nDecision: {}", Verdict(*decision))?;
        self.evaluation.last_rule().map_or(Ok(()), |StatedReason { stage, reason }| {
            lines(f, 0, &format!("Last word ({}): {reason}.", Word(*stage)))
        })
    }
}

impl Explanation<'_> {
    fn write_observation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.evaluation.observation;
        writeln!(f, "\n  {:<NAME$} {:>14} {:>14} {:>12}", "Measured", "value", "target", "age")?;
        for (place, subject) in self.subjects.iter().enumerate() {
            measured(f, subject, seen.measurements.get(place))?;
        }
        self.evaluation.signals.iter().try_for_each(|reading| signalled(f, reading))?;
        match (&seen.group, self.group_detail) {
            (Some(group), _) => lines(f, 2, &counts(group))?,
            (None, Some(detail)) => lines(f, 2, &format!("The group could not be described: {detail}"))?,
            (None, None) => lines(f, 2, "The group could not be described.")?,
        }
        seen.ordered.map_or(Ok(()), |order| lines(f, 2, &ordered(&order)))
    }

    fn write_recommendations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  {:<NAME$} {:>14} {:>14} {:>12}", "Recommended", "demand", "capacity", "rounded")?;
        if self.evaluation.recommendations.is_empty() {
            return lines(f, 2, "Nothing, as the group or every metric is unknown.");
        }
        self.evaluation.recommendations.iter().try_for_each(|recommendation| recommended(f, recommendation))
    }

    fn write_stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evaluation { stages, reasons, .. } = self.evaluation;
        writeln!(f, "\n  {:<NAME$} {:>14} {:>14}", "Stage", "in", "out")?;
        for Stage { stage, before, after } in stages {
            writeln!(f, "  {:<NAME$} {before:>14} {after:>14}", Word(stage))?;
            let said = reasons.iter().filter(|stated| stated.stage == *stage);
            said.into_iter().try_for_each(|said| lines(f, 4, &said.reason.to_string()))?;
        }
        // Where the group is unknown there are no stages, and yet a reason.
        let stray = |said: &&StatedReason| !stages.iter().any(|stage| stage.stage == said.stage);
        reasons.iter().filter(stray).try_for_each(|said| lines(f, 4, &said.reason.to_string()))
    }
}

fn measured(f: &mut fmt::Formatter<'_>, subject: &Subject, seen: Option<&Measurement>) -> fmt::Result {
    let Subject { name, kind, target, detail } = *subject;
    let (value, age) = match seen {
        Some(Measurement::Value { value, age } | Measurement::Instances { mean: value, age, .. }) => {
            (Some(Number(*value).to_string()), *age)
        }
        _ => (None, None),
    };
    let age = age.map(|age| format!("{:.0} s", age.as_secs_f64()));
    let target = match kind {
        MetricKind::Latency => format!("{} s", Number(target)),
        MetricKind::Utilization | MetricKind::Total => Number(target).to_string(),
    };
    head(f, name)?;
    writeln!(f, " {:>14} {target:>14} {:>12}", value.as_deref().unwrap_or("none"), age.as_deref().unwrap_or("-"))?;
    match seen {
        Some(Measurement::Value { .. }) => {}
        Some(other) => lines(f, 4, &other.to_string())?,
        None => lines(f, 4, "not read")?,
    }
    detail.map_or(Ok(()), |detail| lines(f, 4, detail))
}

fn signalled(f: &mut fmt::Formatter<'_>, reading: &SignalReading) -> fmt::Result {
    let SignalReading { signal, threshold, measurement } = reading;
    let value = measurement.number().map_or_else(|| "none".to_owned(), |value| Number(value).to_string());
    head(f, signal)?;
    writeln!(f, " {value:>14} {:>14} {:>12}", "-", "-")?;
    match reading.guard() {
        Some(Guard::SignalBurning { .. }) => lines(f, 4, &format!("It burns: it is {threshold}."))?,
        Some(_) => lines(f, 4, &measurement.to_string())?,
        None => lines(f, 4, &format!("It would burn {threshold}."))?,
    }
    Ok(())
}

fn recommended(f: &mut fmt::Formatter<'_>, recommendation: &Recommendation) -> fmt::Result {
    let Recommendation { metric, demand, capacity, rounded, ceiling, margin, terms, .. } = recommendation;
    let demand = demand.map_or_else(|| "-".to_owned(), |demand| Number(demand).to_string());
    head(f, metric)?;
    writeln!(f, " {demand:>14} {:>14} {rounded:>12}", Number(*capacity).to_string())?;
    if let Some(ceiling) = ceiling {
        lines(f, 4, &format!("It is thought to meet its target up to a load of {:.0} %.", ceiling * 100.0))?;
    }
    if let Some(lead) = terms.map(|terms| 100.0 * terms.d.exp_m1()).filter(|lead| *lead >= 0.5) {
        lines(f, 4, &format!("{lead:.0} % is added because demand rises."))?;
    }
    margin.map_or(Ok(()), |margin| {
        let sentence = format!("{:.0} % is kept beyond what is foretold, from what that was wrong by.", margin * 100.0);
        lines(f, 4, &sentence)
    })
}

/// The name at the beginning of a row.
fn head(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if name.chars().count() > NAME { write!(f, "  {name}\n  {:NAME$}", "") } else { write!(f, "  {name:<NAME$}") }
}

fn counts(group: &GroupStatus) -> String {
    let GroupStatus { desired, min, max, in_service, warm, pending, healthy, .. } = group;
    format!(
        "The group: {desired} desired, {in_service} in service ({warm} warm, {healthy} healthy), {pending} pending; its \
         bounds are {min} to {max}."
    )
}

fn ordered(order: &Override) -> String {
    let bound = |name, bound: Option<_>| bound.map_or_else(String::new, |bound| format!(" {name} {bound}"));
    let (floor, cap) = (bound("at least", order.floor), bound("at most", order.cap));
    format!("Ordered by an operator:{floor}{cap}, until {}.", Moment(order.until))
}

/// What is decided, in words.
struct Verdict(Decision);

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Decision::Hold => f.write_str("hold"),
            Decision::Scale { from, to } if to > from => write!(f, "scale out from {from} to {to}"),
            Decision::Scale { from, to } => write!(f, "scale in from {from} to {to}"),
        }
    }
}

/// A moment to the second, in UTC.
struct Moment(Timestamp);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%Y-%m-%d %H:%M:%S UTC").fmt(f)
    }
}

/// The word that the JSON has for a name.
struct Word<T>(T);

impl<T: Serialize> Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// Writes `text` in lines that begin with `indent` spaces and end before [`WIDTH`]. What is not printable, as a source
/// may send anything, and what is too long for a line is broken.
fn lines(f: &mut fmt::Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    let room = WIDTH - indent;
    let mut column = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let characters: Vec<char> = word.chars().collect();
        for piece in characters.chunks(room) {
            if column > 0 && column + 1 + piece.len() > room {
                writeln!(f)?;
                column = 0;
            }
            let space = if column == 0 { indent } else { 1 };
            write!(f, "{:space$}{}", "", piece.iter().collect::<String>())?;
            column += piece.len() + usize::from(column > 0);
        }
    }
    writeln!(f)
}
