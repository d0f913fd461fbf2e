//! How latency grows with load, learned from both, and the load at which it would meet its target.
//!
//! Latency is taken for `a + b / (1 - load)`, which is what queues do: a line in `1 / (1 - load)`, fitted by least
//! squares to the mean latency of each of fifty classes of load. What it is asked for lies little beyond what was seen,
//! moves slowly, and stays below every load that missed the target.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::array;
use crate::observation::elapsed;

const CLASSES: usize = 50;
/// A class with fewer samples says nothing.
const ENOUGH: f64 = 8.0;
/// A class is the mean of about so many samples, so that it follows what changes.
const MEMORY: f64 = 200.0;
/// The part of a day's samples that is forgotten in a day: all but 1/e.
const DAY: Duration = Duration::from_hours(24);
const REFRESH: Duration = Duration::from_mins(10);
/// Below this load, latency is service time alone.
const LEAST_LOAD: f64 = 0.3;
/// Where nothing is known yet.
const FIRST: f64 = 0.6;
const MOST: f64 = 0.93;
/// Share of the target that is aimed at.
const AIM: f64 = 0.9;
/// More counts as this many times the target: an outage is no point on the curve.
const CAP: f64 = 2.0;
/// How far beyond the highest load seen. That lies below the ceiling by the margin that is kept in hand, so that with less
/// the ceiling would never rise.
const BEYOND: f64 = 0.08;
/// The most that a refresh moves.
const UP: f64 = 0.01;
const DOWN: f64 = 0.03;

/// What was learned about one latency metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Curve {
    #[serde(with = "array")]
    classes: [Class; CLASSES],
    refreshed: Timestamp,
    ceiling: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Class {
    count: f64,
    load: f64,
    latency: f64,
}

/// Width of a class of load.
fn width() -> f64 {
    u32::try_from(CLASSES).map_or(1.0, f64::from).recip()
}

impl Curve {
    /// A first pair: the higher of the load now and the one that the owner has set as target, which will do where the latency
    /// is well below its own. So neither a latency that comes to a policy nor a restart changes anything by itself.
    pub(super) fn new(load: f64, latency: f64, target: f64, now: Timestamp) -> Self {
        let first = if latency <= AIM * target { load.clamp(FIRST, MOST) } else { FIRST };
        Self { classes: [Class::default(); CLASSES], refreshed: now, ceiling: first }
    }

    /// The load at which latency meets `target`.
    pub(super) fn ceiling(&mut self, target: f64, now: Timestamp) -> f64 {
        if elapsed(self.refreshed, now) >= REFRESH {
            let faded = (-elapsed(self.refreshed, now).as_secs_f64() / DAY.as_secs_f64()).exp();
            self.refreshed = now;
            self.ceiling = self.moved(target);
            self.classes.iter_mut().for_each(|class| class.count *= faded);
        }
        self.ceiling
    }

    /// Takes a pair of `load` (0..=1) and `latency` in.
    pub(super) fn learn(&mut self, load: f64, latency: f64, target: f64) {
        let latency = latency.min(CAP * target);
        let upper = (1u32..).zip(&mut self.classes);
        let mut of_load = upper.skip_while(|(number, _)| f64::from(*number) * width() < load);
        if let Some((_, class)) = of_load.next() {
            class.count = (class.count + 1.0).min(MEMORY);
            class.load += (load - class.load) / class.count;
            class.latency += (latency - class.latency) / class.count;
        }
    }

    /// Forgets what missed `target`, since the load was not why: with less of it the latency was no better.
    pub(super) fn disown(&mut self, target: f64) {
        let missed = self.classes.iter_mut().filter(|class| class.latency > target);
        missed.for_each(|class| *class = Class::default());
    }

    fn known(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter().filter(|class| class.count >= ENOUGH)
    }

    /// The ceiling after one refresh.
    fn moved(&self, target: f64) -> f64 {
        let highest = self.known().map(|class| class.load).fold(FIRST, f64::max);
        // With so little to do, it is not the load that missed it.
        let broken = self.known().filter(|class| class.latency > target && class.load > LEAST_LOAD);
        let broken = broken.map(|class| class.load - width()).fold(MOST, f64::min);
        let wanted = self.inverted(target).unwrap_or(if self.is_well(broken, target) { MOST } else { self.ceiling });
        let wanted = wanted.min(highest + BEYOND).min(broken).clamp(LEAST_LOAD, MOST);
        wanted.clamp(self.ceiling - DOWN, self.ceiling + UP)
    }

    /// Whether all that is known of loads below `broken` leaves room to the target.
    fn is_well(&self, broken: f64, target: f64) -> bool {
        let mut known = self.known().filter(|class| class.load < broken).peekable();
        known.peek().is_some() && known.all(|class| class.latency <= AIM * target)
    }

