//! Durations with their units: `500ms`, `90s`, `1h30m`. A number without a unit is never taken for one.

use std::time::Duration;

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The duration that `text` states; `None` unless it is whole numbers with units, from the longest unit to the shortest.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        // The iterator goes on where it stopped, so that "5m1h" and "5m5m" find no unit.
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*milliseconds)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// The text that [`parse`] reads as `duration`, for messages; in hours rather than days.
pub fn text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let part = |(unit, milliseconds): &(&str, u64)| {
        let count = rest / milliseconds;
        rest %= milliseconds;
        (count > 0).then(|| format!("{count}{unit}"))
    };
    let text: String = UNITS.iter().skip(1).filter_map(part).collect();
    if text.is_empty() { "0s".into() } else { text }
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, milliseconds: Option<u64>) {
        assert_eq!(parse(text), milliseconds.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn a_duration_is_whole_numbers_with_units_from_long_to_short() {
        check("500ms", Some(500));
        check("90s", Some(90_000));
        check("1h30m", Some(5_400_000));
        check("1d2h3m4s5ms", Some(93_784_005));
        check("0s", Some(0));
        for text in ["", "90", "s", "-5s", "5 s", "1.5s", "30m1h", "5m5m", "5S", "5x", "5µs", "99999999999999999999s"]
        {
            check(text, None);
        }
        check("999999999999999999d", None);
    }

    #[test]
    fn what_is_said_is_what_is_read() {
        for said in ["0s", "500ms", "1m30s", "24h", "1h30m", "3s"] {
            assert_eq!(text(parse(said).unwrap()), said);
        }
    }
}
