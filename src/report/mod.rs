//! What came out of a comparison, for people and programs: an aligned table, markdown, JSON, and one HTML file with
//! charts that needs no network.
//!
//! Data in, text out: it runs nothing, reads nothing and writes no file.
//!
//! | file | is |
//! |---|---|
//! | [`table`] | a table as text and as markdown |
//! | [`figures`] | which figures of a score are shown, and what each means |
//! | [`text`](mod@text) | everything for a terminal; the table for a README |
//! | [`json`](mod@json) | everything, for programs |
//! | [`extremes`] | long series at the width of a chart, with every peak |
//! | [`axis`] | where an axis begins, ends, and says what |
//! | [`chart`] | series over time as SVG |
//! | `plot` | which charts tell of a contestant |
//! | [`page()`] | the HTML file |

use jiff::Timestamp;

use crate::simulation::contest::Course;

pub mod axis;
pub mod chart;
pub mod extremes;
pub mod figures;
pub mod json;
pub mod page;
mod plot;
pub mod table;
pub mod text;

pub use json::json;
pub use page::page;
pub use text::{markdown, text};

/// A policy beside others, on one workload or on several.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it is about, in a few words.
    pub title: String,
    /// What was done, in whole sentences; it holds for every run.
    pub notes: Vec<String>,
    /// One for each workload, at least one; each with the same contestants in the same order.
    pub runs: Vec<Run>,
}

/// One workload, and how everybody did.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub workload: String,
    /// What is to be known about this run alone, in whole sentences.
    pub notes: Vec<String>,
    /// When it began; the Unix epoch stands for a run without a date.
    pub start: Timestamp,
    /// Instance-hours of the clairvoyant optimum.
    pub optimum_hours: f64,
    /// What the signals are to be kept at.
    pub targets: Targets,
    /// The contestants. Only those with moments are drawn.
    pub courses: Vec<Course>,
    /// Stretches whose figures are not to be trusted.
    pub doubts: Vec<Doubt>,
}

/// What the signals are to be kept at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// The share of the workers that is to be busy, where the policy keeps one.
    pub utilization: Option<f64>,
    /// Seconds that the 99th percentile of the response time is to stay within.
    pub p99: f64,
}

/// A stretch of a run whose figures are not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last moment.
    pub to: Timestamp,
    /// Why, as a whole sentence.
    pub because: String,
}

/// What belongs wherever figures of the plant are quoted.
pub const CAVEATS: [&str; 4] = [
    "One plant and one model of it: a fluid queue in front of instances that behave as the settings say, with no gap in \
     the metrics. A real service has slow starts, noisy neighbours and shared databases.",
    "Traces in bins of more than a minute are interpolated, with 3 % noise instead of what really happened within a \
     bin. That flatters everybody.",
    "The other autoscalers are written from their documents and sources, at their defaults. How AWS target tracking \
     scales in is not published.",
    "The SPEC metrics count deliberate headroom as waste: compare costs at equal time over the objective beside them.",
];
