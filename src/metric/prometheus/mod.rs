//! Instant queries to the HTTP API of Prometheus, and to what speaks it: Thanos, Mimir, `VictoriaMetrics`.
//!
//! One read asks two things at once: the value, and how old the samples behind it are. It never retries, and never
//! takes a partial answer for a number, because a partial sum looks like a fall of load.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, RequestBuilder, Url};

use self::reply::Instances;
use super::fetch::{self, Reply};
use super::{Answer, SourceError};
use crate::observation::{Failure, Measurement};

mod age;
mod doubt;
mod range;
mod reply;

pub use doubt::doubts;
pub use range::{MOST_POINTS, Moments, Past};

/// How to reach a Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `http` or `https` URL without a trailing slash, with the path prefix where the server has one.
    pub url: String,
    /// The time that one read may take, everything included.
    pub timeout: Duration,
    /// Headers of every request, as name and value.
    pub headers: Vec<(String, String)>,
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// The only certificate authorities that are trusted, in PEM; those of the host where there is none.
    pub ca_file: Option<PathBuf>,
    /// For servers that ask for a certificate.
    pub client_certificate: Option<ClientCertificate>,
}

/// How we say who we are. The files are read again for every request, so that a secret can be rotated.
#[derive(Clone, Debug, PartialEq)]
pub enum Credentials {
    /// A bearer token is in this file.
    BearerTokenFile(PathBuf),
    /// HTTP basic authentication.
    Basic {
        /// The user.
        username: String,
        /// The password is in this file.
        password_file: PathBuf,
    },
}

/// A certificate with its key, both in PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// The certificate, followed by those that it was issued by.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// A Prometheus, ready to be asked.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    query_url: Url,
    timeout: Duration,
    credentials: Option<Credentials>,
}

impl Client {
    /// Reads the certificate files and connects to nothing.
    pub fn new(settings: &Settings) -> Result<Self, SourceError> {
        let query_url = Url::parse(&format!("{}/api/v1/query", settings.url)).map_err(|_| SourceError::Url)?;
        if !matches!(query_url.scheme(), "http" | "https") {
            return Err(SourceError::Url);
        }
        let mut builder = fetch::client().default_headers(headers(&settings.headers)?);
        if let Some(file) = &settings.ca_file {
            builder = builder.tls_certs_only(authorities(file)?);
        } else if query_url.scheme() == "http" {
            builder = builder.tls_certs_only([]); // A host that needs no authorities need not have any.
        }
        if let Some(certificate) = &settings.client_certificate {
            builder = builder.identity(identity(certificate)?);
        }
        let http = builder.build().map_err(SourceError::Client)?;
        Ok(Self { http, query_url, timeout: settings.timeout, credentials: settings.credentials.clone() })
    }

    /// The value of `query`, or of each instance that the label `per_instance` tells from the others, and the age.
    pub async fn read(&self, query: &str, per_instance: Option<&str>, now: Timestamp) -> Result<Measurement, Answer> {
        let Some(label) = per_instance else {
            let (number, age) = self.with_age(query, now, reply::number).await?;
            return Ok(Measurement::of(number.value, age));
        };
        let (Instances { mean, reporting }, age) =
            self.with_age(query, now, |reply| reply::instances(reply, label)).await?;
        Ok(Measurement::Instances { mean, reporting, age })
    }

    /// What `read` makes of the reply to `query`, and how old the samples behind it are.
    async fn with_age<T>(
        &self,
        query: &str,
        now: Timestamp,
        read: impl Fn(&Reply) -> Result<T, Answer>,
    ) -> Result<(T, Option<Duration>), Answer> {
        let Some(age_query) = age::query(query)? else {
            return Ok((fetch::within(self.timeout, self.ask(query, read)).await?, None));
        };
        // A value that failed needs no age, and an age that failed must not hide why the value did.
        let newest = async { Ok(self.ask(&age_query, reply::number).await) };
        let both = async { tokio::try_join!(self.ask(query, read), newest) };
        let (value, newest) = fetch::within(self.timeout, both).await?;
        Ok((value, Some(age::of(newest, now)?)))
    }

    async fn ask<T>(&self, query: &str, read: impl Fn(&Reply) -> Result<T, Answer>) -> Result<T, Answer> {
        let request = self.http.post(self.query_url.clone()).form(&[("query", query)]);
        read(&fetch::fetch(self.authorize(request).await?).await?)
    }

    async fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder, Answer> {
        Ok(match &self.credentials {
            None => request,
            Some(Credentials::BearerTokenFile(file)) => request.bearer_auth(secret(file).await?),
            Some(Credentials::Basic { username, password_file }) => {
                request.basic_auth(username, Some(secret(password_file).await?))
            }
        })
    }
}

async fn secret(file: &Path) -> Result<String, Answer> {
    let denied = |why: String| Answer::failed(Failure::Denied, format!("\"{}\" {why}", file.display()));
    let content = tokio::fs::read_to_string(file).await;
    let secret = content.map_err(|error| denied(format!("cannot be read: {error}")))?.trim().to_owned();
    if secret.is_empty() || secret.contains(char::is_control) {
        return Err(denied("holds no secret on one line".to_owned()));
    }
    Ok(secret)
}

fn headers(settings: &[(String, String)]) -> Result<HeaderMap, SourceError> {
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let parsed = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
        let (parsed_name, mut parsed_value) = parsed.ok_or_else(|| SourceError::Header { name: name.clone() })?;
        parsed_value.set_sensitive(true);
        headers.append(parsed_name, parsed_value);
    }
    Ok(headers)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, SourceError> {
    const EXPECTED: &str = "PEM certificates of the trusted authorities";
    let pem = read_file("prometheus.ca_file", file, EXPECTED)?;
    let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(SourceError::Unusable { key: "prometheus.ca_file", file: file.to_owned(), expected: EXPECTED });
    }
    Ok(certificates)
}

fn identity(certificate: &ClientCertificate) -> Result<Identity, SourceError> {
    const CERTIFICATE: &str = "prometheus.client_certificate.certificate_file";
    const EXPECTED: &str = "a PEM certificate, and its PEM key in key_file";
    let mut pem = read_file(CERTIFICATE, &certificate.certificate_file, EXPECTED)?;
    pem.push(b'\n');
    let key = "prometheus.client_certificate.key_file";
    pem.extend(read_file(key, &certificate.key_file, "a PEM private key")?);
    let file = certificate.certificate_file.clone();
    Identity::from_pem(&pem).map_err(|_| SourceError::Unusable { key: CERTIFICATE, file, expected: EXPECTED })
}

fn read_file(key: &'static str, file: &Path, expected: &'static str) -> Result<Vec<u8>, SourceError> {
    fs::read(file).map_err(|source| SourceError::Unreadable { key, file: file.to_owned(), expected, source })
}
