//! The faults: what each is called, what it is switched on by, and what must hold while it lasts.

use std::io::ErrorKind;
use std::time::Duration;

use setpoint::policy::Capacity;
use setpoint::simulation::activity::{InstanceRefresh, ScalingPolicy};
use setpoint::simulation::group::Update;
use setpoint::simulation::{LaunchFault, World};

use crate::disk::{Ill, Instead};
use crate::proxy::Wire;
use crate::spoiled as spoilt;
use crate::trial::group;

/// What the daemon does to the capacity while a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing at all, since it knows that it does not see.
    Blind,
    /// It never removes any.
    NeverLowers,
    /// The same, and it says that the journal fails: in readiness, and in every evaluation.
    Unrecorded,
    /// What it does without the fault.
    Follows,
    /// What the rules allow that hold at all times.
    Obeys,
    /// The same, but for what a lie that nobody could tell from the truth makes it do.
    Misled,
}

use Meanwhile::{Blind, Follows, Misled, NeverLowers, Obeys, Unrecorded};

/// What a fault is switched on and off by.
#[derive(Clone, Copy)]
pub enum Switch {
    Prometheus(Wire),
    AutoScaling(Wire),
    /// Of one group.
    Group(fn(&mut World, &str, bool)),
    /// Of all that the world is.
    World(fn(&mut World, bool)),
    /// The daemon's clock is ahead by so many seconds.
    Clock(i64),
    /// Of the disk that the journal is on.
    Disk(Ill),
    /// The daemon is killed and started again, on an empty disk or on its journal.
    Kill {
        empty: bool,
    },
}

use Switch::{AutoScaling, Clock, Disk, Kill, Prometheus};

#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    pub switch: Switch,
    pub meanwhile: Meanwhile,
}

impl Fault {
    /// What the fault is of.
    pub fn face(&self) -> &'static str {
        match self.switch {
            Prometheus(_) => "Prometheus",
            AutoScaling(_) => "Auto Scaling",
            Switch::Group(_) | Switch::World(_) => "the groups",
            Clock(_) => "the clock",
            Disk(_) | Kill { .. } => "the disk",
        }
    }

    pub fn is_called(&self, part: &str) -> bool {
        self.name.contains(part) || self.face().contains(part)
    }

    /// The daemon is started again when it begins or ends.
    pub fn restarts(&self) -> bool {
        matches!(self.switch, Kill { .. } | Disk(Ill::Dies(_) | Ill::Replaced(_)))
    }
}

const fn fault(name: &'static str, switch: Switch, meanwhile: Meanwhile) -> Fault {
    Fault { name, switch, meanwhile }
}

const fn metrics(name: &'static str, wire: Wire) -> Fault {
    fault(name, Prometheus(wire), Blind)
}

const fn answer(name: &'static str, edit: fn(crate::proxy::Answer) -> crate::proxy::Answer) -> Fault {
    metrics(name, Wire::Edit(edit))
}

const fn aws(name: &'static str, wire: Wire) -> Fault {
    fault(name, AutoScaling(wire), Blind)
}

const fn disk(name: &'static str, ill: Ill, meanwhile: Meanwhile) -> Fault {
    fault(name, Disk(ill), meanwhile)
}

const fn reply(name: &'static str, edit: fn(crate::proxy::Answer) -> crate::proxy::Answer) -> Fault {
    aws(name, Wire::Edit(edit))
}

