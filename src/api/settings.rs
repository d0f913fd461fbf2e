//! What the configuration says about the API. Plain data: the files are named here and opened elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// Where the API listens, and who may ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The TCP address. One that other hosts reach has `tls` and at least one token.
    pub listen: SocketAddr,
    /// The Unix socket. Its permissions decide who may connect, and whoever may is an operator.
    pub socket: Option<PathBuf>,
    /// Speak TLS on the TCP address.
    pub tls: Option<Tls>,
    /// Who may ask on the TCP address.
    pub tokens: Vec<Token>,
    /// Names of this server, in lower case, that a `Host` header may carry besides loopback and its own address.
    pub hosts: Vec<String>,
}

/// The files of the server's certificate. Both are read again for each connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The chain in PEM, the server's own certificate first.
    pub certificate_file: PathBuf,
    /// The private key in PEM.
    pub key_file: PathBuf,
}

/// Somebody who has a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The owner's name, which the journal shows.
    pub name: Arc<str>,
    /// What the owner may do.
    pub role: Role,
    /// The file with the token, which is read again for each request that carries one.
    pub file: PathBuf,
}

/// What somebody may do; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Read.
    Viewer,
    /// Change what the daemon does.
    Operator,
}

impl Settings {
    /// On loopback at `port`, open to read and with nobody who may write.
    pub fn loopback(port: u16) -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self { listen, socket: None, tls: None, tokens: Vec::new(), hosts: Vec::new() }
    }
}
