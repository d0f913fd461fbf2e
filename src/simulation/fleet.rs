//! The instances of the reference plant: when each was launched, when it serves, and what has been billed.
//!
//! Pure; it never knows a request.

use std::collections::VecDeque;
use std::time::Duration;

use super::noise::Noise;
use super::plant::share_warmed;
use super::settings::{Removed, STEP, Settings};
use crate::policy::Capacity;

/// The utilization that the fleet starts at.
const FIRST_UTILIZATION: f64 = 0.7;

/// One instance.
#[derive(Clone, Copy, Debug)]
struct Instance {
    launched: Duration,
    /// When it goes into service or, where it fails, is found out and replaced.
    ready: Duration,
    fails: bool,
    /// Relative to the mean of the fleet's kinds.
    speed: f64,
}

/// What serves at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Serving {
    /// In warm instances of speed 1.
    pub capacity: f64,
    /// Instances in service.
    pub in_service: Capacity,
    /// Of these, past warm-up.
    pub warm: Capacity,
}

/// The instances, by when they were launched.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    settings: &'a Settings,
    /// Since a warm-up before the start, so that the first instances are warm.
    now: Duration,
    /// Oldest first.
    instances: VecDeque<Instance>,
    /// Instance-seconds of those that are gone.
    billed: f64,
    dice: Noise,
    /// From when on nothing boots or warms up.
    settled_at: Duration,
    /// What serves, as long as nothing boots or warms up.
    settled: Option<Serving>,
}

impl<'a> Fleet<'a> {
    /// A warm fleet for `rate` requests per second.
    pub fn start(settings: &'a Settings, rate: f64) -> Self {
        let needed = Capacity::ceil(rate / (settings.service.rate * settings.speeds.mean() * FIRST_UTILIZATION))
            .unwrap_or_default();
        let first = needed.clamp(settings.min, settings.max);
        let mut dice = Noise::new(settings.seed);
        let warm = |speed| Instance { launched: Duration::ZERO, ready: Duration::ZERO, fails: false, speed };
        let instances = (0..first.get()).map(|_| warm(settings.speeds.draw(&mut dice))).collect();
        let now = settings.warm_up;
        Self { settings, now, instances, billed: 0.0, dice, settled_at: now, settled: None }
    }

    /// Time since the start.
    pub fn since_start(&self) -> Duration {
        self.now.saturating_sub(self.settings.warm_up)
    }

    /// A step passes. Who should go into service and fails is found out and replaced.
    pub fn step(&mut self) {
        self.now += STEP;
        if self.settings.launch_failures <= 0.0 || self.now > self.settled_at + STEP {
            return;
        }
        while let Some(place) = self.instances.iter().position(|i| i.fails && i.ready <= self.now) {
            self.terminate(place);
            self.launch();
        }
    }

    pub fn desired(&self) -> Capacity {
        capacity(self.instances.len())
    }

    /// Launches, or terminates what the settings say.
    pub fn set_desired(&mut self, desired: Capacity) {
        while self.desired() < desired {
            self.launch();
        }
        while self.desired() > desired {
            let place = match self.settings.removed {
                Removed::Oldest => self.instances.iter().position(|instance| instance.ready <= self.now),
                Removed::Youngest => self.instances.len().checked_sub(1),
            };
            self.terminate(place.unwrap_or_default());
        }
    }

    fn launch(&mut self) {
        let Settings { boot, launch_failures, speeds, warm_up, .. } = self.settings;
        let ready = self.now + boot.draw(&mut self.dice);
        let fails = *launch_failures > 0.0 && self.dice.uniform() <= *launch_failures;
        let speed = speeds.draw(&mut self.dice);
        self.instances.push_back(Instance { launched: self.now, ready, fails, speed });
        self.settled_at = self.settled_at.max(ready + *warm_up);
        self.settled = None;
    }

    fn terminate(&mut self, place: usize) {
        let age = self.instances.remove(place).map_or(Duration::ZERO, |instance| self.billable(&instance));
        self.billed += age.max(self.settings.least_billed).as_secs_f64();
        self.settled = None;
    }

    /// How long an instance has been billed for; what was before the start does not count.
    fn billable(&self, instance: &Instance) -> Duration {
        self.now.saturating_sub(instance.launched.max(self.settings.warm_up))
    }

    /// Instance-seconds since the start.
    pub fn billed_seconds(&self) -> f64 {
        self.billed + self.instances.iter().map(|instance| self.billable(instance).as_secs_f64()).sum::<f64>()
    }

    /// What serves now.
    pub fn serving(&mut self) -> Serving {
        self.settled.unwrap_or_else(|| {
            let serving = self.counted();
            self.settled = (self.now >= self.settled_at).then_some(serving);
            serving
        })
    }

