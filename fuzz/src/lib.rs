//! What is promised of bytes that somebody else wrote: one module a place where they come in, each with one `check`.
//!
//! The fuzzer draws the bytes here; `tests/corpora.rs` of the daemon runs those that it kept. A check panics where a
//! promise is broken. It goes through the doors that the daemon itself uses, and never past them.

pub mod api;
pub mod auto_scaling;
pub mod configuration;
pub mod drive;
pub mod exposition;
pub mod journal;
pub mod prometheus;
mod wire;

use jiff::Timestamp;

/// The time of every check.
fn now() -> Timestamp {
    Timestamp::constant(1_700_000_000, 0)
}

/// The first byte, which chooses between cases, and the rest.
fn choice(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}
