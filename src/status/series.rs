//! The recent past of one policy, for its charts: a bounded number of points in memory, lost at a restart.
//!
//! The journal keeps decisions that differ; a chart needs the numbers between them. It decides nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::PolicyStatus;
use crate::control::Evaluation;
use crate::policy::Capacity;

/// Most points: 28 bytes each and 4 for each metric, so that a policy with one metric takes 8 KB, and 10,000 take 82 MB.
const POINTS: usize = 256;

/// At least so much is kept once there has been so much.
const SPAN: Duration = Duration::from_hours(4);

/// Where a count was unknown.
const UNKNOWN: u32 = u32::MAX;

/// The points of one policy, which every version of its status shares: copying them with each would be most of the work.
#[derive(Clone, Debug)]
pub struct Series(Arc<Mutex<Past>>);

#[derive(Debug)]
struct Past {
    /// The least time between two of them.
    spacing: Duration,
    points: VecDeque<Point>,
    /// As many for each point as there are metrics; NaN where there was no number. Seven digits draw any chart.
    values: VecDeque<f32>,
    metrics: usize,
}

/// What was so at one moment.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Seconds since 1970.
    at: u32,
    counts: Counts<u32>,
}

/// The capacities of one moment, or of all moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts<T> {
    /// What the controller asked for, before any stage after it.
    pub recommended: T,
    /// Of a controller that foretells: what it asked for without what it keeps in hand in case it is wrong.
    pub foretold: T,
    /// The group's desired capacity.
    pub desired: T,
    /// In service.
    pub in_service: T,
    /// The least capacity of policy and group.
    pub min: T,
    /// The most capacity of policy and group.
    pub max: T,
}

/// The past in columns of the same length, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The least time between two points.
    pub spacing: Duration,
    /// Seconds since 1970, ever more.
    pub at: Vec<u32>,
    /// `None` where a count was unknown.
    pub counts: Counts<Vec<Option<u32>>>,
    /// Of each metric, what is compared with its target; `None` where there was no valid value.
    pub metrics: Vec<Vec<Option<f32>>>,
}

impl Series {
    /// No points yet, of a policy with so many metrics that is evaluated every `interval`.
    pub fn new(interval: Duration, metrics: usize) -> Self {
        let past = Past { spacing: interval, points: VecDeque::new(), values: VecDeque::new(), metrics };
        Self(Arc::new(Mutex::new(past)))
    }

    /// Adds what `status` says after its last evaluation, unless that is too soon after the point before.
    pub fn add(&self, status: &PolicyStatus) {
        let Some(evaluation) = &status.evaluation else { return };
        let values = status.metrics.iter().map(|metric| status.against_target(metric));
        self.past().push(evaluation.at, counts(status, evaluation), values);
    }

    /// The points of now.
    pub fn columns(&self) -> Columns {
        self.past().columns()
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        // Whatever a panic left is still a chart.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn push(&mut self, at: Timestamp, counts: Counts<u32>, values: impl Iterator<Item = Option<f64>>) {
        let Ok(at) = u32::try_from(at.as_second()) else { return };
        // The clock was set back: what comes later on it has not happened.
        while self.points.pop_back_if(|last| last.at > at).is_some() {}
        let rested = |last: &Point| Duration::from_secs(u64::from(at - last.at)) >= self.spacing;
        if !self.points.back().is_none_or(rested) {
            return;
        }
        if self.points.len() == POINTS {
            self.make_room();
        }
        self.values.truncate(self.points.len() * self.metrics);
        self.points.push_back(Point { at, counts });
        #[expect(clippy::cast_possible_truncation, reason = "a chart needs no more digits")]
        self.values.extend(values.take(self.metrics).map(|value| value.map_or(f32::NAN, |value| value as f32)));
    }

    /// Halves the points while they are denser than they need be; then the oldest goes.
    fn make_room(&mut self) {
        let metrics = self.metrics;
        if self.spacing * u32::try_from(POINTS).unwrap_or(u32::MAX) >= SPAN {
            self.points.pop_front();
            self.values.drain(..metrics);
            return;
        }
        self.spacing *= 2;
        let mut place = 0_usize..;
        self.points.retain(|_| place.next().is_some_and(|place| place.is_multiple_of(2)));
        let mut place = 0..;
        self.values.retain(|_| place.next().is_some_and(|place| (place / metrics).is_multiple_of(2)));
    }

