//! The demo as the README starts it, and the addresses that the docs name on it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;

use super::command;
use super::desk::{PATIENCE, end, setpoint};
use super::page::{self, Page};
use super::support::http;

/// What the daemon answers to begins so.
const ADDRESSES: [&str; 6] = ["/api/v1/", "/healthz", "/metrics", "/openapi.json", "/plain", "/readyz"];

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_its_page_and_every_address_of_the_docs() {
    let pages = page::all();
    let commands = pages.iter().flat_map(|page| &page.blocks).flat_map(command::commands);
    let mut calls = commands.flat_map(|command| command.of_setpoint());
    let demo = calls.find(|arguments| arguments.first().is_some_and(|name| name == "demo")).expect("a demo");
    let mut process = setpoint().args(demo).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the binary");
    let output = process.stdout.take().expect("its output");
    let server = tokio::time::timeout(PATIENCE, page_of(output)).await.expect("a page");
    assert_eq!(http::get(server, "/").expect("an answer").0, 200);
    let named = addresses(&pages);
    for address in &named {
        let (status, body) = http::get(server, address).expect("an answer");
        assert!(status != 404, "{address}: {body}");
    }
    assert!(named.len() > 8, "{named:?}");
    end(&mut process, "INT").await;
}

/// Where the demo says that its page is.
async fn page_of(output: ChildStdout) -> SocketAddr {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some(url) = line.strip_prefix("Status page: http://") {
            return url.trim_end_matches('/').parse().expect("an address");
        }
    }
    panic!("no page is named");
}

/// Those that are named within a line or asked by `curl`, for the policy of the demo.
fn addresses(pages: &[Page]) -> BTreeSet<String> {
    let codes = pages.iter().flat_map(|page| &page.codes).map(|(_, code)| code.as_str());
    let blocks = pages.iter().flat_map(|page| &page.blocks).map(|block| block.text.as_str());
    let words = codes.chain(blocks).flat_map(str::split_whitespace);
    let paths = words.map(|word| word.split_once("://127.0.0.1:9480").map_or(word, |(_, path)| path));
    let is_address = |path: &&str| ADDRESSES.iter().any(|begin| path.starts_with(begin));
    // Events go on for ever.
    let ends = |path: &&str| !path.ends_with("/events");
    let of_the_demo = |path: &str| {
        ["{name}", "NAME", "web"]
            .iter()
            .fold(path.to_owned(), |path, name| path.replacen(&format!("/policies/{name}"), "/policies/tickets", 1))
    };
    paths.filter(is_address).filter(ends).map(of_the_demo).collect()
}
