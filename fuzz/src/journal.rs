//! The journal's file, as a disk or somebody else has left it.
//!
//! An input that begins with an odd byte is the file after it. Any other is a list of changes to a good file: three
//! bytes of place, one of length, and so many bytes to be written there. A last change without bytes cuts the file off.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;
use setpoint::clock::Clock;
use setpoint::control::{Decision, Outcome};
use setpoint::journal::{Action, Entry, Event, Journal, Made, OpenError, Query, Reader, Recalled, Record, Settings};
use setpoint::policy::Capacity;
use tokio::runtime::{Builder, Runtime};

const FILE: &str = "journal.redb";

/// The longest that a check waits for a disk.
const PATIENCE: Duration = Duration::from_mins(1);

/// Far longer than anything in here is old.
const RETENTION: Duration = Duration::from_hours(24 * 365 * 100);

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good);

/// It is refused in words and left as it is, or it works: what is written to it is there when it is opened again.
pub fn check(input: &[u8]) {
    let file = file(input);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    fs::write(&path, &file).expect("a file");
    let runtime = runtime();
    match runtime.block_on(open(folder.path())) {
        Err(OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Failed { .. }) => {
            assert!(fs::read(&path).expect("the file") == file, "a file that is refused was changed");
            // What is read of it may be whole where another part is not.
            let _page = Reader::page_in(folder.path(), &everything());
            assert!(fs::read(&path).expect("the file") == file, "a file that is refused was changed by reading it");
        }
        Err(other) => panic!("{other}"),
        Ok((journal, _)) => {
            runtime.block_on(async {
                let written = journal.record(records(), PATIENCE).await;
                let page = journal.reader().page(everything()).await;
                journal.close(PATIENCE).await;
                if written.is_ok() {
                    let again = open(folder.path()).await;
                    assert!(again.is_ok(), "it was written and can't be opened again: {:?}", again.err());
                    assert!(page.is_ok(), "it is written and can't be read: {:?}", page.err());
                }
            });
        }
    }
}

fn file(input: &[u8]) -> Vec<u8> {
    let (choice, rest) = super::choice(input);
    if choice & 1 == 1 {
        return rest.to_vec();
    }
    let mut file = GOOD.clone();
    let mut rest = rest;
    while let [high, middle, low, length, more @ ..] = rest {
        let place = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let place = place.min(file.len());
        let (bytes, more) = more.split_at(usize::from(*length).min(more.len()));
        if bytes.is_empty() {
            file.truncate(place);
        }
        for (old, new) in file[place..].iter_mut().zip(bytes) {
            *old = *new;
        }
        rest = more;
    }
    file
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

async fn open(folder: &Path) -> Result<(Journal, Recalled), OpenError> {
    let settings = Settings { directory: Some(folder.to_owned()), retention: RETENTION, ..Settings::default() };
    let (journal, mut openings) = Journal::start(&settings, Clock::WALL);
    let opened = openings.recv().await.expect("the journal's thread lives");
    opened.map(|recalled| (journal, recalled))
}

fn good() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let (journal, _) = open(folder.path()).await.expect("a new journal");
        journal.record(records(), PATIENCE).await.expect("a disk");
        journal.close(PATIENCE).await;
    });
    fs::read(folder.path().join(FILE)).expect("a file")
}

fn records() -> Vec<Record> {
    let at = super::now();
    let (from, to) = (Capacity::new(2), Capacity::new(3));
    let (decision, because) = (Decision::Scale { from, to }, "cpu".to_owned());
    let made =
        Made { decision, because: because.clone(), outcome: Outcome::Applied, error: None, evaluation: json!({}) };
    let (policy, outcome, error) = ("web".into(), None, None);
    vec![
        Record::Action(Action { policy, asg: "web".into(), region: None, at, from, to, because, outcome, error }),
        Record::Entry(Entry { at, policy: "web".into(), event: Event::Decision(made) }),
        Record::Orders(serde_json::from_value(orders()).expect("orders")),
    ]
}

fn orders() -> serde_json::Value {
    let pause = json!({ "scope": "both", "by": "mara", "reason": "a migration", "since": super::now(), "until": "9999-01-01T00:00:00Z" });
    json!({ "freeze": null, "pauses": { "web": pause }, "overrides": {} })
}

fn everything() -> Query {
    Query { policy: None, from: None, before: None, limit: 100 }
}
