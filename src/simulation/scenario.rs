//! What a policy of a configuration is simulated in: the plant that it would steer as far as it tells, the load at a
//! level that suits it, and in whole sentences what was taken for granted.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::contest::{Arena, Contestant};
use super::generator::Generator;
use super::peers::Peer;
use super::queue::{INSTANCE_RATE, OBJECTIVE, Service, WORKERS};
use super::reference::{BOOT, Boot, STEP, Settings};
use super::trace::{CEILING, Demand, STEP as STEP_SECONDS, Trace, count, whole};
use super::workload::TICKET_SALE;
use crate::observation::DEFAULT_WARM_UP;
use crate::policy::{Capacity, Controller, HoldSignal, MaxSpend, Metric, MetricKind, Mode, Policy, Source};

/// Load of an instance whose `total` is at its target, where nobody says what an instance bears; also what a peer keeps
/// beside a policy that does not tell. It is what most people set.
const USUAL_LOAD: f64 = 0.7;

/// The share of the policy's maximum that the peak needs, where nothing else is said: busy, and not beyond reach.
const USUAL_PEAK: f64 = 0.8;

/// How long a request keeps a worker busy, in shares of the objective: as on the reference plant.
const SERVICE_SHARE: f64 = 0.08;

/// What is shorter says nothing about a controller.
const SHORTEST: Duration = Duration::from_mins(5);

/// What one day has.
const DAY: Duration = Duration::from_hours(24);

/// A Monday at midnight, so that schedules have a week to work in.
const MONDAY: Timestamp = Timestamp::constant(1_772_409_600, 0);

/// What the policy itself does not tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Launch to in service; `None`: what the policy says, else two minutes.
    pub boot: Option<Duration>,
    /// Requests per second that one instance bears at full load; then a `total` counts requests per second. `None`: as many
    /// as make an instance of the reference plant, where the objective is that of the reference plant.
    pub instance_rate: Option<f64>,
    /// How much comes.
    pub level: Level,
    /// How long it is watched; `None`: all of a trace, and as long as it takes to see what a generator does.
    pub duration: Option<Duration>,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// How much comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// So much that the peak needs four fifths of the policy's maximum.
    OfPolicy,
    /// So much that so many instances are needed on average; the maximum is raised to twice the peak where it is less.
    Mean(f64),
    /// As much as the trace says.
    AsRecorded,
}

/// Where a load comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It was recorded.
    Recorded(Trace),
    /// It is made.
    Generated(Generator),
}

/// Why there is no scenario.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// No instance of this plant keeps the objective.
    #[error(
        "an instance that bears {rate} requests per second takes too long for an objective of {objective} s even when it \
         is idle, expected a rate of at least {} requests per second", least_rate(*objective)
    )]
    Unkeepable {
        /// Requests per second.
        rate: f64,
        /// Seconds.
        objective: f64,
    },
    /// The target of a total is more than an instance bears.
    #[error(
        "an instance that bears {rate} requests per second never carries {target} of {metric}, expected a rate above that"
    )]
    BeyondInstance {
        /// The metric.
        metric: String,
        /// Its target.
        target: f64,
        /// Requests per second.
        rate: f64,
    },
    /// There is next to nothing to see.
    #[error("it lasts {seconds} s, expected at least {} s", SHORTEST.as_secs())]
    TooShort {
        /// How long it lasts.
        seconds: f64,
    },
    /// A generator has no level of its own.
    #[error(
        "{generator} is generated, so there is no recorded level; leave that out, or say how many instances the mean needs"
    )]
    NothingRecorded {
        /// Its name.
        generator: &'static str,
    },
}

fn least_rate(objective: f64) -> f64 {
    (1.0 / (SERVICE_SHARE * objective)).ceil()
}

/// A policy in a plant of its own.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// As it decides here.
    pub policy: Policy,
    /// The plant.
    pub settings: Settings,
    /// The utilization that peers keep, a share.
    pub peer_target: f64,
    /// What was taken for granted, in whole sentences.
    pub notes: Vec<String>,
    terms: Terms,
}

/// A scenario under one load.
#[derive(Clone, Debug)]
pub struct Bout {
    /// The plant under this load.
    pub arena: Arena,
    /// The policy and whom it is compared with, the policy first.
    pub contestants: Vec<Contestant>,
    /// What was done to the load, in whole sentences.
    pub notes: Vec<String>,
}

