//! Who would have done what on the load that was, beside what really happened.

use std::time::Duration;

use super::demand::{Load, USUAL_LOAD, Unknowable, load, share};
use super::history::{History, Launches, bridged};
use crate::observation::elapsed;
use crate::policy::{Capacity, Metric, MetricKind, Policy};
use crate::report::{Doubt, Report, Run, Targets};
use crate::simulation::contest::{Arena, Contestant, Course, Deed};
use crate::simulation::peers::Peer;
use crate::simulation::reference::{self, Boot, STEP, Seen, Settings};
use crate::simulation::scenario::{Level, Scenario, ScenarioError, Terms, text};
use crate::simulation::score::Score;
use crate::simulation::trace::Demand;

const HOUR: f64 = 3600.0;

/// What is asked of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Whom to compare with.
    pub peers: Vec<Peer>,
    /// Launch to in service; `None`: what the policy says, else what launches took, else two minutes.
    pub boot: Option<Duration>,
    /// What an instance costs an hour, in any currency.
    pub price: Option<f64>,
    /// Whether every moment of everybody is kept, for charts.
    pub drawn: bool,
}

/// Why nothing can be replayed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The load can't be told.
    #[error(transparent)]
    Unknowable(#[from] Unknowable),
    /// The plant can't be set up.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// The plant in which a policy meets the load that was.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// The policy as it decides there, what peers keep, and what was taken for granted.
    pub scenario: Scenario,
    /// The plant under the load.
    pub arena: Arena,
    /// How the load was told, and where it can't be, in whole sentences.
    pub notes: Vec<String>,
    /// Stretches in which the load is not known.
    pub doubts: Vec<Doubt>,
}

/// What must have been behind the `history` of `policy`; `boot` is launch to in service, where that is known better than
/// from the policy and its launches.
///
/// # Errors
/// The load can't be told from what was measured.
pub fn reconstruct(policy: &Policy, history: &History, boot: Option<Duration>) -> Result<Reconstruction, ReplayError> {
    let load = load(policy, history)?;
    let launched = history.launches.map(|launches| launches.boot);
    let boot = boot.or(policy.boot_time).or(launched);
    let terms = Terms { boot, instance_rate: None, level: Level::AsRecorded, duration: None, seed: 0 };
    let scenario = Scenario::new(policy, terms)?;
    let arena = Arena::new(settings(policy, &load, history, &scenario), demand(&load.busy, history, &scenario));
    let notes = history.launches.map(launches).into_iter().chain(load.notes).collect();
    Ok(Reconstruction { scenario, arena, notes, doubts: load.doubts })
}

/// Replays `policy` on its `history`, beside what happened, itself at half the boot time, and others.
///
/// # Errors
/// The load can't be told from what was measured.
pub fn replay(policy: &Policy, history: &History, question: &Question) -> Result<Report, ReplayError> {
    let Reconstruction { scenario, arena, notes: told, doubts } = reconstruct(policy, history, question.boot)?;
    let happened = history.capacity.as_deref().and_then(|capacity| what_happened(&arena, &bridged(capacity)?, history));
    let ours = settled(&arena, &Contestant::Policy(Box::new(scenario.policy.clone())), question.drawn);
    let quicker = Quicker::new(&scenario, &arena);
    let mut notes = scenario.notes.clone();
    notes.extend(told);
    notes.push(
        "How long requests took is computed from the load, as on the plant above, for what happened too; the table does \
         not use what was measured of it."
            .to_owned(),
    );
    let compared = Compared { happened: happened.as_ref(), ours: &ours, quicker: &quicker };
    let mut findings = findings(&compared, &arena, question);
    findings.extend(measured(policy, history));
    let peers = question.peers.iter().map(|peer| Contestant::Peer { peer: *peer, target: scenario.peer_target });
    let peers: Vec<Course> = peers.map(|peer| settled(&arena, &peer, question.drawn)).collect();
    let run = Run {
        workload: format!("{} as it was", policy.name),
        notes: findings,
        start: history.from,
        optimum_hours: arena.optimum() / HOUR,
        targets: Targets { utilization: target(policy), p99: arena.settings().service.objective },
        courses: [Some(ours), happened, Some(quicker.told)].into_iter().flatten().chain(peers).collect(),
        doubts,
    };
    Ok(Report { title: format!("{}, replayed on its own history", policy.name), notes, runs: vec![run] })
}

