//! What is scaled: Auto Scaling groups.
//!
//! This room describes groups, finds out who else would scale them, and sets desired capacities. It never decides
//! anything, never reads a clock (it is told what time it is), and never acts on a group unless asked to.

mod activities;
mod asg;
mod calls;
mod client;
mod error;
mod group;
mod memory;
mod past;
mod preflight;
mod setup;

use std::time::Duration;

pub use activities::Change;
pub use asg::{AutoScaling, Survey};
pub use error::{ErrorClass, ErrorKind, TargetError};
pub use past::Past;
pub use setup::Setup;

/// How to reach the Auto Scaling API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The region, where a policy names none. `None`: what the environment or the profile says.
    pub region: Option<String>,
    /// Where the Auto Scaling API is, when not at its public address. Credentials are fetched where they always are.
    pub endpoint_url: Option<String>,
    /// The profile of the shared AWS configuration files to take region and credentials from.
    pub profile: Option<String>,
    /// The role to assume for every call.
    pub assume_role: Option<AssumeRole>,
    /// The longest that one call may take, with its retries and with fetching credentials.
    pub timeout: Duration,
}

/// A role of AWS STS that is assumed before any call to Auto Scaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub arn: String,
    /// What the role's trust policy asks for as `sts:ExternalId`.
    pub external_id: Option<String>,
}
