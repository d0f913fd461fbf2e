//! What controllers cost, and at what risk, on recorded workloads: `cargo bench --bench traces -- [--peers] [FOLDER]`.
//!
//! Setpoint's controllers run with the defaults that a configuration gives them, through the code that runs live. After
//! them, what a latency of 500 ms comes to that is kept by the load it was seen to bear. Prints tables and judges nothing. The folder holds traces as `tests/traces/` does, which is the default.
//! With `--peers`, other autoscalers are compared also, each with its defaults, and the look-ahead that they all lack.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use setpoint::config;
use setpoint::policy::{Capacity, Controller as Law, Metric, MetricKind, Policy, Risk};
use setpoint::simulation::bound::{self, Terms};
use setpoint::simulation::contest::{Arena, Contestant};
use setpoint::simulation::peers::Peer;
use setpoint::simulation::queue::{INSTANCE_RATE, OBJECTIVE};
use setpoint::simulation::reference::{BOOT, INTERVAL, Settings};
use setpoint::simulation::score::Score;
use setpoint::simulation::trace::{CEILING, Demand, Trace};

/// Instances that the mean of every trace needs.
const MEAN_NEED: f64 = 20.0;

/// The share of time that the reactive bound may be short.
const RISK: f64 = 0.01;

const MIN: Capacity = Capacity::new(2);

const SEED: u64 = 1998;

/// Sizes of fleet under constant load.
const FLEETS: [u32; 7] = [2, 5, 10, 20, 50, 100, 200];

/// The target of every peer.
const PEER_TARGET: f64 = 0.70;

type Named = (&'static str, Contestant);

fn contestants(peers: bool) -> anyhow::Result<Vec<Named>> {
    let ours = [
        ("pid 0.70", policy("pid", 0.70)?),
        ("pid 0.80", policy("pid", 0.80)?),
        ("risk 1 %", policy("risk", CEILING)?),
        ("p99 by load 0.5 %", inverted(0.005)?),
        ("p99 by load 0.1 %", inverted(0.001)?),
    ];
    let ours = ours.into_iter().map(|(name, policy)| (name, Contestant::Policy(Box::new(policy))));
    let theirs = Peer::ALL.map(|peer| (peer.name(), Contestant::Peer { peer, target: PEER_TARGET }));
    let theirs = theirs.into_iter().filter(|_| peers);
    Ok(ours.chain(theirs).collect())
}

/// The same contestant within other bounds.
fn within(contestant: &Contestant, min: Capacity, max: Capacity) -> Contestant {
    match contestant {
        Contestant::Policy(policy) => {
            Contestant::Policy(Box::new(Policy { min, max, boot_time: Some(BOOT), ..(**policy).clone() }))
        }
        peer @ Contestant::Peer { .. } => peer.clone(),
    }
}

fn target(contestant: &Contestant) -> f64 {
    match contestant {
        Contestant::Policy(policy) => policy.metrics[0].target,
        Contestant::Peer { target, .. } => *target,
    }
}

/// What a configuration gives with this controller and target, and nothing else.
fn policy(controller: &str, target: f64) -> anyhow::Result<Policy> {
    let text = format!(
        r#"
        [prometheus]
        url = "http://127.0.0.1"
        [[policy]]
        name = "{controller}"
        asg = "{controller}"
        mode = "active"
        min = 1
        max = 1
        controller = {{ kind = "{controller}" }}
        [[policy.metric]]
        name = "utilization"
        kind = "utilization"
        query = "utilization"
        target = {target}
        "#
    );
    let config = config::parse("the bench", &text, [])?;
    config.policies.into_iter().next().context("a policy went in")
}

/// `risk` that is to keep 500 ms for all but this share of the time, beside a utilization that leaves it the word.
fn inverted(share: f64) -> anyhow::Result<Policy> {
    let mut policy = policy("risk", CEILING)?;
    policy.controller = Law::Risk(Risk { share });
    let utilization = policy.metrics[0].clone();
    policy.metrics.push(Metric { name: "p99".into(), kind: MetricKind::Latency, target: OBJECTIVE, ..utilization });
    Ok(policy)
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds this; `cargo test --all-targets` does not, and two weeks take long without optimization.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let contestants = contestants(arguments.iter().any(|argument| argument == "--peers"))?;
    let folder = arguments.into_iter().find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces"), PathBuf::from);
    let rows = at_once(read(&folder)?, |(name, trace)| format!("| {name} |{}", compare(&contestants, &trace)));
    let names: Vec<String> = contestants.iter().map(|(name, _)| format!(" {name} |")).collect();
    let (names, rules) = (names.concat(), "---|".repeat(names.len()));
    println!("Share of time over 500 ms in percent / instance-time relative to the optimum / actions a day\n");
    println!("| trace |{names} reactive bound 1 % | optimum, instance-hours |");
    println!("|---|{rules}---|---|\n{}\n", rows.join("\n"));
    println!(
        "Actions in 6 h of constant load, which is Poisson arrivals, after an hour / after a day / with noise of 3 % after a day\n"
    );
    let rows = at_once(FLEETS.to_vec(), |size| format!("| {size} |{}", idle(&contestants, size)));
    println!("| instances |{names}\n|---|{rules}\n{}", rows.join("\n"));
    Ok(())
}

/// The traces of `folder` by name.
fn read(folder: &Path) -> anyhow::Result<Vec<(String, Trace)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("can't list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let traces = files.iter().map(|file| {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        let trace = Trace::read(&text).with_context(|| format!("{} is no trace", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, trace.scaled_to(MEAN_NEED)))
    });
    traces.collect()
}

