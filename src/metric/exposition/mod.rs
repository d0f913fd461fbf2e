//! Direct scrapes of `/metrics` pages, for a sidecar with no Prometheus.
//!
//! A page is fetched once for all that read it at one moment. What rates and quantiles need of earlier scrapes is kept
//! here, within bounds. A page that cannot be read in full is a failure; nothing on it is skipped.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::ACCEPT;
use tokio::sync::OnceCell;

use self::history::{Counter, History};
use self::page::Sample;
use self::selector::Selector;
use super::{Answer, SourceError, age, fetch};
use crate::observation::{Failure, Measurement, elapsed};
use crate::policy::{Aggregation, Reading, Scrape};

mod history;
mod line;
mod page;
mod selector;

/// The longest window that a rate or a quantile may be taken over.
pub const MAX_WINDOW: Duration = Duration::from_hours(1);

/// The time that a page may take. It is served from memory, by a neighbour. Reads are out of order by no more than this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Most series that one selector may select.
const MAX_SERIES: usize = 10_000;

/// Most bounds that the buckets of a histogram may have; the defaults of the client libraries are about ten.
const MAX_BOUNDS: usize = 500;

/// Most pages that are remembered for other readers of the same moment.
const MAX_PAGES: usize = 256;

/// Most sources with a history: more than the policies of one daemon have metrics.
const MAX_HISTORIES: usize = 4096;

/// The label that bounds a bucket.
const BOUND: &str = "le";

type Fetched = Result<Arc<[Sample]>, Answer>;
type Moments = HashMap<(Arc<str>, Timestamp), Arc<OnceCell<Fetched>>>;

/// The pages and what is remembered of them.
#[derive(Debug)]
pub(super) struct Pages {
    plain: reqwest::Client,
    /// Made when a page asks for it, because it needs the certificate authorities of the host.
    secure: OnceLock<Option<reqwest::Client>>,
    fetched: Mutex<Moments>,
    histories: Mutex<HashMap<Scrape, History>>,
}

impl Pages {
    pub fn new() -> Result<Self, SourceError> {
        Ok(Self {
            plain: fetch::client().tls_certs_only([]).build().map_err(SourceError::Client)?,
            secure: OnceLock::new(),
            fetched: Mutex::default(),
            histories: Mutex::default(),
        })
    }

    /// What `scrape` asks for, of its page as it is at `now`.
    pub async fn read(&self, scrape: &Scrape, now: Timestamp) -> Result<Measurement, Answer> {
        let selector = Selector::parse(&scrape.selector)?;
        let page = self.page(&scrape.url, now).await?;
        let selected = match scrape.reading {
            Reading::Quantile { .. } => page.iter().filter(|sample| selector.selects_bucket(&sample.series)).collect(),
            _ => page.iter().filter(|sample| selector.selects(&sample.series)).collect::<Vec<_>>(),
        };
        let age = check(&selected, now)?;
        // A page that was made long ago says nothing of what was added since: time that it did not see is no time at zero.
        let made = now.saturating_sub(age).unwrap_or(now);
        let value = match scrape.reading {
            Reading::Gauge(aggregation) => aggregate(&selected, aggregation),
            Reading::Rate { window } => self.rate(scrape, &selected, window, made)?,
            Reading::Quantile { per_mille, window } => self.quantile(scrape, &selected, per_mille, window, made)?,
        };
        Ok(Measurement::of(value, Some(age)))
    }

    async fn page(&self, url: &Arc<str>, now: Timestamp) -> Fetched {
        let cell = {
            let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever reads later than this reads the page anew.
            fetched.retain(|(_, at), _| elapsed(*at, now) < TIMEOUT);
            if fetched.len() >= MAX_PAGES {
                fetched.clear(); // It costs another fetch and nothing else.
            }
            Arc::clone(fetched.entry((Arc::clone(url), now)).or_default())
        };
        cell.get_or_init(|| fetch::within(TIMEOUT, self.fetch(url))).await.clone()
    }

    async fn fetch(&self, url: &str) -> Fetched {
        let client = if url.starts_with("https:") { self.secure()? } else { &self.plain };
        let reply = fetch::fetch(client.get(url).header(ACCEPT, "text/plain;version=0.0.4, */*;q=0.1")).await?;
        Ok(page::read(&reply)?.into())
    }

    fn secure(&self) -> Result<&reqwest::Client, Answer> {
        let client = self.secure.get_or_init(|| fetch::client().build().ok()).as_ref();
        client.ok_or_else(|| Answer::failed(Failure::Unreachable, "this host has no certificate authorities"))
    }

