//! The binary on disks that don't do what a disk should. Mounting one needs root; without, the test is left out and says so.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Nothing listens on port 1: every cycle ends in a hold, and that is a finished cycle too.
const CONFIGURATION: &str = r#"
interval = "1s"
[prometheus]
url = "http://127.0.0.1:1"
[aws]
region = "us-east-1"
endpoint_url = "http://127.0.0.1:1"
[http]
listen = "127.0.0.1:0"
[[policy]]
name = "web"
asg = "web"
min = 2
max = 10
[[policy.metric]]
name = "cpu"
kind = "utilization"
query = "cpu"
target = 0.7
"#;

/// Runs the daemon with a state directory of its own file system, which is gone with its mount namespace.
const TRIAL: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs "$2"
cd "$2"
mkdir state
mount -t tmpfs -o "$3" tmpfs state
$4
STATE_DIRECTORY="$2/state" exec $5 "$1" run --config "$6" --log-format json
"#;

/// What the log says of the journal, once the daemon runs; the daemon goes on.
fn said(options: &str, before: &str, wrapper: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("setpoint.toml");
    std::fs::write(&file, CONFIGURATION).expect("a file");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("our folder");
    let binary = folder.path().join("setpoint");
    std::fs::copy(env!("CARGO_BIN_EXE_setpoint"), &binary).expect("a copy");
    let disk = tempfile::tempdir().expect("a folder");
    let mut child = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "bash", "-c", TRIAL, "trial"])
        .args([binary.as_path(), disk.path()])
        .args([options, before, wrapper])
        .arg(&file)
        .env("AWS_ACCESS_KEY_ID", "trial")
        .env("AWS_SECRET_ACCESS_KEY", "trial")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut why = None;
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok) {
        if line.contains("ermission denied") && line.contains("mount") {
            println!("left out: {line}");
            break;
        }
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        match line["event"].as_str() {
            Some("journal-failed") => why = line["why"].as_str().map(String::from),
            // The first finished evaluation comes after that.
            Some("hold") => break,
            _ => {}
        }
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    why
}

#[test]
fn a_bad_disk_is_named_and_does_not_stop_the_daemon() {
    let root = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t0\t0\t0"));
    if !root || Command::new("unshare").args(["--mount", "true"]).status().map_or(true, |status| !status.success()) {
        println!("left out: mounting needs root");
        return;
    }
    let check = |options, before, wrapper, expected: &str| {
        let why = said(options, before, wrapper).unwrap_or_else(|| panic!("nothing is said of {expected:?}"));
        println!("{why}");
        assert!(why.contains(expected), "{why}");
    };
    check("size=8k", "true", "", "the disk is full; make room");
    check("ro", "true", "", "is on a read-only file system; mount it for writing");
    check("mode=755", "true", "setpriv --reuid=65534 --clear-groups", "can't be read and written: permission denied");
}
