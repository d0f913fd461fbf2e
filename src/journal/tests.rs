//! The journal on real files.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, TableDefinition};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::account::{Stretch, Sums};
use crate::clock::Clock;
use crate::control::{Decision, Outcome};
use crate::order::{Author, Order, Pause, Scope, Standing};
use crate::policy::Capacity;

const PATIENCE: Duration = Duration::from_secs(20);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn settings(folder: &Path) -> Settings {
    Settings { directory: Some(folder.to_owned()), ..Settings::default() }
}

async fn open(folder: &Path) -> (Journal, Recalled) {
    open_with(&settings(folder)).await
}

async fn open_with(settings: &Settings) -> (Journal, Recalled) {
    let (journal, mut openings) = Journal::start(settings, Clock::WALL);
    let recalled = openings.recv().await.expect("an attempt").expect("a journal");
    assert_eq!(journal.status().borrow().failures, 0, "none that is healthy has failed");
    (journal, recalled)
}

async fn refused(folder: &Path) -> OpenError {
    let (_journal, mut openings) = Journal::start(&settings(folder), Clock::WALL);
    openings.recv().await.expect("an attempt").expect_err("a refusal")
}

async fn written(journal: &Journal, records: Vec<Record>) {
    journal.record(records, PATIENCE).await.expect("a journal that is written");
}

/// So many seconds before these tests began.
fn ago(seconds: i64) -> Timestamp {
    static NOW: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second());
    Timestamp::from_second(*NOW - seconds).unwrap()
}

fn action(policy: &str, at: Timestamp, outcome: Option<Outcome>) -> Action {
    Action {
        policy: policy.into(),
        asg: policy.into(),
        region: None,
        at,
        from: Capacity::new(2),
        to: Capacity::new(3),
        because: "cpu".into(),
        outcome,
        error: None,
    }
}

fn made(policy: &str, at: Timestamp, filling: usize) -> Entry {
    let (because, evaluation) = ("a test".into(), json!("x".repeat(filling)));
    let made = Made { decision: Decision::Hold, because, outcome: Outcome::NoOp, error: None, evaluation };
    Entry { at, policy: policy.into(), event: Event::Decision(made) }
}

fn pause() -> Pause {
    let author = Author { by: "mara".into(), reason: "a migration".into() };
    Pause { scope: Scope::Both, author, since: ago(60), until: Timestamp::MAX }
}

#[tokio::test]
async fn what_is_written_is_there_after_a_crash() {
    let folder = folder();
    let (journal, recalled) = open(folder.path()).await;
    assert!(recalled.policies.is_empty() && recalled.orders == Standing::default());
    let mut standing = Standing::default();
    standing.take(Order::Pause { policy: "web".into(), pause: pause() });
    let applied = action("web", ago(60), Some(Outcome::Applied));
    let records = vec![
        Record::Orders(standing.clone()),
        Record::Action(action("web", ago(60), None)),
        Record::Action(applied.clone()),
        Record::Action(action("web", ago(30), None)),
        Record::Action(action("api", ago(26 * 3600), Some(Outcome::Applied))),
    ];
    written(&journal, records).await;
    // The file as a crash leaves it.
    let after = tempfile::tempdir().expect("a folder");
    fs::copy(file_in(folder.path()), file_in(after.path())).expect("a copy");
    let (journal_after, recalled) = open(after.path()).await;
    assert_eq!(recalled.orders, standing);
    let [first, second] = &recalled.policies["web"].actions[..] else { panic!("{recalled:?}") };
    assert_eq!(*first, applied, "the outcome takes the place of the intent");
    assert_eq!((second.at, second.outcome), (ago(30), Some(Outcome::Unknown)), "nobody knows what became of an intent");
    assert_eq!(recalled.policies["api"].actions.len(), 1, "the newest of a policy stays");
    let history = journal_after.reader().page(query(Some("web"), 9)).await.expect("a page");
    let [Entry { at, event: Event::Decision(made), .. }] = &history.entries[..] else { panic!("{history:?}") };
    assert_eq!((*at, made.outcome), (ago(30), Outcome::Unknown), "whoever sees the group changed finds out why");
}