impl Scenario {
    /// The plant that `policy` would steer.
    pub fn new(policy: &Policy, terms: Terms) -> Result<Self, ScenarioError> {
        let service = service(policy, &terms)?;
        let mut policy = policy.clone();
        let mut notes = vec![plant(&service), liberties(&policy)];
        let boot = terms.boot.or(policy.boot_time).unwrap_or(BOOT);
        notes.push(boots(&policy, boot));
        // A policy that learns the boot time has learned it.
        policy.boot_time = policy.boot_time.or(Some(boot));
        let warm_up = policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
        let interval = STEP * u32::try_from(policy.interval.as_millis().div_ceil(STEP.as_millis())).unwrap_or(1).max(1);
        if interval != policy.interval {
            notes.push(format!("It is asked every {}, since the plant goes in steps of 3 s.", text(interval)));
            policy.interval = interval;
        }
        if policy.mode == Mode::Observe {
            policy.mode = Mode::Active;
        }
        let totals_at = terms.instance_rate.is_none().then_some(USUAL_LOAD * service.rate);
        notes.extend(policy.metrics.iter().map(|metric| feed(metric, totals_at)));
        if let Some(names) = names(&policy.hold_scale_in_while) {
            notes.push(format!("What may hold the scale-in is taken for quiet: {names}."));
            policy.hold_scale_in_while.clear();
        }
        let start = if policy.schedules.is_empty() { Timestamp::UNIX_EPOCH } else { MONDAY };
        if start == MONDAY {
            notes.push("Schedules hold as if it all began on Monday, 2026-03-02 00:00 UTC.".to_owned());
        }
        let max = policy.schedules.iter().filter_map(|window| window.max).fold(policy.max, Ord::max);
        let settings = Settings {
            start,
            boot: Boot::Constant(boot),
            warm_up,
            interval,
            resolution: interval,
            service,
            totals_at,
            seed: terms.seed,
            ..Settings::reference(policy.min, max)
        };
        let peer_target = peer_target(&policy, &settings);
        Ok(Self { policy, settings, peer_target, notes, terms })
    }

    /// The policy and `peers` under the load of `origin`.
    pub fn bout(&self, origin: &Origin, peers: &[Peer]) -> Result<Bout, ScenarioError> {
        let (demand, done) = self.load(origin)?;
        if demand.seconds() < SHORTEST.as_secs_f64() {
            return Err(ScenarioError::TooShort { seconds: demand.seconds() });
        }
        let load = Load::of(&demand, &self.settings);
        let mut notes = vec![format!("It lasts {}, {done}. {load}", span(demand.seconds()))];
        let (mut policy, mut settings) = (self.policy.clone(), self.settings.clone());
        let roomy = Capacity::ceil(2.0 * load.peak).unwrap_or(settings.max);
        if matches!(self.terms.level, Level::Mean(_)) && roomy > settings.max {
            notes.push(format!("Up to {roomy} instances are allowed instead of {}: twice the peak.", settings.max));
            if policy.max_spend != MaxSpend::default() {
                notes.push("They may cost what they do.".to_owned());
            }
            (policy.max, settings.max, policy.max_spend) = (roomy, roomy, MaxSpend::default());
        } else if load.peak > settings.max.as_f64() {
            let max = settings.max;
            notes
                .push(format!("The peak needs more than the maximum of {max}, so nobody can keep the objective then."));
        }
        let peers = peers.iter().map(|peer| Contestant::Peer { peer: *peer, target: self.peer_target });
        let contestants = std::iter::once(Contestant::Policy(Box::new(policy))).chain(peers).collect();
        Ok(Bout { arena: Arena::new(settings, demand), contestants, notes })
    }

    /// The demand, and what was done to it.
    fn load(&self, origin: &Origin) -> Result<(Demand, String), ScenarioError> {
        // Large, so that the noise of single arrivals does not count.
        const DRAFT: f64 = 1000.0;
        let draw = |rate: f64| self.terms.draw(origin, rate);
        let scaled = |of: fn(&[f64]) -> f64, instances: f64| {
            let draft = of(&draw(DRAFT).expected).max(f64::MIN_POSITIVE);
            draw(DRAFT * instances * self.settings.bearable() / draft)
        };
        Ok(match (self.terms.level, origin) {
            (Level::OfPolicy, _) => {
                let most = self.settings.max;
                let done = format!("scaled so that its peak needs four fifths of the maximum of {most} instances");
                (scaled(highest, USUAL_PEAK * most.as_f64()), done)
            }
            (Level::Mean(instances), _) => {
                (scaled(mean, instances), format!("scaled so that {instances} instances are needed on average"))
            }
            (Level::AsRecorded, Origin::Recorded(trace)) => {
                (self.terms.first(trace.demand(self.terms.seed)), "with the rates that were recorded".to_owned())
            }
            (Level::AsRecorded, Origin::Generated(generator)) => {
                return Err(ScenarioError::NothingRecorded { generator: generator.name() });
            }
        })
    }
}

