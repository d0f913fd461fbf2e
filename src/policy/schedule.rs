//! Windows of local time in which other bounds hold.
//!
//! A window opens whenever the clocks on the wall of its time zone show what the cron expression says. Where they are
//! set forward over that time it opens right after, and where they are set back it opens the first time only. It stays
//! open for its duration in elapsed time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cronexpr::{Crontab, MakeTimestamp};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Capacity;

/// Civil times near a change of the clocks can lie this much out of order.
const CLOCK_CHANGE: Duration = Duration::from_hours(3);

/// Longest cron expression in bytes; every minute by its own number fits. Of a much longer one the parser panics when it
/// has to say what is wrong.
const MAX_CRON: usize = 256;

/// The parser looks four years ahead, and panics where that leaves the calendar.
const LAST_YEAR: i16 = 9990;

/// Bounds that hold in a window of time.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Arc<str>,
    /// The expression in UTC, so that it works on civil time alone.
    openings: Crontab,
    timezone: TimeZone,
    duration: Duration,
    /// The least capacity while the window is open; `None`: the policy's own.
    pub min: Option<Capacity>,
    /// The most capacity while the window is open; `None`: the policy's own.
    pub max: Option<Capacity>,
}

/// Whether a window is open, and until when that is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// It is open.
    pub open: bool,
    /// When that has to be looked at again; [`Timestamp::MAX`] for never.
    pub until: Timestamp,
}

/// Why there can be no such schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not a cron expression.
    #[error("is no cron expression ({0}), expected five fields such as \"0 8 * * MON-FRI\"")]
    Cron(String),
    /// Not a time zone that this host knows.
    #[error("is no time zone that this host knows, expected a name such as \"Europe/Berlin\" or \"UTC\"")]
    TimeZone,
}

impl Schedule {
    /// A window of `duration` that opens when the clocks of `timezone` (an IANA name) show `cron`, with the policy's own
    /// bounds until `min` and `max` are set.
    pub fn new(cron: &str, timezone: &str, duration: Duration) -> Result<Self, ScheduleError> {
        let timezone = TimeZone::get(timezone).map_err(|_| ScheduleError::TimeZone)?;
        if cron.len() > MAX_CRON {
            return Err(ScheduleError::Cron(format!("it is longer than {MAX_CRON} bytes")));
        }
        // Its own word for a time zone stands where a sixth field would.
        let openings = if cron.split_whitespace().count() == 5 {
            cronexpr::parse_crontab(&format!("{cron} UTC")).map_err(|error| ScheduleError::Cron(cause(&error)))?
        } else {
            return Err(ScheduleError::Cron("five fields are needed".into()));
        };
        Ok(Self { cron: cron.into(), openings, timezone, duration, min: None, max: None })
    }

    /// The cron expression, which names the schedule.
    pub fn cron(&self) -> &Arc<str> {
        &self.cron
    }

    /// Whether the window is open at `now`.
    pub fn window(&self, now: Timestamp) -> Window {
        let early = self.duration.saturating_add(CLOCK_CHANGE);
        let mut from = self.civil(now.saturating_sub(early).unwrap_or(Timestamp::MIN));
        let mut last = None;
        while let Some(opening) = self.next_after(from) {
            let Some(opens) = self.moment(opening) else { break };
            if opens > now {
                return last.filter(|window: &Window| window.open).unwrap_or(Window { open: false, until: opens });
            }
            let until = opens.saturating_add(self.duration).unwrap_or(Timestamp::MAX);
            last = Some(Window { open: until > now, until });
            from = opening;
        }
        last.filter(|window| window.open).unwrap_or(Window { open: false, until: Timestamp::MAX })
    }

    fn civil(&self, at: Timestamp) -> DateTime {
        self.timezone.to_datetime(at)
    }

    fn next_after(&self, from: DateTime) -> Option<DateTime> {
        if from.year() > LAST_YEAR {
            return None;
        }
        let from = TimeZone::UTC.to_timestamp(from).ok()?;
        self.openings.find_next(MakeTimestamp(from)).ok().map(|next| next.datetime())
    }