    fn columns(&self) -> Columns {
        let column = |count: fn(&Counts<u32>) -> u32| {
            let known = |point: &Point| Some(count(&point.counts)).filter(|count| *count != UNKNOWN);
            self.points.iter().map(known).collect()
        };
        let metric = |metric| {
            let values = self.values.iter().skip(metric).step_by(self.metrics);
            values.map(|value| Some(*value).filter(|value| value.is_finite())).collect()
        };
        Columns {
            spacing: self.spacing,
            at: self.points.iter().map(|point| point.at).collect(),
            counts: Counts {
                recommended: column(|counts| counts.recommended),
                foretold: column(|counts| counts.foretold),
                desired: column(|counts| counts.desired),
                in_service: column(|counts| counts.in_service),
                min: column(|counts| counts.min),
                max: column(|counts| counts.max),
            },
            metrics: (0..self.metrics).map(metric).collect(),
        }
    }
}

fn counts(status: &PolicyStatus, evaluation: &Evaluation) -> Counts<u32> {
    let known = |capacity: Option<Capacity>| capacity.map_or(UNKNOWN, Capacity::get);
    let group = status.group.as_ref();
    Counts {
        recommended: known(evaluation.recommended()),
        foretold: known(foretold(evaluation)),
        desired: known(group.map(|group| group.desired)),
        in_service: known(group.map(|group| group.in_service)),
        min: group.map_or(status.min, |group| status.min.max(group.min)).get(),
        max: group.map_or(status.max, |group| status.max.min(group.max)).get(),
    }
}

/// Of the metric that asks for most, if its controller foretells.
fn foretold(evaluation: &Evaluation) -> Option<Capacity> {
    let asked = evaluation.recommended()?;
    let most = evaluation.recommendations.iter().find(|recommendation| recommendation.rounded == asked)?;
    Capacity::ceil(most.capacity / (1.0 + most.margin?)).map(|foretold| foretold.min(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(interval: u64, metrics: usize) -> Past {
        let Ok(past) = Arc::try_unwrap(Series::new(Duration::from_secs(interval), metrics).0) else { unreachable!() };
        past.into_inner().unwrap()
    }

    fn push(past: &mut Past, at: i64) {
        let number = u32::try_from(at).unwrap();
        let counts = Counts { desired: number, min: UNKNOWN, ..Counts::default() };
        let values = [Some(f64::from(number)), None].into_iter();
        past.push(Timestamp::from_second(at).unwrap(), counts, values);
    }

    fn small(number: u32) -> f32 {
        let [high, low] = [number / 1000, number % 1000].map(|part| f32::from(u16::try_from(part).unwrap()));
        high * 1000.0 + low
    }

    #[test]
    fn each_number_stands_beside_its_moment_however_many_there_were() {
        let mut past = past(15, 2);
        for cycle in 0..10_000 {
            push(&mut past, cycle * 15);
            let columns = past.columns();
            let numbers: Vec<u32> = columns.counts.desired.iter().flatten().copied().collect();
            assert_eq!(columns.at, numbers);
            let values: Vec<Option<f32>> = numbers.iter().map(|number| Some(small(*number))).collect();
            assert_eq!(columns.metrics, [values, vec![None; numbers.len()]]);
            assert!(numbers.len() <= POINTS && columns.counts.min.iter().all(Option::is_none));
        }
        let columns = past.columns();
        let (first, last) = (columns.at[0], columns.at[columns.at.len() - 1]);
        assert!(u64::from(last - first) >= SPAN.as_secs() && columns.spacing == Duration::from_mins(1));
        assert!(149_985 - last < 60, "the newest is there");
    }

    #[test]
    fn an_evaluation_out_of_its_rhythm_and_one_after_the_clock_was_set_back_are_no_disorder() {
        let mut past = past(15, 2);
        for at in [100, 107, 115, 130, 116, 131] {
            push(&mut past, at);
        }
        assert_eq!(past.columns().at, [100, 115, 131]);
        assert_eq!(past.columns().metrics[0], [Some(100.0), Some(115.0), Some(131.0)]);
    }

    #[test]
    fn a_policy_without_metrics_has_points_too() {
        let mut past = past(60, 0);
        (0..1000).for_each(|minute| push(&mut past, minute * 60));
        assert_eq!((past.columns().at.len(), past.columns().metrics.len()), (POINTS, 0));
    }
}