impl Terms {
    /// A demand around `rate` requests per second.
    fn draw(&self, origin: &Origin, rate: f64) -> Demand {
        match origin {
            Origin::Recorded(trace) => {
                self.first(trace.clone().scaled_to(rate / (INSTANCE_RATE * CEILING)).demand(self.seed))
            }
            Origin::Generated(generator) => {
                let usual = match generator {
                    Generator::TicketSale => TICKET_SALE,
                    Generator::Weekly => 14 * DAY,
                    _ => DAY,
                };
                generator.demand(rate, self.duration.unwrap_or(usual), self.seed)
            }
        }
    }

    /// As much of `demand` as is watched.
    fn first(&self, mut demand: Demand) -> Demand {
        if let Some(duration) = self.duration {
            let steps = whole(duration.as_secs_f64() / STEP_SECONDS).max(1);
            demand.expected.truncate(steps);
            demand.arrived.truncate(steps);
        }
        demand
    }
}

/// The names of `signals`, if there are any.
fn names(signals: &[HoldSignal]) -> Option<String> {
    let names: Vec<&str> = signals.iter().map(|signal| &*signal.name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// How many instances a demand needs, before rounding.
struct Load {
    lowest: f64,
    mean: f64,
    peak: f64,
}

impl Load {
    fn of(demand: &Demand, settings: &Settings) -> Self {
        let one = settings.bearable();
        let lowest = demand.expected.iter().copied().fold(f64::INFINITY, f64::min);
        Self { lowest: lowest / one, mean: mean(&demand.expected) / one, peak: highest(&demand.expected) / one }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lowest, mean, peak } = self;
        write!(f, "{lowest:.1} to {peak:.1} instances are needed, {mean:.1} on average.")
    }
}

fn highest(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / count(rates.len()).max(1.0)
}

fn of_kind(policy: &Policy, kind: MetricKind) -> Option<&Metric> {
    policy.metrics.iter().find(|metric| metric.kind == kind)
}

fn service(policy: &Policy, terms: &Terms) -> Result<Service, ScenarioError> {
    let objective = of_kind(policy, MetricKind::Latency).map_or(OBJECTIVE, |metric| metric.target);
    let usual = f64::from(WORKERS) / (SERVICE_SHARE * objective);
    let rate = terms.instance_rate.unwrap_or(usual);
    let total = terms.instance_rate.and(of_kind(policy, MetricKind::Total));
    if let Some(Metric { name, target, .. }) = total.filter(|metric| metric.target >= rate) {
        return Err(ScenarioError::BeyondInstance { metric: name.to_string(), target: *target, rate });
    }
    let workers = Capacity::floor((rate * SERVICE_SHARE * objective).round()).map_or(1, Capacity::get).max(1);
    Service::new(rate, workers, objective).ok_or(ScenarioError::Unkeepable { rate, objective })
}

fn peer_target(policy: &Policy, settings: &Settings) -> f64 {
    let utilization = of_kind(policy, MetricKind::Utilization).map(|metric| metric.target / metric.full_scale());
    let total = || {
        of_kind(policy, MetricKind::Total)
            .map(|metric| settings.totals_at.unwrap_or(metric.target) / settings.service.rate)
    };
    // The target of `risk` is a ceiling, which no other could keep.
    let own = (!matches!(policy.controller, Controller::Risk(_))).then(|| utilization.or_else(total)).flatten();
    own.unwrap_or(USUAL_LOAD)
}

fn plant(service: &Service) -> String {
    let (busy, objective) = (1000.0 * service.mean_service(), 1000.0 * service.objective);
    format!(
        "An instance bears {:.0} requests per second at full load; each keeps one of its {} workers busy for {busy:.0} ms on \
         average. The 99th percentile of the response time is to stay within {objective} ms, which it does up to a \
         utilization of {:.0} %.",
        service.rate,
        service.workers,
        100.0 * service.ceiling
    )
}

fn liberties(policy: &Policy) -> String {
    let name = &policy.name;
    match policy.mode {
        Mode::Active => format!("{name} acts, as it does live."),
        Mode::Observe => format!("{name} observes; here it acts."),
        Mode::ScaleOutOnly => format!("{name} may only scale out, here as live."),
        Mode::Paused => format!("{name} is paused, so it does nothing here either."),
    }
}

fn boots(policy: &Policy, boot: Duration) -> String {
    let takes = format!("Instances are in service {} after their launch", text(boot));
    match policy.boot_time {
        Some(believed) if believed != boot => format!("{takes}; the policy takes it for {}.", text(believed)),
        Some(_) => format!("{takes}."),
        None => format!("{takes}, and the policy knows it."),
    }
}

fn feed(metric: &Metric, totals_at: Option<f64>) -> String {
    let Metric { name, kind, target, .. } = metric;
    let of = match kind {
        MetricKind::Utilization if metric.full_scale() > 1.0 => "the busy share of the workers in percent".to_owned(),
        MetricKind::Utilization => "the busy share of the workers".to_owned(),
        MetricKind::Latency => "the 99th percentile of the response time".to_owned(),
        MetricKind::Total if totals_at.is_none() => "the requests per second that arrive".to_owned(),
        MetricKind::Total => {
            let busy = 100.0 * USUAL_LOAD;
            format!(
                "requests per second, scaled so that it is at its target of {target} an instance that is {busy:.0} % busy"
            )
        }
    };
    let per_instance = matches!(&metric.source, Source::Prometheus { per_instance: Some(_), .. });
    let mean = if per_instance { ", as the mean of instances that all report" } else { "" };
    format!("The metric {name} is {of}{mean}, over one interval that ended 3 s ago.")
}

/// Such as 1m 30s.
pub fn text(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or_default())
}

