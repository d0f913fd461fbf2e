//! Who may import whom. The rooms of the house are modules of one crate, so the compiler alone would allow everything.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the paths that it may name besides its own. Tests within a room keep its rules.
const ROOMS: &[(&str, &str)] = &[
    ("policy", ""),
    ("clock", ""),
    ("telemetry", ""),
    ("observation", "policy"),
    ("order", "policy"),
    ("control", "policy observation"),
    ("account", "policy observation"),
    ("metric", "policy observation"),
    ("target", "policy observation"),
    ("journal", "policy observation order control clock account"),
    // Of the journal only how it does.
    ("status", "policy observation order control account journal::Status journal::Health"),
    ("notification", "policy observation order control journal::Health status clock telemetry"),
    ("simulation", "policy observation control clock"),
    ("tuning", "policy observation control simulation"),
    ("import", "policy"),
    ("rehearsal", "policy observation control"),
    ("report", "policy observation simulation"),
    ("backtest", "policy observation simulation report"),
    // Of the rooms that act, only the settings, which are plain data.
    (
        "config",
        "policy metric::prometheus metric::MAX_WINDOW target::Settings target::AssumeRole \
         api::Settings api::Tls api::Token api::Role journal::Settings notification::Channel notification::Kind \
         notification::Address notification::Topic rehearsal",
    ),
    ("api", "policy observation order control account status clock journal"),
    (
        "daemon",
        "policy observation order control account metric target journal notification status config clock telemetry simulation",
    ),
    (
        "cli",
        "policy observation order control metric target journal notification status config clock telemetry simulation daemon api \
         account rehearsal report tuning backtest import",
    ),
];

/// What the core must not name, so that it stays pure. A number becomes an integer by clamping and converting:
/// `NaN as u32` is 0, which would be a scale-in.
#[rustfmt::skip]
const BARRED_FROM_CONTROL: &[&str] = &[
    "async", "tokio", "tracing", "reqwest", "std::env", "std::fs", "std::net", "Instant", "SystemTime",
    "Timestamp::now", "Zoned::now", "as u8", "as u16", "as u32", "as u64", "as u128", "as usize", "as i8", "as i16",
    "as i32", "as i64", "as i128", "as isize",
];

#[test]
fn every_room_imports_only_what_it_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in rust_files(&source) {
        let name = file.strip_prefix(&source).expect("a file below src").to_str().expect("a name in UTF-8");
        let module = name.trim_end_matches(".rs").trim_end_matches("/mod");
        if !matches!(module, "lib" | "main") {
            let text = fs::read_to_string(&file).expect("a readable file");
            found.extend(findings(module, &text).into_iter().map(|finding| format!("src/{name}: {finding}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_map_of_the_house_has_no_logic() {
    let text = include_str!("../src/lib.rs");
    let code: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with("//!")).collect();
    let map = |line: &&str| line.starts_with("pub mod ") || *line == r#"#[cfg(feature = "daemon")]"#;
    assert!(code.iter().all(map), "src/lib.rs holds more than the map: {code:?}");
    for (room, _) in ROOMS {
        assert!(code.contains(&&*format!("pub mod {room};")), "src/lib.rs lacks `{room}`, which has a rule here");
    }
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    let check = |room, text, expected: &[&str]| assert_eq!(findings(room, text), expected, "{room}: {text}");
    check("policy", "use crate::observation::Observation;", &["names crate::observation::Observation"]);
    check("policy", "use crate::{config};", &["names crate::config"]);
    check("control", "use crate::policy::Policy;\nuse crate::control::pid;\nlet wide = small as f64;", &[]);
    check("control", "use crate::{\n    policy::{Mode, Policy},\n    daemon as boss,\n};", &["names crate::daemon"]);
    check("control", "fn f(a: &crate::target::asg::Group) {}", &["names crate::target::asg::Group"]);
    check("api", "use crate::{status, target::*};", &["names crate::target::*"]);
    check("api", "// crate::target would be wrong here\n/// See [`crate::daemon`].", &[]);
    check("status", "use super::{daemon::run, control};", &["names crate::daemon::run"]);
    check("simulation/wire/http", "use super::super::super::daemon;", &["names crate::daemon"]);
    check("simulation/wire/http", "use super::super::world::World;\nuse super::daemon;", &[]);
    check("simulation/world", "mod tests { use super::super::plant::Plant; }", &[]);
    check("config", "use crate::target::{Settings, AutoScaling};", &["names crate::target::AutoScaling"]);
    check("config", "use crate::api::Settings as Http;", &[]);
    check("control", "let n = x.ceil() as u32;", &["names `as u32`"]);
    check("control", "let instant = Instant::now();", &["names `Instant`"]);
    check("control", "let instantly = atomic_async_list;", &[]);
    check("attic", "", &["is a room without a rule"]);
}

/// Every breach, in the `text` of `module`, of the rules of its room.
fn findings(module: &str, text: &str) -> Vec<String> {
    let room = module.split('/').next().unwrap_or_default();
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec!["is a room without a rule".into()];
    };
    let code = without_comments(text);
    let paths = named_from_the_root(&code).chain(climbed_to(&code, module.split('/').count()));
    let may_name = |path: &str| allowed.split(' ').chain([room]).any(|prefix| starts_with(path, prefix));
    let strange = paths.filter(|path| !may_name(path)).map(|path| format!("names crate::{path}"));
    let barred = if room == "control" { BARRED_FROM_CONTROL } else { &[] };
    let uttered =
        barred.iter().filter(|word| words(&code, word).next().is_some()).map(|word| format!("names `{word}`"));
    strange.chain(uttered).collect()
}

/// `text` without what follows `//` on a line, so that prose may name any room.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Where `word` stands in `code` as a word of its own.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !code[..at].ends_with(part_of_a_name) && !code[at + word.len()..].starts_with(part_of_a_name)
    })
}

/// Every path that begins with `crate::`, without that; groups in braces are taken apart.
fn named_from_the_root(code: &str) -> impl Iterator<Item = String> {
    words(code, "crate").filter_map(|at| code[at..].strip_prefix("crate::")).flat_map(|rest| tree(rest).0)
}

/// Every path to a room that a module `depth` below the root reaches by `super::`. A module within the file climbs once
/// more to the same place, so only names of rooms count.
fn climbed_to(code: &str, depth: usize) -> impl Iterator<Item = String> {
    let chains = words(code, "super").filter(|at| !code[..*at].ends_with("super::")).map(|at| &code[at..]);
    let out = chains
        .map(|chain| (chain, chain.trim_start_matches("super::")))
        .filter(move |(chain, rest)| (chain.len() - rest.len()) / "super::".len() >= depth);
    out.flat_map(|(_, rest)| tree(rest).0).filter(|path| ROOMS.iter().any(|(room, _)| starts_with(path, room)))
}

/// The paths of the use tree at the start of `text`, and what follows it.
fn tree(text: &str) -> (Vec<String>, &str) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return branches(group);
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(deeper) => {
            let (paths, rest) = tree(deeper);
            (paths.into_iter().map(|path| format!("{name}::{path}")).collect(), rest)
        }
        None => (vec![name.to_owned()], rest),
    }
}

/// The paths of a group up to its closing brace, and what follows it.
fn branches(mut text: &str) -> (Vec<String>, &str) {
    let mut paths = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return (paths, rest);
        }
        let (found, rest) = tree(text);
        paths.extend(found);
        // A name may be followed by `as other`.
        let end = rest.find([',', '}']).expect("a group is closed");
        text = rest[end..].trim_start_matches(',');
    }
}

/// Whether `path` is `prefix` or lies below it.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let here = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    here.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}
