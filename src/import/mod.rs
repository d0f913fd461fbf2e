//! Turns what scales a service elsewhere into a policy of Setpoint, in `observe` mode.
//!
//! Pure: a manifest, or what AWS has described, in; a configuration out. It reads no file and calls nobody. Every field of the source is used, or
//! stands in a remark: what no reader asked for is written down as having no equal.

mod asg;
mod behavior;
mod draft;
mod formula;
mod hpa;
mod keda;
mod manifest;
mod metric;
mod quantity;
mod source;
mod trigger;
mod window;

pub use self::asg::asg;
pub use self::hpa::hpa;
pub use self::keda::keda;

/// Why there is nothing to import.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no YAML.
    #[error("is no YAML: {0}")]
    Yaml(String),
    /// There is no object of the kind.
    #[error("holds no {kind}: {others}")]
    None {
        /// What was looked for.
        kind: &'static str,
        /// What was found, by document.
        others: String,
    },
    /// There are many objects of the kind.
    #[error("holds {count} objects of kind {kind}, expected one, since a group has one policy")]
    Several {
        /// What was looked for.
        kind: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The object is of a version that is not known here.
    #[error("apiVersion is {0:?}, expected {1}")]
    Version(String, String),
    /// A field that must be there is not, or is not what it must be.
    #[error("{0} is missing or wrong, expected {1}")]
    Field(String, &'static str),
}
