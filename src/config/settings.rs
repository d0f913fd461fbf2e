//! The daemon's own settings: `[prometheus]`, `[aws]`, `[http]` and `[state]`. Named files are not opened here.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::duration;
use super::table::{Field, Table, Taken};
use crate::api::{Role, Settings as Http, Tls, Token};
use crate::journal::Settings as State;
use crate::metric::prometheus::{self, ClientCertificate, Credentials};
use crate::target::{AssumeRole, Settings as Aws};

pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(10);
const PROMETHEUS_TIMEOUT: Duration = Duration::from_secs(3);
const AWS_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const RETENTION: RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(10 * 366 * 24);
pub(super) const SIZES: RangeInclusive<u64> = 16_000_000..=1_000_000_000_000;
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9480);

/// Reads `[prometheus]`.
pub(super) fn prometheus(table: &Table, interval: Duration) -> Option<prometheus::Settings> {
    let url = table.need("url", "the server's URL such as \"http://127.0.0.1:9090\"").and_then(|f| server(&f));
    let timeout = timeout(table, PROMETHEUS_TIMEOUT, interval);
    let headers = table.get("headers").map_or(Some(Vec::new()), |f| f.table(|t| Some(headers(t))));
    let token = table.get("bearer_token_file").map(|f| f.text().map(|p| Credentials::BearerTokenFile(p.into())));
    let basic = table.get("basic_auth").map(|f| {
        if token.is_some() {
            return f.wrong("excludes bearer_token_file, expected one of the two");
        }
        f.table(basic_auth)
    });
    let ca_file = table.get("ca_file").and_then(|f| path(&f));
    let client_certificate = table.get("client_certificate").and_then(|f| f.table(client_certificate));
    let credentials = token.or(basic).flatten();
    Some(prometheus::Settings { url: url?, timeout, headers: headers?, credentials, ca_file, client_certificate })
}

fn headers(table: &Table) -> Vec<(String, String)> {
    let mut headers: Vec<_> = table.entries().filter_map(|(name, field)| header(name, &field)).collect();
    headers.sort_unstable();
    headers
}

fn header(name: &str, field: &Field) -> Option<(String, String)> {
    const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return field.wrong("is no name of an HTTP header, expected one such as X-Scope-OrgID");
    }
    let value = field.text()?;
    let scheme = value.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    if SECRET.contains(&name.to_ascii_lowercase().as_str()) || ["bearer", "basic"].contains(&scheme.as_str()) {
        return field.wrong("is a credential, expected bearer_token_file or basic_auth, which keep it in a file");
    }
    if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return field.wrong("holds characters that no header may, expected printable ASCII");
    }
    Some((name.to_owned(), value.to_owned()))
}

fn basic_auth(table: &Table) -> Option<Credentials> {
    let username = table
        .need("username", "the user's name")
        .and_then(|f| f.text_such("a name without a colon, which would end it", |name| !name.contains(':')));
    let password_file = table.need("password_file", "the path of the file with the password").and_then(|f| path(&f));
    Some(Credentials::Basic { username: username?.to_owned(), password_file: password_file? })
}

fn client_certificate(table: &Table) -> Option<ClientCertificate> {
    let file = |key, what| table.need(key, what).and_then(|f| path(&f));
    let certificate_file = file("certificate_file", "the path of a PEM file with the certificate");
    let key_file = file("key_file", "the path of a PEM file with the private key");
    Some(ClientCertificate { certificate_file: certificate_file?, key_file: key_file? })
}

/// Reads `[aws]`.
pub(super) fn aws(table: &Table, interval: Duration) -> Aws {
    let region = table.get("region").and_then(|f| region(&f)).map(Into::into);
    let endpoint_url = table.get("endpoint_url").and_then(|f| base_url(&f));
    let profile = table.get("profile").and_then(|f| f.text()).map(Into::into);
    let arn = table
        .get("assume_role_arn")
        .map(|f| f.text_such("a role's ARN such as \"arn:aws:iam::123456789012:role/setpoint\"", is_role_arn));
    let external_id = table.get("external_id").and_then(|f| {
        if arn.is_none() {
            return f.wrong("is only used to assume a role, expected assume_role_arn beside it");
        }
        f.text().map(String::from)
    });
    let assume_role = arn.flatten().map(|arn| AssumeRole { arn: arn.to_owned(), external_id });
    Aws { region, endpoint_url, profile, assume_role, timeout: timeout(table, AWS_TIMEOUT, interval) }
}

/// Reads a name of an AWS region.
pub(super) fn region<'a>(field: &Field<'a>) -> Option<&'a str> {
    field.text_such("an AWS region such as \"us-east-1\"", |region| {
        let mut parts = region.rsplit('-');
        let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
        parts.next().is_some_and(is_number) && parts.clone().count() >= 2 && parts.all(is_word)
    })
}

fn is_role_arn(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let is_account = |account: &str| account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
    matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws") && is_account(account) && role.len() > "role/".len() && role.starts_with("role/"))
}

