//! The past in chunks: read below the server's limit of points, and kept on disk once they can't change any more.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backtest::Samples;
use crate::metric::prometheus::{MOST_POINTS, Moments, Past};
use crate::observation::{Failure, Measurement, elapsed};

/// Moments of one chunk: a day at 15 s.
const CHUNK: usize = 5760;

const _: () = assert!(CHUNK <= MOST_POINTS, "a chunk is one request");

/// What is younger may still change: late samples, and series whose end is not known yet.
const SETTLED: Duration = Duration::from_mins(10);

/// The pauses before a chunk is asked for again, where another attempt may help.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Fewer moments than this are no history.
const LEAST: Duration = Duration::from_hours(1);

/// A stretch of the past in steps, which are whole numbers of steps from the epoch, so that the same chunks come up
/// whenever it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// In steps from the epoch.
    first: i64,
    last: i64,
    pub step: Duration,
}

impl Span {
    /// From the first whole step to the last; `None` where that is less than an hour.
    pub fn between(from: Timestamp, to: Timestamp, step: Duration) -> Option<Self> {
        let seconds = i64::try_from(step.as_secs()).ok().filter(|seconds| *seconds > 0)?;
        let (first, last) = (from.as_second().div_euclid(seconds) + 1, to.as_second().div_euclid(seconds));
        let enough = i64::try_from(LEAST.as_secs()).ok()? / seconds;
        (last - first >= enough).then_some(Self { first, last, step })
    }

    pub fn from(&self) -> Timestamp {
        self.at(self.first)
    }

    /// Every moment of it.
    pub fn moments(self) -> impl Iterator<Item = Timestamp> {
        (self.first..=self.last).map(move |place| self.at(place))
    }

    fn at(&self, place: i64) -> Timestamp {
        let seconds = i64::try_from(self.step.as_secs()).unwrap_or(1);
        Timestamp::from_second(place.saturating_mul(seconds)).unwrap_or(Timestamp::MAX)
    }

    /// The chunks that cover it, each beginning at a whole number of chunks from the epoch.
    pub fn chunks(self) -> impl Iterator<Item = Moments> {
        let length = chunk_length();
        (self.first.div_euclid(length)..=self.last.div_euclid(length)).map(move |chunk| Moments {
            from: self.at(chunk * length),
            step: self.step,
            count: CHUNK,
        })
    }

    /// Of the `samples` of all its chunks, those of the span itself.
    pub fn within(self, samples: Samples) -> Samples {
        let before = usize::try_from(self.first.rem_euclid(chunk_length())).unwrap_or_default();
        let count = usize::try_from(self.last - self.first + 1).unwrap_or_default();
        samples.into_iter().skip(before).take(count).collect()
    }
}

fn chunk_length() -> i64 {
    i64::try_from(CHUNK).unwrap_or(i64::MAX)
}

/// `setpoint` in the user's cache folder, by the XDG base directory specification.
pub(super) fn usual_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(folder.join("setpoint"))
}

/// What a Prometheus remembers, and what was read of it before.
pub(super) struct Memory {
    past: Past,
    url: String,
    cache: Option<Cache>,
    now: Timestamp,
}

impl Memory {
    pub fn new(past: Past, url: String, cache: Option<Cache>, now: Timestamp) -> Self {
        Self { past, url, cache, now }
    }

    /// The samples of `chunk`, from the cache or from the server; nothing after now.
    pub async fn read(&self, query: &str, chunk: Moments) -> anyhow::Result<Samples> {
        let key = Key { url: self.url.clone(), query: query.to_owned(), from: chunk.from, step: chunk.step.as_secs() };
        if let Some(samples) = self.cache.as_ref().and_then(|cache| cache.find(&key)) {
            return Ok(samples);
        }
        let samples = self.ask(query, chunk).await?;
        let end = chunk.from.saturating_add(chunk.step.saturating_mul(u32::try_from(CHUNK)?))?;
        if elapsed(end, self.now) > SETTLED
            && let Some(cache) = &self.cache
        {
            cache.keep(key, &samples);
        }
        Ok(samples)
    }

