//! One file per command; each is thin.

pub mod check;
