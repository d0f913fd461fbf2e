//! The load that must have been behind what was measured, in instances' worth of full work.
//!
//! A utilization `y` of `n` serving instances is the work of `y·n`; a total is work in units of its own, which a
//! utilization beside it gives the size of. Latency alone tells no load.

use std::time::Duration;

use super::history::{History, Samples, bridged, stretches};
use crate::policy::{Metric, MetricKind, PERCENT_ABOVE, Policy};
use crate::report::Doubt;

/// A utilization of this or more does not show how much is missing.
const SATURATED: f64 = 0.95;

/// A gap up to this long is bridged without ado.
const SHORT: Duration = Duration::from_mins(5);

/// How busy an instance is taken to be whose total is at its target, where no utilization tells.
pub(super) const USUAL_LOAD: f64 = 0.7;

/// Why no load can be told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unknowable {
    /// Only latencies.
    #[error(
        "{0} has latency metrics alone, which tell no load; add a utilization or a total metric, such as requests per \
         second, to the policy"
    )]
    LatencyAlone(String),
    /// A utilization without the instances that it is the mean of.
    #[error(
        "a utilization tells the load only together with the number of instances; say --capacity-query, such as \
         'count(up{{asg=\"web-prod\"}})', or --activities, which asks AWS for the group's own history"
    )]
    NoCapacity,
    /// Too little was measured.
    #[error("{metric} was measured at {known} of {moments} moments only, expected at least half of them")]
    TooLittle {
        /// The metric, or the capacity.
        metric: String,
        /// Moments with a number.
        known: usize,
        /// All of them.
        moments: usize,
    },
    /// A utilization in one unit, with a target in the other.
    #[error(
        "{metric} was at most {most} against a target of {target}, which is no number of the same unit; is its target {meant}?"
    )]
    OtherUnit {
        /// The metric.
        metric: String,
        /// The highest measurement.
        most: f64,
        /// Its target.
        target: f64,
        /// The target in the unit of the measurements.
        meant: f64,
    },
    /// Never any load.
    #[error("{0} was zero all the time, so there is nothing to replay")]
    Idle(String),
}

/// The load that was.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Load {
    /// Fully busy instances, one a moment.
    pub busy: Vec<f64>,
    /// How much of the first total one fully busy instance carries.
    pub total_of_one: Option<f64>,
    /// Where it can't be known.
    pub doubts: Vec<Doubt>,
    /// How it was told, in whole sentences.
    pub notes: Vec<String>,
}

/// The load behind `history`, which was measured for `policy`.
pub(super) fn load(policy: &Policy, history: &History) -> Result<Load, Unknowable> {
    let of = |kind| {
        let mut metrics = policy.metrics.iter().zip(&history.metrics);
        metrics.find(|(metric, _)| metric.kind == kind)
    };
    let told = match (of(MetricKind::Utilization), of(MetricKind::Total)) {
        (Some(utilization), total) => by_utilization(utilization, total, history)?,
        (None, Some(total)) => by_total(total)?,
        (None, None) => return Err(Unknowable::LatencyAlone(policy.name.to_string())),
    };
    let Told { samples, metric, total_of_one, censored, mut notes } = told;
    let busy = enough(metric, &samples)?;
    if busy.iter().all(|busy| *busy <= 0.0) {
        return Err(Unknowable::Idle(metric.to_owned()));
    }
    let long = history.moments_in(SHORT);
    let gaps = stretches(samples.len(), |place| samples[place].is_none());
    let bridged = gaps.iter().filter(|gap| gap.length() <= long).count();
    if bridged > 0 {
        notes.push(format!("{bridged} gaps of up to five minutes were bridged by a line."));
    }
    let gaps = gaps.into_iter().filter(|gap| gap.length() > long);
    let blind = "Nothing was measured here; the load is a line from what was before to what was after.";
    let full = "The instances were saturated here, so the load was at least what is drawn and may have been more.";
    let censored = stretches(censored.len(), |place| censored[place]);
    let mut doubts: Vec<Doubt> = Vec::new();
    for (stretches, because) in [(gaps.collect::<Vec<_>>(), blind), (censored, full)] {
        let moments: usize = stretches.iter().map(|stretch| stretch.length()).sum();
        if moments > 0 {
            notes.push(format!("{} of the time: {because}", share(moments, samples.len())));
        }
        doubts.extend(stretches.into_iter().map(|stretch| Doubt {
            from: history.moment(stretch.first),
            to: history.moment(stretch.last),
            because: because.to_owned(),
        }));
    }
    Ok(Load { busy, total_of_one, doubts, notes })
}

