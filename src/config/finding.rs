//! What is wrong with a configuration, and where. It never repeats a value that could be a secret.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Everything that is wrong with a configuration, in the order of its positions. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
#[must_use = "a configuration with findings is not to be used"]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// The key from the root, such as `policy[web].metric[cpu].target`; empty where the fault is the file itself.
    pub key: String,
    /// What is wrong and what was expected.
    pub problem: String,
    /// The known key or word that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.location)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file's name, or the environment variable's.
    pub source: Arc<str>,
    /// Where in the file; `None` for an environment variable and for a file that could not be read.
    #[serde(flatten)]
    pub position: Option<Position>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    /// The start of a file.
    pub(super) const START: Position = Position { line: 1, column: 1 };
}

/// Collects findings while a configuration is read, so that all of them are reported at once.
#[derive(Debug)]
pub(super) struct Report {
    source: Arc<str>,
    findings: RefCell<Vec<Finding>>,
}

impl Report {
    pub(super) fn new(source: &str) -> Self {
        Self { source: source.into(), findings: RefCell::default() }
    }

    pub(super) fn in_file(&self, position: Position) -> Location {
        Location { source: self.source.clone(), position: Some(position) }
    }

    /// The file itself, or an environment variable.
    pub(super) fn add(&self, location: &Location, key: &str, problem: impl Into<String>, suggestion: Option<String>) {
        let finding = Finding { location: location.clone(), key: key.to_owned(), problem: problem.into(), suggestion };
        self.findings.borrow_mut().push(finding);
    }

    /// What was read, unless there is a finding.
    pub(super) fn conclude<T>(self, read: Option<T>) -> Result<T, Findings> {
        let mut findings = self.findings.into_inner();
        match read {
            Some(read) if findings.is_empty() => Ok(read),
            _ => {
                findings.sort_by_cached_key(|f| (f.location.position, f.location.source.clone(), f.key.clone()));
                Err(Findings(findings))
            }
        }
    }
}

/// The known word that is nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Below this similarity a suggestion is more often wrong than right.
    const NEAR: f64 = 0.8;
    let word = word.to_lowercase();
    let similarity = |candidate: &str| {
        // Jaro and Winkler make little of one slip in a short word, such as "mni".
        let slip = if strsim::osa_distance(&word, &candidate.to_lowercase()) <= 1 { 1.0 } else { 0.0 };
        slip + strsim::jaro_winkler(&word, &candidate.to_lowercase())
    };
    known
        .into_iter()
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}
