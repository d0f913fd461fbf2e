//! What was measured at regular moments, and the gaps in it.

use std::time::Duration;

use jiff::Timestamp;

/// Of one query, one a moment; `None` where nothing was measured.
pub type Samples = Vec<Option<f64>>;

/// What was measured at regular moments.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The first moment.
    pub from: Timestamp,
    /// Between two moments.
    pub step: Duration,
    /// Of each metric of the policy, in its order.
    pub metrics: Vec<Samples>,
    /// Instances in service, where that is known.
    pub capacity: Option<Samples>,
    /// How long launches took, where that is known.
    pub launches: Option<Launches>,
}

/// How long launches took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launches {
    /// Launch to in service, the median.
    pub boot: Duration,
    /// Of so many.
    pub count: usize,
}

impl History {
    /// The moment at this place.
    pub fn moment(&self, place: usize) -> Timestamp {
        let steps = u32::try_from(place).unwrap_or(u32::MAX);
        self.from.saturating_add(self.step.saturating_mul(steps)).unwrap_or(Timestamp::MAX)
    }

    /// How many moments last this long.
    pub(super) fn moments_in(&self, span: Duration) -> usize {
        usize::try_from(span.as_millis() / self.step.as_millis().max(1)).unwrap_or(usize::MAX)
    }
}

/// A stretch of places, the last of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub first: usize,
    pub last: usize,
}

impl Stretch {
    pub fn length(self) -> usize {
        self.last - self.first + 1
    }
}

/// The stretches in which `is` holds.
pub(super) fn stretches(places: usize, is: impl Fn(usize) -> bool) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for place in (0..places).filter(|place| is(*place)) {
        match found.last_mut() {
            Some(stretch) if stretch.last + 1 == place => stretch.last = place,
            _ => found.push(Stretch { first: place, last: place }),
        }
    }
    found
}

/// `samples` with a straight line over every gap; before the first and after the last the nearest. `None` where there is
/// none at all.
pub(super) fn bridged(samples: &[Option<f64>]) -> Option<Vec<f64>> {
    let mut bridged = Vec::with_capacity(samples.len());
    let mut before = None;
    let mut known = samples.iter().enumerate().filter_map(|(place, sample)| Some((place, (*sample)?))).peekable();
    known.peek()?;
    for place in 0..samples.len() {
        while let Some(point) = known.next_if(|(at, _)| *at <= place) {
            before = Some(point);
        }
        bridged.push(match (before, known.peek().copied()) {
            (Some(left), Some(right)) => between(left, right, place),
            (Some((_, value)), None) | (None, Some((_, value))) => value,
            (None, None) => return None,
        });
    }
    Some(bridged)
}

fn between((left, before): (usize, f64), (right, after): (usize, f64), place: usize) -> f64 {
    let share = |places: usize| f64::from(u32::try_from(places).unwrap_or(u32::MAX));
    before + (after - before) * share(place - left) / share(right - left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_bridged_by_a_line_and_an_end_by_its_neighbour() {
        let check = |samples: &[Option<f64>], expected: Option<&[f64]>| {
            assert_eq!(bridged(samples).as_deref(), expected, "{samples:?}");
        };
        check(&[None, Some(1.0), None, None, Some(4.0), None], Some(&[1.0, 1.0, 2.0, 3.0, 4.0, 4.0]));
        check(&[Some(2.0)], Some(&[2.0]));
        check(&[None, None], None);
        check(&[], None);
    }

    #[test]
    fn neighbours_make_a_stretch() {
        let found = stretches(7, |place| [0, 1, 4, 6].contains(&place));
        let ends: Vec<_> = found.iter().map(|stretch| (stretch.first, stretch.last, stretch.length())).collect();
        assert_eq!(ends, [(0, 1, 2), (4, 4, 1), (6, 6, 1)]);
    }
}
