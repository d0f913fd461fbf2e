//! Every fault alone, and pairs of them: the whole daemon, in virtual time.

#[path = "../lifetimes/checker.rs"]
mod checker;
mod course;
mod disk;
#[path = "../drawn/mod.rs"]
mod drawn;
mod isolation;
mod life;
mod proxy;
mod spoiled;
mod table;
mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use drawn::Rng;
use table::{FAULTS, Fault};

/// Does `trial` for every case, on all processors.
fn all<T: Sync, R: Send>(cases: &[T], trial: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = trial(case);
            results.lock().expect("no panic").push(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    results.into_inner().expect("no panic")
}

fn names(faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault.name).collect::<Vec<_>>().join(" + ")
}

/// Runs every trial, prints a row of what it came to, and fails with those that broke a rule.
fn survive(what: &str, trials: &[Vec<Fault>]) {
    let began = Instant::now();
    let results = all(trials, |faults| {
        let outcome = panic::catch_unwind(|| course::run(faults));
        // What it panicked with is on stderr.
        (names(faults), outcome.unwrap_or_else(|_| course::Outcome::panicked()))
    });
    let simulated: Duration = results.iter().map(|(_, outcome)| outcome.simulated).sum();
    let cycles: usize = results.iter().map(|(_, outcome)| outcome.cycles).sum();
    let failed: Vec<_> = results.iter().filter(|(_, outcome)| !outcome.broken.is_empty()).collect();
    let hours = simulated.as_secs_f64() / 3600.0;
    let (trials, violations) = (trials.len(), failed.len());
    println!("| {what} | {trials} | {cycles} | {hours:.1} h | {violations} | {:.0?} |", began.elapsed());
    let say = |(name, outcome): &&(String, course::Outcome)| {
        format!("{name}: {} {:.600}", outcome.broken.len(), outcome.broken[0])
    };
    assert!(failed.is_empty(), "{}", failed.iter().map(say).collect::<Vec<_>>().join("\n"));
}

/// `SETPOINT_FAULT` names one or more by a part of its name, or of what it is of.
#[test]
fn each_fault_alone_is_survived() {
    let only = env::var("SETPOINT_FAULT").unwrap_or_default();
    let chosen = FAULTS.iter().filter(|fault| fault.is_called(&only));
    survive("each fault alone", &chosen.map(|fault| vec![*fault]).collect::<Vec<_>>());
}

/// `SETPOINT_FAULT` names one of the two. `SETPOINT_FAULT_PAIRS` is how many are drawn, or `all`; `SETPOINT_FAULT_SEED` is what they are drawn from.
#[test]
fn pairs_of_faults_are_survived() {
    let wanted = env::var("SETPOINT_FAULT_PAIRS").unwrap_or_else(|_| "16".into());
    let firsts = FAULTS.iter().enumerate();
    let mut pairs: Vec<_> = firsts.flat_map(|(n, a)| FAULTS[n + 1..].iter().map(|b| vec![*a, *b])).collect();
    let only = env::var("SETPOINT_FAULT").unwrap_or_default();
    pairs.retain(|pair| pair.iter().any(|fault| fault.is_called(&only)));
    if wanted != "all" {
        let seed = env::var("SETPOINT_FAULT_SEED").map_or(1, |seed| seed.parse().expect("a number"));
        let mut rng = Rng::new(seed);
        let count = wanted.parse().expect("a number of pairs, or all");
        pairs =
            (0..count).map(|_| pairs[rng.below(u32::try_from(pairs.len()).expect("few")) as usize].clone()).collect();
    }
    survive("pairs of faults", &pairs);
}

#[test]
fn a_fault_of_one_changes_no_decision_time_of_another() {
    let only = env::var("SETPOINT_FAULT").unwrap_or_default();
    let named = isolation::trials().into_iter().filter(|(fault, ..)| fault.name.contains(&only));
    // Every fifth, unless all are asked for.
    let every = if only.is_empty() && env::var("SETPOINT_FAULT_PAIRS").is_err() { 5 } else { 1 };
    let trials: Vec<_> = named.step_by(every).collect();
    let undisturbed = isolation::undisturbed();
    let disturbed: Vec<_> =
        all(&trials, |trial| isolation::disturbed(trial, &undisturbed)).into_iter().flatten().collect();
    println!("{} of {} limited faults disturb others", disturbed.len(), trials.len());
    assert!(disturbed.is_empty(), "{}", disturbed.join("\n"));
}

/// `SETPOINT_DAEMON_HOURS` is how long each life is troubled, `SETPOINT_DAEMON_LIVES` how many there are, and
/// `SETPOINT_DAEMON_SEED` the seed of the first; the others follow it by ones.
#[test]
fn random_lives_of_the_whole_daemon_break_no_rule() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse::<u32>().expect("a number"));
    let (hours, lives) = (number("SETPOINT_DAEMON_HOURS", 2), number("SETPOINT_DAEMON_LIVES", 2));
    let first = number("SETPOINT_DAEMON_SEED", 1);
    let seeds: Vec<u32> = (first..first + lives).collect();
    let began = Instant::now();
    let results = all(&seeds, |seed| (*seed, life::live(u64::from(*seed), hours)));
    let simulated: Duration = results.iter().map(|(_, life)| life.simulated).sum();
    let cycles: usize = results.iter().map(|(_, life)| life.steps.len()).sum();
    let met: Vec<_> = life::MET
        .iter()
        .zip(0..)
        .map(|(what, n)| (what, results.iter().map(|(_, life)| life.met()[n]).sum::<usize>()))
        .collect();
    println!("{met:?}");
    let failed: Vec<_> = results.iter().filter(|(_, life)| !life.broken.is_empty()).collect();
    let (days, violations) = (simulated.as_secs_f64() / 86_400.0, failed.len());
    println!("| random lives | {lives} | {cycles} | {days:.1} d | {violations} | {:.0?} |", began.elapsed());
    let say = |(seed, life): &&(u32, life::Life)| format!("SETPOINT_DAEMON_SEED={seed}: {:.900}", life.broken[0]);
    assert!(failed.is_empty(), "{}", failed.iter().map(say).collect::<Vec<_>>().join("\n"));
    // Chance owes every one of them to lives that are long enough, but for a brake, which needs a growth that nothing else
    // stops for a while.
    let missing: Vec<_> = met.iter().filter(|(what, times)| **what != "brake" && *times == 0).collect();
    assert!(hours * lives < 100 || missing.is_empty(), "{missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_life_again() {
    let lives = all(&[9, 9], |seed| life::live(*seed, 1));
    let [restarts, unrecorded, ..] = lives[0].met();
    assert!(restarts > 0 && unrecorded > 0, "the disk and the restarts are among it: {restarts} {unrecorded}");
    let lives: Vec<_> = lives.iter().map(life::Life::deeds).collect();
    assert!(
        lives[0].iter().any(|(.., decision, _, _)| *decision != setpoint::control::Decision::Hold),
        "something happens"
    );
    let differs = lives[0].iter().zip(&lives[1]).find(|(a, b)| a != b);
    assert!(lives[0] == lives[1], "{differs:?}");
}
