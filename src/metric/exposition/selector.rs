//! Which series of a page are meant, in the words of `PromQL`.

use promql_parser::label::Matcher;
use promql_parser::parser::{self, Expr, VectorSelector};

use super::page::Series;
use crate::metric::Answer;
use crate::observation::Failure;

/// What a histogram's buckets are called after its name.
const BUCKET: &str = "_bucket";

/// A vector selector.
#[derive(Debug)]
pub(super) struct Selector(VectorSelector);

impl Selector {
    /// Parses `text`, which is a selector without range, offset or `@`.
    pub fn parse(text: &str) -> Result<Self, Answer> {
        match parser::parse(text) {
            Ok(Expr::VectorSelector(selector)) if selector.offset.is_none() && selector.at.is_none() => {
                Ok(Self(selector))
            }
            Ok(_) => Err(Answer::failed(Failure::QueryRejected, format!("\"{text}\" is not a plain selector"))),
            Err(why) => Err(Answer::failed(Failure::QueryRejected, format!("the selector does not parse: {why}"))),
        }
    }

    /// Whether `series` is meant.
    pub fn selects(&self, series: &Series) -> bool {
        self.matches(&series.name, series)
    }

    /// Whether `series` is a bucket of the histogram that is meant, by its own name or by that of its buckets.
    pub fn selects_bucket(&self, series: &Series) -> bool {
        let histogram = series.name.strip_suffix(BUCKET);
        histogram.is_some_and(|histogram| self.matches(histogram, series) || self.matches(&series.name, series))
    }

    fn matches(&self, name: &str, series: &Series) -> bool {
        let matches = |matcher: &Matcher| {
            matcher.is_match(if matcher.name == "__name__" { name } else { series.label(&matcher.name) })
        };
        let Self(VectorSelector { name: wanted, matchers, .. }) = self;
        wanted.as_ref().is_none_or(|wanted| wanted == name)
            && matchers.matchers.iter().all(matches)
            && (matchers.or_matchers.is_empty() || matchers.or_matchers.iter().any(|all| all.iter().all(matches)))
    }
}