/// Puts something into the journal that no version of ours writes.
fn spoil(folder: &Path, table: &'static str, policy: &str, at: Timestamp) {
    let database = Database::open(file_in(folder)).expect("a database");
    let writing = database.begin_write().expect("a transaction");
    let rows: TableDefinition<(&str, i64), &[u8]> = TableDefinition::new(table);
    let unreadable: &[u8] = br#"{"event": "of-the-future"}"#;
    writing.open_table(rows).expect("a table").insert((policy, at.as_microsecond()), unreadable).expect("a row");
    writing.commit().expect("a commit");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let entries = [made("web", ago(40), 1), made("web", ago(30), 1), made("web", ago(20), 1)];
    let mut records = vec![Record::Action(action("web", ago(60), Some(Outcome::Applied)))];
    records.extend(entries.clone().map(Record::Entry));
    written(&journal, records).await;
    journal.close(PATIENCE).await;
    spoil(folder.path(), "entries", "web", ago(30));
    spoil(folder.path(), "actions", "web", ago(50));

    let page = Reader::page_in(folder.path(), &query(None, 9)).expect("a page");
    assert_eq!((page.unreadable, &page.entries[..]), (1, &[entries[2].clone(), entries[0].clone()][..]));
    let (journal, recalled) = open(folder.path()).await;
    assert_eq!((recalled.unreadable, recalled.policies["web"].actions.len()), (1, 1));
    let status = journal.status().borrow().clone();
    assert_eq!((status.health, status.unreadable), (Health::Writable, 1));
}

#[tokio::test]
async fn pages_end_within_a_moment_and_lose_nothing() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let names = ["a", "b", "c", "d", EVERY_POLICY];
    let moments = [ago(20), ago(10)];
    let entries = moments.iter().flat_map(|at| names.map(|name| Record::Entry(made(name, *at, 1))));
    written(&journal, entries.collect()).await;
    let check = async |policy: Option<&str>, limit, expected: usize| {
        let (mut found, mut query) = (Vec::new(), query(policy, limit));
        loop {
            let page = journal.reader().page(query.clone()).await.expect("a page");
            found.extend(page.entries.into_iter().map(|entry| (entry.at, entry.policy)));
            let Some(next) = page.next else { break };
            query.before = Some(next.to_string().parse().expect("what was written"));
        }
        let sorted = found.is_sorted_by(|a, b| a > b);
        assert!(sorted && found.len() == expected, "{policy:?} by {limit}: {found:?}");
    };
    for limit in 1..=10 {
        check(None, limit, 10).await;
        check(Some("b"), limit, 4).await;
    }
    let before = Some(ago(10).to_string().parse().expect("a time is a cursor"));
    let older = journal.reader().page(Query { before, ..query(None, 9) }).await.expect("a page");
    assert_eq!(older.entries.len(), 5, "a time alone is before everything of that moment");
}

#[tokio::test]
async fn old_actions_go_with_the_next() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let at = [26 * 3600, 3600, 60];
    written(&journal, at.map(|seconds| Record::Action(action("web", ago(seconds), None))).into()).await;
    journal.close(PATIENCE).await;
    let (_journal, recalled) = open(folder.path()).await;
    assert_eq!(recalled.policies["web"].actions.len(), 2);
}

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn what_groups_came_to_is_replaced_by_its_beginning_and_goes_after_a_quarter() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let stretch = |policy: &str, from: i64, to: i64, peak: u32| {
        let sums = Sums { peak, instances: 12.5, ..Sums::default() };
        Record::Stretch(policy.into(), Stretch { from: ago(from), to: ago(to), sums })
    };
    let records = [stretch("web", 200 * DAY, 199 * DAY, 9), stretch("gone", 91 * DAY, 90 * DAY, 8)];
    written(&journal, records.into()).await;
    let records =
        [stretch("web", 90, 60, 1), stretch("web", 90, 40, 2), stretch("web", 30, 20, 3), stretch("other", 9, 8, 4)];
    written(&journal, records.into()).await;
    let peaks = async |journal: &Journal, policy: &str| -> Vec<u32> {
        let kept = journal.reader().stretches(policy.into()).await.expect("a journal");
        kept.iter().map(|stretch| stretch.sums.peak).collect()
    };
    assert_eq!(peaks(&journal, "web").await, [2, 3]);
    journal.close(PATIENCE).await;
    let (journal, _) = open(folder.path()).await;
    assert_eq!(peaks(&journal, "web").await, [2, 3]);
    assert_eq!((peaks(&journal, "gone").await, peaks(&journal, "nobody").await), (vec![8], vec![]));
    let off = Reader::off().stretches("web".into()).await;
    assert_eq!(off, Err(ReadError::Off));
}

fn query(policy: Option<&str>, limit: usize) -> Query {
    Query { policy: policy.map(Into::into), from: None, before: None, limit }
}

