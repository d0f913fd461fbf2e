//! The log's events are those of docs/logs.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const DOCS: &str = include_str!("../docs/logs.md");

/// How a line of the log begins in the source.
const LEVELS: [(&str, &str); 5] = [
    ("tracing::error!", "error"),
    ("tracing::warn!", "warn"),
    ("tracing::info!", "info"),
    ("tracing::debug!", "debug"),
    ("tracing::trace!", "trace"),
];

/// The levels of each event, in the order of their weight.
type Events = BTreeMap<String, Vec<&'static str>>;

#[test]
fn every_event_is_in_the_docs_and_every_event_there_is_logged() {
    let mut logged = Events::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut logged);
    let rows = DOCS.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Events = rows.map(row).collect();
    assert!(logged.len() > 20, "the source is read: {logged:?}");
    assert_eq!(logged, documented);
}

fn row(row: &str) -> (String, Vec<&'static str>) {
    let mut cells = row.split('|').map(str::trim);
    let event = cells.next().expect("an event").trim_end_matches('`').to_owned();
    let levels = cells.next().expect("a level").split(", ").map(|level| {
        LEVELS.iter().find(|(_, known)| *known == level).unwrap_or_else(|| panic!("{level} is no level")).1
    });
    (event, levels.collect())
}

fn read(folder: &Path, events: &mut Events) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, events);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            lines(&fs::read_to_string(&path).expect("a file"), events);
        }
    }
}

/// Every line of the log in `text` names its event first.
fn lines(text: &str, events: &mut Events) {
    for (start, level) in LEVELS {
        for call in text.split(start).skip(1) {
            let named = call.trim_start_matches(|c: char| c == '(' || c.is_whitespace()).strip_prefix("event = \"");
            let event = named.and_then(|rest| rest.split('"').next());
            let event = event.unwrap_or_else(|| panic!("{start} names no event: {}", &call[..call.len().min(80)]));
            let levels = events.entry(event.to_owned()).or_default();
            if !levels.contains(&level) {
                levels.push(level);
            }
        }
    }
}
