//! What the fuzzer kept, run through the promises that it was found with: every input as it is, then others that are made
//! of two with a few bytes changed. `PROPTEST_CASES` sets how many of those.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Runs `check` with every input of a target, and with what comes of altering them.
fn run(target: &str, check: fn(&[u8])) {
    let paths = paths(target);
    assert!(paths.len() > 10, "{target} has {} inputs", paths.len());
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, input) in paths.iter().zip(&inputs) {
        // A panic in here tells neither which input it was nor how it is run again.
        println!("cargo fuzz run {target} {}", path.display());
        check(input);
    }
    let one = || select(inputs.clone());
    let changes = || vec((any::<Index>(), any::<u8>()), 0..6);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(head in one(), tail in one(), cut in any::<Index>(), changes in changes())| {
        check(&altered(&head, &tail, cut, &changes));
    });
}

/// The beginning of `head` and the end of `tail`, with other bytes in some places.
fn altered(head: &[u8], tail: &[u8], cut: Index, changes: &[(Index, u8)]) -> Vec<u8> {
    let (head, tail) = (&head[..cut.index(head.len() + 1)], &tail[cut.index(tail.len() + 1)..]);
    let mut bytes = [head, tail].concat();
    if !bytes.is_empty() {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
    }
    bytes
}

fn paths(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new("fuzz/corpus").join(target);
    let entries = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
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
