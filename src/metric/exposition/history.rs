//! What counters did over a window: their increases from scrape to scrape, and the rates and quantiles made of them.
//!
//! Only the newest value of a series is kept; of earlier scrapes, the increase over all series. As in `PromQL`, the
//! first value of a series is no increase, because nobody saw where it came from.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::TIMEOUT;
use super::page::Series;
use crate::observation::elapsed;

/// Most increases that one history keeps. With more scrapes than that in a window, the window is shorter.
const MAX_STEPS: usize = 1024;

/// The counters of one scrape under their upper bounds (`le`); a plain counter has none and stands under infinity.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    pub series: Series,
    pub upper_bound: f64,
    pub value: f64,
}

/// The scrapes of one source over its window.
#[derive(Debug, Default)]
pub(super) struct History {
    scraped: Option<Timestamp>,
    newest: HashMap<Series, (Timestamp, f64)>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Step {
    from: Timestamp,
    increases: Increases,
}

/// What was added over a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Increases(BTreeMap<UpperBound, f64>);

/// A bound of a bucket; it is never NaN, so that bounds have a total order.
#[derive(Clone, Copy, Debug)]
struct UpperBound(f64);

impl Ord for UpperBound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for UpperBound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UpperBound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for UpperBound {}

impl History {
    /// When the last scrape was.
    pub fn scraped(&self) -> Option<Timestamp> {
        self.scraped
    }

    /// Takes the counters of a scrape in, unless a later one overtook it or another reader did so already.
    pub fn add(&mut self, counters: Vec<Counter>, window: Duration, now: Timestamp) {
        match self.scraped {
            Some(scraped) if scraped >= now && elapsed(now, scraped) <= TIMEOUT => return,
            // The clock was set back: times before and after do not compare.
            Some(scraped) if scraped > now => *self = Self::default(),
            _ => {}
        }
        let most_series = counters.len();
        let mut increases = Increases::default();
        for Counter { series, upper_bound, value } in counters {
            let bucket = increases.0.entry(UpperBound(upper_bound)).or_default();
            if let Some((_, before)) = self.newest.insert(series, (now, value)) {
                // A counter that went down was started anew, at zero.
                *bucket += if value < before { value } else { value - before };
            }
        }
        if let Some(from) = self.scraped.replace(now) {
            self.steps.push_back(Step { from, increases });
        }
        self.forget(most_series, window, now);
    }

    fn forget(&mut self, most_series: usize, window: Duration, now: Timestamp) {
        while self.steps.front().is_some_and(|step| elapsed(step.from, now) > window) || self.steps.len() > MAX_STEPS {
            self.steps.pop_front();
        }
        // A series that is missing from one scrape goes on where it was, unless so many come and go that they pile up.
        let crowded = self.newest.len() > most_series.saturating_mul(2);
        self.newest.retain(|_, (seen, _)| *seen == now || !crowded && elapsed(*seen, now) <= window);
    }

