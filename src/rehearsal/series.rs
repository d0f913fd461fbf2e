//! The expanding notation for series that `promtool test rules` has, one sample an evaluation.
//!
//! | item | samples |
//! |---|---|
//! | `a` | a |
//! | `axn` | a, and n more of it: n + 1 samples |
//! | `a+bxn`, `a-bxn` | a, and n more that each grow or fall by b: n + 1 samples |
//! | `_` | one that is missing |
//! | `_xn` | n that are missing: n, not one more |
//! | `stale` | one that is too old |
//!
//! Histograms, which the notation has also, are no measurement.

use std::iter::repeat_n;

/// Most samples of one series; a day in seconds.
pub const MAX_SAMPLES: usize = 86_400;

/// One sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// The number, which may be NaN or an infinity.
    Value(f64),
    /// The source answers with no sample.
    Missing,
    /// The newest sample is older than the metric's `max_age`.
    Stale,
}

/// Why a text is no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// There is nothing in it.
    #[error("has no samples, expected some such as \"0.7x20 1.4x10\"")]
    Empty,
    /// An item is none of those above.
    #[error("{0:?} is no sample, expected \"0.7\", \"0.7x20\", \"0.7+0.1x20\", \"_\", \"_x20\" or \"stale\"")]
    Item(String),
    /// It is longer than [`MAX_SAMPLES`].
    #[error("has more than {MAX_SAMPLES} samples, expected fewer")]
    Long,
}

/// The samples that `text` stands for.
pub fn expand(text: &str) -> Result<Vec<Sample>, SeriesError> {
    let mut samples = Vec::new();
    for item in text.split_whitespace() {
        let (count, sample) = item_of(item).ok_or_else(|| SeriesError::Item(item.to_owned()))?;
        if count > MAX_SAMPLES - samples.len() {
            return Err(SeriesError::Long);
        }
        match sample {
            Item::Same(sample) => samples.extend(repeat_n(sample, count)),
            // Counted rather than added up, so that no error of rounding adds up.
            Item::Line(first, by) => {
                let steps = (0..=u32::MAX).take(count).map(f64::from);
                samples.extend(steps.map(|step| Sample::Value(first + step * by)));
            }
        }
    }
    if samples.is_empty() { Err(SeriesError::Empty) } else { Ok(samples) }
}

enum Item {
    Same(Sample),
    /// The first, and by how much each is more than the one before.
    Line(f64, f64),
}

/// What an item is, and how many samples it stands for.
fn item_of(text: &str) -> Option<(usize, Item)> {
    let (what, times) = match text.split_once('x') {
        Some((what, times)) => (what, Some(times.parse::<usize>().ok().filter(|_| !times.starts_with('+'))?)),
        None => (text, None),
    };
    let with_the_first = times.unwrap_or(0).saturating_add(1);
    if what == "_" {
        return Some((times.unwrap_or(1), Item::Same(Sample::Missing)));
    }
    if what == "stale" {
        return times.is_none().then_some((1, Item::Same(Sample::Stale)));
    }
    if let Ok(value) = what.parse() {
        return Some((with_the_first, Item::Same(Sample::Value(value))));
    }
    let sign = what.rmatch_indices(['+', '-']).map(|(at, _)| at).find(|at| !what[..*at].ends_with(['e', 'E']))?;
    let (first, by) = what.split_at(sign);
    times?;
    Some((with_the_first, Item::Line(first.parse().ok()?, by.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_expands_as_it_does_for_promtool() {
        let check = |text: &str, expected: &[f64]| {
            let expected: Vec<_> = expected.iter().map(|value| Sample::Value(*value)).collect();
            assert_eq!(expand(text), Ok(expected), "{text}");
        };
        check("1", &[1.0]);
        check(" 1  -2.5 3e2 ", &[1.0, -2.5, 300.0]);
        check("0.7x2", &[0.7, 0.7, 0.7]);
        check("1+2x3", &[1.0, 3.0, 5.0, 7.0]);
        check("1-2x3", &[1.0, -1.0, -3.0, -5.0]);
        check("-1-2x1", &[-1.0, -3.0]);
        check("1e-1+1e-1x1", &[0.1, 0.2]);
        check("0x10", &[0.0; 11]);
        check("5x0", &[5.0]);
        check("Inf -Inf", &[f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(
            expand("_ _x2 stale 1"),
            Ok([[Sample::Missing; 3].as_slice(), &[Sample::Stale, Sample::Value(1.0)]].concat())
        );
        assert_eq!(expand("_x0 1"), Ok(vec![Sample::Value(1.0)]));
        assert!(matches!(expand("NaN").unwrap()[..], [Sample::Value(value)] if value.is_nan()));
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for text in
            ["a", "1x", "x3", "1x-3", "1x+3", "1x2x3", "1+2", "1+x3", "stalex3", "0.7*20", "1,2", "{{schema:1}}"]
        {
            let item = text.split(' ').next().unwrap_or_default();
            assert_eq!(expand(text), Err(SeriesError::Item(item.into())), "{text}");
        }
        assert_eq!(expand("  "), Err(SeriesError::Empty));
        assert_eq!(expand("_x0"), Err(SeriesError::Empty));
        assert_eq!(expand("1x86400"), Err(SeriesError::Long));
        assert_eq!(expand("1 1x18446744073709551615"), Err(SeriesError::Long));
        assert_eq!(expand("1x86399").map(|samples| samples.len()), Ok(MAX_SAMPLES));
    }
}
