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
