//! Measured numbers for people.

use std::fmt::{self, Display};

/// A measured number with the digits that a reader needs.
pub(super) struct Number(pub f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            size if size < 10.0 => write!(f, "{:.3}", self.0),
            size if size < 1e9 => write!(f, "{:.1}", self.0),
            _ => write!(f, "{:.3e}", self.0),
        }
    }
}
