//! A small blocking HTTP client, so that setting a server up tests nothing of Setpoint's own.

use std::io::{Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for anything from a server: moto's first call takes up to 15 s on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The status and the body of the answer to a GET.
pub fn get(server: SocketAddr, path: &str) -> Result<(u16, String), Error> {
    exchange(server, &format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n"))
}

/// The status and the body of the answer to a form, sent by POST with an `Authorization` header.
pub fn post(server: SocketAddr, authorization: &str, form: &[(&str, &str)]) -> Result<(u16, String), Error> {
    let body = form.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&");
    let length = body.len();
    exchange(
        server,
        &format!(
            "POST / HTTP/1.0\r\nHost: {server}\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// Percent-encodes a value for a query or a form.
pub fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encoded = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encoded).collect()
}

fn exchange(server: SocketAddr, request: &str) -> Result<(u16, String), Error> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.ok_or_else(|| Error::other("no HTTP status"))?, body.to_owned()))
}