    fn rate(&self, scrape: &Scrape, selected: &[&Sample], window: Duration, now: Timestamp) -> Result<f64, Answer> {
        let counters = selected.iter().map(|sample| counter(sample, f64::INFINITY)).collect::<Result<Vec<_>, _>>()?;
        let (increases, time) = self.increases(scrape, counters, window, now)?;
        Ok(increases.total() / time.as_secs_f64())
    }

    fn quantile(
        &self,
        scrape: &Scrape,
        selected: &[&Sample],
        per_mille: u16,
        window: Duration,
        now: Timestamp,
    ) -> Result<f64, Answer> {
        let counters = selected.iter().map(|sample| counter(sample, bound(sample)?)).collect::<Result<Vec<_>, _>>()?;
        check_bounds(&counters)?;
        let (increases, _) = self.increases(scrape, counters, window, now)?;
        let quantile = increases.quantile(f64::from(per_mille) / 1000.0);
        quantile.ok_or_else(|| Answer::no_data("nothing was observed within the window"))
    }

    fn increases(
        &self,
        scrape: &Scrape,
        counters: Vec<Counter>,
        window: Duration,
        now: Timestamp,
    ) -> Result<(history::Increases, Duration), Answer> {
        if window > MAX_WINDOW {
            let detail = format!("the window is longer than {} s", MAX_WINDOW.as_secs());
            return Err(Answer::failed(Failure::QueryRejected, detail));
        }
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        if !histories.contains_key(scrape) {
            histories.retain(|_, history| history.scraped().is_some_and(|at| elapsed(at, now) <= MAX_WINDOW));
        }
        if !histories.contains_key(scrape) && histories.len() >= MAX_HISTORIES {
            return Err(Answer::failed(Failure::TooLarge, format!("more than {MAX_HISTORIES} scrapes with a window")));
        }
        let history = histories.entry(scrape.clone()).or_default();
        history.add(counters, window, now);
        let too_few =
            || Answer::no_data(format!("fewer than two scrapes within the window of {} s", window.as_secs_f64()));
        history.increases().ok_or_else(too_few)
    }
}

/// The age of the newest of the selected samples, once all of them are fit to be read.
fn check(selected: &[&Sample], now: Timestamp) -> Result<Duration, Answer> {
    if selected.is_empty() {
        return Err(Answer::no_data("the selector selects no series of the page"));
    }
    if selected.len() > MAX_SERIES {
        return Err(Answer::failed(Failure::TooLarge, format!("the selector selects more than {MAX_SERIES} series")));
    }
    let mut seen = HashSet::new();
    if let Some(again) = selected.iter().find(|sample| !seen.insert(&sample.series)) {
        return Err(page::broken(again.line, "expected every series once"));
    }
    if let Some(odd) = selected.iter().find(|sample| !sample.value.is_finite()) {
        let detail = format!("line {} of the page has the value {}", odd.line, odd.value);
        return Err(Answer::without_number(Measurement::NotFinite, detail));
    }
    // A sample without a timestamp is of the moment that the page was made.
    let newest = selected.iter().map(|sample| sample.at.unwrap_or(now)).max();
    age(newest.unwrap_or(now), now)
}

fn aggregate(selected: &[&Sample], aggregation: Aggregation) -> f64 {
    let values = selected.iter().map(|sample| sample.value);
    match aggregation {
        Aggregation::Max => values.fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Sum => values.sum(),
        Aggregation::Avg => {
            let count = u32::try_from(selected.len()).unwrap_or(u32::MAX);
            values.sum::<f64>() / f64::from(count)
        }
    }
}

fn counter(sample: &Sample, upper_bound: f64) -> Result<Counter, Answer> {
    if sample.value < 0.0 {
        return Err(page::broken(sample.line, "expected a counter, which is never below zero"));
    }
    Ok(Counter { series: sample.series.clone(), upper_bound, value: sample.value })
}

fn bound(sample: &Sample) -> Result<f64, Answer> {
    let bound = sample.series.label(BOUND).parse::<f64>().ok().filter(|bound| !bound.is_nan());
    bound.ok_or_else(|| page::broken(sample.line, "expected a number in the label le of a bucket"))
}

/// A quantile needs a bucket that holds every observation, and one that does not.
fn check_bounds(counters: &[Counter]) -> Result<(), Answer> {
    let bounds = counters.iter().map(|counter| counter.upper_bound.to_bits()).collect::<HashSet<_>>();
    if bounds.len() > MAX_BOUNDS {
        return Err(Answer::failed(Failure::TooLarge, format!("the histogram has more than {MAX_BOUNDS} bounds")));
    }
    if bounds.len() < 2 || !bounds.contains(&f64::INFINITY.to_bits()) {
        return Err(Answer::failed(
            Failure::Malformed,
            "expected a histogram with a bucket le=\"+Inf\" and another one",
        ));
    }
    Ok(())
}
