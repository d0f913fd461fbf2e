//! What no controller can beat: the optimum of one who knows the future, and the best rule in hindsight of one who
//! learns of demand only a lead later.
//!
//! Both count serving and booting instances: what the reference plant bills, but for the least time that an instance
//! is billed for. They are meant for the rate that is expected; nobody provides for each arrival.

use std::collections::VecDeque;

use super::queue::INSTANCE_RATE;
use super::reference::{Seen, Settings};
use super::trace::{CEILING, STEP, count, whole};
use crate::observation::elapsed;
use crate::policy::Capacity;

/// How long the reactive rule may look back for the highest demand, in seconds.
const HOLDS: [f64; 13] = [0.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0];

/// The instances, before rounding, that keep the objective of the reference plant at each of these `rates` in requests per second.
pub fn loads(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| rate / (INSTANCE_RATE * CEILING)).collect()
}

/// The fewest whole instances for each load, at least `min`.
pub fn needs(loads: &[f64], min: Capacity) -> Vec<u32> {
    loads.iter().map(|load| up(*load).max(min).get()).collect()
}

fn up(instances: f64) -> Capacity {
    Capacity::floor(instances.ceil()).unwrap_or(Capacity::MAX)
}

/// The least instance-seconds that keep at least `needs` in service at every step, when each launch takes `boot`
/// seconds that are billed. What the first step needs is there already.
///
/// The instances that serve are needed in any case. Beyond those, each level of capacity decides alone: over a gap in
/// its need it is kept, or launched again, whichever costs less.
pub fn clairvoyant(needs: &[u32], boot: f64) -> f64 {
    let levels = |need: u32| usize::try_from(need).unwrap_or(usize::MAX);
    let mut needed_until = vec![f64::NEG_INFINITY; levels(needs.iter().copied().max().unwrap_or_default())];
    let mut instance_seconds = STEP * needs.iter().copied().map(f64::from).sum::<f64>();
    for (step, change) in needs.windows(2).enumerate() {
        let (before, after) = (levels(change[0]), levels(change[1]));
        let now = count(step + 1) * STEP;
        if after < before {
            needed_until[after..before].fill(now);
        } else {
            let gaps = needed_until[before..after].iter().map(|until| (now - until).min(boot));
            instance_seconds += gaps.sum::<f64>();
        }
    }
    instance_seconds
}

/// Decides as one who knows the `rates` of every step until what is launched now is warm and asked about again.
pub fn look_ahead<'a>(settings: &'a Settings, rates: &'a [f64]) -> impl FnMut(&Seen) -> Capacity + 'a {
    let lead = settings.boot.longest() + settings.warm_up + settings.interval;
    let known = whole(lead.as_secs_f64() / STEP) + 1;
    move |seen| {
        let now = whole(elapsed(settings.start, seen.at).as_secs_f64() / STEP);
        let highest = rates.iter().skip(now).take(known).copied().fold(0.0, f64::max);
        settings.needed(highest)
    }
}

/// The reactive rule: `headroom` × the highest load of the `hold` that ended a lead ago, rounded up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reactive {
    /// Factor on the highest load.
    pub headroom: f64,
    /// In seconds.
    pub hold: f64,
    /// Serving and booting.
    pub instance_seconds: f64,
}

/// How the reactive rule is placed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Least capacity.
    pub min: Capacity,
    /// Most capacity.
    pub max: Capacity,
    /// Seconds that each launch is billed for before it serves.
    pub boot: f64,
    /// Seconds until a load can be answered.
    pub lead: f64,
    /// The share of steps that may have less than they need.
    pub risk: f64,
}

/// The cheapest reactive rule in hindsight within `terms`.
pub fn reactive(loads: &[f64], terms: Terms) -> Option<Reactive> {
    let needs = needs(loads, terms.min);
    let rules = HOLDS.iter().map(|hold| {
        let highest = highest(loads, whole(terms.lead / STEP), whole(hold / STEP));
        let headroom = least_headroom(&highest, &needs, terms);
        let fleet = highest.iter().map(|load| up(headroom * load).clamp(terms.min, terms.max).as_f64());
        Reactive { headroom, hold: *hold, instance_seconds: instance_seconds(fleet, terms.boot) }
    });
    rules.min_by(|left, right| left.instance_seconds.total_cmp(&right.instance_seconds))
}

/// The highest load of the `hold + 1` steps that ended `lead` steps ago; before that, the first.
fn highest(loads: &[f64], lead: usize, hold: usize) -> Vec<f64> {
    // Falling loads with their steps: those that a later, higher one has outdone are gone.
    let mut falling: VecDeque<(usize, f64)> = VecDeque::new();
    let peaks = loads.iter().enumerate().map(|(step, load)| {
        while falling.back().is_some_and(|(_, last)| last <= load) {
            falling.pop_back();
        }
        falling.push_back((step, *load));
        while falling.front().is_some_and(|(first, _)| first + hold < step) {
            falling.pop_front();
        }
        falling.front().map_or(*load, |(_, highest)| *highest)
    });
    let first = loads.first().copied().into_iter().cycle().take(lead);
    first.chain(peaks).take(loads.len()).collect()
}