#[tokio::test]
async fn history_comes_in_pages_newest_first() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let frozen =
        Entry { at: ago(25), policy: EVERY_POLICY.into(), event: Event::Order { given: Order::Freeze(pause()) } };
    let entries =
        [made("web", ago(40), 1), made("web", ago(30), 1), frozen, made("api", ago(20), 1), made("web", ago(10), 1)];
    written(&journal, entries.into_iter().map(Record::Entry).collect()).await;
    let reader = journal.reader();
    let times = |page: &Page| page.entries.iter().map(|entry| (entry.policy.to_string(), entry.at)).collect::<Vec<_>>();
    let named = |policy: &str, seconds| (policy.to_owned(), ago(seconds));

    let first = reader.page(query(Some("web"), 2)).await.expect("a page");
    assert_eq!(times(&first), [named("web", 10), named("*", 25)]);
    let second = reader.page(Query { before: first.next, ..query(Some("web"), 2) }).await.expect("a page");
    assert_eq!((times(&second), second.next), (vec![named("web", 30), named("web", 40)], None));
    let recent = reader.page(Query { from: Some(ago(20)), ..query(None, 9) }).await.expect("a page");
    assert_eq!(times(&recent), [named("web", 10), named("api", 20)]);
    let all = reader.page(query(None, 9)).await.expect("a page");
    assert_eq!(all.entries.len(), 5);
    assert_eq!(Reader::off().page(query(None, 9)).await, Err(ReadError::Off));

    assert!(matches!(Reader::page_in(folder.path(), &query(None, 9)), Err(OpenError::InUse { .. })));
    journal.close(PATIENCE).await;
    assert_eq!(Reader::page_in(folder.path(), &query(None, 9)), Ok(all), "and of a daemon that is down");
}

#[test]
fn every_order_can_be_read_again() {
    let (web, author): (std::sync::Arc<str>, _) = ("web".into(), pause().author);
    let [since, until] = [ago(5), ago(1)];
    let bounds =
        crate::order::Override { floor: Some(Capacity::new(3)), cap: None, author: author.clone(), since, until };
    let orders = [
        Order::Pause { policy: web.clone(), pause: pause() },
        Order::Resume { policy: web.clone(), author: author.clone() },
        Order::Override { policy: web.clone(), bounds },
        Order::Release { policy: web.clone(), author: author.clone() },
        Order::Freeze(pause()),
        Order::Unfreeze(author),
    ];
    for given in orders {
        let entry = Entry { at: since, policy: web.clone(), event: Event::Order { given } };
        let json = serde_json::to_string(&entry).expect("an entry can be written");
        assert_eq!(serde_json::from_str::<Entry>(&json).ok(), Some(entry), "{json}");
    }
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let old = Record::Entry(made("web", ago(31 * 86_400), 1));
    written(&journal, vec![old, Record::Entry(made("web", ago(29 * 86_400), 1))]).await;
    // The next start tidies up with its first write.
    journal.close(PATIENCE).await;
    let (journal, _) = open(folder.path()).await;
    written(&journal, vec![Record::Entry(made("web", ago(0), 1))]).await;
    let reader = journal.reader();
    let mut left = 3;
    while left == 3 {
        left = reader.page(query(None, 9)).await.expect("a page").entries.len();
    }
    assert_eq!(left, 2);
}

#[tokio::test]
async fn the_file_stays_within_its_size() {
    let folder = folder();
    let settings = Settings { max_size: 16_000_000, ..settings(folder.path()) };
    let (journal, _) = open_with(&settings).await;
    let mut largest = 0;
    for batch in 0..80 {
        let filling = if batch % 2 == 0 { 700 } else { 5000 };
        let entry = |number: i64| Record::Entry(made("web", ago(100_000 - batch * 100 - number), filling));
        written(&journal, (0..100).map(entry).collect()).await;
        largest = largest.max(retention::size(&file_in(folder.path())));
    }
    println!("after 23 MB the file had at most {largest} bytes");
    assert!(largest <= settings.max_size, "{largest}");
    let newest = journal.reader().page(query(None, 1)).await.expect("a page").entries[0].at;
    assert_eq!(newest, ago(100_000 - 79 * 100 - 99), "the oldest make room");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = folder();
    open(folder.path()).await.0.close(PATIENCE).await;
    let path = file_in(folder.path());
    let database = Database::open(&path).expect("a database");
    let writing = database.begin_write().expect("a transaction");
    writing
        .open_table(TableDefinition::<&str, u64>::new("meta"))
        .expect("meta")
        .insert("schema", 99)
        .expect("a number");
    writing.commit().expect("a commit");
    drop(database);
    let before = fs::read(&path).expect("the file");
    let error = refused(folder.path()).await;
    assert!(error.to_string().contains("was written by a newer version of Setpoint (schema 99"), "{error}");
    assert!(fs::read(&path).expect("the file") == before, "it has been touched");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    written(&journal, (0..500).map(|number| Record::Entry(made("web", ago(1000 - number), 2000))).collect()).await;
    journal.close(PATIENCE).await;
    let path = file_in(folder.path());
    let sound = fs::read(&path).expect("the file");
    let check = async |what: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&path, &bytes).expect("a file");
        let error = refused(folder.path()).await;
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
        assert!(fs::read(&path).expect("the file") == bytes, "{what}: it has been touched");
    };
    check("not one of ours", &|bytes| {
        *bytes = b"not a journal at all, but a text that somebody has put here".repeat(9);
    })
    .await;
    check("cut short", &|bytes| bytes.truncate(bytes.len() / 2)).await;
    check("without its beginning", &|bytes| bytes[..512].fill(0)).await;
    check("with holes", &|bytes| bytes[8192..].chunks_mut(4096).step_by(3).for_each(|page| page.fill(0xA5))).await;
}