/// What a metric tells of the load.
struct Told<'a> {
    samples: Samples,
    metric: &'a str,
    total_of_one: Option<f64>,
    /// Where the load is known from below only.
    censored: Vec<bool>,
    notes: Vec<String>,
}

type Measured<'a> = (&'a Metric, &'a Samples);

fn by_utilization<'a>(
    (metric, measured): Measured<'a>,
    total: Option<Measured>,
    history: &History,
) -> Result<Told<'a>, Unknowable> {
    let capacity = history.capacity.as_ref().ok_or(Unknowable::NoCapacity)?;
    let capacity = enough("the number of instances", capacity)?;
    one_unit(metric, measured)?;
    let share = |value: f64| (value / metric.full_scale()).max(0.0);
    let saturated: Vec<bool> =
        measured.iter().map(|value| value.is_some_and(|value| share(value) >= SATURATED)).collect();
    let mut samples: Samples =
        measured.iter().zip(&capacity).map(|(value, instances)| Some(share((*value)?) * instances)).collect();
    let mut notes = vec![format!("The load is {} times the number of instances.", metric.name)];
    let total_of_one = total.and_then(|(_, total)| size_of_one(total, &samples, &saturated));
    let mut censored = saturated;
    if let (Some((other, total)), Some(one)) = (total, total_of_one) {
        notes.push(format!("A fully busy instance carries {one:.4} of {}, by what was measured.", other.name));
        let better = |place: usize| total[place].filter(|_| censored[place]);
        let known: Vec<Option<f64>> = (0..samples.len()).map(better).collect();
        if known.iter().any(Option::is_some) {
            notes.push(format!("Where the instances were saturated, the load is that of {}.", other.name));
        }
        for (place, total) in known.into_iter().enumerate() {
            if let Some(total) = total {
                samples[place] = Some(samples[place].unwrap_or_default().max(total / one));
                censored[place] = false;
            }
        }
    }
    Ok(Told { samples, metric: &metric.name, total_of_one, censored, notes })
}

/// A fleet that was never above 1.5 % is none to replay, and shares that are ten times what there is are percentages.
fn one_unit(metric: &Metric, measured: &Samples) -> Result<(), Unknowable> {
    let most = measured.iter().flatten().copied().fold(0.0, f64::max);
    let meant = match metric.is_percent() {
        true if most > 0.0 && most <= PERCENT_ABOVE => metric.target / 100.0,
        false if most > 10.0 => metric.target * 100.0,
        _ => return Ok(()),
    };
    let meant = (meant * 1e6).round() / 1e6;
    Err(Unknowable::OtherUnit { metric: metric.name.to_string(), most, target: metric.target, meant })
}

/// How much of `total` one fully busy instance carries: the ratio of the sums, where neither is in doubt.
fn size_of_one(total: &[Option<f64>], busy: &[Option<f64>], saturated: &[bool]) -> Option<f64> {
    let pairs = total.iter().zip(busy).zip(saturated).filter(|(_, saturated)| !**saturated);
    let (total, busy) = pairs
        .filter_map(|((total, busy), _)| Some(((*total)?, (*busy)?)))
        .fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    (busy > 0.0 && total > 0.0).then(|| total / busy)
}

