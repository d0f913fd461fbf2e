//! What several test crates share: the real servers that the tests run against.

#![allow(dead_code, unused_imports, reason = "each test crate uses its own part of this")]

pub mod browser;
pub mod http;
pub mod servers;

pub use servers::{Moto, Prometheus};
