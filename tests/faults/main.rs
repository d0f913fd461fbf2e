//! Every fault alone, and pairs of them: the whole daemon, in virtual time.

#[path = "../lifetimes/checker.rs"]
mod checker;
mod course;
#[path = "../drawn/mod.rs"]
mod drawn;
mod proxy;
mod spoiled;
mod table;
mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use table::{FAULTS, Fault};

/// Runs every trial on all processors, prints what it came to, and fails with those that broke a rule.
fn survive(what: &str, trials: &[Vec<Fault>]) {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || {
        while let Some(faults) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = course::run(faults);
            let names: Vec<_> = faults.iter().map(|fault| fault.name).collect();
            results.lock().expect("no panic").push((names.join(" + "), outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().expect("no panic");
    let simulated: Duration = results.iter().map(|(_, outcome)| outcome.simulated).sum();
    let cycles: usize = results.iter().map(|(_, outcome)| outcome.cycles).sum();
    let failed: Vec<_> = results.iter().filter(|(_, outcome)| !outcome.broken.is_empty()).collect();
    println!(
        "| {what} | {} | {cycles} | {:.1} h | {} | {:.0?} |",
        trials.len(),
        simulated.as_secs_f64() / 3600.0,
        failed.len(),
        began.elapsed()
    );
    let say = |(name, outcome): &&(String, course::Outcome)| format!("{name}: {} {:.600}", outcome.broken.len(), outcome.broken[0]);
    assert!(failed.is_empty(), "{}", failed.iter().map(say).collect::<Vec<_>>().join("\n"));
}

/// `SETPOINT_FAULT` names one or more by a part of its name.
#[test]
fn each_fault_alone_is_survived() {
    let only = std::env::var("SETPOINT_FAULT").unwrap_or_default();
    let chosen = FAULTS.iter().filter(|fault| fault.name.contains(&only));
    survive("alone", &chosen.map(|fault| vec![*fault]).collect::<Vec<_>>());
}