fn settings(policy: &Policy, load: &Load, history: &History, scenario: &Scenario) -> Settings {
    let rate = scenario.settings.service.rate;
    let total = policy.metrics.iter().find(|metric| metric.kind == MetricKind::Total);
    // Requests per second of an instance whose total is at its target, so that totals read here as they did there.
    let at = |metric: &Metric, one: f64| rate * metric.target / one;
    let totals_at = total.zip(load.total_of_one).map(|(metric, one)| at(metric, one));
    Settings { start: history.from, totals_at: totals_at.or(Some(USUAL_LOAD * rate)), ..scenario.settings.clone() }
}

/// The load in steps of the plant, linear between the moments. What was measured has its noise already.
fn demand(busy: &[f64], history: &History, scenario: &Scenario) -> Demand {
    let step = STEP.div_duration_f64(history.step);
    let places = busy.windows(2).enumerate();
    let mut rates = Vec::new();
    let mut place = 0.5 * step;
    for (left, pair) in places {
        let left = f64::from(u32::try_from(left).unwrap_or(u32::MAX));
        while place < left + 1.0 {
            let load = pair[0] + (pair[1] - pair[0]) * (place - left);
            rates.push(load * scenario.settings.service.rate);
            place += step;
        }
    }
    Demand { expected: rates.clone(), arrived: rates, retried: 0.0 }
}

/// The fleet that there was, in the same plant: instances that serve at once, as many as were counted.
fn what_happened(arena: &Arena, capacity: &[f64], history: &History) -> Option<Course> {
    let counted = |seen: &Seen| {
        let place = history.moments_in(elapsed(history.from, seen.at)).min(capacity.len().saturating_sub(1));
        Capacity::floor(capacity.get(place)?.round())
    };
    let settings = Settings {
        boot: Boot::Constant(Duration::ZERO),
        warm_up: Duration::ZERO,
        least_billed: Duration::ZERO,
        min: Capacity::ZERO,
        max: Capacity::MAX,
        ..arena.settings().clone()
    };
    let (mut moments, mut actions) = (Vec::new(), Vec::new());
    let decide = |seen: &Seen| {
        let to = counted(seen).unwrap_or(seen.desired);
        if to != seen.desired {
            actions.push(Deed { at: seen.at, from: seen.desired, to, because: String::new() });
        }
        to
    };
    let tally = reference::run(&settings, arena.demand(), decide, |moment| moments.push(*moment));
    let score = tally.score(arena.optimum());
    (!capacity.is_empty()).then(|| Course { name: "what happened".to_owned(), score, moments, actions })
}

fn settled(arena: &Arena, contestant: &Contestant, drawn: bool) -> Course {
    match contestant {
        Contestant::Peer { .. } if !drawn => {
            let score = arena.tally(contestant).score(arena.optimum());
            Course { name: contestant.name().to_owned(), score, moments: Vec::new(), actions: Vec::new() }
        }
        _ => arena.watch(contestant),
    }
}

/// The policy where instances boot in half the time.
struct Quicker {
    boot: Duration,
    /// It knows of it.
    told: Course,
    /// Its settings are what they are.
    untold: Course,
}

impl Quicker {
    fn new(scenario: &Scenario, arena: &Arena) -> Self {
        let boot = match arena.settings().boot {
            Boot::Constant(boot) | Boot::LogNormal { median: boot, .. } => boot / 2,
        };
        let settings = Settings { boot: Boot::Constant(boot), ..arena.settings().clone() };
        let quicker = Arena::new(settings, arena.demand().clone());
        let course = |policy| {
            let course = quicker.watch(&Contestant::Policy(Box::new(policy)));
            // Beside the others, it is measured against the same optimum.
            let relative_cost = course.score.instance_hours * HOUR / arena.optimum();
            let score = Score { relative_cost, ..course.score };
            Course { name: format!("{}, boots in {}", scenario.policy.name, text(boot)), score, ..course }
        };
        let told = course(Policy { boot_time: Some(boot), ..scenario.policy.clone() });
        Self { boot, told, untold: course(scenario.policy.clone()) }
    }
}