/// Reads `[http]`.
pub(super) fn http(table: &Table) -> Option<Http> {
    let tls = table.get("tls").map(|f| f.table(tls));
    let mut taken = Taken::default();
    let tokens = table.get("token").map_or(Some(Vec::new()), |f| f.tables(|t| token(t, &mut taken)));
    let is_secure = tls.is_some() && tokens.as_ref().is_none_or(|tokens| !tokens.is_empty());
    let listen = table.get("listen").map_or(Some(LISTEN), |f| listen(&f, is_secure));
    let socket = table.get("socket").map(|f| socket(&f));
    let hosts =
        table.get("hosts").map_or(Some(Vec::new()), |f| f.texts("host names such as \"setpoint.example\"", is_host));
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    let socket = match socket {
        Some(socket) => Some(socket?),
        None => None,
    };
    let hosts = hosts?.into_iter().map(str::to_ascii_lowercase).collect();
    Some(Http { listen: listen?, socket, tls, tokens: tokens?, hosts })
}

fn tls(table: &Table) -> Option<Tls> {
    let file = |key, what| table.need(key, what).and_then(|f| path(&f));
    let certificate_file = file("certificate_file", "the path of a PEM file with the certificate chain");
    let key_file = file("key_file", "the path of a PEM file with the private key");
    Some(Tls { certificate_file: certificate_file?, key_file: key_file? })
}

fn token(table: &Table, taken: &mut Taken) -> Option<Token> {
    const ROLES: [(&str, Role); 2] = [("viewer", Role::Viewer), ("operator", Role::Operator)];
    let name = table.need("name", "the owner's name, which the journal shows").and_then(|f| {
        let name = f.name()?;
        taken.take(name.to_owned(), &f, "the name");
        Some(name)
    });
    let role = table.need("role", "\"viewer\" or \"operator\"").and_then(|f| f.word(&ROLES));
    let file = table.need("file", "the path of the file with the token").and_then(|f| path(&f));
    Some(Token { name: name?.into(), role: role?, file: file? })
}

fn listen(field: &Field, is_secure: bool) -> Option<SocketAddr> {
    let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
    let text = field.text_such("an IP address and a port such as \"127.0.0.1:9480\"", is_address)?;
    let address = text.parse::<SocketAddr>().ok()?;
    if !address.ip().is_loopback() && !is_secure {
        return field.wrong(format!(
            "{address} is reached from other hosts, expected [http.tls] and at least one [[http.token]] beside it, or a \
             loopback address such as \"127.0.0.1:9480\""
        ));
    }
    Some(address)
}

fn socket(field: &Field) -> Option<PathBuf> {
    /// What fits into the address of a Unix socket, on every system.
    const LONGEST: usize = 100;
    let is_path = |text: &str| text.starts_with('/') && text.len() <= LONGEST;
    let text =
        field.text_such("an absolute path of at most 100 bytes such as \"/run/setpoint/setpoint.sock\"", is_path);
    text.map(PathBuf::from)
}

/// A name without a port, which `Host` may or may not carry.
fn is_host(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(is_plain)
}

/// Reads `[state]`.
pub(super) fn state(table: &Table) -> State {
    let is_absolute = |text: &str| text.starts_with('/');
    let directory = table
        .get("path")
        .and_then(|f| f.text_such("the absolute path of a directory such as \"/var/lib/setpoint\"", is_absolute));
    let mut state = State { directory: directory.map(PathBuf::from), ..State::default() };
    if let Some(retention) = table.get("retention").and_then(|f| f.duration(RETENTION)) {
        state.retention = retention;
    }
    if let Some(size) = table.get("max_size").and_then(|f| f.size(SIZES)) {
        state.max_size = size;
    }
    state
}

/// A deadline that is shorter than `interval`: a call must have ended before the next evaluation.
fn timeout(table: &Table, default: Duration, interval: Duration) -> Duration {
    let stated = table.get("timeout").and_then(|f| {
        let timeout = f.duration(TIMEOUTS)?;
        if timeout >= interval {
            let interval = duration::text(interval);
            return f.wrong(format!("is too long, expected less than the interval, {interval}"));
        }
        Some(timeout)
    });
    stated.unwrap_or_else(|| default.min(interval / 2))
}

fn path(field: &Field) -> Option<PathBuf> {
    field.text().map(PathBuf::from)
}

/// The URL of a Prometheus, and not that of one of its pages or calls.
fn server(field: &Field) -> Option<String> {
    const BELOW: [&str; 6] = ["/api/v1", "/api/v1/query", "/api/v1/query_range", "/graph", "/query", "/metrics"];
    let url = base_url(field)?;
    match BELOW.iter().find(|path| url.ends_with(**path)) {
        Some(path) => {
            field.wrong(format!("ends in {path}, expected the server's URL without, to which the calls are added"))
        }
        None => Some(url),
    }
}

fn base_url(field: &Field) -> Option<String> {
    let url = url(field)?;
    if url.query().is_some() {
        return field.wrong("has a query after \"?\", expected the bare URL of the server");
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// Reads an `http` or `https` URL. It is never repeated in a finding, for it could hold a password.
pub(super) fn url(field: &Field) -> Option<Url> {
    const EXPECTED: &str = "expected one such as \"http://127.0.0.1:9090\"";
    let url = match field.text()?.parse::<Url>() {
        Ok(url) => url,
        Err(error) => return field.wrong(format!("is not a URL ({error}), {EXPECTED}")),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return field.wrong(format!("is neither http nor https, {EXPECTED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return field.wrong("holds a user or password, which logs would show; expected a URL without user info");
    }
    if url.fragment().is_some() {
        return field.wrong("has a fragment after \"#\", which is never sent; expected a URL without it");
    }
    Some(url)
}
