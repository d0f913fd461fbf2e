//! The runaway guards: what a group may spend, the brake on scale-out that does not help, and the signals that hold
//! scale-in while they burn.

mod fixture;

use std::time::Duration;

use fixture::{Fleet, metric, pid, policy, value};
use setpoint::control::{Guard, Outcome, Reason, SpendPeriod};
use setpoint::observation::{Failure, Measurement, Override};
use setpoint::policy::{
    Brake, Capacity, Controller, Fallback, HoldSignal, MaxSpend, MetricKind, Mode, PerDirection, Policy, Risk, Source,
    Threshold,
};

const HOUR: i64 = 3600;

/// Between 2 and 100 instances at ten cents an hour, with nothing else in the way of a scale-out.
fn priced(per_hour: Option<f64>, per_day: Option<f64>) -> Policy {
    let (out, cooldown) = (None, Duration::ZERO);
    Policy {
        max: Capacity::new(100),
        step: PerDirection { out, ..policy().step },
        cooldown: PerDirection { out: cooldown, ..policy().cooldown },
        instance_price: Some(0.1),
        max_spend: MaxSpend { per_hour, per_day },
        ..policy()
    }
}

fn wants(fleet: &mut Fleet, second: i64, instances: f64) -> u32 {
    let share = instances / fleet.group.in_service.as_f64();
    fleet.at(second).sees(value(0.7 * share))
}

fn spend_limited(fleet: &Fleet) -> Option<(u32, u32, SpendPeriod)> {
    fleet.reasons().iter().find_map(|reason| match reason {
        Reason::SpendLimited { wanted, allowed, per, .. } => Some((wanted.get(), allowed.get(), *per)),
        _ => None,
    })
}

/// Of four instances at 70 %, after 20 minutes of `before`.
fn under_percent(before: f64, now: f64) -> (u32, Fleet) {
    let rules = Policy { metrics: vec![metric("cpu", MetricKind::Utilization, 70.0)], ..policy() };
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(before)]);
    (fleet.at(600).sees(value(now)), fleet)
}

#[test]
fn a_share_against_a_target_in_percent_removes_nothing() {
    let (kept, fleet) = under_percent(0.92, 0.92);
    assert_eq!(kept, 4);
    assert_eq!(
        fleet.because(),
        "cpu at 0.920 against 70.0 asks for 1, but no scale-in while cpu is 0.920 against 70.0 and was never above 1.5, as \
         a share would be; if it is one, its target is 0.700"
    );
}

#[test]
fn a_percentage_that_was_seen_to_be_one_may_be_low() {
    assert!(under_percent(40.0, 0.92).0 < 4);
    assert!(under_percent(0.0, 0.0).0 < 4, "nothing is nothing in either unit");
}

// What a group may spend.

#[test]
fn a_scale_out_stays_below_the_ceiling_of_an_hour() {
    let check = |ceiling, expected| {
        let mut fleet = Fleet::new(priced(Some(ceiling), None));
        assert_eq!(wants(&mut fleet, 0, 5.5), expected, "{ceiling}: {}", fleet.because());
        let limited = (expected < 6).then_some((6, expected, SpendPeriod::Hour));
        assert_eq!(spend_limited(&fleet), limited, "{ceiling}");
    };
    check(0.6, 6);
    check(0.599, 5);
    check(0.5, 5);
    check(0.49, 4);
    check(0.2, 4);
    check(0.01, 4);
}

#[test]
fn the_ceiling_is_told_with_what_it_allows() {
    let mut fleet = Fleet::new(priced(Some(0.5), None));
    wants(&mut fleet, 0, 5.5);
    let says = "cpu at 0.962 against 0.700 asks for 6, but scale-out to 6 would cost more than max_spend_per_hour, 0.50, \
                which allows 5";
    assert_eq!(fleet.because(), says);
    let mut fleet = Fleet::new(priced(None, Some(3.0)));
    wants(&mut fleet, 0, 5.5);
    let says = "scale-out to 6 would cost more than max_spend_per_day, 3.00, in six hours, as the 18 hours before have cost \
                0.00; it allows 5";
    assert!(fleet.because().ends_with(says), "{}", fleet.because());
}

