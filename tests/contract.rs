//! The API against its own description: Schemathesis asks every route whatever that description allows, and much
//! that it does not, and finds each answer in the document.
//!
//! `SETPOINT_CONTRACT_EXAMPLES` sets how many requests each route gets of each kind; it is small by default.

mod fixture;
mod site;
mod support;

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use setpoint::api::{Role, Settings, Token};
use site::{Site, fleet};

const OPERATOR: &str = "operator-0123456789abcdef01234567";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_in_the_description() {
    let Some(python) = tokio::task::spawn_blocking(support::servers::schemathesis).await.unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, OPERATOR).unwrap();
    let tokens = vec![Token { name: "ci".into(), role: Role::Operator, file }];
    let site = Site::with(&Settings { tokens, ..Settings::loopback(0) }, fleet()).await;
    let address = site.address;
    let asked = tokio::task::spawn_blocking(move || ask(&python, address, folder.path())).await.unwrap();
    println!("{}", asked.1);
    assert!(asked.0, "an answer is not in the description");
}

/// Whether every answer was found, and what was said about it.
fn ask(python: &Path, address: SocketAddr, folder: &Path) -> (bool, String) {
    let examples = env::var("SETPOINT_CONTRACT_EXAMPLES").unwrap_or_else(|_| "10".into());
    let mut command = Command::new(python);
    command.current_dir(folder).args([
        "-m",
        "schemathesis.cli",
        "run",
        &format!("http://{address}/openapi.json"),
        "--no-color",
        "--seed",
        "1998",
    ]);
    command.args(["--max-examples", &examples, "--header", &format!("Authorization: Bearer {OPERATOR}")]);
    // A stream of events has no end.
    command.args(["--exclude-path", "/api/v1/events"]);
    // A schema can't say that a moment lies ahead or that a reason is one line; and of what is described, 503 is no fault.
    command.args(["--exclude-checks", "positive_data_acceptance,not_a_server_error"]);
    let output = command.output().expect("an answer of Schemathesis");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