    /// What was added within the window, and over what time; `None` before two scrapes are inside it.
    pub fn increases(&self) -> Option<(Increases, Duration)> {
        let mut total = Increases::default();
        for step in &self.steps {
            for (bound, increase) in &step.increases.0 {
                *total.0.entry(*bound).or_default() += increase;
            }
        }
        let time = elapsed(self.steps.front()?.from, self.scraped?);
        Some((total, time))
    }
}

impl Increases {
    /// The sum over all bounds.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// The `rank`th observation (0..1) of a classic histogram, as `histogram_quantile` of Prometheus interpolates it:
    /// evenly within a bucket, from zero in the first one, and never beyond the last finite bound.
    ///
    /// `None` without observations. The histogram has a bucket without bound and another one.
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        let mut highest = 0.0_f64;
        // Buckets are cumulative; what rounding and resets between them took away is given back.
        let cumulative = |(bound, count): (&UpperBound, &f64)| {
            highest = highest.max(*count);
            (bound.0, highest)
        };
        let buckets = self.0.iter().map(cumulative).collect::<Vec<_>>();
        let (_, observations) = buckets.last().copied().filter(|(_, observations)| *observations > 0.0)?;
        let wanted = rank * observations;
        let finite = &buckets[..buckets.len() - 1];
        let Some(found) = finite.iter().position(|(_, count)| *count >= wanted) else {
            return finite.last().map(|(bound, _)| *bound);
        };
        let (bound, count) = finite[found];
        let (lower_bound, below) = match found.checked_sub(1) {
            Some(previous) => finite[previous],
            None if bound <= 0.0 => return Some(bound),
            None => (0.0, 0.0),
        };
        Some(lower_bound + (bound - lower_bound) * (wanted - below) / (count - below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn counters(of: &[(&str, f64)]) -> Vec<Counter> {
        let counter = |(name, value): &(&str, f64)| {
            let series = Series { name: (*name).to_owned(), labels: Vec::new() };
            Counter { series, upper_bound: f64::INFINITY, value: *value }
        };
        of.iter().map(counter).collect()
    }

    /// Scrapes at these seconds, and what is known after the last: the increase, and over how many seconds.
    fn check(scrapes: &[(i64, &[(&str, f64)])], expected: Option<(f64, u64)>) {
        let mut history = History::default();
        for (second, values) in scrapes {
            history.add(counters(values), WINDOW, at(*second));
        }
        let known = history.increases().map(|(increases, time)| (increases.total(), time.as_secs()));
        assert_eq!(known, expected, "{scrapes:?}");
    }

    #[test]
    fn an_increase_is_what_was_added_between_scrapes() {
        check(&[(0, &[("a", 5.0)])], None);
        check(&[(0, &[("a", 5.0)]), (10, &[("a", 8.0)])], Some((3.0, 10)));
        check(&[(0, &[("a", 5.0), ("b", 1.0)]), (10, &[("a", 8.0), ("b", 2.0)])], Some((4.0, 10)));
    }

    #[test]
    fn a_counter_that_went_down_was_started_anew() {
        check(&[(0, &[("a", 5.0)]), (10, &[("a", 2.0)]), (20, &[("a", 3.0)])], Some((3.0, 20)));
    }

    #[test]
    fn the_first_value_of_a_series_is_no_increase() {
        check(&[(0, &[("a", 5.0)]), (10, &[("a", 5.0), ("b", 900.0)])], Some((0.0, 10)));
    }

    #[test]
    fn a_series_that_was_missing_once_goes_on_where_it_was() {
        check(&[(0, &[("a", 5.0), ("b", 900.0)]), (10, &[("a", 5.0)]), (20, &[("a", 5.0), ("b", 901.0)])], {
            Some((1.0, 20))
        });
    }

    #[test]
    fn only_scrapes_within_the_window_count() {
        let a = |value| [("a", value)];
        check(&[(0, &a(0.0)), (10, &a(100.0)), (20, &a(101.0)), (40, &a(103.0))], Some((3.0, 30)));
        check(&[(0, &a(0.0)), (31, &a(100.0))], None);
    }

    #[test]
    fn a_scrape_that_was_overtaken_changes_nothing_and_a_clock_set_back_starts_anew() {
        let a = |value| [("a", value)];
        check(&[(0, &a(0.0)), (10, &a(10.0)), (10, &a(10.0)), (8, &a(9.0))], Some((10.0, 10)));
        check(&[(100, &a(0.0)), (110, &a(10.0)), (50, &a(20.0))], None);
        check(&[(100, &a(0.0)), (110, &a(10.0)), (50, &a(20.0)), (60, &a(21.0))], Some((1.0, 10)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut history = History::default();
        for second in 0..3000 {
            history.add(counters(&[("a", 1.0), (&format!("b{second}"), 1.0)]), Duration::from_hours(1), at(second));
        }
        assert_eq!(history.steps.len(), MAX_STEPS);
        assert!(history.newest.len() <= 4, "{}", history.newest.len());
    }

    fn quantile(rank: f64, buckets: &[(f64, f64)]) -> Option<f64> {
        Increases(buckets.iter().map(|(bound, count)| (UpperBound(*bound), *count)).collect()).quantile(rank)
    }

    #[test]
    fn a_quantile_is_interpolated_as_prometheus_does() {
        const INF: f64 = f64::INFINITY;
        let check = |rank, buckets: &[_], expected: Option<f64>| {
            assert_eq!(quantile(rank, buckets), expected, "{rank} of {buckets:?}");
        };
        check(0.5, &[(1.0, 0.0), (2.0, 10.0), (INF, 10.0)], Some(1.5));
        check(0.5, &[(1.0, 10.0), (INF, 10.0)], Some(0.5));
        check(0.9, &[(1.0, 5.0), (2.0, 10.0), (INF, 10.0)], Some(1.8));
        // Beyond the last finite bound nothing is known.
        check(0.9, &[(1.0, 5.0), (2.0, 5.0), (INF, 10.0)], Some(2.0));
        // Below zero there is no lower bound to interpolate from.
        check(0.1, &[(-1.0, 5.0), (1.0, 10.0), (INF, 10.0)], Some(-1.0));
        check(0.75, &[(-1.0, 5.0), (1.0, 10.0), (INF, 10.0)], Some(0.0));
        // A bucket that lost to the one before it is raised.
        check(0.5, &[(1.0, 6.0), (2.0, 4.0), (INF, 8.0)], Some(1.0 * 4.0 / 6.0));
        check(0.5, &[(1.0, 0.0), (INF, 0.0)], None);
    }
}
