//! The docs are true: their configurations are read by the reader of the daemon, their commands are understood by its command
//! line and run against a daemon, and their links lead somewhere.

mod command;
mod configuration;
mod demo;
mod desk;
mod links;
mod page;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use command::{Call, Command};
use page::{Block, Place, ROOT};
use setpoint::cli;
use setpoint::simulation::trace::Trace;

/// Blocks that nothing reads: the page, the language, and why.
const UNREAD: [(&str, &str, &str); 3] = [
    ("docs/backtest.md", "text", "an answer, of two weeks that were simulated elsewhere"),
    ("docs/policy-tests.md", "text", "an answer, with dots for what is left out"),
    ("docs/notifications.md", "python", "run by tests/notification.rs"),
];

/// Programs of others that commands name, and why nothing is run.
const OTHERS: [(&str, &str); 7] = [
    ("aws", "needs an account"),
    ("dpkg", "needs root; run by tests/service"),
    ("editor", "waits for somebody to type"),
    ("jq", "somebody else's"),
    ("kubectl", "needs a cluster"),
    ("man", "somebody else's"),
    ("systemctl", "needs systemd; run by tests/service"),
];

#[test]
fn every_block_is_read_by_what_it_is_written_for() {
    let mut unread: BTreeSet<&(&str, &str, &str)> = BTreeSet::new();
    for block in page::all().iter().flat_map(|page| &page.blocks) {
        let Block { place, language, text } = block;
        let known = UNREAD.iter().find(|(page, known, _)| *page == place.page && known == language);
        let read = match language.as_str() {
            _ if known.is_some() => Ok(()),
            "toml" => configuration::check(text),
            "json" => serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string()),
            "yaml" => serde_saphyr::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string()),
            "hcl" => hcl::from_str::<hcl::Body>(text).map(drop).map_err(|error| error.to_string()),
            "csv" => Trace::read(text).map(drop).map_err(|error| error.to_string()),
            "console" | "sh" | "bash" if command::commands(block).is_empty() => Err("no command".into()),
            "console" | "sh" | "bash" | "" => Ok(()),
            _ => Err(format!("nothing reads {language:?}; if nothing can, say why in UNREAD")),
        };
        read.unwrap_or_else(|problem| panic!("{place}: {problem}\n{text}"));
        unread.extend(known);
    }
    assert_eq!(unread.len(), UNREAD.len(), "of UNREAD only these are left: {unread:?}");
}

#[test]
fn every_command_is_one() {
    let mut others = BTreeSet::new();
    let pages = page::all();
    let in_pages = pages.iter().flat_map(|page| &page.blocks).flat_map(command::commands);
    for command in in_pages.chain(of_the_help()) {
        for Call { program, arguments } in command.calls() {
            match program.as_str() {
                "setpoint" | "echo" => {}
                "cargo" => check_cargo(&command, &arguments),
                file if file.contains('/') => assert!(Path::new(ROOT).join(file).is_file(), "{command}: no such file"),
                other => {
                    assert!(OTHERS.iter().any(|(known, _)| *known == other), "{command}: {other} is not in OTHERS");
                    others.insert(other.to_owned());
                }
            }
        }
        for arguments in command.of_setpoint() {
            understood(&arguments).unwrap_or_else(|error| panic!("{command}\n{error}"));
        }
    }
    assert_eq!(others.len(), OTHERS.len(), "of OTHERS only these are left: {others:?}");
}

/// Within a sentence what is not of interest is left out, but nothing is there that does not exist.
#[test]
fn a_command_within_a_sentence_exists() {
    let mut found = 0;
    for (place, code) in page::all().into_iter().flat_map(|page| page.codes) {
        let text = code.replace(['\n', '…'], " ");
        if !text.starts_with("setpoint ") {
            continue;
        }
        for arguments in (Command { place, text }).of_setpoint() {
            found += 1;
            let left_out = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
            match understood(&arguments) {
                Err(error) if !left_out.contains(&error.kind()) => panic!("{code}\n{error}"),
                _ => {}
            }
        }
    }
    assert!(found > 30, "{found}");
}

#[test]
fn the_index_of_the_readme_has_every_page_once() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, index) = readme.split_once("\n## Documentation\n").expect("an index");
    let index = index.split("\n## ").next().unwrap();
    for page in page::all().into_iter().filter(|page| page.path.starts_with("docs/")) {
        assert_eq!(index.matches(&format!("]({})", page.path)).count(), 1, "{} in the index", page.path);
    }
}

/// The examples that `--help` shows.
fn of_the_help() -> Vec<Command> {
    let definition = cli::definition();
    let helps =
        definition.get_subcommands().filter_map(|command| Some((command.get_name(), command.get_after_help()?)));
    let block = |(name, help): (&str, &clap::builder::StyledStr)| Block {
        place: Place { page: format!("setpoint {name} --help"), line: 0 },
        language: "console".into(),
        text: help.to_string(),
    };
    helps.flat_map(|help| command::commands(&block(help))).collect()
}

/// What the real command line makes of it, without running it.
fn understood(arguments: &[String]) -> Result<(), clap::Error> {
    let words = ["setpoint"].into_iter().chain(arguments.iter().map(String::as_str));
    cli::definition().try_get_matches_from(words).map(drop)
}

/// The targets and features that are named are there.
fn check_cargo(command: &Command, arguments: &[String]) {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let exists = |option: &str, value: &str| match option {
        "--test" => [format!("tests/{value}.rs"), format!("tests/{value}/main.rs")].iter().any(|file| is_file(file)),
        "--bench" => is_file(&format!("benches/{value}.rs")),
        "--features" => manifest.contains(&format!("\n{value} = [")),
        _ => true,
    };
    for pair in arguments.windows(2) {
        assert!(exists(&pair[0], &pair[1]), "{command}: there is no {}", pair[1]);
    }
}

fn is_file(path: &str) -> bool {
    Path::new(ROOT).join(path).is_file()
}
