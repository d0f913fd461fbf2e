//! What the fuzzer kept, run through the promises that it was found with.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};

/// Runs `check` with every input of a target.
fn run(target: &str, check: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() > 10, "{target} has {} inputs", inputs.len());
    for input in inputs {
        // A panic in here tells neither which input it was nor how it is run again.
        println!("cargo fuzz run {target} {}", input.display());
        check(&fs::read(&input).unwrap());
    }
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new("fuzz/corpus").join(target);
    let entries = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn configurations_that_were_fuzzed() {
    run("configuration", fuzz::configuration::check);
}

#[test]
fn answers_of_prometheus_that_were_fuzzed() {
    run("prometheus", fuzz::prometheus::check);
}

#[test]
fn pages_that_were_fuzzed() {
    run("exposition", fuzz::exposition::check);
}

#[test]
fn answers_of_auto_scaling_that_were_fuzzed() {
    run("auto_scaling", fuzz::auto_scaling::check);
}

#[test]
fn lines_to_drive_that_were_fuzzed() {
    run("drive", fuzz::drive::check);
}

#[test]
fn requests_that_were_fuzzed() {
    run("api", fuzz::api::check);
}

#[test]
fn journals_that_were_fuzzed() {
    run("journal", fuzz::journal::check);
}
