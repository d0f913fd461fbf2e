//! What a Prometheus that scrapes the world would hold: a bounded history of samples. It never knows what they mean.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

/// How far back samples are kept.
pub const RETENTION: Duration = Duration::from_mins(10);

/// The label that holds the name of a metric.
pub const NAME: &str = "__name__";

/// The labels of a series, its name among them.
pub type Labels = BTreeMap<String, String>;

/// The labels `{__name__=name, …}`.
pub fn labels(name: &str, others: &[(&str, &str)]) -> Labels {
    let others = others.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    others.chain([(NAME.to_owned(), name.to_owned())]).collect()
}

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was scraped, in milliseconds, as Prometheus counts.
    pub at: i64,
    /// What was scraped; `None` where the series was gone from its target.
    pub value: Option<f64>,
}

/// Samples by series.
#[derive(Clone, Debug, Default)]
pub struct History {
    series: BTreeMap<Labels, VecDeque<Sample>>,
}

impl History {
    /// Takes one scrape at `at`. A series that was there before and is not any more is marked as gone.
    pub fn record(&mut self, at: Timestamp, scraped: Vec<(Labels, f64)>) {
        let at = at.as_millisecond();
        for (labels, value) in scraped {
            self.series.entry(labels).or_default().push_back(Sample { at, value: Some(value) });
        }
        let oldest = at.saturating_sub(i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX));
        for samples in self.series.values_mut() {
            if samples.back().is_some_and(|last| last.at < at && last.value.is_some()) {
                samples.push_back(Sample { at, value: None });
            }
            while samples.front().is_some_and(|first| first.at < oldest) {
                samples.pop_front();
            }
        }
        self.series.retain(|_, samples| !samples.is_empty());
    }

    /// Every series with its samples, oldest first.
    pub fn series(&self) -> impl Iterator<Item = (&Labels, &VecDeque<Sample>)> {
        self.series.iter()
    }

    /// When the newest scrape was, in milliseconds.
    pub fn newest(&self) -> Option<i64> {
        self.series.values().filter_map(|samples| samples.back()).map(|sample| sample.at).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn up(instance: &str) -> (Labels, f64) {
        (labels("up", &[("instance", instance)]), 1.0)
    }

    #[test]
    fn a_series_that_is_gone_is_marked_once() {
        let mut history = History::default();
        history.record(at(0), vec![up("a"), up("b")]);
        history.record(at(5), vec![up("a")]);
        history.record(at(10), vec![up("a")]);
        let ends: Vec<_> = history.series().map(|(_, samples)| *samples.back().unwrap()).collect();
        assert_eq!(ends, [Sample { at: 10_000, value: Some(1.0) }, Sample { at: 5_000, value: None }]);
        assert_eq!(history.newest(), Some(10_000));
    }

    #[test]
    fn samples_and_series_are_dropped_after_the_retention() {
        let mut history = History::default();
        history.record(at(0), vec![up("a"), up("b")]);
        (1..=200).for_each(|scrape| history.record(at(scrape * 5), vec![up("a")]));
        let kept: Vec<_> = history.series().map(|(_, samples)| samples.len()).collect();
        assert_eq!(kept, [121]);
    }
}
