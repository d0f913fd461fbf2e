//! Where an axis of a chart begins and ends, and where it says what.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::observation::elapsed;

/// Seconds between two marks on an axis of time, the first that leaves few enough of them.
const SPACINGS: [f64; 16] = [
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    2_419_200.0,
];

/// Most marks on an axis of time; their labels are long.
const MOST_TIMES: f64 = 8.0;

/// Most marks on an axis of values.
const MOST_VALUES: f64 = 6.0;

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Where it begins.
    pub from: f64,
    /// Where it ends, beyond its beginning.
    pub to: f64,
    /// What it says where.
    pub marks: Vec<(f64, String)>,
}

impl Axis {
    /// Seconds since the start of a run, labelled as `clock` shows them.
    pub fn of_time(seconds: f64, clock: Clock) -> Self {
        let to = seconds.max(1.0);
        let few = |spacing: &&f64| to / **spacing <= MOST_TIMES;
        let spacing = SPACINGS.iter().find(few).copied().unwrap_or(to / MOST_TIMES);
        let marks = every(spacing, to).map(|second| (second, clock.label(second, spacing))).collect();
        Self { from: 0.0, to, marks }
    }

    /// From zero to a little over `highest`, with `unit` behind each number.
    pub fn of_values(highest: f64, unit: &str) -> Self {
        let to = 1.08 * highest.max(1.0);
        let magnitude = 10_f64.powf((to / MOST_VALUES).log10().floor());
        let nice = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let spacing = nice.into_iter().find(|spacing| to / spacing <= MOST_VALUES).unwrap_or(to).max(1.0);
        let marks = every(spacing, to).map(|value| (value, format!("{value}{unit}"))).collect();
        Self { from: 0.0, to, marks }
    }

    /// Milliseconds from `lowest` to `highest` on a logarithmic scale: places are decimal logarithms.
    pub fn of_milliseconds(lowest: f64, highest: f64) -> Self {
        let (from, to) = ((0.8 * lowest.max(1.0)).log10(), (1.25 * highest.max(2.0)).log10());
        let decades = (0..6).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
        let shown = decades.filter(|value| (from..=to).contains(&value.log10()));
        let label = |value| if value < 1000.0 { format!("{value} ms") } else { format!("{} s", value / 1000.0) };
        Self { from, to, marks: shown.map(|value| (value.log10(), label(value))).collect() }
    }

    /// What it says at `place`, if anything.
    pub fn label(&self, place: f64) -> &str {
        let near = |(mark, _): &&(f64, String)| (mark - place).abs() <= 1e-9 * self.to.abs();
        self.marks.iter().find(near).map_or("", |(_, label)| label)
    }
}

fn every(spacing: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..1000).map(move |index| f64::from(index) * spacing).take_while(move |place| *place <= to)
}

/// How times of a run are shown: since its start, or as dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// When the run began; the Unix epoch stands for a run without a date.
    pub start: Timestamp,
}

impl Clock {
    /// A moment to the second.
    pub fn show(self, at: Timestamp) -> String {
        if self.start == Timestamp::UNIX_EPOCH {
            let seconds = elapsed(self.start, at).as_secs();
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
            let time = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
            return if days > 0 { format!("{days} d {time}") } else { time };
        }
        at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `second` of the run, as precisely as marks `spacing` seconds apart need.
    fn label(self, second: f64, spacing: f64) -> String {
        if self.start == Timestamp::UNIX_EPOCH {
            return match spacing {
                3600.0..86_400.0 => format!("{} h", second / 3600.0),
                86_400.0.. => format!("{} d", second / 86_400.0),
                60.0.. => format!("{} min", second / 60.0),
                _ => format!("{second} s"),
            };
        }
        let since = jiff::SignedDuration::try_from_secs_f64(second).unwrap_or_default();
        let at = self.start.saturating_add(since).unwrap_or(self.start).to_zoned(TimeZone::UTC);
        at.strftime(if spacing >= 86_400.0 { "%b %-d" } else { "%b %-d %H:%M" }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.marks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn marks_are_few_and_round() {
        let run = Clock { start: Timestamp::UNIX_EPOCH };
        let time = |seconds| Axis::of_time(seconds, run);
        assert_eq!(labels(&time(1350.0)), ["0 min", "5 min", "10 min", "15 min", "20 min"]);
        assert_eq!(labels(&time(86_400.0)).len(), 9);
        assert_eq!(labels(&time(14.0 * 86_400.0))[1], "2 d");
        assert_eq!(labels(&Axis::of_values(18.0, "")), ["0", "5", "10", "15"]);
        assert_eq!(labels(&Axis::of_values(2.0, "")), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::of_values(100.0, " %")), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(labels(&Axis::of_milliseconds(200.0, 900.0)), ["200 ms", "500 ms", "1 s"]);
    }

    #[test]
    fn a_run_with_a_date_shows_it() {
        let start: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let at: Timestamp = "2026-03-02T01:02:03Z".parse().unwrap();
        assert_eq!(Clock { start }.show(at), "2026-03-02 01:02:03");
        assert_eq!(labels(&Axis::of_time(86_400.0, Clock { start }))[0], "Mar 1 00:00");
        let since = Timestamp::from_second(90_061).unwrap();
        assert_eq!(Clock { start: Timestamp::UNIX_EPOCH }.show(since), "1 d 01:01:01");
    }
}