fn span(seconds: f64) -> String {
    match seconds {
        172_800.0.. => format!("{:.1} days", seconds / 86_400.0),
        7200.0.. => format!("{:.1} hours", seconds / 3600.0),
        _ => format!("{:.1} minutes", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Brake, Gains, PerDirection, Threshold};

    fn policy(metrics: &[(&str, MetricKind, f64)]) -> Policy {
        let metric = |(name, kind, target): &(&str, MetricKind, f64)| Metric {
            name: (*name).into(),
            kind: *kind,
            target: *target,
            max_age: Duration::from_mins(1),
            controller: None,
            min_coverage: 0.0,
            source: Source::Prometheus { query: "up".into(), per_instance: None },
        };
        Policy {
            name: "web".into(),
            asg: "web".into(),
            region: None,
            interval: Duration::from_secs(15),
            mode: Mode::Observe,
            takeover: false,
            min: Capacity::new(2),
            max: Capacity::new(10),
            boot_time: None,
            warm_up: None,
            controller: Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }),
            tolerance: PerDirection::default(),
            stabilization: PerDirection::default(),
            step: PerDirection { out: None, inward: None },
            cooldown: PerDirection::default(),
            max_drop: None,
            instance_price: None,
            max_spend: MaxSpend::default(),
            brake: Some(Brake::default()),
            hold_scale_in_while: Vec::new(),
            schedules: Vec::new(),
            fallback: None,
            metrics: metrics.iter().map(metric).collect(),
        }
    }

    fn terms(level: Level) -> Terms {
        Terms { boot: None, instance_rate: None, level, duration: Some(Duration::from_hours(6)), seed: 1 }
    }

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 0.02 * expected, "{measured} is not {expected}");
    }

    fn cpu() -> Policy {
        policy(&[("cpu", MetricKind::Utilization, 70.0)])
    }

    #[test]
    fn the_load_suits_the_policy_or_its_mean_is_as_stated() {
        let load = |level, origin: &Origin| {
            let scenario = Scenario::new(&cpu(), terms(level)).unwrap();
            let bout = scenario.bout(origin, &[]).unwrap();
            (Load::of(bout.arena.demand(), bout.arena.settings()), bout.arena.settings().max.get())
        };
        let trace = Trace::read("seconds,requests_per_second\n0,10\n600,30\n1200,20\n").unwrap();
        for origin in [Origin::Generated(Generator::Step), Origin::Recorded(trace)] {
            let (of_policy, max) = load(Level::OfPolicy, &origin);
            near(of_policy.peak, 8.0);
            assert_eq!(max, 10);
            let (of_mean, max) = load(Level::Mean(20.0), &origin);
            near(of_mean.mean, 20.0);
            near(f64::from(max), 2.0 * of_mean.peak + 0.5);
        }
    }

    #[test]
    fn what_was_recorded_stays_as_it_was() {
        let trace = Trace::read("seconds,requests_per_second\n0,500\n600,500\n").unwrap();
        let scenario = Scenario::new(&cpu(), terms(Level::AsRecorded)).unwrap();
        let bout = scenario.bout(&Origin::Recorded(trace), &[Peer::Hpa]).unwrap();
        near(mean(&bout.arena.demand().expected), 500.0);
        assert_eq!(bout.contestants.len(), 2);
        let refusal = scenario.bout(&Origin::Generated(Generator::Step), &[]).unwrap_err();
        assert_eq!(refusal, ScenarioError::NothingRecorded { generator: "step" });
    }

    #[test]
    fn peers_keep_what_the_policy_keeps() {
        let check = |policy: &Policy, rate, expected| {
            let terms = Terms { instance_rate: rate, ..terms(Level::OfPolicy) };
            near(Scenario::new(policy, terms).unwrap().peer_target, expected);
        };
        let of = |kind, target| policy(&[("it", kind, target)]);
        check(&of(MetricKind::Utilization, 60.0), None, 0.6);
        check(&of(MetricKind::Utilization, 0.5), None, 0.5);
        check(&of(MetricKind::Total, 30.0), None, 0.7);
        check(&of(MetricKind::Total, 30.0), Some(100.0), 0.3);
        check(&of(MetricKind::Latency, 0.5), None, 0.7);
        let risk = Controller::Risk(crate::policy::Risk::default());
        check(&Policy { controller: risk, ..of(MetricKind::Utilization, 0.93) }, None, 0.7);
    }

    #[test]
    fn the_plant_is_asked_in_whole_steps_and_says_so() {
        let scenario = Scenario::new(&Policy { interval: Duration::from_secs(20), ..cpu() }, terms(Level::OfPolicy));
        let scenario = scenario.unwrap();
        assert_eq!(
            (scenario.settings.interval, scenario.policy.interval),
            (Duration::from_secs(21), Duration::from_secs(21))
        );
        assert!(scenario.notes.iter().any(|note| note.contains("asked every 21s")), "{:?}", scenario.notes);
        assert_eq!((scenario.policy.mode, scenario.policy.boot_time), (Mode::Active, Some(BOOT)));
    }

    #[test]
    fn signals_are_quiet_here_and_a_larger_fleet_may_cost_more() {
        let source = Source::Prometheus { query: "errors".into(), per_instance: None };
        let threshold = Threshold::Above(0.01);
        let errors = HoldSignal { name: "errors".into(), threshold, max_age: Duration::from_mins(1), source };
        let max_spend = MaxSpend { per_hour: Some(1.0), per_day: None };
        let policy = Policy { hold_scale_in_while: vec![errors], instance_price: Some(0.1), max_spend, ..cpu() };
        let scenario = Scenario::new(&policy, terms(Level::Mean(20.0))).unwrap();
        assert_eq!(scenario.policy, Policy { hold_scale_in_while: Vec::new(), ..scenario.policy.clone() });
        assert!(scenario.notes.iter().any(|note| note.ends_with("taken for quiet: errors.")), "{:?}", scenario.notes);
        let ceiling = |scenario: &Scenario| {
            let bout = scenario.bout(&Origin::Generated(Generator::Step), &[]).unwrap();
            let Contestant::Policy(policy) = &bout.contestants[0] else { panic!("the policy comes first") };
            (policy.max_spend.per_hour, bout.notes.iter().any(|note| note.contains("may cost")))
        };
        assert_eq!(ceiling(&scenario), (None, true));
        assert_eq!(ceiling(&Scenario::new(&policy, terms(Level::OfPolicy)).unwrap()), (Some(1.0), false));
        assert!(
            Scenario::new(&cpu(), terms(Level::OfPolicy)).unwrap().notes.iter().all(|note| !note.contains("quiet"))
        );
    }

    #[test]
    fn the_service_keeps_its_shape_at_every_objective() {
        for objective in [0.05, 0.2, 0.5, 2.0] {
            let policy = policy(&[("p99", MetricKind::Latency, objective)]);
            let service = Scenario::new(&policy, terms(Level::OfPolicy)).unwrap().settings.service;
            near(service.ceiling, CEILING);
            near(service.rate, 100.0 / objective);
        }
        let busy = Terms { instance_rate: Some(50.0), ..terms(Level::OfPolicy) };
        assert_eq!(Scenario::new(&cpu(), busy.clone()).unwrap().settings.service.workers, 2);
        let never = Terms { instance_rate: Some(2.0), ..busy };
        let refusal = Scenario::new(&cpu(), never).unwrap_err();
        assert_eq!(refusal, ScenarioError::Unkeepable { rate: 2.0, objective: OBJECTIVE });
    }
}