#[test]
fn without_a_price_there_is_no_ceiling() {
    let mut fleet = Fleet::new(Policy { instance_price: None, ..priced(Some(0.1), Some(0.1)) });
    assert_eq!(wants(&mut fleet, 0, 5.5), 6);
}

#[test]
fn no_ceiling_removes_anything_or_bars_a_scale_in() {
    let mut fleet = Fleet::new(priced(Some(0.01), Some(0.01))).warmed_up();
    assert!(wants(&mut fleet, 600, 2.0) < 4, "{}", fleet.because());
    assert_eq!(spend_limited(&fleet), None);
}

#[test]
fn a_minimum_is_restored_whatever_it_costs() {
    let mut costly = priced(Some(0.3), Some(0.3));
    costly.min = Capacity::new(6);
    let mut fleet = Fleet::new(costly);
    assert_eq!(wants(&mut fleet, 0, 2.0), 6);
    assert_eq!(spend_limited(&fleet), None);
    assert_eq!(wants(&mut fleet, 15, 9.0), 6);
    assert_eq!(spend_limited(&fleet), Some((6 + 3, 6, SpendPeriod::Day)), "what is beyond it is not");

    let mut fleet = Fleet::new(priced(Some(0.3), None));
    let until = Fleet::moment(HOUR);
    fleet.ordered = Some(Override { floor: Some(Capacity::new(7)), cap: None, until });
    assert_eq!(wants(&mut fleet, 0, 2.0), 7, "an operator's floor is one");
}

#[test]
fn a_fallback_is_not_beyond_the_ceiling() {
    let fallback = Some(Fallback { after: Duration::ZERO, capacity: Capacity::new(9) });
    let mut fleet = Fleet::new(Policy { fallback, ..priced(Some(0.7), None) });
    assert_eq!(fleet.at(0).sees(Measurement::NoData), 7);
}

#[test]
fn a_day_is_eighteen_hours_that_were_and_six_to_come() {
    let check = |ceiling, hours, expected| {
        let mut fleet = Fleet::new(priced(None, Some(ceiling)));
        for second in (0..hours * HOUR).step_by(300) {
            fleet.at(second).sees(value(0.7));
        }
        let to = wants(&mut fleet, hours * HOUR, 50.0);
        assert_eq!(to, expected, "{ceiling} after {hours} hours: {}", fleet.because());
    };
    // Nothing is known of what was before.
    check(6.0, 0, 10);
    check(5.999, 0, 9);
    // Four instances for ten hours are 4.00.
    check(10.0, 10, 10);
    check(9.999, 10, 9);
    check(100.0, 10, 50);
    // For a day they are 7.20 in its last 18 hours.
    check(13.2, 24, 10);
    check(13.199, 24, 9);
    check(7.2, 24, 4);
    check(1.0, 24, 4);
}

#[test]
fn the_lower_of_the_two_ceilings_holds() {
    let check = |per_hour, per_day, allowed, per| {
        let mut fleet = Fleet::new(priced(Some(per_hour), Some(per_day)));
        wants(&mut fleet, 0, 50.0);
        assert_eq!(spend_limited(&fleet), Some((50, allowed, per)));
    };
    check(0.8, 6.0, 8, SpendPeriod::Hour);
    check(1.1, 6.0, 10, SpendPeriod::Day);
}

#[test]
fn what_was_spent_is_known_after_the_policy_has_changed() {
    let mut fleet = Fleet::new(priced(None, Some(100.0)));
    for second in (0..10 * HOUR).step_by(300) {
        fleet.at(second).sees(value(0.7));
    }
    fleet.changes_to(priced(None, Some(10.0)));
    assert_eq!(wants(&mut fleet, 10 * HOUR, 50.0), 10);
}

// Signals that hold scale-in.

fn held_by(threshold: Threshold) -> Policy {
    let source = Source::Prometheus { query: "errors".into(), per_instance: None };
    let signal = |name: &str| HoldSignal {
        name: name.into(),
        threshold,
        max_age: Duration::from_secs(90),
        source: source.clone(),
    };
    Policy { hold_scale_in_while: vec![signal("errors"), signal("saturation")], ..policy() }
}