    fn counted(&self) -> Serving {
        let (mut warm, mut warming) = (0, 0);
        let (mut full, mut partial) = (0.0, 0.0);
        for instance in self.instances.iter().filter(|instance| instance.ready <= self.now) {
            let in_service = self.now.saturating_sub(instance.ready);
            if in_service >= self.settings.warm_up {
                warm += 1;
                full += instance.speed;
            } else {
                warming += 1;
                partial += instance.speed * share_warmed(in_service, self.settings.warm_up);
            }
        }
        Serving { capacity: full + partial, in_service: capacity(warm + warming), warm: capacity(warm) }
    }
}

fn capacity(instances: usize) -> Capacity {
    u32::try_from(instances).map_or(Capacity::MAX, Capacity::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::settings::Speeds;
    use crate::simulation::trace::count;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-6, "{measured} is not {expected}");
    }

    fn settings(min: u32) -> Settings {
        Settings::reference(Capacity::new(min), Capacity::new(100))
    }

    /// What serves this many seconds after the start.
    fn at(fleet: &mut Fleet, seconds: u64) -> Serving {
        while fleet.since_start() < Duration::from_secs(seconds) {
            fleet.step();
        }
        fleet.serving()
    }

    #[test]
    fn an_instance_boots_and_then_warms_up() {
        let settings = settings(2);
        let mut fleet = Fleet::start(&settings, 0.0);
        fleet.set_desired(Capacity::new(5));
        let mut check = |seconds, in_service, warm, capacity| {
            let serving = at(&mut fleet, seconds);
            assert_eq!((serving.in_service.get(), serving.warm.get()), (in_service, warm), "at {seconds} s");
            near(serving.capacity, capacity);
        };
        check(0, 2, 2, 2.0);
        check(117, 2, 2, 2.0);
        check(120, 5, 2, 2.0 + 3.0 * 0.6);
        check(150, 5, 2, 2.0 + 3.0 * 0.8);
        check(180, 5, 5, 5.0);
        check(600, 5, 5, 5.0);
    }

    #[test]
    fn an_instance_is_billed_from_launch_and_for_a_minute_at_least() {
        let settings = settings(2);
        let mut fleet = Fleet::start(&settings, 0.0);
        let mut billed = |seconds, desired| {
            at(&mut fleet, seconds);
            fleet.set_desired(Capacity::new(desired));
            fleet.billed_seconds()
        };
        near(billed(0, 2), 0.0);
        near(billed(30, 4), 60.0);
        near(billed(90, 3), 90.0 + 90.0 + 60.0 + 60.0);
        near(billed(99, 1), 90.0 + 99.0 + 69.0 + 69.0);
        let settings = self::settings(0);
        let mut brief = Fleet::start(&settings, 0.0);
        brief.set_desired(Capacity::new(3));
        at(&mut brief, 15);
        brief.set_desired(Capacity::new(1));
        near(brief.billed_seconds(), 60.0 + 60.0 + 15.0);
    }

    #[test]
    fn a_scale_in_takes_the_oldest_in_service_or_the_youngest_of_all() {
        let settings = settings(2);
        let mut fleet = Fleet::start(&settings, 0.0);
        at(&mut fleet, 3);
        fleet.set_desired(Capacity::new(3));
        fleet.set_desired(Capacity::new(1));
        let launched: Vec<_> = fleet.instances.iter().map(|instance| instance.launched).collect();
        assert_eq!(launched, [Duration::from_secs(63)], "the two that served are gone, the one that boots is not");
        let settings = Settings { removed: Removed::Youngest, ..settings };
        let mut pods = Fleet::start(&settings, 0.0);
        pods.set_desired(Capacity::new(3));
        pods.set_desired(Capacity::new(1));
        assert_eq!(pods.serving().in_service.get(), 1, "the one that boots is gone, and one that served");
    }

    #[test]
    fn a_launch_that_fails_is_found_out_after_its_boot_and_replaced() {
        let settings = Settings { launch_failures: 1.0, ..settings(2) };
        let mut fleet = Fleet::start(&settings, 0.0);
        fleet.set_desired(Capacity::new(3));
        assert_eq!(at(&mut fleet, 600).in_service.get(), 2);
        assert_eq!(fleet.desired().get(), 3);
        near(fleet.billed_seconds(), 3.0 * 600.0);
        let settings = Settings { launch_failures: 0.5, ..settings };
        let mut fleet = Fleet::start(&settings, 0.0);
        fleet.set_desired(Capacity::new(82));
        let first = at(&mut fleet, 120).in_service.get() - 2;
        let second = at(&mut fleet, 240).in_service.get() - 2;
        assert!((30..=50).contains(&first), "{first} of 80");
        assert!((50..=70).contains(&second), "{second} of 80");
    }

    #[test]
    fn instances_are_drawn_from_their_mix() {
        let speeds = Speeds::Mix(vec![(3.0, 1.0), (1.0, 0.5)]);
        near(speeds.mean(), 0.875);
        let settings = Settings { speeds, ..settings(100) };
        let mut fleet = Fleet::start(&settings, 0.0);
        let capacity = fleet.serving().capacity;
        assert!((80.0..95.0).contains(&capacity), "{capacity}");
        near(count(fleet.instances.len()), 100.0);
    }
}
