//! Plants, their groups and what was recorded of them, moved by time that is an argument.
//!
//! The same seed, times and calls give the same world. It never sleeps and never listens.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::faults::Faults;
use super::group::{AutoScalingGroup, GroupError, GroupSettings, push_bounded};
use super::history::{History, Labels, labels};
use super::instance::{Instance, State};
use super::noise::{Noise, scramble};
use super::plant::{BUCKETS, Counts, Plant, share_of_capacity};
use super::queue::{INSTANCE_RATE, OBJECTIVE, Queue};
use super::workload::{TICKET_SALE, Workload};
use crate::observation::elapsed;
use crate::policy::Capacity;

/// The world moves in steps of this length.
pub const STEP: Duration = Duration::from_secs(1);

/// Samples are taken every so many steps.
pub const SCRAPE_STEPS: u64 = 5;

/// Calls that are remembered.
pub const MAX_CALLS: usize = 1000;

/// The furthest that one [`World::advance`] goes, so that a clock gone wild does not hang the world.
pub const MAX_STEPS: u64 = 7 * 86_400;

/// The name of the group that sells the tickets.
pub const TICKET_SALE_GROUP: &str = "ticket-sale";

/// A group, what its instances serve, and the workload on them.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The Auto Scaling group.
    pub group: AutoScalingGroup,
    /// Requests over time, since the start of the world.
    pub workload: Workload,
    plant: Plant,
    noise: Noise,
    requests: BTreeMap<String, f64>,
}

impl Fleet {
    fn step(&mut self, since_start: Duration, now: Timestamp, faults: &Faults) {
        self.group.advance(now, STEP, faults);
        let seconds = STEP.as_secs_f64();
        let arrivals = self.noise.arrivals(self.workload.rate(since_start) * seconds);
        let shares = self.shares(now);
        let capacity = shares.iter().map(|(_, share)| share).sum();
        self.plant.serve(arrivals, capacity, seconds);
        let served = |id: &String, share| self.requests.get(id).copied().unwrap_or(0.0) + arrivals * share / capacity;
        self.requests = shares.into_iter().map(|(id, share)| (id.clone(), served(&id, share))).collect();
    }

    /// The instances in service, each with its share of its full capacity.
    fn shares(&self, now: Timestamp) -> Vec<(String, f64)> {
        let share = |instance: &Instance| match instance.state {
            State::InService { since } => Some((instance.id.clone(), share_of_capacity(elapsed(since, now)))),
            State::Pending { .. } | State::Terminating { .. } => None,
        };
        self.group.instances.iter().filter_map(share).collect()
    }

    /// Begins the requests that each instance counts from zero, as a restart of what exports them does.
    pub fn reset_counters(&mut self) {
        self.requests.clear();
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        self.plant.counts()
    }

    /// What an exporter on each instance and one on the load balancer would say.
    fn scrape(&self, now: Timestamp) -> Vec<(Labels, f64)> {
        let asg = self.group.name();
        let Some(reading) = self.plant.reading() else { return vec![] };
        let shares = self.shares(now);
        let capacity: f64 = shares.iter().map(|(_, share)| share).sum();
        let mut samples = vec![(labels("http_request_p99_seconds", &[("asg", asg)]), reading.p99)];
        for (id, share) in &shares {
            let one = |name| labels(name, &[("asg", asg), ("instance", id)]);
            samples.push((one("instance_cpu_ratio"), reading.utilization));
            samples.push((one("http_requests_per_second"), reading.arrival_rate * share / capacity));
            samples.push((one("http_requests_total"), self.requests.get(id).copied().unwrap_or(0.0)));
        }
        let counts = self.counts();
        let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let within = counts.within.iter().copied().chain([counts.requests]);
        samples.extend(
            bounds.zip(within).map(|(le, count)| {
                (labels("http_request_duration_seconds_bucket", &[("asg", asg), ("le", &le)]), count)
            }),
        );
        samples
    }

    /// The fewest instances that keep the 99th percentile under the objective at the peak of the workload.
    pub fn sized_for_the_peak(&self) -> Capacity {
        let enough = |instances: &u32| {
            let utilization = self.workload.peak() / (f64::from(*instances) * INSTANCE_RATE);
            utilization < 1.0 && Queue::at(utilization, 0.0).p99() < OBJECTIVE
        };
        Capacity::new((1..=Capacity::MAX.get()).find(enough).unwrap_or(Capacity::MAX.get()))
    }
}