fn launches(Launches { boot, count }: Launches) -> String {
    let boot = text(Duration::from_secs(boot.as_secs()));
    format!(
        "Instances were in service {boot} after their launch, the median of {count} launches; --boot {boot} replays that."
    )
}

/// How often each metric was over its target, by its own samples.
fn measured(policy: &Policy, history: &History) -> Option<String> {
    let over = policy.metrics.iter().zip(&history.metrics).filter_map(|(metric, samples)| {
        let known = samples.iter().flatten().count();
        let over = samples.iter().flatten().filter(|value| **value > metric.target).count();
        let Metric { name, target, .. } = metric;
        (known > 0).then(|| format!("{name} was over its target of {target} for {} of the time", share(over, known)))
    });
    let over = over.collect::<Vec<_>>().join(", ");
    (!over.is_empty()).then(|| format!("As it was measured, {over}."))
}

fn target(policy: &Policy) -> Option<f64> {
    let metric = policy.metrics.iter().find(|metric| metric.kind == MetricKind::Utilization)?;
    Some(metric.target / metric.full_scale())
}

struct Compared<'a> {
    happened: Option<&'a Course>,
    ours: &'a Course,
    quicker: &'a Quicker,
}

/// What the owner wants to know, in whole sentences.
fn findings(compared: &Compared, arena: &Arena, question: &Question) -> Vec<String> {
    let Compared { happened, ours, quicker } = compared;
    let minutes = |course: &Course| arena.demand().seconds() / 60.0 * course.score.over_objective / 100.0;
    let objective = 1000.0 * arena.settings().service.objective;
    let line = |course: &Course| {
        let hours = course.score.instance_hours;
        let money =
            question.price.map_or_else(String::new, |price| format!(" ({:.2} at the price given)", hours * price));
        format!("{hours:.1} instance-hours{money} and {:.0} minutes over {objective:.0} ms", minutes(course))
    };
    let less = |course: &Course| {
        let saved = ours.score.instance_hours - course.score.instance_hours;
        let money = question.price.map_or_else(String::new, |price| format!(" ({:.2})", (saved * price).abs()));
        let hours = format!("{:.1} instance-hours{money} {}", saved.abs(), less_or_more(saved));
        let spared = minutes(ours) - minutes(course);
        format!("{hours} and {:.0} minutes {}", spared.abs(), less_or_more(spared))
    };
    let name = &ours.name;
    let compared = match happened {
        Some(happened) => format!("What happened took {}; {name} would have taken {}.", line(happened), line(ours)),
        None => format!(
            "{name} would have taken {}. What happened is not known, as nothing tells the number of instances; \
             --capacity-query or --activities does.",
            line(ours)
        ),
    };
    let Quicker { boot, told, untold } = quicker;
    let quick = format!(
        "With instances that boot in {} (a warm pool, a faster image) {name} would have taken {}: {}. {}",
        text(*boot),
        line(told),
        less(told),
        if told.score == untold.score {
            "It makes no difference whether its boot_time says so.".to_owned()
        } else {
            format!("With its boot_time left as it is, {}.", less(untold))
        }
    );
    vec![compared, quick]
}

