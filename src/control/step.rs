//! Bands around the target, each with an adjustment.
//!
//! A band adds to what serves already, so that capacity on its way is not added again; and it takes away only from a
//! group that has settled.

use crate::observation::GroupStatus;
use crate::policy::{Adjustment, Band, Bands, Capacity};

/// The capacity, in instances, to ask for at `ratio` (measured over target).
pub(super) fn ask(bands: &Bands, ratio: f64, group: &GroupStatus) -> f64 {
    let here = group.desired.as_f64();
    if let Some(band) = bands.above.iter().rev().find(|band| ratio >= band.from) {
        let serving = group.serving().as_f64();
        here.max(serving + change(*band, serving))
    } else if let Some(band) = bands.below.iter().rev().find(|band| ratio <= band.from)
        && group.warm >= group.desired
    {
        (here - change(*band, here)).max(0.0)
    } else {
        here
    }
}

/// A percentage is a whole number of instances, at least one.
fn change(band: Band, of: f64) -> f64 {
    match band.change {
        Adjustment::Count(count) => count.as_f64(),
        Adjustment::Percent(percent) => (of * percent / 100.0).round().clamp(1.0, Capacity::MAX.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ratio: f64, desired: u32, warm: u32, expected: f64) {
        let band = |from, change| Band { from, change };
        let bands = Bands {
            above: vec![band(1.2, Adjustment::Percent(20.0)), band(1.5, Adjustment::Count(Capacity::new(5)))],
            below: vec![band(0.6, Adjustment::Percent(10.0)), band(0.3, Adjustment::Percent(50.0))],
        };
        let [desired, warm] = [desired, warm].map(Capacity::new);
        let group = GroupStatus { desired, in_service: warm, warm, ..GroupStatus::default() };
        let asked = ask(&bands, ratio, &group);
        assert!((asked - expected).abs() < 1e-9, "{asked} at {ratio} with {warm} of {desired}");
    }

    #[test]
    fn the_outermost_band_that_is_reached_counts() {
        check(1.1, 10, 10, 10.0);
        check(1.2, 10, 10, 12.0);
        check(1.6, 10, 10, 15.0);
        check(0.61, 10, 10, 10.0);
        check(0.6, 10, 10, 9.0);
        check(0.1, 10, 10, 5.0);
    }

    #[test]
    fn capacity_on_its_way_is_not_added_again() {
        check(1.3, 12, 10, 12.0);
        check(1.6, 12, 10, 15.0);
    }

    #[test]
    fn nothing_is_taken_away_before_the_group_has_settled() {
        check(0.1, 12, 10, 12.0);
    }

    #[test]
    fn a_percentage_is_at_least_one_instance() {
        check(1.2, 2, 2, 3.0);
        check(0.5, 2, 2, 1.0);
    }
}
