//! Measurements by instant queries to the HTTP API of Prometheus.

use std::path::PathBuf;
use std::time::Duration;

/// How a Prometheus is reached. Secrets are only ever paths of files.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `http` or `https` URL without user info and without a trailing slash.
    pub url: String,
    /// Deadline of one query; shorter than every interval.
    pub timeout: Duration,
    /// Headers that are sent with every query; none of them is a credential.
    pub headers: Vec<(String, String)>,
    /// How Setpoint says who it is.
    pub credentials: Option<Credentials>,
    /// PEM file of the certificate authorities to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate to present where the server asks for one.
    pub client_certificate: Option<ClientCertificate>,
}

/// How Setpoint says who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Credentials {
    /// `Authorization: Bearer …` with the content of this file.
    BearerTokenFile(PathBuf),
    /// `Authorization: Basic …`.
    Basic {
        /// The user.
        username: String,
        /// File with the password.
        password_file: PathBuf,
    },
}

/// A client certificate with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCertificate {
    /// PEM file of the certificate chain.
    pub certificate_file: PathBuf,
    /// PEM file of the private key.
    pub key_file: PathBuf,
}