    async fn ask(&self, query: &str, chunk: Moments) -> anyhow::Result<Samples> {
        let mut read = self.past.read(query, chunk).await;
        for pause in PAUSES {
            match &read {
                Err(answer) if passing(&answer.measurement) => tokio::time::sleep(pause).await,
                _ => break,
            }
            read = self.past.read(query, chunk).await;
        }
        read.map_err(|answer| anyhow!(answer.detail.unwrap_or_else(|| "the server gave no answer".to_owned())))
    }
}

/// Whether the same question may well be answered a little later.
fn passing(measurement: &Measurement) -> bool {
    use Failure::{Status, Timeout, Unreachable};
    matches!(measurement, Measurement::Failed { failure: Timeout | Unreachable | Status { code: 429 | 500.. } })
}

/// What was asked.
#[derive(Debug, Deserialize, Hash, PartialEq, Serialize)]
struct Key {
    url: String,
    query: String,
    from: Timestamp,
    step: u64,
}

/// A file of the cache. What was asked stands in it, so that no other answer is taken for this one.
#[derive(Deserialize, Serialize)]
struct Kept {
    key: Key,
    samples: Samples,
}

/// Answers on disk. A file that can't be read or written is as good as none.
#[derive(Clone, Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    fn file(&self, key: &Key) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0.join(format!("{:016x}.json", hasher.finish()))
    }

    fn find(&self, key: &Key) -> Option<Samples> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.file(key)).ok()?).ok()?;
        (kept.key == *key && kept.samples.len() == CHUNK).then_some(kept.samples)
    }

    fn keep(&self, key: Key, samples: &[Option<f64>]) {
        let file = self.file(&key);
        let kept = Kept { key, samples: samples.to_vec() };
        // Renamed into its place, so that nobody reads half of it. Without a cache the next replay asks again.
        let _ = fs::create_dir_all(&self.0).and_then(|()| {
            let whole = tempfile_in(&file);
            fs::write(&whole, serde_json::to_vec(&kept)?)?;
            fs::rename(whole, file)
        });
    }
}

/// A name beside `file` that no other process takes.
fn tempfile_in(file: &std::path::Path) -> PathBuf {
    file.with_extension(format!("{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const STEP: Duration = Duration::from_secs(15);

    #[test]
    fn the_same_chunks_come_up_whenever_it_is_asked_for() {
        let chunks = |from| Span::between(at(from), at(864_000), STEP).unwrap().chunks().collect::<Vec<_>>();
        let early = chunks(86_400);
        assert_eq!(early.len(), 10);
        assert_eq!(chunks(86_400 + 7), early);
        assert!(early.iter().all(|chunk| chunk.from.as_second() % 86_400 == 0 && chunk.count == CHUNK));
    }

    #[test]
    fn only_the_span_itself_is_taken_from_its_chunks() {
        let span = Span::between(at(86_400 + 100), at(86_400 + 7_200), STEP).unwrap();
        let samples: Samples = (0..CHUNK).map(|place| u32::try_from(place).ok().map(f64::from)).collect();
        let within = span.within(samples);
        assert_eq!((span.from().as_second(), within.len()), (86_400 + 105, 480 - 6));
        assert_eq!(within.first(), Some(&Some(7.0)));
        assert_eq!(Span::between(at(100), at(200), STEP), None);
    }

    #[test]
    fn a_damaged_file_or_one_of_another_question_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("new"));
        let key = |query: &str| Key { url: "http://a".into(), query: query.into(), from: at(0), step: 15 };
        let samples = vec![Some(0.5); CHUNK];
        cache.keep(key("cpu"), &samples);
        assert_eq!(cache.find(&key("cpu")), Some(samples));
        fs::copy(cache.file(&key("cpu")), cache.file(&key("memory"))).unwrap();
        assert_eq!(cache.find(&key("memory")), None);
        fs::write(cache.file(&key("cpu")), "{\"key\":").unwrap();
        assert_eq!(cache.find(&key("cpu")), None);
    }
}