#[tokio::test]
async fn a_journal_whose_creation_was_cut_short_is_begun_anew() {
    let folder = folder();
    open(folder.path()).await.0.close(PATIENCE).await;
    let path = file_in(folder.path());
    let fresh = fs::read(&path).expect("the file");
    // The file is made, then its first page is written, and last of all that page again with what it begins with.
    let empty = vec![0; fresh.len()];
    let paged = [&[0; 9], &fresh[9..320], &empty[320..]].concat();
    for (what, bytes) in [("made", &empty), ("with its first page", &paged), ("grown by half", &empty[..100].to_vec())]
    {
        fs::write(&path, bytes).expect("a file");
        let (journal, _) = open(folder.path()).await;
        written(&journal, vec![Record::Entry(made("web", ago(1), 10))]).await;
        journal.close(PATIENCE).await;
        assert!(fs::read(&path).expect("the file").starts_with(b"redb"), "{what}");
    }
    let written =
        fresh.iter().zip(0..).map(|(byte, at): (_, usize)| if at < 9 { 0 } else { *byte }).collect::<Vec<_>>();
    fs::write(&path, written).expect("a file");
    assert!(matches!(refused(folder.path()).await, OpenError::Damaged { .. }), "something had been written");
}

#[tokio::test]
async fn a_second_daemon_in_the_same_directory_is_refused() {
    let folder = folder();
    let (_first, _) = open(folder.path()).await;
    let error = refused(folder.path()).await;
    assert!(error.to_string().contains("is in use by another Setpoint; stop that one"), "{error}");
}

#[tokio::test]
async fn what_fails_is_said_and_tried_again() {
    let folder = folder();
    let directory = folder.path().join("state");
    fs::write(&directory, "in the way").expect("a file");
    let (journal, mut openings) = Journal::start(&settings(&directory), Clock::WALL);
    assert!(openings.recv().await.expect("an attempt").is_err());
    assert!(journal.is_failing());
    let refused = journal.record(vec![Record::Entry(made("web", ago(0), 1))], PATIENCE).await;
    assert!(refused.is_err_and(|why| why.to_string().contains("can't be used")));
    fs::remove_file(&directory).expect("out of the way");
    openings.recv().await.expect("another attempt").expect("a journal");
    let mut status = journal.status();
    status.wait_for(|status| status.health == Health::Writable).await.expect("a thread");
    written(&journal, vec![Record::Entry(made("web", ago(0), 1))]).await;
}

/// A disk that hangs is as a lock that is not let go of.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_keeps_nobody_waiting_and_is_noticed_when_it_answers_again() {
    let folder = folder();
    let (journal, _) = open(folder.path()).await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (shared, (hanging, hangs)) = (journal.shared().clone(), std::sync::mpsc::channel());
    let disk = std::thread::spawn(move || {
        shared.change(|_| {
            hanging.send(()).expect("a test that waits");
            held.recv().expect("a release");
        });
    });
    hangs.recv().expect("a disk that hangs");
    let entry = || vec![Record::Entry(made("web", ago(0), 1))];
    let refused = journal.record(entry(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the disk has not answered within 50ms");
    assert!(journal.is_failing());
    let refused = journal.record(entry(), Duration::MAX).await;
    assert!(refused.is_err(), "nobody waits for what is known to hang");
    release.send(()).expect("a disk");
    disk.join().expect("a disk");
    journal.status().wait_for(|status| status.health == Health::Writable).await.expect("a thread");
    written(&journal, entry()).await;
    let page = journal.reader().page(query(None, 9)).await.expect("a page");
    assert_eq!(page.entries.len(), 3, "what was given up is written late");
}

#[tokio::test]
async fn without_a_directory_there_is_no_journal_and_nothing_fails() {
    let (journal, mut openings) = Journal::start(&Settings::default(), Clock::WALL);
    assert!(journal.is_off() && !journal.is_failing());
    assert!(openings.recv().await.is_none());
    let refused = journal.record(Vec::new(), PATIENCE).await;
    assert_eq!(refused.unwrap_err().to_string(), "this daemon keeps no journal");
}
