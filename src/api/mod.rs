//! HTTP: status, own metrics, the web page.

use std::net::SocketAddr;

/// Where the HTTP interface listens.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A loopback address: there is neither TLS nor a token in this version.
    pub listen: SocketAddr,
}