    /// When the clocks show `civil`: in a gap the same time after it, where they show it twice the first time.
    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        self.timezone.to_ambiguous_timestamp(civil).compatible().ok()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        let parts = |s: &Self| (s.cron.clone(), s.duration, s.min, s.max);
        parts(self) == parts(other) && self.timezone == other.timezone
    }
}

/// The part of a parser's message that says what is wrong, on one line.
fn cause(error: &impl fmt::Display) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches(['|', '^', ' ']).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cron: &str, hours: u64, at: &str, expected: bool, until: &str) {
        let schedule = Schedule::new(cron, "Europe/Berlin", Duration::from_hours(hours)).unwrap();
        let window = schedule.window(at.parse().unwrap());
        assert_eq!(window, Window { open: expected, until: until.parse().unwrap() }, "{cron} for {hours} h at {at}");
    }

    #[test]
    fn a_window_opens_by_the_clock_on_the_wall_and_closes_after_its_duration() {
        // A Monday in summer: UTC+2.
        check("0 8 * * MON-FRI", 10, "2026-07-06T05:59:59Z", false, "2026-07-06T06:00:00Z");
        check("0 8 * * MON-FRI", 10, "2026-07-06T06:00:00Z", true, "2026-07-06T16:00:00Z");
        check("0 8 * * MON-FRI", 10, "2026-07-06T15:59:59Z", true, "2026-07-06T16:00:00Z");
        check("0 8 * * MON-FRI", 10, "2026-07-06T16:00:00Z", false, "2026-07-07T06:00:00Z");
        // A Friday evening, until Monday.
        check("0 8 * * MON-FRI", 10, "2026-07-10T16:00:00Z", false, "2026-07-13T06:00:00Z");
        // In winter: UTC+1.
        check("0 8 * * MON-FRI", 10, "2026-12-07T07:00:00Z", true, "2026-12-07T17:00:00Z");
    }

    #[test]
    fn a_window_over_midnight_or_of_days_stays_open() {
        check("0 22 * * *", 8, "2026-07-06T01:00:00Z", true, "2026-07-06T04:00:00Z");
        check("0 0 * * SAT", 48, "2026-07-12T12:00:00Z", true, "2026-07-12T22:00:00Z");
    }

    #[test]
    fn windows_that_overlap_are_one() {
        check("0 * * * *", 2, "2026-07-06T06:30:00Z", true, "2026-07-06T08:00:00Z");
    }

    #[test]
    fn an_opening_that_the_clocks_skip_comes_right_after() {
        // 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        check("30 2 * * *", 1, "2026-03-29T01:29:59Z", false, "2026-03-29T01:30:00Z");
        check("30 2 * * *", 1, "2026-03-29T01:30:00Z", true, "2026-03-29T02:30:00Z");
    }

    #[test]
    fn an_opening_that_the_clocks_show_twice_counts_once() {
        // 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        check("30 2 * * *", 1, "2026-10-25T00:30:00Z", true, "2026-10-25T01:30:00Z");
        check("30 2 * * *", 1, "2026-10-25T01:30:00Z", false, "2026-10-26T01:30:00Z");
        // Ten hours are ten hours, though the clocks show eleven.
        check("0 20 * * *", 10, "2026-10-25T03:59:59Z", true, "2026-10-25T04:00:00Z");
    }

    #[test]
    fn what_can_never_be_is_never_open() {
        check("0 0 31 2 *", 1, "2026-07-06T01:00:00Z", false, &Timestamp::MAX.to_string());
    }

    #[test]
    fn nothing_opens_at_the_end_of_the_calendar() {
        check("0 8 * * *", 1, "9999-12-30T08:30:00Z", false, &Timestamp::MAX.to_string());
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let refused = |cron, timezone| Schedule::new(cron, timezone, Duration::from_hours(1)).unwrap_err().to_string();
        assert!(refused("0 8 * *", "UTC").contains("five fields are needed"));
        assert!(
            refused("0 25 * * *", "UTC").contains("(value must be in range 0..=23; found 25), expected five fields")
        );
        let long = format!("{}x * * * *", "1,".repeat(40_000));
        assert!(refused(&long, "UTC").contains("longer than 256 bytes"));
        assert!(refused("0 8 * * *", "Mars/Olympus").contains("no time zone that this host knows"));
    }
}
