//! The functions that the embedded world knows.

use std::collections::BTreeMap;

use promql_parser::label::Matcher;
use promql_parser::parser::token::T_EQL_REGEX;

use super::{Element, Matrix, QueryError, Series, Value, seconds, unnamed, unsupported};
use crate::simulation::history::Labels;

/// The label of a histogram's bucket: its upper bound.
const BOUND: &str = "le";

pub(super) fn call(name: &str, arguments: &[Value], now: i64) -> Result<Value, QueryError> {
    let vector = |elements| Ok(Value::Vector(elements));
    match (name, arguments) {
        ("time", []) => Ok(Value::Scalar(seconds(now))),
        ("vector", [Value::Scalar(value)]) => vector(vec![Element { labels: Labels::new(), value: *value, at: now }]),
        ("scalar", [Value::Vector(elements)]) => Ok(Value::Scalar(match elements.as_slice() {
            [one] => one.value,
            _ => f64::NAN,
        })),
        ("timestamp", [Value::Vector(elements)]) => vector(each(elements, now, |element| seconds(element.at))),
        ("absent", [Value::Vector(elements)]) => {
            let gone = Element { labels: Labels::new(), value: 1.0, at: now };
            vector(if elements.is_empty() { vec![gone] } else { vec![] })
        }
        ("label_replace", [Value::Vector(elements), rest @ ..]) => label_replace(elements, rest, now),
        ("histogram_quantile", [Value::Scalar(quantile), Value::Vector(buckets)]) => {
            vector(histogram_quantile(*quantile, buckets, now))
        }
        ("rate", [Value::Matrix(matrix)]) => {
            let per_second = seconds(matrix.to - matrix.from);
            vector(over(matrix, now, |series| increase(series, matrix).map(|increase| increase / per_second)))
        }
        ("increase", [Value::Matrix(matrix)]) => vector(over(matrix, now, |series| increase(series, matrix))),
        ("avg_over_time", [Value::Matrix(matrix)]) => vector(over(matrix, now, |s| Some(mean(s)))),
        ("max_over_time", [Value::Matrix(matrix)]) => vector(over(matrix, now, |s| extreme(s, f64::max))),
        ("min_over_time", [Value::Matrix(matrix)]) => vector(over(matrix, now, |s| extreme(s, f64::min))),
        _ => Err(unsupported(format!("the function {name} with these arguments"))),
    }
}

fn each(elements: &[Element], now: i64, of: impl Fn(&Element) -> f64) -> Vec<Element> {
    elements.iter().map(|e| Element { labels: unnamed(e.labels.clone()), value: of(e), at: now }).collect()
}

fn over(matrix: &Matrix, now: i64, of: impl Fn(&Series) -> Option<f64>) -> Vec<Element> {
    let computed =
        |series: &Series| of(series).map(|value| Element { labels: unnamed(series.labels.clone()), value, at: now });
    matrix.series.iter().filter_map(computed).collect()
}

fn mean(series: &Series) -> f64 {
    let count: f64 = series.points.iter().map(|_| 1.0).sum();
    series.points.iter().map(|point| point.1).sum::<f64>() / count
}

fn extreme(series: &Series, of: fn(f64, f64) -> f64) -> Option<f64> {
    series.points.iter().map(|point| point.1).reduce(of)
}

/// The increase of a counter in the window, extrapolated to its ends as Prometheus does it.
fn increase(series: &Series, window: &Matrix) -> Option<f64> {
    let ([first, .., last], points) = (series.points.as_slice(), &series.points) else { return None };
    let resets: f64 = points.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let increase = last.1 - first.1 + resets;
    let sampled = seconds(last.0 - first.0);
    let gaps: f64 = points.windows(2).map(|_| 1.0).sum();
    let spacing = sampled / gaps;
    // A window that ends about where the samples do is extrapolated to its end, else by half a sample.
    let reach = |gap: f64| if gap >= 1.1 * spacing { spacing / 2.0 } else { gap };
    let mut before = reach(seconds(first.0 - window.from));
    if increase > 0.0 && first.1 >= 0.0 {
        // A counter can't have been below zero.
        before = before.min(sampled * first.1 / increase);
    }
    Some(increase * (sampled + before + reach(seconds(window.to - last.0))) / sampled)
}

fn label_replace(elements: &[Element], rest: &[Value], now: i64) -> Result<Value, QueryError> {
    let [Value::Text(label), Value::Text(replacement), Value::Text(source), Value::Text(pattern)] = rest else {
        return Err(unsupported("label_replace with these arguments"));
    };
    if replacement.contains('$') {
        return Err(unsupported("capture groups in label_replace"));
    }
    let pattern = Matcher::new_matcher(T_EQL_REGEX, source.clone(), pattern.clone()).map_err(QueryError::BadData)?;
    let replaced = |element: &Element| {
        let mut labels = element.labels.clone();
        if pattern.is_match(labels.get(source).map_or("", String::as_str)) {
            if replacement.is_empty() {
                labels.remove(label);
            } else {
                labels.insert(label.clone(), replacement.clone());
            }
        }
        Element { labels, value: element.value, at: now }
    };
    Ok(Value::Vector(elements.iter().map(replaced).collect()))
}

fn histogram_quantile(quantile: f64, buckets: &[Element], now: i64) -> Vec<Element> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for bucket in buckets {
        let mut labels = unnamed(bucket.labels.clone());
        let bound = labels.remove(BOUND).and_then(|bound| bound.parse().ok());
        let Some(bound) = bound else { continue };
        histograms.entry(labels).or_default().push((bound, bucket.value));
    }
    let computed = |(labels, mut buckets): (Labels, Vec<(f64, f64)>)| {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Element { labels, value: bucket_quantile(quantile, &buckets), at: now }
    };
    histograms.into_iter().map(computed).collect()
}

/// The quantile of cumulative buckets in order of their upper bounds, linear within a bucket.
fn bucket_quantile(quantile: f64, buckets: &[(f64, f64)]) -> f64 {
    let [.., below, (bound, total)] = buckets else { return f64::NAN };
    if bound.is_finite() || *total <= 0.0 || !(0.0..=1.0).contains(&quantile) {
        return f64::NAN;
    }
    let rank = quantile * total;
    let Some(index) = buckets.iter().position(|bucket| bucket.1 >= rank) else { return f64::NAN };
    let (upper, count) = buckets[index];
    if upper.is_infinite() {
        return below.0;
    }
    let (lower, before) = index.checked_sub(1).map_or((0.0, 0.0), |previous| buckets[previous]);
    lower + (upper - lower) * (rank - before) / (count - before)
}
