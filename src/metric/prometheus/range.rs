//! Range queries: what a query gave at regular moments of the past.
//!
//! One read is one request: the caller keeps it below the server's limit of points. It never retries.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::reply::{Point, parse, refused, whole};
use super::{Client, Settings, fetch};
use crate::metric::fetch::Reply;
use crate::metric::{Answer, SourceError};
use crate::observation::{Failure, Measurement};

/// Most points of one series that Prometheus answers with.
pub const MOST_POINTS: usize = 11_000;

/// Regular moments: `from` and each `step` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// The first; whole seconds.
    pub from: Timestamp,
    /// Between two of them; whole seconds.
    pub step: Duration,
    /// How many, at least one and at most [`MOST_POINTS`].
    pub count: usize,
}

impl Moments {
    fn last(&self) -> i64 {
        let steps = i64::try_from(self.count.saturating_sub(1)).unwrap_or(i64::MAX);
        self.from.as_second().saturating_add(self.seconds().saturating_mul(steps))
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.step.as_secs()).unwrap_or(i64::MAX).max(1)
    }

    /// Which of the moments is at this second since the epoch.
    fn place(&self, second: f64) -> Option<usize> {
        let since = Duration::try_from_secs_f64(second).ok()?;
        let since = Timestamp::UNIX_EPOCH.checked_add(since).ok()?.duration_since(self.from);
        // The server prints whole milliseconds, which a floating second may miss by a hair.
        let since = Duration::try_from(since).ok()? + Duration::from_millis(500);
        let place = usize::try_from(since.as_secs() / self.step.as_secs().max(1)).ok()?;
        (place < self.count).then_some(place)
    }
}

/// A Prometheus, ready to be asked for its past.
#[derive(Debug)]
pub struct Past(Client);

impl Past {
    /// Reads the certificate files that `settings` name; connects to nothing.
    pub fn new(settings: &Settings) -> Result<Self, SourceError> {
        fetch::install_crypto();
        Client::new(settings).map(Self)
    }

    /// The value of `query` at each of the `moments`, within the timeout of the settings; `None` where there is none, or
    /// one that is not finite.
    ///
    /// # Errors
    /// An answer without a measurement that could be used; its detail says why.
    pub async fn read(&self, query: &str, moments: Moments) -> Result<Vec<Option<f64>>, Answer> {
        self.0.past(query, moments).await
    }
}

impl Client {
    /// See [`Past::read`].
    pub(in crate::metric) async fn past(&self, query: &str, moments: Moments) -> Result<Vec<Option<f64>>, Answer> {
        let mut url = self.query_url.clone();
        url.set_path(&format!("{}_range", url.path()));
        let form = [
            ("query", query.to_owned()),
            ("start", moments.from.as_second().to_string()),
            ("end", moments.last().to_string()),
            ("step", moments.seconds().to_string()),
        ];
        let request = self.authorize(self.http.post(url).form(&form)).await?;
        let reply = fetch::within(self.timeout, fetch::fetch(request)).await?;
        samples(&reply, moments)
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Body {
    Success {
        data: Data,
        #[serde(default)]
        warnings: Vec<String>,
        #[serde(default, rename = "isPartial")]
        is_partial: bool,
    },
    Error {
        error: String,
    },
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    values: Vec<Point>,
}

fn samples(reply: &Reply, moments: Moments) -> Result<Vec<Option<f64>>, Answer> {
    let body = serde_json::from_slice::<Body>(&reply.body);
    if let Some(failure) = reply.failure() {
        let error = body.ok().and_then(|body| if let Body::Error { error } = body { Some(error) } else { None });
        return Err(refused(failure, reply.status.as_u16(), error));
    }
    let data = match body {
        Ok(Body::Success { data, warnings, is_partial }) => {
            whole(&warnings, is_partial)?;
            data
        }
        Ok(Body::Error { error }) => return Err(Answer::failed(Failure::QueryRejected, error)),
        Err(error) => {
            return Err(Answer::failed(Failure::Malformed, format!("not an answer to a range query: {error}")));
        }
    };
    if let count @ 2.. = data.result.len() {
        let detail = format!("the query gives {count} series, not one; aggregate them, for example with avg or sum");
        return Err(Answer::without_number(Measurement::ManySeries { count }, detail));
    }
    let mut samples = vec![None; moments.count];
    for point in data.result.iter().flat_map(|series| &series.values) {
        let number = parse(point)?;
        if let Some(place) = moments.place(number.at) {
            samples[place] = Some(number.value).filter(|value| value.is_finite());
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: "application/json".into(),
            framed: true,
            body: body.into(),
        }
    }

    fn moments() -> Moments {
        Moments { from: Timestamp::from_second(1000).unwrap(), step: Duration::from_secs(15), count: 4 }
    }

    #[test]
    fn each_sample_has_its_moment_and_what_is_no_number_is_none() {
        let values = r#"[[1000,"0.5"],[1030,"NaN"],[1045,"1e3"],[1060,"9"]]"#;
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"values":{values}}}]}}}}"#);
        assert_eq!(samples(&reply(200, &body), moments()), Ok(vec![Some(0.5), None, None, Some(1000.0)]));
        let empty = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(samples(&reply(200, empty), moments()), Ok(vec![None; 4]));
    }

    #[test]
    fn what_can_not_be_used_says_why() {
        let check = |status, body: &str, fragment: &str| {
            let detail = samples(&reply(status, body), moments()).unwrap_err().detail.unwrap();
            assert!(detail.contains(fragment), "{body}: {detail}");
        };
        check(
            200,
            r#"{"status":"success","data":{"result":[{"values":[]},{"values":[]}]}}"#,
            "gives 2 series, not one; aggregate",
        );
        check(422, r#"{"status":"error","error":"exceeded maximum resolution"}"#, "exceeded maximum resolution");
        check(503, "<html>", "status 503");
        check(200, "<html>", "not an answer to a range query");
        check(200, r#"{"status":"success","warnings":["a store is gone"],"data":{"result":[]}}"#, "partial");
    }

    #[test]
    fn the_last_moment_is_a_whole_number_of_steps_after_the_first() {
        assert_eq!(moments().last(), 1045);
        assert_eq!((moments().place(1044.9), moments().place(1060.0), moments().place(985.0)), (Some(3), None, None));
    }
}