pub const FAULTS: &[Fault] = &[
    metrics("Prometheus refuses connections", Wire::Refused),
    metrics("Prometheus resets connections", Wire::Reset),
    metrics("Prometheus hangs", Wire::Hang),
    metrics("Prometheus answers a byte a second", Wire::Drip),
    metrics("Prometheus answers after the deadline", Wire::Late(Duration::from_secs(4))),
    fault("Prometheus answers just in time", Prometheus(Wire::Late(Duration::from_millis(900))), Follows),
    metrics("Prometheus' answer is cut", Wire::Cut),
    metrics("Prometheus' answer is cut and has no length", Wire::CutUnframed),
    fault("Prometheus' answer has no length", Prometheus(Wire::Unframed), Follows),
    metrics("Prometheus' answer never ends", Wire::Endless),
    fault("Prometheus answers twice", Prometheus(Wire::Twice), Follows),
    fault("Prometheus answers what it did before", Prometheus(Wire::Replay), NeverLowers),
    fault("Prometheus answers another query", Prometheus(Wire::Crossed), NeverLowers),
    answer("Prometheus' answer is empty", spoilt::empty),
    answer("Prometheus' answer is a login page", spoilt::login),
    answer("Prometheus' answer is broken JSON", spoilt::broken_json),
    answer("Prometheus' answer is null", spoilt::null),
    answer("Prometheus' answer is 5 MB", spoilt::oversized),
    answer("Prometheus' answer is garbled gzip", spoilt::gzip),
    answer("Prometheus redirects", spoilt::redirect),
    answer("Prometheus says 401", spoilt::unauthorized),
    answer("Prometheus says 404", spoilt::not_found),
    answer("Prometheus says 429", spoilt::too_many),
    answer("Prometheus says 500", spoilt::internal),
    answer("Prometheus says 503", spoilt::unavailable),
    answer("Prometheus rejects the query", spoilt::query_error),
    answer("Prometheus' answer is partial", spoilt::partial),
    answer("the result is a string", spoilt::string),
    answer("the result is a range", spoilt::matrix),
    answer("the result has no series", spoilt::no_series),
    answer("the result has 2,000 series", spoilt::many_series),
    answer("the value is a bare number", spoilt::bare_number),
    answer("the value is a word", spoilt::text),
    answer("the value is hexadecimal", spoilt::hexadecimal),
    answer("the value is NaN", spoilt::nan),
    answer("the value is +Inf", spoilt::infinite),
    answer("the value is -Inf", spoilt::minus_infinite),
    fault("the value is negative", Prometheus(Wire::Edit(spoilt::negative)), NeverLowers),
    fault("the value is 1.8e308", Prometheus(Wire::Edit(spoilt::huge)), NeverLowers),
    fault("the value is zero", Prometheus(Wire::Edit(spoilt::zero)), Obeys),
    answer("the samples are from the future", spoilt::samples_from_the_future),
    answer("the samples are an hour old", spoilt::stale_samples),
    answer("the time of the answer is a word", spoilt::times_that_are_none),
    answer("Prometheus' clock is an hour ahead", spoilt::server_ahead),
    fault("scraping stops", Switch::World(|world, on| world.faults.frozen_samples = on), NeverLowers),
    fault("counters begin anew", Switch::Group(|world, name, _| reset(world, name)), Obeys),
    fault("the daemon's clock is an hour ahead", Clock(3600), Blind),
    fault("the daemon's clock is an hour behind", Clock(-3600), Blind),
    fault("the daemon's clock is 20 s ahead", Clock(20), Obeys),
    fault("the daemon's clock is 20 s behind", Clock(-20), Obeys),
    aws("Auto Scaling refuses connections", Wire::Refused),
    aws("Auto Scaling resets connections", Wire::Reset),
    aws("Auto Scaling hangs", Wire::Hang),
    aws("Auto Scaling answers a byte a second", Wire::Drip),
    aws("Auto Scaling answers after the deadline", Wire::Late(Duration::from_secs(6))),
    fault("Auto Scaling answers late", AutoScaling(Wire::Late(Duration::from_millis(900))), Follows),
    aws("Auto Scaling's answer is cut", Wire::Cut),
    aws("Auto Scaling's answer is cut and has no length", Wire::CutUnframed),
    fault("Auto Scaling's answer has no length", AutoScaling(Wire::Unframed), Follows),
    aws("Auto Scaling's answer never ends", Wire::Endless),
    fault("Auto Scaling answers twice", AutoScaling(Wire::Twice), Follows),
    fault("Auto Scaling answers what it did before", AutoScaling(Wire::Replay), Misled),
    fault("Auto Scaling answers another call", AutoScaling(Wire::Crossed), NeverLowers),
    reply("Auto Scaling's answer is empty", spoilt::empty_xml),
    reply("Auto Scaling's answer is broken XML", spoilt::broken_xml),
    reply("Auto Scaling's answer is another document", spoilt::foreign_xml),
    reply("Auto Scaling's answer is a login page", spoilt::login),
    reply("Auto Scaling's answer is garbled gzip", spoilt::gzip),
    reply("Auto Scaling redirects", spoilt::redirect),
    reply("Auto Scaling throttles", spoilt::throttled),
    reply("Auto Scaling says 429", spoilt::too_many),
    reply("Auto Scaling says 500", spoilt::internal),
    reply("Auto Scaling says 503", spoilt::unavailable),
    reply("Auto Scaling fails inside", spoilt::failing_inside),
    reply("Auto Scaling is contended", spoilt::contended),
    reply("Auto Scaling denies access", spoilt::access_denied),
    reply("the credentials have expired", spoilt::expired_credentials),
    reply("Auto Scaling finds the request not valid", spoilt::validation),
    reply("the description has no group", spoilt::no_group),
    fault("the description has pages without end", AutoScaling(Wire::Edit(spoilt::endless_pages)), Obeys),
    reply("the desired capacity is a word", spoilt::size_in_words),
    reply("the desired capacity is missing", spoilt::no_size),
    reply("the desired capacity is negative", spoilt::negative_size),
    reply("the desired capacity is beyond 32 bits", spoilt::size_beyond_32_bits),
    fault("half of the instances are missing", AutoScaling(Wire::Edit(spoilt::half_the_instances)), NeverLowers),
    fault("all instances are missing", AutoScaling(Wire::Edit(spoilt::no_instances)), NeverLowers),
    fault("somebody terminates half of the instances", Switch::Group(terminate), Obeys),
    fault("somebody raises the desired capacity", Switch::Group(|world, name, on| set(world, name, on, 20)), Obeys),
    fault("somebody lowers the desired capacity", Switch::Group(|world, name, on| set(world, name, on, 2)), Obeys),
    fault("somebody raises MinSize", Switch::Group(raise_min), Obeys),
    fault("somebody lowers MaxSize", Switch::Group(lower_max), Obeys),
    fault("the group is deleted and created again", Switch::Group(delete), Obeys),
    fault("Launch is suspended", Switch::Group(|world, name, on| suspend(world, name, on, "Launch")), Obeys),
    fault(
        "Terminate is suspended",
        Switch::Group(|world, name, on| suspend(world, name, on, "Terminate")),
        NeverLowers,
    ),
    fault("an instance refresh runs", Switch::Group(refresh), NeverLowers),
    fault("half of the instances are unhealthy", Switch::Group(unhealthy), NeverLowers),
    fault("a scaling policy of AWS appears", Switch::Group(rival), Obeys),
    fault("AWS has no capacity", Switch::World(no_capacity), Obeys),
    fault("launches fail", Switch::World(launches_fail), Obeys),
    fault("instances boot three minutes longer", Switch::World(slow_boot), Obeys),
    disk("the disk is full", Ill::Write(ErrorKind::StorageFull), Unrecorded),
    disk("the disk is read-only", Ill::Write(ErrorKind::ReadOnlyFilesystem), Unrecorded),
    disk("the disk fails to write", Ill::Write(ErrorKind::Other), Unrecorded),
    disk("the disk fails to sync", Ill::Sync, Unrecorded),
    disk("the disk fails to sync every second time", Ill::SomeSyncs, Obeys),
    disk("the disk fails to read", Ill::Read, Obeys),
    disk("the disk hangs", Ill::Hangs, Unrecorded),
    disk("the disk takes ten seconds", Ill::Slow(Duration::from_secs(10)), NeverLowers),
    disk("the disk takes a second", Ill::Slow(Duration::from_secs(1)), Follows),
    disk("the power fails at the first write", Ill::Dies(1), Unrecorded),
    disk("the power fails between the writes and the sync", Ill::Dies(u32::MAX), Unrecorded),
    disk("a newer version has written the journal", Ill::Replaced(Instead::Newer), Unrecorded),
    disk("something else is in the journal's place", Ill::Replaced(Instead::Notes), Unrecorded),
    fault("the daemon is killed", Kill { empty: false }, Obeys),
    fault("the daemon is killed and its journal is gone", Kill { empty: true }, Obeys),
];

