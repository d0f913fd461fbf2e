//! A long series at the width of a chart: of each pixel column the first and the last point, the lowest and the
//! highest. A line through these is the line through all of them, peaks included (the M4 aggregation of Jugel et al.,
//! "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014).

/// A time and a value.
pub type Point = (f64, f64);

/// What a line through `points`, in order of time from `from` to `to`, needs of them on `columns` pixels.
pub fn extremes(points: &[Point], (from, to): (f64, f64), columns: u32) -> Vec<Point> {
    let column = |(time, _): &Point| ((time - from) / (to - from) * f64::from(columns)).floor();
    points.chunk_by(|left, right| column(left).total_cmp(&column(right)).is_eq()).flat_map(of_column).collect()
}

fn of_column(points: &[Point]) -> Vec<Point> {
    let by_value = |left: &&Point, right: &&Point| left.1.total_cmp(&right.1);
    let [lowest, highest] = [points.iter().min_by(by_value), points.iter().max_by(by_value)];
    let mut kept: Vec<Point> =
        [points.first(), lowest, highest, points.last()].into_iter().flatten().copied().collect();
    kept.sort_by(|left, right| left.0.total_cmp(&right.0));
    kept.dedup();
    kept
}

/// The corners of a line that keeps each value until the next point.
pub fn steps(points: &[Point]) -> Vec<Point> {
    let mut corners: Vec<Point> = Vec::new();
    for &(time, value) in points {
        match corners.last() {
            // What stays needs no corner of its own; the end of the line is drawn below.
            Some((_, before)) if before.total_cmp(&value).is_eq() => {}
            Some(&(_, before)) => corners.extend([(time, before), (time, value)]),
            None => corners.push((time, value)),
        }
    }
    corners.extend(points.last().copied());
    corners.dedup();
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(length: u32, value: impl Fn(u32) -> f64) -> Vec<Point> {
        (0..length).map(|second| (f64::from(second), value(second))).collect()
    }

    #[test]
    fn a_peak_of_one_moment_in_two_weeks_stays() {
        let points = series(80_640, |second| if second == 40_001 { 30.0 } else { f64::from(second % 7) });
        let kept = extremes(&points, (0.0, 80_640.0), 1000);
        assert!(kept.len() <= 4000, "{} points", kept.len());
        assert!(kept.contains(&(40_001.0, 30.0)));
        assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        assert!(kept.is_sorted_by(|left, right| left.0 <= right.0));
    }

    #[test]
    fn a_short_series_is_left_alone() {
        let points = series(50, |second| f64::from(second * second));
        assert_eq!(extremes(&points, (0.0, 50.0), 1000), points);
    }

    #[test]
    fn a_step_has_its_corners_and_its_end() {
        let corners = steps(&[(0.0, 2.0), (1.0, 2.0), (2.0, 4.0), (3.0, 4.0)]);
        assert_eq!(corners, [(0.0, 2.0), (2.0, 2.0), (2.0, 4.0), (3.0, 4.0)]);
    }
}