fn less_or_more(saved: f64) -> &'static str {
    if saved < 0.0 { "more" } else { "less" }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::backtest::tests::{metric, policy};
    use crate::policy::{Controller, Gains};

    fn cpu() -> Policy {
        policy(vec![metric("cpu", MetricKind::Utilization, 0.7)])
    }

    /// Six hours at 5 busy instances among ten, with an hour of ten busy among twelve in the middle.
    fn history() -> History {
        let crowd = |place: usize| (600..840).contains(&place);
        let busy = |place| if crowd(place) { 10.0 } else { 5.0 };
        let size = |place| if crowd(place) { 12.0 } else { 10.0 };
        History {
            from: Timestamp::from_second(1_700_000_000).unwrap(),
            step: Duration::from_secs(15),
            metrics: vec![(0..1440).map(|place| Some(busy(place) / size(place))).collect()],
            capacity: Some((0..1440).map(|place| Some(size(place))).collect()),
            launches: None,
        }
    }

    fn question() -> Question {
        Question { peers: vec![Peer::Hpa], boot: None, price: Some(0.5), drawn: false }
    }

    #[test]
    fn what_happened_costs_what_was_counted() {
        let report = replay(&cpu(), &history(), &question()).unwrap();
        let names: Vec<_> = report.runs[0].courses.iter().map(|course| course.name.as_str()).collect();
        assert_eq!(names, ["web", "what happened", "web, boots in 1m", "Kubernetes HPA"]);
        let happened = &report.runs[0].courses[1].score;
        assert!((happened.instance_hours - 62.0).abs() < 0.2, "{happened:?}");
        assert!(happened.over_objective < 0.05, "{happened:?}");
    }

    #[test]
    fn the_policy_follows_the_load_that_was() {
        let report = replay(&cpu(), &history(), &question()).unwrap();
        let ours = &report.runs[0].courses[0];
        // Five busy at 0.7 are 8 instances, ten are 15.
        assert!((45.0..62.0).contains(&ours.score.instance_hours), "{:?}", ours.score);
        let crowd = ours.moments.iter().rfind(|moment| moment.demand > 9.5 * 200.0);
        assert_eq!(crowd.map(|moment| moment.desired.get()), Some(15), "{:?}", ours.actions);
        assert!(ours.actions.iter().any(|deed| deed.because.contains("cpu")), "{:?}", ours.actions);
    }

    #[test]
    fn half_the_boot_time_is_priced() {
        let findings = replay(&cpu(), &history(), &question()).unwrap().runs[0].notes.clone();
        assert!(
            findings[0].starts_with("What happened took 61.9 instance-hours (30.97 at the price given)"),
            "{findings:?}"
        );
        let half = &findings[1];
        assert!(half.contains("boot in 1m") && half.contains("minutes less"), "{findings:?}");
        assert!(half.contains("With its boot_time left as it is, "), "{findings:?}");
    }

    #[test]
    fn a_policy_that_does_not_reckon_with_the_boot_time_need_not_be_told() {
        let flat = Policy { controller: Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: Some(0.0) }), ..cpu() };
        let half = replay(&flat, &history(), &question()).unwrap().runs[0].notes[1].clone();
        assert!(half.ends_with("It makes no difference whether its boot_time says so."), "{half}");
    }

    #[test]
    fn what_was_measured_is_said_beside_what_is_computed() {
        let notes = replay(&cpu(), &history(), &question()).unwrap().runs[0].notes.clone();
        // An hour of six at 10 of 12 instances.
        assert_eq!(notes[2], "As it was measured, cpu was over its target of 0.7 for 16.67 % of the time.");
    }

    #[test]
    fn what_launches_took_is_the_boot_time_where_nobody_says_one() {
        let check = |boot_time, boot, expected: &str| {
            let launches = Some(Launches { boot: Duration::from_mins(3), count: 7 });
            let (policy, history) = (Policy { boot_time, ..cpu() }, History { launches, ..history() });
            let report = replay(&policy, &history, &Question { boot, ..question() }).unwrap();
            let said = |fragment: &str| report.notes.iter().any(|note| note.contains(fragment));
            assert!(said(&format!("in service {expected} after their launch")), "{:?}", report.notes);
            assert!(said("in service 3m after their launch, the median of 7 launches"), "{:?}", report.notes);
        };
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        check(None, None, "3m");
        check(minutes(2), None, "2m");
        check(minutes(2), minutes(1), "1m");
    }

    #[test]
    fn without_a_count_of_instances_what_happened_is_not_told() {
        let rules = policy(vec![metric("rps", MetricKind::Total, 140.0)]);
        let seen = History { capacity: None, metrics: vec![vec![Some(1000.0); 240]], ..history() };
        let run = replay(&rules, &seen, &question()).unwrap().runs.remove(0);
        assert!(run.courses.iter().all(|course| course.name != "what happened"));
        assert!(run.notes[0].contains("--capacity-query"), "{:?}", run.notes);
        // A total of 1,000 at 140 an instance.
        assert_eq!(run.courses[0].moments.last().map(|moment| moment.desired.get()), Some(8));
    }
}