fn reset(world: &mut World, name: &str) {
    if let Some(fleet) = world.fleet_mut(name) {
        fleet.reset_counters();
    }
}

fn terminate(world: &mut World, name: &str, on: bool) {
    if let Some(fleet) = world.fleet_mut(name).filter(|_| on) {
        let half = fleet.group.instances.len() / 2;
        fleet.group.instances.truncate(half);
    }
}

fn set(world: &mut World, name: &str, on: bool, desired: u32) {
    let now = world.now();
    if let Some(fleet) = world.fleet_mut(name).filter(|_| on) {
        // Refused where bounds say otherwise, as an operator would be.
        let _ = fleet.group.set_desired(Capacity::new(desired), false, now);
    }
}

fn update(world: &mut World, name: &str, update: Update) {
    let now = world.now();
    if let Some(fleet) = world.fleet_mut(name) {
        // Refused where the other bound is in the way, as an operator would be.
        let _ = fleet.group.update(update, now);
    }
}

fn raise_min(world: &mut World, name: &str, on: bool) {
    let min = Some(if on { Capacity::new(15) } else { Capacity::ZERO });
    update(world, name, Update { min, ..Update::default() });
}

fn lower_max(world: &mut World, name: &str, on: bool) {
    let max = Some(Capacity::new(if on { 4 } else { 100 }));
    update(world, name, Update { max, ..Update::default() });
}

