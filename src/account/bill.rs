//! The account of some time: what was paid for, beside what would have been.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Stretch, Sums};
use crate::observation::elapsed;

const HOUR: f64 = 3600.0;
const MINUTE: f64 = 60.0;

/// What a group came to, beside what it would have come to otherwise: an estimate, of instances alone and at one price.
///
/// Only the time counts in which its size is known, in the baselines as well, so that they compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bill {
    /// When it begins: as asked for, or with the day in which that lies.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// Hours in which the size of the group is known.
    pub known_hours: f64,
    /// Hours in which it is not: nothing looked, or the group could not be described.
    pub unknown_hours: f64,
    /// Instance-hours, launched or in service.
    pub instance_hours: f64,
    /// The price of one; null where it is not known.
    pub price: Option<f64>,
    /// The money; null where the price is not known.
    pub cost: Option<f64>,
    /// Minutes in which it is known whether the metrics were over.
    pub judged_minutes: f64,
    /// Minutes in which a latency was over its target or, where the policy has none, another metric by more than a tenth.
    pub over_minutes: f64,
    /// What it would have come to in the same time.
    pub baselines: Vec<Baseline>,
}

/// What a group would have come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Baseline {
    /// How.
    pub name: Named,
    /// Instance-hours.
    pub instance_hours: f64,
    /// The money; null where the price is not known.
    pub cost: Option<f64>,
    /// Instance-hours that were saved; below zero where more was paid for than this.
    pub saved_hours: f64,
    /// The money that was saved; null where the price is not known.
    pub saved_cost: Option<f64>,
}

/// What a group is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// The policy's most capacity, all the time.
    StaticAtMax,
    /// The most instances that were there at a time, all the time.
    StaticAtPeak,
}

impl Bill {
    /// The bill of `stretches` from `from` to `to`, at this `price` of an instance-hour. One that began before counts
    /// whole, and the bill begins with it.
    pub fn of(stretches: &[Stretch], from: Timestamp, to: Timestamp, price: Option<f64>) -> Self {
        let within = || stretches.iter().filter(|stretch| stretch.to > from && stretch.from < to);
        let sums = within().fold(Sums::default(), |sum, stretch| sum.plus(stretch.sums));
        let from = within().fold(from, |from, stretch| from.min(stretch.from));
        let unknown = (elapsed(from, to).as_secs_f64() - sums.known).max(0.0);
        let instance_hours = sums.instances / HOUR;
        let baseline = |name, seconds: f64| Baseline {
            name,
            instance_hours: seconds / HOUR,
            cost: price.map(|price| price * seconds / HOUR),
            saved_hours: seconds / HOUR - instance_hours,
            saved_cost: price.map(|price| price * (seconds / HOUR - instance_hours)),
        };
        Self {
            from,
            to,
            known_hours: sums.known / HOUR,
            unknown_hours: unknown / HOUR,
            instance_hours,
            price,
            cost: price.map(|price| price * instance_hours),
            judged_minutes: sums.judged / MINUTE,
            over_minutes: sums.over / MINUTE,
            baselines: vec![
                baseline(Named::StaticAtMax, sums.at_max),
                baseline(Named::StaticAtPeak, f64::from(sums.peak) * sums.known),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::super::{Ledger, Look};
    use super::*;
    use crate::policy::Capacity;

    fn at(hour: i64) -> Timestamp {
        "2026-03-02T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// Four instances for ten hours of a day, at most ten; then two for five hours of the next.
    fn days() -> [Stretch; 2] {
        let hours = |known: f64, size: u32, over: f64| Sums {
            known: known * HOUR,
            instances: f64::from(size) * known * HOUR,
            at_max: 10.0 * known * HOUR,
            peak: size,
            judged: known * HOUR,
            over: over * MINUTE,
        };
        let first = Stretch { from: at(0), to: at(12), sums: hours(10.0, 4, 7.0) };
        [first, Stretch { from: at(24), to: at(29), sums: hours(5.0, 2, 0.0) }]
    }

    #[test]
    fn a_bill_by_hand() {
        let bill = Bill::of(&days(), at(0), at(30), Some(0.1));
        near(bill.instance_hours, 50.0);
        near(bill.cost.unwrap(), 5.0);
        near(bill.known_hours, 15.0);
        near(bill.unknown_hours, 15.0);
        near(bill.over_minutes, 7.0);
        near(bill.judged_minutes, 900.0);
        let [max, peak] = &bill.baselines[..] else { panic!("two baselines") };
        assert_eq!((max.name, peak.name), (Named::StaticAtMax, Named::StaticAtPeak));
        near(max.instance_hours, 150.0);
        near(max.saved_cost.unwrap(), 10.0);
        near(peak.instance_hours, 60.0);
        near(peak.cost.unwrap(), 6.0);
        near(peak.saved_hours, 10.0);
    }

    #[test]
    fn a_day_counts_whole_and_the_bill_begins_with_it() {
        let bill = Bill::of(&days(), at(6), at(30), None);
        near(bill.instance_hours, 50.0);
        assert_eq!(bill.from, at(0));
        let bill = Bill::of(&days(), at(12), at(30), None);
        near(bill.instance_hours, 10.0);
        near(bill.unknown_hours, 13.0);
        assert_eq!((bill.from, bill.cost, bill.baselines[0].saved_cost), (at(12), None, None));
    }

    #[test]
    fn more_than_the_most_is_a_loss_that_is_shown() {
        let [mut day, _] = days();
        day.sums.at_max = 3.0 * day.sums.known;
        near(Bill::of(&[day], at(0), at(12), Some(0.1)).baselines[0].saved_cost.unwrap(), -1.0);
    }

    proptest! {
        /// Whatever is seen, no baseline is below what was paid for while the group is within its bounds, no time is
        /// counted twice, and days add up to the whole.
        #[test]
        fn baselines_and_time_bound_the_bill(
            looks in prop::collection::vec((0_i64..400, prop::option::of(0_u32..=10), prop::option::of(any::<bool>())), 1..300),
        ) {
            let mut ledger = Ledger::default();
            let (mut now, mut days) = (at(0), Vec::new());
            for (minutes, size, over) in looks {
                now += SignedDuration::from_mins(minutes);
                let look = Look { at: now, size: size.map(Capacity::new), max: Capacity::new(10), over };
                days.extend(ledger.look(look, std::time::Duration::from_hours(2)));
            }
            days.extend(ledger.today());
            let bill = Bill::of(&days, at(0), now.max(at(1)), Some(0.5));
            let whole = ledger.all().unwrap();
            prop_assert!((bill.instance_hours - whole.sums.instances / HOUR).abs() < 1e-6);
            for baseline in &bill.baselines {
                prop_assert!(baseline.saved_hours > -1e-6, "{baseline:?}");
            }
            let span = elapsed(bill.from, bill.to).as_secs_f64() / HOUR;
            prop_assert!((bill.known_hours + bill.unknown_hours - span).abs() < 1e-6);
            prop_assert!(bill.over_minutes <= bill.judged_minutes && bill.judged_minutes <= span * 60.0 + 1e-6);
        }
    }
}