fn by_total((metric, measured): Measured<'_>) -> Result<Told<'_>, Unknowable> {
    enough(&metric.name, measured)?;
    let one = metric.target / USUAL_LOAD;
    let samples = measured.iter().map(|total| total.map(|total| total.max(0.0) / one)).collect();
    let note = format!(
        "The load is that of {}; an instance at its target of {} is taken to be {:.0} % busy, as no utilization tells.",
        metric.name,
        metric.target,
        100.0 * USUAL_LOAD
    );
    let censored = vec![false; measured.len()];
    Ok(Told { samples, metric: &metric.name, total_of_one: Some(one), censored, notes: vec![note] })
}

/// `samples` without gaps, if at least half of them are known.
fn enough(metric: &str, samples: &[Option<f64>]) -> Result<Vec<f64>, Unknowable> {
    let (known, moments) = (samples.iter().flatten().count(), samples.len());
    bridged(samples).filter(|_| 2 * known >= moments).ok_or(Unknowable::TooLittle {
        metric: metric.to_owned(),
        known,
        moments,
    })
}

pub(super) fn share(moments: usize, all: usize) -> String {
    let number = |moments: usize| f64::from(u32::try_from(moments).unwrap_or(u32::MAX));
    format!("{:.2} %", 100.0 * number(moments) / number(all))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::backtest::tests::{metric, policy};

    fn history(metrics: Vec<Samples>, capacity: Option<Samples>) -> History {
        History { from: Timestamp::UNIX_EPOCH, step: Duration::from_mins(1), metrics, capacity, launches: None }
    }

    fn near(measured: &[f64], expected: &[f64]) {
        let same = measured.len() == expected.len()
            && measured.iter().zip(expected).all(|(measured, expected)| (measured - expected).abs() < 1e-9);
        assert!(same, "{measured:?} is not {expected:?}");
    }

    fn cpu() -> Metric {
        metric("cpu", MetricKind::Utilization, 0.7)
    }

    fn rps() -> Metric {
        metric("rps", MetricKind::Total, 140.0)
    }

    fn p99() -> Metric {
        metric("p99", MetricKind::Latency, 0.5)
    }

    #[test]
    fn a_utilization_tells_the_load_with_the_number_of_instances() {
        let seen = history(
            vec![vec![Some(0.5), None, Some(0.7)], vec![Some(0.2); 3]],
            Some(vec![Some(4.0), Some(4.0), Some(6.0)]),
        );
        let load = load(&policy(vec![cpu(), p99()]), &seen).unwrap();
        near(&load.busy, &[2.0, 3.1, 4.2]);
        assert_eq!((load.doubts, load.total_of_one), (vec![], None));
        assert!(load.notes.iter().any(|note| note.starts_with("1 gaps")), "{:?}", load.notes);
    }

    #[test]
    fn percent_are_shares_of_a_hundred() {
        let seen = history(vec![vec![Some(50.0)]], Some(vec![Some(4.0)]));
        near(&load(&policy(vec![metric("cpu", MetricKind::Utilization, 70.0)]), &seen).unwrap().busy, &[2.0]);
    }

    #[test]
    fn a_total_tells_the_load_where_the_instances_are_saturated() {
        let busy = vec![Some(0.5), Some(1.0), Some(0.8)];
        let capacity = Some(vec![Some(4.0); 3]);
        let with = load(
            &policy(vec![cpu(), rps()]),
            &history(vec![busy.clone(), vec![Some(400.0), Some(1200.0), Some(640.0)]], capacity.clone()),
        );
        let with = with.unwrap();
        near(&with.busy, &[2.0, 6.0, 3.2]);
        assert_eq!((with.doubts, with.total_of_one), (vec![], Some(200.0)));
        let without = load(&policy(vec![cpu()]), &history(vec![busy], capacity)).unwrap();
        near(&without.busy, &[2.0, 4.0, 3.2]);
        assert_eq!(without.doubts.len(), 1);
        assert!(without.notes.iter().any(|note| note.starts_with("33.33 % of the time: The instances")));
    }

    #[test]
    fn a_total_alone_needs_no_capacity() {
        let seen = history(vec![vec![Some(280.0), Some(0.0)]], None);
        near(&load(&policy(vec![rps()]), &seen).unwrap().busy, &[1.4, 0.0]);
    }

    #[test]
    fn a_long_gap_is_in_doubt() {
        let mut samples = vec![Some(0.5); 40];
        samples[10..16].fill(None);
        let load = load(&policy(vec![cpu()]), &history(vec![samples], Some(vec![Some(2.0); 40]))).unwrap();
        assert_eq!(load.doubts.len(), 1);
        assert_eq!(load.doubts[0].from.as_second(), 600);
        assert!(load.notes.iter().any(|note| note.starts_with("15.00 % of the time: Nothing")), "{:?}", load.notes);
    }

    #[test]
    fn what_can_not_be_known_says_what_would_help() {
        let check = |metrics: Vec<_>, measured, capacity, fragment: &str| {
            let refusal = load(&policy(metrics), &history(measured, capacity)).unwrap_err().to_string();
            assert!(refusal.contains(fragment), "{refusal}");
        };
        check(vec![p99()], vec![vec![Some(0.2)]], None, "latency metrics alone");
        check(vec![cpu()], vec![vec![Some(0.2)]], None, "--capacity-query");
        check(vec![rps()], vec![vec![Some(1.0), None, None]], None, "rps was measured at 1 of 3 moments");
        check(vec![cpu()], vec![vec![Some(0.2); 2]], Some(vec![None; 2]), "the number of instances was measured at 0");
        check(vec![rps()], vec![vec![Some(0.0); 2]], None, "rps was zero all the time");
        let percent = metric("cpu", MetricKind::Utilization, 70.0);
        let (fraction, hundred) = (vec![vec![Some(0.92); 2]], vec![vec![Some(92.0); 2]]);
        check(
            vec![percent],
            fraction,
            Some(vec![Some(2.0); 2]),
            "0.92 against a target of 70, which is no number of the same unit; is its target 0.7?",
        );
        check(vec![cpu()], hundred, Some(vec![Some(2.0); 2]), "is its target 70?");
    }
}