fn delete(world: &mut World, name: &str, on: bool) {
    if on {
        world.remove_fleet(name);
    } else if world.fleet(name).is_none() {
        world.add_fleet(group(name, 3, crate::course::BOOT), crate::course::load(name));
    }
}

fn suspend(world: &mut World, name: &str, on: bool, process: &str) {
    if let Some(fleet) = world.fleet_mut(name) {
        let suspended = &mut fleet.group.suspended;
        if on {
            suspended.insert(process.to_owned())
        } else {
            suspended.remove(process)
        };
    }
}

fn refresh(world: &mut World, name: &str, on: bool) {
    if let Some(fleet) = world.fleet_mut(name) {
        let status = if on { "InProgress" } else { "Successful" };
        fleet.group.refreshes = vec![InstanceRefresh { id: "r-1".into(), status: status.into() }];
    }
}

fn unhealthy(world: &mut World, name: &str, on: bool) {
    if let Some(fleet) = world.fleet_mut(name) {
        for (n, instance) in fleet.group.instances.iter_mut().enumerate() {
            instance.healthy = !on || n % 2 == 0;
        }
    }
}

fn rival(world: &mut World, name: &str, on: bool) {
    let policy = || ScalingPolicy {
        name: "cpu".into(),
        kind: "TargetTrackingScaling".into(),
        enabled: true,
        predictive_mode: None,
    };
    if let Some(fleet) = world.fleet_mut(name) {
        fleet.group.policies = on.then(policy).into_iter().collect();
    }
}

fn no_capacity(world: &mut World, on: bool) {
    world.faults.launches = on.then_some(LaunchFault::InsufficientCapacity { at_most: Capacity::new(5) });
}

fn launches_fail(world: &mut World, on: bool) {
    world.faults.launches = on.then_some(LaunchFault::Misconfigured);
}

fn slow_boot(world: &mut World, on: bool) {
    world.faults.slower_boot = if on { Duration::from_mins(3) } else { Duration::ZERO };
}