/// `work` on every one of `tasks`, on all cores; results in the order of the tasks.
fn at_once<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    let queue = Mutex::new(tasks.into_iter().zip(&mut results));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let next = || queue.lock().expect("no task panics while it is taken").next();
                while let Some((task, result)) = next() {
                    *result = Some(work(task));
                }
            });
        }
    });
    results.into_iter().flatten().collect()
}

fn compare(contestants: &[Named], trace: &Trace) -> String {
    let demand = trace.demand(SEED);
    let loads = bound::loads(&demand.expected);
    let max = Capacity::new(2 * bound::needs(&loads, MIN).into_iter().max().unwrap_or_default());
    let arena = Arena::new(Settings::reference(MIN, max), demand);
    let tallies = contestants.iter().map(|(_, contestant)| arena.tally(&within(contestant, MIN, max)));
    let scores: Vec<String> = tallies.map(|tally| cell(&tally.score(arena.optimum()))).collect();
    // The reactive rule is a boot and one interval late.
    let (boot, lead) = (BOOT.as_secs_f64(), (BOOT + INTERVAL).as_secs_f64());
    let terms = Terms { min: MIN, max, boot, lead, risk: RISK };
    let reactive = bound::reactive(&loads, terms).map_or(f64::NAN, |rule| rule.instance_seconds / arena.optimum());
    format!("{} {reactive:.3} | {:.1} |", scores.concat(), arena.optimum() / 3600.0)
}

fn cell(score: &Score) -> String {
    format!(" {:.2} / {:.3} / {:.0} |", score.over_objective, score.relative_cost, score.actions_a_day)
}

/// The actions of every contestant in six hours of the load that keeps `size` instances at its target.
fn idle(contestants: &[Named], size: u32) -> String {
    let max = Capacity::new(2 * size);
    let actions = |contestant: &Contestant, after: f64, noise| {
        let rate = f64::from(size) * INSTANCE_RATE * target(contestant);
        let demand = |hours: f64| Demand::constant(rate, hours * 3600.0, noise, SEED);
        let arena = |hours| Arena::new(Settings::reference(MIN, max), demand(hours));
        let until = |hours| arena(hours).tally(&within(contestant, MIN, max)).actions;
        until(after + 6.0) - until(after)
    };
    let cells = contestants.iter().map(|(_, contestant)| {
        let [early, even, uneven] =
            [(1.0, false), (24.0, false), (24.0, true)].map(|(after, noise)| actions(contestant, after, noise));
        format!(" {early} / {even} / {uneven} |")
    });
    cells.collect::<Vec<_>>().concat()
}
