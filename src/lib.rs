//! Setpoint keeps a fleet at the target that its owner set.
//!
//! It reads metrics from Prometheus, decides with a controller that explains itself, and sets the desired capacity of
//! AWS Auto Scaling groups.
//!
//! # The house
//!
//! | room | is |
//! |---|---|
//! | [`cli`] | one file per command; each is thin |
//! | [`config`] | TOML and environment to a validated configuration; reports every finding with line and column |
//! | [`policy`] | what one group must be kept at |
//! | [`observation`] | what was seen at one moment |
//! | [`order`] | what operators order, by whom, why and until when |
//! | [`account`] | what a group came to over time, beside what it would have come to otherwise |
//! | [`control`] | the core: pure decisions, no I/O, no clock, cannot fail |
//! | [`metric`] | where measurements come from |
//! | [`target`] | what is scaled |
//! | [`import`] | what scales a service elsewhere, as a policy |
//! | [`rehearsal`] | policy tests: a series in, decisions out |
//! | [`journal`] | what must survive a restart |
//! | [`daemon`] | lanes, cycles, reload, shutdown |
//! | [`backtest`] | a policy replayed on its owner's history |
//! | [`notification`] | tells people what they would want to be told |
//! | [`status`] | the snapshot that `daemon` publishes and `api` reads |
//! | [`api`] | HTTP: status, own metrics, the web page |
//! | [`simulation`] | the embedded world and its wire face |
//! | [`tuning`] | the cheapest setting of a policy's knobs that keeps an objective |
//! | [`report`] | a comparison as text, JSON, and one HTML file with charts |
//! | [`clock`] | the one place that reads the time |
//! | [`telemetry`] | logs |
//!
//! Without the feature `daemon` there are the core alone, what it works on, and the plant that controllers are compared in.
//!
//! # One sample's way
//!
//! `daemon` wakes a lane, `metric` reads, `target` describes, `control::evaluate` decides, `journal` records the intent,
//! `target` applies,
//! `control::settle` takes the outcome, and `status` is published. There is no way back.

pub mod account;
#[cfg(feature = "daemon")]
pub mod api;
#[cfg(feature = "daemon")]
pub mod backtest;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod config;
pub mod control;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod import;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod metric;
#[cfg(feature = "daemon")]
pub mod notification;
pub mod observation;
#[cfg(feature = "daemon")]
pub mod order;
pub mod policy;
#[cfg(feature = "daemon")]
pub mod rehearsal;
#[cfg(feature = "daemon")]
pub mod report;
pub mod simulation;
#[cfg(feature = "daemon")]
pub mod status;
#[cfg(feature = "daemon")]
pub mod target;
#[cfg(feature = "daemon")]
pub mod telemetry;
pub mod tuning;
