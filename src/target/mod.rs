//! What is scaled: AWS Auto Scaling groups.

use std::time::Duration;

/// How the Auto Scaling API is reached. Credentials come from the SDK's own chain, never from here.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The region; `None`: what the SDK's own chain finds.
    pub region: Option<String>,
    /// `http` or `https` URL to use in place of the region's own endpoint.
    pub endpoint_url: Option<String>,
    /// A profile of the shared AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume before any call.
    pub assume_role: Option<AssumeRole>,
    /// Deadline of one call, with its retries; shorter than every interval.
    pub timeout: Duration,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq)]
pub struct AssumeRole {
    /// `arn:aws:iam::123456789012:role/name`
    pub arn: String,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
}
