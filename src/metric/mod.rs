//! Where measurements come from: the HTTP API of a Prometheus, or a `/metrics` page read directly.
//!
//! What cannot be trusted (partial, ambiguous, non-finite, late, malformed) becomes a variant of [`Measurement`] that
//! carries no number. Nothing here decides, and nothing here reads a clock: the caller says what time it is.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::observation::{Failure, Measurement, Tally, elapsed};
use crate::policy::Source;

mod exposition;
mod fetch;
pub mod prometheus;

pub use exposition::MAX_WINDOW;

/// Most characters of a detail; a server's error text may be a whole web page.
const MAX_DETAIL: usize = 300;

/// A sample may be this far ahead of the clock it is compared with; clocks of one fleet differ by less.
const MAX_AHEAD: Duration = Duration::from_mins(1);

/// Range queries at a time.
const PASTS_AT_ONCE: usize = 8;

/// What a source said.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The reading, or why there is none.
    pub measurement: Measurement,
    /// One sentence for people: the server's own words where it had some, never a secret.
    pub detail: Option<String>,
}

impl Answer {
    fn failed(failure: Failure, detail: impl Display) -> Self {
        Self::without_number(Measurement::Failed { failure }, detail)
    }

    fn no_data(detail: impl Display) -> Self {
        Self::without_number(Measurement::NoData, detail)
    }

    fn without_number(measurement: Measurement, detail: impl Display) -> Self {
        Self { measurement, detail: Some(sentence(&detail.to_string())) }
    }
}

impl From<Measurement> for Answer {
    fn from(measurement: Measurement) -> Self {
        Self { measurement, detail: None }
    }
}

/// Why the sources of a configuration cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file that the configuration names cannot be read.
    #[error("{key} = \"{}\": cannot be read, expected {expected}", file.display())]
    Unreadable {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What it must hold.
        expected: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file that the configuration names holds something else than it must.
    #[error("{key} = \"{}\": expected {expected}", file.display())]
    Unusable {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What it must hold.
        expected: &'static str,
    },
    /// A header that HTTP does not allow. Its value may be a secret and is not told.
    #[error(
        "prometheus.headers: \"{name}\" cannot be sent, expected a name of HTTP and a value without control characters"
    )]
    Header {
        /// The name of the header.
        name: String,
    },
    /// Not a URL that can be asked. It may hold a password and is not told.
    #[error("prometheus.url: expected an absolute http or https URL")]
    Url,
    /// The HTTP client cannot be set up.
    #[error(
        "the HTTP client cannot be set up, expected certificate authorities on this host and a client key that belongs to its certificate"
    )]
    Client(#[source] reqwest::Error),
}

/// The sources of one configuration: the clients, and the scrapes that rates and quantiles are taken over.
#[derive(Debug)]
pub struct Sources {
    prometheus: Option<prometheus::Client>,
    exposition: exposition::Pages,
    /// So that whoever asks for the past leaves the server to those who ask for the present.
    pasts: Semaphore,
    answers: Mutex<Answers>,
}

/// What was read so far, by what came of it.
pub type Answers = BTreeMap<&'static str, Tally>;

impl Sources {
    /// Sets the clients up. Reads the certificate files that `prometheus` names; connects to nothing.
    pub fn new(prometheus: Option<&prometheus::Settings>) -> Result<Self, SourceError> {
        fetch::install_crypto();
        Ok(Self {
            prometheus: prometheus.map(prometheus::Client::new).transpose()?,
            exposition: exposition::Pages::new()?,
            pasts: Semaphore::new(PASTS_AT_ONCE),
            answers: Mutex::default(),
        })
    }

    /// What `source` gave at each of the `moments`; `None` where it has no number for every one of them, or keeps no past.
    pub async fn past(&self, source: &Source, moments: prometheus::Moments) -> Option<Vec<f64>> {
        let Source::Prometheus { query, per_instance: None } = source else { return None };
        let _turn = self.pasts.acquire().await;
        let past = self.prometheus.as_ref()?.past(query, moments).await.ok()?;
        past.into_iter().collect()
    }

    /// Reads one source at `now`. It always answers, within the timeout of the source. The age is reported, not judged.
    pub async fn read(&self, source: &Source, now: Timestamp) -> Answer {
        let begun = Instant::now();
        let read = match source {
            Source::Prometheus { query, per_instance } => match &self.prometheus {
                Some(client) => client.read(query, per_instance.as_deref(), now).await,
                None => Err(Answer::failed(Failure::Unreachable, "no [prometheus] is configured")),
            },
            Source::Exposition(scrape) => self.exposition.read(scrape, now).await,
        };
        let answer = read.map_or_else(|answer| answer, Answer::from);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.entry(answer.measurement.label()).or_default().add(begun.elapsed());
        answer
    }

    /// How many sources were read so far, what came of it, and how long it took.
    pub fn answers(&self) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The age at `now` of a sample taken at `sampled`; a sample slightly ahead is new, one far ahead is not trusted.
fn age(sampled: Timestamp, now: Timestamp) -> Result<Duration, Answer> {
    let ahead = elapsed(now, sampled);
    if ahead > MAX_AHEAD {
        let detail = format!("the newest sample is {} s ahead of the clock", ahead.as_secs());
        return Err(Answer::failed(Failure::Malformed, detail));
    }
    Ok(elapsed(sampled, now))
}

/// The time that is `seconds` after the epoch.
fn timestamp(seconds: f64) -> Option<Timestamp> {
    Timestamp::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()
}

/// `text` on one line of at most [`MAX_DETAIL`] characters.
fn sentence(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_DETAIL) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// The innermost cause, which is what people can act upon.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_short_line() {
        assert_eq!(sentence("bad\r\n\tquery  \u{1b}[31m"), "bad query [31m");
        assert_eq!(sentence(&"ü".repeat(MAX_DETAIL)), "ü".repeat(MAX_DETAIL));
        assert_eq!(sentence(&"ü".repeat(MAX_DETAIL + 1)), format!("{}…", "ü".repeat(MAX_DETAIL)));
    }
}