/// A `SetDesiredCapacity` that the world received.
#[derive(Clone, Debug)]
pub struct Call {
    /// When, by the time of the world.
    pub at: Timestamp,
    /// When, by the wall clock.
    pub received: Instant,
    /// The name of the group.
    pub group: String,
    /// The capacity that was asked for.
    pub desired: Capacity,
    /// Why it was refused, where it was.
    pub refused: Option<GroupError>,
}

/// How the fleets did since the start, all together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Requests that arrived.
    pub requests: f64,
    /// The share of them that took longer than 500 ms or was dropped, 0..=1.
    pub over_objective: f64,
    /// The share of them that was dropped, 0..=1.
    pub dropped: f64,
    /// Instance-hours billed.
    pub instance_hours: f64,
    /// Instances of a static fleet that keeps the objective at the peak.
    pub static_capacity: Capacity,
    /// Instance-hours that the static fleet would have been billed until now.
    pub static_instance_hours: f64,
}

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    start: Timestamp,
    now: Timestamp,
    steps: u64,
    fleets: BTreeMap<String, Fleet>,
    history: History,
    calls: VecDeque<Call>,
    /// What goes wrong.
    pub faults: Faults,
}

impl World {
    /// An empty world at `start`.
    pub fn new(seed: u64, start: Timestamp) -> Self {
        Self {
            seed,
            start,
            now: start,
            steps: 0,
            fleets: BTreeMap::new(),
            history: History::default(),
            calls: VecDeque::new(),
            faults: Faults::default(),
        }
    }

    /// With one more group, and the workload that its instances serve.
    #[must_use]
    pub fn with_fleet(mut self, settings: GroupSettings, workload: Workload) -> Self {
        self.add_fleet(settings, workload);
        self
    }

    /// Creates a group, with the workload that its instances serve; one of the same name is gone. Its instances are in
    /// service at once, and are others than those of any group before.
    pub fn add_fleet(&mut self, settings: GroupSettings, workload: Workload) {
        let name = settings.name.clone();
        // Each fleet has noise of its own, so that another fleet beside it changes nothing for it.
        let seed = name.bytes().fold(self.seed ^ self.steps, |seed, byte| scramble(seed ^ u64::from(byte)));
        let group = AutoScalingGroup::new(settings, seed, self.now);
        let (plant, noise, requests) = (Plant::default(), Noise::new(seed), BTreeMap::new());
        self.fleets.insert(name, Fleet { group, workload, plant, noise, requests });
    }

    /// Deletes a group with its instances.
    pub fn remove_fleet(&mut self, group: &str) -> Option<Fleet> {
        self.fleets.remove(group)
    }

    /// The ticket sale: one group of 2 to 20 instances that boot for a minute.
    pub fn ticket_sale(seed: u64, start: Timestamp) -> Self {
        let settings = GroupSettings {
            name: TICKET_SALE_GROUP.to_owned(),
            min: Capacity::new(2),
            max: Capacity::new(20),
            desired: Capacity::new(2),
            boot: Duration::from_mins(1),
        };
        Self::new(seed, start).with_fleet(settings, Workload::ticket_sale())
    }

