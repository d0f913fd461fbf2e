//! Lanes, cycles, reload and shutdown: the shell around the core.
//!
//! The daemon holds everything that acts. It publishes to the board and takes commands from a bounded channel; nobody
//! reaches into it.

mod absence;
mod inspection;
mod keeping;
mod lane;
mod seat;
mod supervisor;
mod watchdog;

pub use crate::order::Command;
pub use supervisor::{Daemon, Loader, StartError};