/// Of four instances that idle, beside these signals; and who objects.
fn idle(policy: Policy, signals: &[Measurement]) -> (u32, Vec<Guard>) {
    let mut fleet = Fleet::new(policy);
    fleet.signals = vec![value(0.0), value(0.0)];
    let mut fleet = fleet.warmed_up();
    fleet.signals = signals.to_vec();
    let to = fleet.at(600).sees(value(0.1));
    let guards = fleet.reasons().into_iter().filter_map(|reason| match reason {
        Reason::Vetoed { guard } => Some(guard),
        _ => None,
    });
    (to, guards.collect())
}

#[test]
fn nothing_is_removed_while_a_signal_burns() {
    let above = Threshold::Above(0.01);
    let check = |signals: &[Measurement], expected: &[Guard]| {
        let (to, guards) = idle(held_by(above), signals);
        assert_eq!(guards, expected, "{signals:?}");
        assert_eq!(to < 4, expected.is_empty(), "{signals:?}");
    };
    let burning = |signal: &str, value| Guard::SignalBurning { signal: signal.into(), value, threshold: above };
    check(&[value(0.0), value(0.01)], &[]);
    check(&[value(-3.0), value(0.0)], &[]);
    check(&[value(0.011), value(0.0)], &[burning("errors", 0.011)]);
    check(&[value(0.0), value(7.0)], &[burning("saturation", 7.0)]);
    check(&[value(1.0), value(7.0)], &[burning("errors", 1.0), burning("saturation", 7.0)]);
}

#[test]
fn nothing_is_removed_while_a_signal_is_unknown() {
    let unknown = |signal: &str| Guard::SignalUnknown { signal: signal.into() };
    let failed = Measurement::Failed { failure: Failure::Timeout };
    let stale = Measurement::Stale { age: Duration::from_mins(5) };
    for bad in [failed, stale, Measurement::NoData, value(f64::NAN), value(f64::INFINITY)] {
        let (to, guards) = idle(held_by(Threshold::Above(0.01)), &[bad, value(0.0)]);
        assert_eq!((to, guards), (4, vec![unknown("errors")]), "{bad}");
    }
    let (to, guards) = idle(held_by(Threshold::Below(0.0)), &[value(0.0)]);
    assert_eq!((to, guards), (4, vec![unknown("saturation")]), "what is not told at all");
}

#[test]
fn a_signal_may_burn_below_its_threshold() {
    let below = Threshold::Below(0.99);
    let (to, _) = idle(held_by(below), &[value(0.99), value(1.0)]);
    assert!(to < 4);
    let (to, guards) = idle(held_by(below), &[value(0.98), value(1.0)]);
    let burning = Guard::SignalBurning { signal: "errors".into(), value: 0.98, threshold: below };
    assert_eq!((to, guards), (4, vec![burning.clone()]));
    assert_eq!(burning.to_string(), "no scale-in while errors is 0.980, below 0.99");
}

#[test]
fn not_even_a_lower_maximum_removes_anything_while_a_signal_burns() {
    let mut lower = held_by(Threshold::Above(0.01));
    lower.max = Capacity::new(3);
    assert!(idle(lower.clone(), &[value(0.0), value(0.0)]).0 < 4);
    assert_eq!(idle(lower, &[value(0.5), value(0.0)]).0, 4);
}

#[test]
fn a_signal_never_holds_or_causes_a_scale_out() {
    let mut fleet = Fleet::new(held_by(Threshold::Above(0.01)));
    for signals in [vec![value(9.0), value(9.0)], vec![Measurement::NoData; 2], Vec::new()] {
        fleet.signals = signals;
        assert_eq!(fleet.at(0).sees(value(0.7)), 4);
        assert_eq!(fleet.at(15).sees(value(1.0)), 6);
    }
}

// The brake.

/// A policy of a CPU and a latency, and a service: how busy `size` instances are on average, and how slow.
struct Service {
    fleet: Fleet,
    cpu: fn(f64) -> f64,
    latency: fn(f64) -> f64,
    second: i64,
    largest: u32,
}

impl Service {
    fn new(controller: Controller, brake: Option<Brake>, cpu: fn(f64) -> f64, latency: fn(f64) -> f64) -> Self {
        let metrics = vec![metric("cpu", MetricKind::Utilization, 0.7), metric("p99", MetricKind::Latency, 0.5)];
        let rules = Policy { controller, brake, metrics, max: Capacity::new(100), ..policy() };
        Self { fleet: Fleet::new(rules), cpu, latency, second: 0, largest: 0 }
    }

