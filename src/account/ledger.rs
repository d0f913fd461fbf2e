//! Counts from look to look.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Stretch, Sums};
use crate::observation::elapsed;
use crate::policy::Capacity;

/// What is seen of a group at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Instances launched or in service; `None` where that is unknown.
    pub size: Option<Capacity>,
    /// The policy's most capacity.
    pub max: Capacity,
    /// Whether a metric is over its target; `None` where that is unknown.
    pub over: Option<bool>,
}

/// What a group has come to since it is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    last: Option<Look>,
    today: Option<Stretch>,
    all: Option<Stretch>,
}

impl Ledger {
    /// Takes `look` in. What lies further back than `patience` was not seen. Gives the stretch that has ended with it:
    /// a day in UTC, or what was before a gap.
    ///
    /// Between two looks the larger size counts, as it does for the ceilings on what a group may spend.
    pub fn look(&mut self, look: Look, patience: Duration) -> Option<Stretch> {
        let seen = self.last.replace(look).filter(|last| last.at <= look.at && elapsed(last.at, look.at) <= patience);
        let sums = seen.map(|last| between(last, look)).unwrap_or_default();
        let from = seen.map_or(look.at, |last| last.at);
        let new = Stretch { from, to: look.at, sums };
        self.all = Some(self.all.map_or(new, |all| all.and(new)));
        match self.today {
            Some(today) if seen.is_some() && day(today.to) == day(look.at) => {
                self.today = Some(today.and(new));
                None
            }
            _ => self.today.replace(new),
        }
    }

    /// The stretch that has not ended yet.
    pub fn today(&self) -> Option<Stretch> {
        self.today
    }

    /// All that was seen.
    pub fn all(&self) -> Option<Stretch> {
        self.all
    }
}

impl Stretch {
    fn and(self, next: Self) -> Self {
        Self { from: self.from.min(next.from), to: self.to.max(next.to), sums: self.sums.plus(next.sums) }
    }
}

fn between(before: Look, now: Look) -> Sums {
    let seconds = elapsed(before.at, now.at).as_secs_f64();
    let size = before.size.zip(now.size).map(|(before, now)| before.max(now));
    let counted = size.map(|size| Sums {
        known: seconds,
        instances: size.as_f64() * seconds,
        at_max: now.max.as_f64() * seconds,
        peak: size.get(),
        ..Sums::default()
    });
    let judged = if now.over.is_some() { seconds } else { 0.0 };
    let over = if now.over == Some(true) { seconds } else { 0.0 };
    Sums { judged, over, ..counted.unwrap_or_default() }
}

fn day(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Minutes after a noon.
    fn at(minute: i64) -> Timestamp {
        "2026-03-02T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute)
    }

    fn look(minute: i64, size: impl Into<Option<u32>>, over: impl Into<Option<bool>>) -> Look {
        Look { at: at(minute), size: size.into().map(Capacity::new), max: Capacity::new(10), over: over.into() }
    }

    /// Looks, and holds what is known of all of them to minutes known, instance-minutes, at most, judged and over.
    fn check(looks: &[Look], expected: [f64; 5]) -> Ledger {
        let mut ledger = Ledger::default();
        for look in looks {
            ledger.look(*look, MINUTE * 3);
        }
        let Sums { known, instances, at_max, judged, over, .. } = ledger.all.unwrap().sums;
        let found = [known, instances, at_max, judged, over].map(|seconds| seconds / 60.0);
        let same = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
        assert!(same, "{found:?} is not {expected:?} of {looks:?}");
        ledger
    }

    #[test]
    fn what_is_seen_is_counted_from_look_to_look() {
        check(&[look(0, 4, false)], [0.0; 5]);
        let ledger = check(&[look(0, 4, false), look(1, 6, true), look(3, 5, false)], [3.0, 18.0, 30.0, 3.0, 1.0]);
        assert_eq!(ledger.all.unwrap().sums.peak, 6);
    }

    #[test]
    fn what_nobody_knows_is_not_counted() {
        check(
            &[look(0, 4, false), look(1, None, true), look(2, 4, None), look(3, 4, None)],
            [1.0, 4.0, 10.0, 1.0, 1.0],
        );
        check(&[look(0, 4, true), look(60, 4, true), look(61, 4, true)], [1.0, 4.0, 10.0, 1.0, 1.0]);
        check(&[look(9, 4, true), look(0, 4, true), look(1, 4, true)], [1.0, 4.0, 10.0, 1.0, 1.0]);
    }

    #[test]
    fn a_stretch_ends_with_the_day_and_with_a_gap() {
        let mut ledger = Ledger::default();
        let mut ended = Vec::new();
        for minute in (0..721).chain(800..802) {
            ended.extend(ledger.look(look(minute, 2, false), MINUTE));
        }
        ended.extend(ledger.today());
        let spans: Vec<_> = ended.iter().map(|stretch| (stretch.from, stretch.to)).collect();
        assert_eq!(spans, [(at(0), at(719)), (at(719), at(720)), (at(800), at(801))]);
        let sum = ended.iter().fold(Sums::default(), |sum, stretch| sum.plus(stretch.sums));
        assert_eq!(sum, ledger.all().unwrap().sums);
    }
}