    /// Lets the time pass until `now`; a time before the last one is ignored.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let last = self.steps.saturating_add(MAX_STEPS);
        while self.steps < last && self.time_of(self.steps + 1) <= self.now {
            self.steps += 1;
            self.step(self.time_of(self.steps));
        }
    }

    fn time_of(&self, step: u64) -> Timestamp {
        let seconds = step.saturating_mul(STEP.as_secs());
        self.start.saturating_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    }

    fn step(&mut self, now: Timestamp) {
        let since_start = elapsed(self.start, now);
        for fleet in self.fleets.values_mut() {
            fleet.step(since_start, now, &self.faults);
        }
        // The first step is scraped, so that a query finds something from the first second on.
        if self.steps % SCRAPE_STEPS == 1 && !self.faults.frozen_samples {
            self.history.record(now, self.fleets.values().flat_map(|fleet| fleet.scrape(now)).collect());
        }
    }

    /// `SetDesiredCapacity`, received at the wall-clock time `received`.
    pub fn set_desired_capacity(
        &mut self,
        group: &str,
        desired: Capacity,
        honor_cooldown: bool,
        received: Instant,
    ) -> Result<(), GroupError> {
        let now = self.now;
        let outcome = match self.fleets.get_mut(group) {
            Some(fleet) => fleet.group.set_desired(desired, honor_cooldown, now),
            None => Err(GroupError::not_found(group)),
        };
        let refused = outcome.clone().err();
        let call = Call { at: now, received, group: group.to_owned(), desired, refused };
        push_bounded(&mut self.calls, call, MAX_CALLS);
        outcome
    }

    /// When the world began.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// What time it is in the world.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The time since the start.
    pub fn since_start(&self) -> Duration {
        elapsed(self.start, self.now)
    }

    /// Whether the ticket sale is over.
    pub fn is_over(&self) -> bool {
        self.since_start() >= TICKET_SALE
    }

    /// A fleet by the name of its group.
    pub fn fleet(&self, group: &str) -> Option<&Fleet> {
        self.fleets.get(group)
    }

    /// A fleet by the name of its group, to be changed.
    pub fn fleet_mut(&mut self, group: &str) -> Option<&mut Fleet> {
        self.fleets.get_mut(group)
    }

    /// Every fleet, by the name of its group.
    pub fn fleets(&self) -> impl Iterator<Item = &Fleet> {
        self.fleets.values()
    }

    /// What was recorded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Every `SetDesiredCapacity` that was received, oldest first; at most the last [`MAX_CALLS`]. A call that a fault
    /// kept from the group is not among them.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// How the fleets did until now.
    pub fn score(&self) -> Score {
        let sum = |of: &dyn Fn(&Fleet) -> f64| self.fleets.values().map(of).sum::<f64>();
        let requests = sum(&|fleet| fleet.counts().requests);
        let share = |count: f64| if requests > 0.0 { count / requests } else { 0.0 };
        let peak = self.fleets.values().map(Fleet::sized_for_the_peak).fold(Capacity::ZERO, Capacity::plus);
        Score {
            requests,
            over_objective: share(sum(&|fleet| fleet.counts().over_objective)),
            dropped: share(sum(&|fleet| fleet.counts().dropped)),
            instance_hours: sum(&|fleet| fleet.group.billed_seconds()) / 3600.0,
            static_capacity: peak,
            static_instance_hours: peak.as_f64() * self.since_start().as_secs_f64() / 3600.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::workload::Phase;

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn after(phase: Phase, seconds: u64) -> Timestamp {
        start().checked_add(phase.begins() + Duration::from_secs(seconds)).unwrap()
    }

    fn reading(world: &World) -> crate::simulation::plant::Reading {
        world.fleet(TICKET_SALE_GROUP).unwrap().plant.reading().unwrap()
    }

    #[test]
    fn two_instances_are_enough_while_it_is_quiet_and_drown_in_the_crowd() {
        let mut world = World::ticket_sale(1, start());
        world.advance(after(Phase::Quiet, 100));
        assert!((0.62..0.70).contains(&reading(&world).utilization));
        assert!(reading(&world).p99 < OBJECTIVE);
        world.advance(after(Phase::Crowd, 60));
        assert!((reading(&world).utilization - 1.0).abs() < 1e-9);
        assert!(reading(&world).p99 > 10.0);
    }

    #[test]
    fn a_fleet_sized_for_the_peak_keeps_the_objective() {
        let mut world = World::ticket_sale(1, start());
        assert_eq!(world.score().static_capacity, Capacity::new(9));
        world.set_desired_capacity(TICKET_SALE_GROUP, Capacity::new(12), false, Instant::now()).unwrap();
        world.advance(after(Phase::Aftermath, 690));
        let score = world.score();
        assert!(world.is_over());
        assert!(score.over_objective < 0.001, "{score:?}");
        assert!((score.static_instance_hours - 9.0 * 1350.0 / 3600.0).abs() < 1e-9);
        // Two are there from the start, and the others are launched with the first step.
        assert!((score.instance_hours - (12.0 * 1350.0 - 10.0) / 3600.0).abs() < 1e-9);
    }

    #[test]
    fn the_same_times_and_calls_give_the_same_world() {
        let run = |stops: &[u64]| {
            let mut world = World::ticket_sale(7, start());
            for stop in stops {
                world.advance(after(Phase::Quiet, *stop));
            }
            world.set_desired_capacity(TICKET_SALE_GROUP, Capacity::new(9), false, Instant::now()).unwrap();
            world.advance(after(Phase::Decay, 0));
            (world.score(), world.history().series().map(|(l, s)| (l.clone(), s.clone())).collect::<Vec<_>>())
        };
        assert_eq!(run(&[200]), run(&[1, 2, 77, 150, 200]));
    }

    #[test]
    fn another_fleet_changes_nothing_for_the_first() {
        let other = || GroupSettings {
            name: "other".into(),
            min: Capacity::new(1),
            max: Capacity::new(5),
            desired: Capacity::new(3),
            boot: Duration::ZERO,
        };
        let counts = |mut world: World| {
            world.advance(after(Phase::Arrival, 0));
            *world.fleet(TICKET_SALE_GROUP).unwrap().counts()
        };
        let both = World::ticket_sale(1, start()).with_fleet(other(), Workload::constant(100.0));
        assert_eq!(counts(World::ticket_sale(1, start())), counts(both));
    }

    #[test]
    fn frozen_samples_grow_old() {
        let mut world = World::ticket_sale(1, start());
        world.advance(after(Phase::Quiet, 20));
        world.faults.frozen_samples = true;
        world.advance(after(Phase::Quiet, 80));
        assert_eq!(world.history().newest(), Some(after(Phase::Quiet, 16).as_millisecond()));
    }

    /// The ratio rule with a probe at saturation and a stabilization of one minute: the plainest controller that works.
    fn recommended(world: &World) -> Capacity {
        let group = &world.fleet(TICKET_SALE_GROUP).unwrap().group;
        let utilization = reading(world).utilization;
        let probe = if utilization > 0.95 { 1.5 * group.desired().as_f64() } else { 0.0 };
        Capacity::ceil((utilization * group.in_service().as_f64() / 0.7).max(probe)).unwrap()
    }

    #[test]
    fn a_plain_ratio_rule_carries_the_sale_for_less_than_a_static_fleet() {
        let mut world = World::ticket_sale(1, start());
        let mut recommendations = VecDeque::new();
        let mut desired = vec![];
        for second in (15..=TICKET_SALE.as_secs()).step_by(15) {
            world.advance(after(Phase::Quiet, second));
            push_bounded(&mut recommendations, recommended(&world), 4);
            let capacity = recommendations.iter().copied().max().unwrap().clamp(Capacity::new(2), Capacity::new(20));
            world.set_desired_capacity(TICKET_SALE_GROUP, capacity, false, Instant::now()).unwrap();
            desired.push((second, capacity.get()));
        }
        let quiet = desired.iter().filter(|(second, _)| *second < Phase::Ramp.begins().as_secs());
        assert!(quiet.clone().all(|(_, capacity)| *capacity == 2), "{desired:?}");
        let crowded = Phase::Arrival.begins().as_secs() + 60 + 90;
        let grown = desired.iter().find(|(_, capacity)| *capacity >= 12).unwrap().0;
        assert!(grown <= crowded, "{desired:?}");
        assert!(desired.last().unwrap().1 <= 3, "{desired:?}");
        let score = world.score();
        assert!(score.instance_hours < score.static_instance_hours, "{score:?}");
        assert!((0.0..0.4).contains(&score.over_objective), "{score:?}");
    }

    #[test]
    fn calls_are_remembered_with_their_outcome() {
        let mut world = World::ticket_sale(1, start());
        world.advance(after(Phase::Quiet, 3));
        world.set_desired_capacity(TICKET_SALE_GROUP, Capacity::new(4), false, Instant::now()).unwrap();
        world.set_desired_capacity("nobody", Capacity::new(4), false, Instant::now()).unwrap_err();
        let calls: Vec<_> = world.calls().map(|c| (c.at, c.desired.get(), c.refused.is_some())).collect();
        assert_eq!(calls, [(after(Phase::Quiet, 3), 4, false), (after(Phase::Quiet, 3), 4, true)]);
    }
}
