//! Where measurements come from.

pub mod prometheus;
