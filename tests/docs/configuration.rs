//! The configurations that the docs show. A whole file is read as it is, and a part of one in a frame:
//!
//! - a block with `[[test]]` is a file of policy tests, for the configuration of the README;
//! - a block with `[[policy]]` is a file, to which a `[prometheus]` is added where there is none;
//! - a block whose first key belongs at the top of a file stands before the frame's policy;
//! - any other stands within the frame's policy, before its metric.

use std::fs;
use std::path::Path;

use setpoint::config;

use super::page::ROOT;

const PROMETHEUS: &str = "[prometheus]\nurl = \"http://127.0.0.1:9090\"\n";

const POLICY: &str = "[[policy]]\nname = \"framed\"\nasg = \"framed\"\nmin = 1\nmax = 100\n";

const METRIC: &str = "[[policy.metric]]\nname = \"framing\"\nkind = \"utilization\"\nquery = \"cpu\"\ntarget = 0.7\n";

/// What is wrong with a block.
pub fn check(block: &str) -> Result<(), String> {
    if block.contains("[[test]]") {
        let policies =
            config::parse("setpoint.toml", &of_the_readme(), []).map_err(|found| found.to_string())?.policies;
        return config::parse_tests("tests.toml", block, &policies).map(drop).map_err(|found| found.to_string());
    }
    config::parse("setpoint.toml", &framed(block), []).map(drop).map_err(|found| found.to_string())
}

/// The configuration that the README begins with.
pub fn of_the_readme() -> String {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README");
    let (_, block) = readme.split_once("```toml\n").expect("a configuration");
    block.split_once("```").expect("its end").0.lines().flat_map(|line| [line.trim_start(), "\n"]).collect()
}

fn framed(block: &str) -> String {
    let prometheus = if block.contains("[prometheus]") { "" } else { PROMETHEUS };
    if block.contains("[[policy]]") {
        format!("{block}\n{prometheus}")
    } else if belongs_at_the_top(block) {
        format!("{block}\n{prometheus}{POLICY}{METRIC}")
    } else {
        format!("{POLICY}{block}\n{METRIC}{prometheus}")
    }
}

fn belongs_at_the_top(block: &str) -> bool {
    let line = block.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let key = line.trim_start_matches('[').split(['.', ']', ' ', '=']).next().unwrap_or_default();
    key != "policy" && config::schema()["properties"].get(key).is_some()
}

#[test]
fn a_part_of_a_file_is_read_in_its_place() {
    let good = |block: &str| assert_eq!(check(block), Ok(()), "{block}");
    good("interval = \"30s\"");
    good("[state]\nretention = \"7d\"");
    good("mode = \"paused\"");
    good("# by night\n[[policy.schedule]]\ncron = \"0 8 * * *\"\nduration = \"1h\"\nmin = 6");
    good(&of_the_readme());
    let bad = |block: &str| assert!(check(block).is_err(), "{block}");
    bad("intervall = \"30s\"");
    bad("[state]\nretained = \"7d\"");
    bad("[[policy.schedule]]\ncron = \"0 8 * * *\"\nmin = 6");
    bad("[[test]]\nname = \"of nobody\"\npolicy = \"nobody\"");
}
