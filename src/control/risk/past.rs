//! Demand as it was, and what it may be one lead from now: the predictors.

use std::collections::VecDeque;
use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::elapsed;

const DAY: Duration = Duration::from_hours(24);

/// A trend is fitted to this much of the past.
const TREND: Duration = Duration::from_mins(5);
const TREND_SAMPLES: usize = 20;
/// A slope counts from so many of its standard errors on.
const SIGNIFICANT: f64 = 2.5;
/// The most that a trend may add, relative to demand.
const STEEPEST: f64 = 1.6;

/// The level is compared over this much of the past.
const LEVEL: Duration = Duration::from_mins(10);
/// A day is like the one before only within this ratio.
const ALIKE: f64 = 3.0;
/// A level below an instance counts as one: before a crowd that comes out of nothing, all days are alike.
const SMALL: f64 = 1.0;

/// Demand of the last day and a little more, in instances' worth of work at the ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(i64, f32)>", into = "Vec<(i64, f32)>")]
pub(super) struct Past(VecDeque<(Timestamp, f32)>);

/// Thousands of times are written down as milliseconds, a third of their text.
impl From<Past> for Vec<(i64, f32)> {
    fn from(Past(samples): Past) -> Self {
        samples.into_iter().map(|(at, demand)| (at.as_millisecond(), demand)).collect()
    }
}

impl From<Vec<(i64, f32)>> for Past {
    fn from(samples: Vec<(i64, f32)>) -> Self {
        let sample = |(at, demand)| Some((Timestamp::from_millisecond(at).ok()?, demand));
        Self(samples.into_iter().filter_map(sample).collect())
    }
}

impl Past {
    /// Takes the demand at `now` in.
    pub(super) fn push(&mut self, now: Timestamp, demand: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than any metric has")]
        self.0.push_back((now, demand as f32));
        while self.0.front().is_some_and(|(at, _)| elapsed(*at, now) > DAY + LEVEL) {
            self.0.pop_front();
        }
    }

    /// What demand comes to in `lead` if its trend goes on; `demand` where it has no significant one upwards.
    ///
    /// Least squares over the last five minutes, less one standard error of the slope.
    pub(super) fn trend(&self, now: Timestamp, demand: f64, lead: Duration) -> f64 {
        let recent = self.0.iter().rev().take_while(|(at, _)| elapsed(*at, now) <= TREND).take(TREND_SAMPLES);
        let points: ArrayVec<(f64, f64), TREND_SAMPLES> =
            recent.map(|(at, demand)| (-elapsed(*at, now).as_secs_f64(), f64::from(*demand))).collect();
        match slope(&points) {
            Some((slope, error)) if slope > SIGNIFICANT * error => {
                (demand + (slope - error) * lead.as_secs_f64()).clamp(demand, demand * STEEPEST)
            }
            _ => demand,
        }
    }

    /// What demand came to a day ago, one `lead` on from here, at today's level; `None` while that is not known.
    pub(super) fn seasonal(&self, now: Timestamp, lead: Duration, interval: Duration) -> Option<f64> {
        let yesterday = now.saturating_sub(DAY).ok()?;
        self.0.front().filter(|(at, _)| elapsed(*at, yesterday) + interval >= LEVEL)?;
        let level = mean(self.between(now.saturating_sub(LEVEL).ok()?, now))?;
        let level_then = mean(self.between(yesterday.saturating_sub(LEVEL).ok()?, yesterday))?;
        let ratio = (level.max(SMALL) / level_then.max(SMALL)).clamp(ALIKE.recip(), ALIKE);
        let then = yesterday.saturating_add(lead).ok()?;
        let around = self.between(then.saturating_sub(interval * 2).ok()?, then.saturating_add(interval * 2).ok()?);
        around.map(f64::from).reduce(f64::max).map(|highest| highest * ratio)
    }

    fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = f32> + '_ {
        let first = self.0.partition_point(|(at, _)| *at < from);
        self.0.range(first..).take_while(move |(at, _)| *at <= to).map(|(_, demand)| *demand)
    }
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + f64::from(value), count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Slope of a line through `points`, and its standard error; `None` with too few of them.
fn slope(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    const LEAST: usize = 5;
    let n = u32::try_from(points.len()).ok().filter(|_| points.len() >= LEAST).map(f64::from)?;
    let (x, y) = points.iter().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (x, y) = (x / n, y / n);
    let (sxx, sxy, syy) = points.iter().fold((0.0, 0.0, 0.0), |(sxx, sxy, syy), (px, py)| {
        let (dx, dy) = (px - x, py - y);
        (sxx + dx * dx, sxy + dx * dy, syy + dy * dy)
    });
    // Of points at one time this is no number, and so steeper than nothing.
    let slope = sxy / sxx;
    let residual = (syy - slope * sxy).max(0.0);
    Some((slope, (residual / (n - 2.0) / sxx).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);
    const LEAD: Duration = Duration::from_secs(195);

    fn at(second: i32) -> Timestamp {
        Timestamp::from_second(i64::from(second)).unwrap()
    }

    fn past(seconds: i32, demand: impl Fn(i32) -> f64) -> Past {
        let mut past = Past::default();
        (0..=seconds / 15).for_each(|k| past.push(at(k * 15), demand(k * 15)));
        past
    }

    #[test]
    fn a_trend_is_followed_for_one_lead() {
        let past = past(600, |second| 10.0 + 0.01 * f64::from(second));
        let ahead = past.trend(at(600), 16.0, LEAD);
        assert!((ahead - 17.95).abs() < 0.01, "{ahead}");
    }

    #[test]
    fn neither_noise_nor_a_fall_is_a_trend() {
        let noisy = past(600, |second| if second % 30 == 0 { 10.0 } else { 11.0 });
        assert!((noisy.trend(at(600), 10.0, LEAD) - 10.0).abs() < 1e-9);
        let falling = past(600, |second| 20.0 - 0.01 * f64::from(second));
        assert!((falling.trend(at(600), 14.0, LEAD) - 14.0).abs() < 1e-9);
    }

    #[test]
    fn a_trend_is_bounded() {
        let steep = past(600, |second| 1.0 + f64::from(second));
        assert!((steep.trend(at(600), 600.0, LEAD) - 795.0).abs() < 0.1);
        assert!((steep.trend(at(600), 100.0, LEAD) - 160.0).abs() < 1e-9);
    }

    #[test]
    fn yesterday_at_todays_level() {
        const DAY: i32 = 86_400;
        // A peak every day at 12:00, twice as high on the second day.
        let demand = |second: i32| {
            let base = if (second % DAY - 43_200).abs() < 600 { 40.0 } else { 10.0 };
            if second > DAY { base * 2.0 } else { base }
        };
        let now = DAY + 43_200 - 600 - 195;
        let check = |now, expected: f64| {
            let foretold = past(now, demand).seasonal(at(now), LEAD, INTERVAL).unwrap();
            assert!((foretold - expected).abs() < 1e-4, "{foretold} at {now}");
        };
        check(now, 80.0);
        check(now - 300, 20.0);
        check(now + 1200, 80.0);
        check(now + 1215, 80.0);
        check(now + 1230, 20.0);
    }

    #[test]
    fn what_came_out_of_nothing_is_foretold_as_it_was() {
        let batch = |second: i32| if second % 86_400 >= 43_200 { 80.0 } else { 0.0 };
        let now = 86_400 + 43_200 - 195;
        let foretold = past(now, batch).seasonal(at(now), LEAD, INTERVAL).unwrap();
        assert!((foretold - 80.0).abs() < 1e-9, "{foretold}");
    }

    #[test]
    fn without_a_day_there_is_no_yesterday() {
        assert_eq!(past(86_400, |_| 1.0).seasonal(at(86_400), LEAD, INTERVAL), None);
        assert!(past(87_000, |_| 1.0).seasonal(at(87_000), LEAD, INTERVAL).is_some());
    }

    #[test]
    fn a_little_more_than_a_day_is_remembered() {
        let samples = past(3 * 86_400, |_| 1.0).0.len();
        let longest = (DAY + LEVEL).as_secs() / INTERVAL.as_secs() + 1;
        assert_eq!(u64::try_from(samples), Ok(longest));
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let past = past(600, |second| 10.0 + 0.01 * f64::from(second));
        let written = Vec::from(past.clone());
        assert_eq!(written.get(..2), Some(&[(0, 10.0), (15_000, 10.15)][..]));
        assert_eq!(Past::from(written), past);
    }

    #[test]
    fn a_stretch_of_the_past_includes_its_ends() {
        let found: Vec<f32> = past(60, f64::from).between(at(15), at(45)).collect();
        assert_eq!(found, [15.0, 30.0, 45.0]);
    }

    #[test]
    fn levels_are_means_however_many_samples_they_have() {
        assert_eq!(mean([1.0, 2.0, 6.0].into_iter()), Some(3.0));
        assert_eq!(mean(std::iter::empty()), None);
    }
}