    /// The load at which the fitted curve meets its aim; `None` where no curve that rises fits.
    fn inverted(&self, target: f64) -> Option<f64> {
        let points = || self.known().filter(|class| class.load > LEAST_LOAD);
        let point = |class: &Class| (class.count.sqrt(), (1.0 - class.load.min(0.99)).recip(), class.latency);
        let (weight, x, y) =
            points().map(point).fold((0.0, 0.0, 0.0), |(sw, sx, sy), (w, x, y)| (sw + w, sx + w * x, sy + w * y));
        // Without a point these are no numbers, and no slope comes of them.
        let (x, y) = (x / weight, y / weight);
        let (sxx, sxy) = points()
            .map(point)
            .fold((0.0, 0.0), |(sxx, sxy), (w, px, py)| (sxx + w * (px - x).powi(2), sxy + w * (px - x) * (py - y)));
        let slope = (sxx > 1e-6).then(|| sxy / sxx).filter(|slope| *slope > 0.0)?;
        let flat = y - slope * x;
        let room = AIM * target - flat;
        (room > slope).then(|| 1.0 - slope / room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: f64 = 0.5;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    /// 100 ms and 20 ms / (1 - load): meets 0.9 · 500 ms at 0.943.
    fn queue(load: f64) -> f64 {
        0.1 + 0.02 / (1.0 - load)
    }

    /// Takes a pair in, and returns the ceiling.
    fn taught(curve: &mut Curve, load: f64, latency: f64, minute: i64) -> f64 {
        curve.learn(load, latency, TARGET);
        curve.ceiling(TARGET, at(minute))
    }

    /// Runs at the ceiling and around it for `hours`.
    fn learned(hours: i64, latency: impl Fn(f64) -> f64) -> f64 {
        let mut curve = Curve::new(0.5, latency(0.5), TARGET, at(0));
        let mut ceiling = FIRST;
        for minute in 0..hours * 60 {
            let load = ceiling * [0.7, 0.8, 0.9, 1.0][usize::try_from(minute % 4).unwrap()];
            ceiling = taught(&mut curve, load, latency(load), minute);
        }
        ceiling
    }

    #[test]
    fn a_class_is_the_mean_of_what_was_seen_of_it() {
        let mut curve = Curve::new(0.5, 0.1, TARGET, at(0));
        for (load, latency) in [(0.601, 0.1), (0.603, 0.2), (0.611, 0.3)] {
            curve.learn(load, latency, TARGET);
        }
        let class = curve.classes.iter().find(|class| class.count > 0.0).unwrap();
        assert!((class.load - 0.605).abs() < 1e-9 && (class.latency - 0.2).abs() < 1e-9, "{class:?}");
    }

    #[test]
    fn it_starts_with_care_or_where_things_are_well() {
        let first = |load, latency| Curve::new(load, latency, TARGET, at(0)).ceiling;
        assert!((first(0.3, 0.1) - 0.6).abs() < 1e-9);
        assert!((first(0.8, 0.1) - 0.8).abs() < 1e-9);
        assert!((first(0.99, 0.1) - 0.93).abs() < 1e-9);
        assert!((first(0.8, 0.46) - 0.6).abs() < 1e-9);
    }

    #[test]
    fn it_learns_the_load_that_meets_the_target() {
        assert!((learned(24, queue) - 0.93).abs() < 1e-9, "bounded by what any queue can bear");
        let slow = |load: f64| 0.1 + 0.07 / (1.0 - load);
        assert!((learned(24, slow) - 0.8).abs() < 0.01);
    }

    #[test]
    fn it_moves_slowly() {
        assert!(learned(1, queue) <= 0.6 + 5.0 * UP + 1e-9);
    }

    #[test]
    fn it_stays_below_what_missed_the_target() {
        let cliff = |load: f64| if load > 0.75 { 1.0 } else { 0.1 };
        let ceiling = learned(48, cliff);
        assert!((0.7..=0.77).contains(&ceiling), "{ceiling}");
    }

    #[test]
    fn it_does_not_rise_without_room_to_the_target() {
        let after = |latency: f64| {
            let mut curve = Curve::new(0.6, latency, TARGET, at(0));
            (0..60).map(|minute| taught(&mut curve, 0.6, latency, minute)).fold(0.0, f64::max)
        };
        assert!((after(0.48) - FIRST).abs() < 1e-9, "no curve fits one point, and it leaves no room");
        assert!(after(0.44) > FIRST);
    }

    #[test]
    fn an_outage_is_forgotten() {
        let mut curve = Curve::new(0.7, 0.1, TARGET, at(0));
        for minute in 0..60 {
            let load = [0.5, 0.6, 0.7][usize::try_from(minute % 3).unwrap()];
            taught(&mut curve, load, 30.0, minute);
        }
        assert!(curve.ceiling < 0.6, "{}", curve.ceiling);
        let mut ceiling = curve.ceiling;
        for minute in 60..6 * 1440 {
            let load = ceiling * [0.8, 0.9, 1.0][usize::try_from(minute % 3).unwrap()];
            ceiling = taught(&mut curve, load, queue(load), minute);
        }
        assert!(ceiling > 0.85, "{ceiling}");
    }

    #[test]
    fn a_fleet_that_an_outage_has_made_idle_finds_its_way_back() {
        // Each class that was visited missed the target, down to the least; afterwards none of them is visited.
        let mut curve = Curve::new(0.6, 0.1, TARGET, at(0));
        let mut minute = 0;
        while curve.ceiling > LEAST_LOAD {
            for load in [curve.ceiling, curve.ceiling / 2.0] {
                (0..8).for_each(|_| curve.learn(load, 30.0, TARGET));
            }
            curve.ceiling(TARGET, at(minute));
            minute += 10;
        }
        let hours = |curve: &mut Curve, hours: i64| {
            let begin = minute;
            (begin..begin + hours * 60).fold(0.0, |ceiling: f64, minute| {
                let load = curve.ceiling * 0.95;
                taught(curve, load, queue(load), minute).max(ceiling)
            })
        };
        let mut disowned = curve.clone();
        disowned.disown(TARGET);
        assert!(hours(&mut disowned, 9) > 0.8, "{} after it was shown that the load is not why", disowned.ceiling);
        assert!(hours(&mut curve, 4 * 24) > 0.8, "{} after all is forgotten", curve.ceiling);
    }
}