    /// Runs for so long; whatever is asked for serves a minute later, and nothing is ever removed.
    fn run(&mut self, minutes: i64) -> u32 {
        for _ in 0..minutes * 4 {
            self.second += 15;
            let size = self.fleet.group.in_service.as_f64();
            let seen = [value((self.cpu)(size)), value((self.latency)(size))];
            let to = self.fleet.at(self.second).sees_all(&seen);
            assert!(to >= self.fleet.group.desired.get(), "{}", self.fleet.because());
            self.fleet.applied(Outcome::Applied);
            self.largest = self.largest.max(to);
            if self.second % 60 == 0 {
                self.fleet.settle_in();
            }
        }
        self.largest
    }

    fn is_braked(&self) -> bool {
        self.fleet.reasons().iter().any(|reason| matches!(reason, Reason::ScaleOutNotHelping { .. }))
    }
}

fn two_busy(size: f64) -> f64 {
    2.0 / size
}

#[test]
fn a_latency_that_capacity_makes_worse_does_not_fill_the_group() {
    for controller in [pid(1.0, 0.0), Controller::Risk(Risk::default())] {
        let worse = |size| 0.6 + 0.05 * size;
        let unbraked = Service::new(controller.clone(), None, two_busy, worse).run(60);
        assert_eq!(unbraked, 100, "{controller:?}");
        let mut service = Service::new(controller, Some(Brake::default()), two_busy, worse);
        let largest = service.run(25);
        assert!((8..=24).contains(&largest) && service.is_braked(), "{largest}: {}", service.fleet.because());
        // A step of a fifth every half an hour, and nothing else.
        let after = service.run(120);
        assert!(after > largest && after < largest * 5 / 2, "{largest} became {after}");
        assert!(
            service.fleet.says("p99 has not got better since 2027-01-15 08:00:15 UTC"),
            "{}",
            service.fleet.because()
        );
        // The cause is gone.
        (service.latency, service.largest) = (|_| 0.4, 0);
        let size = service.fleet.group.desired.get();
        assert_eq!(service.run(5), size);
        assert!(!service.is_braked());
    }
}

#[test]
fn a_crowd_is_never_braked() {
    // Each instance is as busy as before, however many there are.
    let mut crowd = Service::new(pid(1.0, 0.0), Some(Brake::default()), |_| 0.69, |_| 2.0);
    assert_eq!(crowd.run(60), 100, "{}", crowd.fleet.because());
    // A latency that capacity helps, though it takes ten times what there was.
    let helped = |size: f64| 20.0 / size;
    let mut helped = Service::new(pid(1.0, 0.0), Some(Brake::default()), two_busy, helped);
    helped.fleet.policy.mode = Mode::ScaleOutOnly;
    assert!(helped.run(60) >= 40, "{}", helped.fleet.because());
}

#[test]
fn a_braked_latency_does_not_hold_what_the_load_asks_for() {
    let mut service = Service::new(pid(1.0, 0.0), Some(Brake::default()), two_busy, |_| 2.0);
    let largest = service.run(25);
    assert!(service.is_braked());
    service.cpu = |size| (40.0 / size).min(1.0);
    assert!(service.run(10) >= largest * 2, "{}", service.fleet.because());
}

#[test]
fn a_latency_alone_and_a_load_alone_have_no_brake() {
    let mut service = Service::new(pid(1.0, 0.0), Some(Brake::default()), two_busy, |_| 2.0);
    service.fleet.policy.metrics[0].kind = MetricKind::Latency;
    assert_eq!(service.run(60), 100);
    let mut service = Service::new(pid(1.0, 0.0), Some(Brake::default()), |_| 1.0, |_| 0.1);
    assert_eq!(service.run(60), 100);
    service.fleet.policy.metrics[1].kind = MetricKind::Utilization;
    assert_eq!(service.run(60), 100);
}

#[test]
fn the_larger_the_factor_the_later_it_brakes() {
    let braked_at = |factor| {
        let mut service = Service::new(pid(1.0, 0.0), Some(Brake { factor }), two_busy, |_| 2.0);
        (0..120).find(|_| {
            service.run(1);
            service.is_braked()
        })
    };
    assert!(braked_at(2.0) < braked_at(4.0), "{:?} {:?}", braked_at(2.0), braked_at(4.0));
    assert!(braked_at(4.0).is_some());
}
