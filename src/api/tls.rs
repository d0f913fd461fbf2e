//! TLS by rustls, with a certificate that may be renewed while the server runs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::fs;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::settings::Tls;

/// What the two files held.
type Pems = (Vec<u8>, Vec<u8>);

/// Takes the server's part in handshakes.
#[derive(Debug)]
pub(super) struct Handshake {
    files: Tls,
    /// What was read last, whether it could be used or not, and the newest that could be.
    newest: Mutex<(Pems, Arc<ServerConfig>)>,
}

impl Handshake {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// A sentence about the file that can't be used.
    pub(super) async fn new(files: &Tls) -> Result<Self, String> {
        let pems = read(files).await?;
        let config = configure(&pems, files)?;
        Ok(Self { files: files.clone(), newest: Mutex::new((pems, Arc::new(config))) })
    }

    /// # Errors
    /// The client's, or the connection's.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config().await).accept(stream).await
    }

    /// With the certificate that the files hold now. The one before stays while they hold none, which is so for a moment
    /// whenever one is replaced before the other.
    async fn config(&self) -> Arc<ServerConfig> {
        let mut newest = self.newest.lock().await;
        let (pems, config) = &mut *newest;
        match read(&self.files).await {
            Ok(found) if found == *pems => {}
            Ok(found) => {
                match configure(&found, &self.files) {
                    Ok(renewed) => {
                        *config = Arc::new(renewed);
                        tracing::info!(event = "certificate-renewed", "the certificate was read again");
                    }
                    Err(why) => {
                        tracing::warn!(event = "certificate-unusable", why, "the certificate before it stays");
                    }
                }
                *pems = found;
            }
            Err(why) => tracing::debug!(event = "certificate-unusable", why, "the certificate before it stays"),
        }
        config.clone()
    }
}

async fn read(files: &Tls) -> Result<Pems, String> {
    let read = async |file: &Path| {
        let bytes = fs::read(file).await;
        bytes.map_err(|error| format!("{} can't be read: {error}", file.display()))
    };
    Ok((read(&files.certificate_file).await?, read(&files.key_file).await?))
}

fn configure((certificate, key): &Pems, files: &Tls) -> Result<ServerConfig, String> {
    let (at, key_at) = (files.certificate_file.display(), files.key_file.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("{at} is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{at} holds no certificate, expected a chain in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{key_at} holds no private key that can be used, expected one in PEM: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| format!("{at} and {key_at} can't be used together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