/// The least factor that leaves no more steps short than the risk allows.
fn least_headroom(highest: &[f64], needs: &[u32], terms: Terms) -> f64 {
    // A step is short as long as `factor × load` does not exceed one instance less than it needs.
    let mut short_up_to: Vec<f64> = highest
        .iter()
        .zip(needs)
        .map(|(load, need)| if *need > terms.min.get() { f64::from(need - 1) / load.max(1e-6) } else { 0.0 })
        .collect();
    let allowed = whole(terms.risk * count(needs.len())).min(needs.len() - 1);
    let (_, factor, _) = short_up_to.select_nth_unstable_by(allowed, |left, right| right.total_cmp(left));
    *factor * (1.0 + 1e-9)
}

fn instance_seconds(fleet: impl Iterator<Item = f64>, boot: f64) -> f64 {
    let mut before = None;
    fleet.fold(0.0, |sum, size| {
        let launched = (size - before.replace(size).unwrap_or(size)).max(0.0);
        sum + size * STEP + launched * boot
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulation::noise::Noise;
    use crate::simulation::reference::{Boot, run};
    use crate::simulation::trace::Demand;

    /// By trying every fleet at every step: the cheapest way to each size, step by step.
    fn by_brute_force(needs: &[u32], boot: f64) -> f64 {
        let most = needs.iter().copied().max().unwrap();
        let mut cheapest: Vec<f64> =
            (0..=most).map(|size| if size == needs[0] { f64::from(size) * STEP } else { f64::INFINITY }).collect();
        for need in &needs[1..] {
            let reach = |to: u32| {
                let from = (0..=most).zip(&cheapest);
                let launched = from.map(|(from, cost)| cost + boot * f64::from(to.saturating_sub(from)));
                launched.fold(f64::INFINITY, f64::min) + f64::from(to) * STEP
            };
            cheapest = (0..=most).map(|to| if to < *need { f64::INFINITY } else { reach(to) }).collect();
        }
        cheapest.into_iter().fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_optimum_by_levels_is_that_of_brute_force() {
        for seed in 0..500 {
            let mut noise = Noise::new(seed);
            let needs: Vec<u32> = (0..14).map(|_| up(5.0 * noise.uniform()).get()).collect();
            let boot = STEP * (6.0 * noise.uniform()).floor();
            let (levels, tried) = (clairvoyant(&needs, boot), by_brute_force(&needs, boot));
            assert!((levels - tried).abs() < 1e-9, "{levels} is not {tried} for {needs:?} at {boot} s");
        }
    }

    #[test]
    fn a_level_is_kept_over_a_gap_shorter_than_a_boot() {
        let check = |needs: &[u32], expected: f64| {
            let found = clairvoyant(needs, 6.0);
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected} for {needs:?}");
        };
        check(&[2, 2, 2], 18.0);
        check(&[2, 1, 2], 15.0 + 3.0);
        check(&[2, 1, 1, 1, 2], 21.0 + 6.0);
        check(&[1, 2], 9.0 + 6.0);
    }

    #[test]
    fn the_highest_load_is_that_of_the_hold_before_the_lead() {
        let loads = [1.0, 5.0, 2.0, 4.0, 3.0, 0.0, 0.0];
        assert_eq!(highest(&loads, 0, 0), loads);
        assert_eq!(highest(&loads, 2, 0), [1.0, 1.0, 1.0, 5.0, 2.0, 4.0, 3.0]);
        assert_eq!(highest(&loads, 1, 2), [1.0, 1.0, 5.0, 5.0, 5.0, 4.0, 4.0]);
    }

    #[test]
    fn looking_ahead_sees_as_far_as_the_lead() {
        let boot = Boot::Constant(Duration::from_secs(6));
        let reference = Settings::reference(Capacity::new(1), Capacity::new(100));
        let settings = Settings { boot, warm_up: Duration::ZERO, interval: Duration::from_secs(15), ..reference };
        let rates: Vec<f64> = (1..=30).map(|instances| f64::from(instances) * settings.bearable() - 1.0).collect();
        let demand = Demand { expected: vec![0.0; 30], arrived: vec![0.0; 30], retried: 0.0 };
        let mut ahead = look_ahead(&settings, &rates);
        let mut answers = Vec::new();
        let decide = |seen: &Seen| {
            let wanted = ahead(seen);
            answers.push(wanted.get());
            wanted
        };
        run(&settings, &demand, decide, |_| {});
        assert_eq!(answers, [18, 23, 28, 30], "of steps 10, 15, 20 and 25, seven steps later each");
    }

    fn terms(risk: f64) -> Terms {
        Terms { min: Capacity::new(1), max: Capacity::new(100), boot: 6.0, lead: 3.0, risk }
    }

    #[test]
    fn the_reactive_rule_pays_for_what_comes_within_its_lead() {
        let steady = reactive(&[3.5; 40], terms(0.0)).unwrap();
        assert!((steady.instance_seconds - 4.0 * 3.0 * 40.0).abs() < 1e-9, "{steady:?}");
        let mut loads = [3.5; 40];
        loads[20] = 7.5;
        let ready = reactive(&loads, terms(0.0)).unwrap();
        assert!(ready.headroom > 2.0 && ready.headroom * 3.5 > 7.0, "{ready:?}");
        let daring = reactive(&loads, terms(0.025)).unwrap();
        assert!((daring.headroom - 3.0 / 3.5).abs() < 1e-6, "{daring:?}");
    }
}
