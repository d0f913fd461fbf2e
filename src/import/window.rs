//! A `cron` trigger: from one cron expression to another a number of pods, which here is a floor while a window is open.

use std::time::Duration;

use jiff::Timestamp;

use super::draft::{Draft, DraftSchedule};
use super::source::Node;
use crate::policy::Schedule;

/// How many openings must last alike. One for each week of a year, with every day of the week.
const OPENINGS: usize = 60;

/// The shortest and the longest window in minutes, as the configuration takes it.
const MINUTES: (u64, u64) = (1, 7 * 24 * 60);

/// Where the openings are counted from: a Monday.
const MONDAY: Timestamp = Timestamp::constant(1_767_571_200, 0);

/// A window that could be read.
pub(super) struct Window {
    start: String,
    timezone: String,
    minutes: u64,
    replicas: u64,
    remark: String,
}

impl Window {
    /// Reads a trigger of the type `cron`, or leaves a remark on why it can't be.
    pub(super) fn read(node: &Node, origin: &str, draft: &mut Draft) -> Option<Self> {
        let of = |key| node.at(&["metadata", key]).and_then(|node| node.text());
        let (start, end, timezone) = (of("start"), of("end"), of("timezone"));
        let wanted = of("desiredReplicas");
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let (start, end, timezone) = (said(&start), said(&end), said(&timezone));
        let replicas: Option<u64> = wanted.as_deref().and_then(|text| text.parse().ok());
        let minutes = minutes(&start, &end);
        let (Some(minutes), Some(replicas), true) =
            (minutes, replicas, Schedule::new(&start, &timezone, Duration::ZERO).is_ok())
        else {
            draft.remarks.push(format!(
                "Not imported: {origin} from {start:?} to {end:?} in {timezone:?}, desiredReplicas = {}. Here a window has a start and one duration of at \
                 most 7 days; write a [[policy.schedule]] for each.",
                said(&wanted)
            ));
            return None;
        };
        let remark =
            format!("From {origin}: until {end:?}, which is that long on days without a change of the clocks.");
        Some(Self { start, timezone, minutes, replicas, remark })
    }

    /// Adds it within the bounds of the policy, which hold in KEDA too.
    pub(super) fn write(self, draft: &mut Draft) {
        let min = self.replicas.min(draft.max).max(draft.min);
        let mut remark = self.remark;
        if min != self.replicas {
            remark.extend([" desiredReplicas = ", &self.replicas.to_string(), " lies outside min and max."]);
        }
        let Self { start: cron, timezone, minutes, .. } = self;
        draft.schedules.push(DraftSchedule { cron, timezone, minutes, min, remark });
    }
}

/// How many minutes it is from each opening, at one cron expression, to the closing, at the other, where that is always the same and no other opening lies between.
pub(super) fn minutes(start: &str, end: &str) -> Option<u64> {
    let schedule = |cron| Schedule::new(cron, "UTC", Duration::from_secs(1)).ok();
    let (opens, closes) = (schedule(start)?, schedule(end)?);
    let mut opening = next(&opens, MONDAY)?;
    let mut same = None;
    for _ in 0..OPENINGS {
        let closing = next(&closes, opening)?;
        let following = next(&opens, opening)?;
        let seconds = closing.duration_since(opening).as_secs();
        if following < closing || same.is_some_and(|same| same != seconds) {
            return None;
        }
        same = Some(seconds);
        opening = following;
    }
    same.and_then(|seconds| u64::try_from(seconds / 60).ok())
        .filter(|minutes| (MINUTES.0..=MINUTES.1).contains(minutes))
}

/// When `schedule` opens next after `moment`; its windows are so short that no two touch.
fn next(schedule: &Schedule, moment: Timestamp) -> Option<Timestamp> {
    let window = schedule.window(moment);
    let closed = if window.open { window.until } else { moment };
    Some(schedule.window(closed).until).filter(|opens| *opens < Timestamp::MAX)
}

#[test]
fn a_window_lasts_from_its_start_to_its_end_where_that_is_always_the_same() {
    let check = |start, end, expected| assert_eq!(minutes(start, end), expected, "{start} to {end}");
    check("0 8 * * 1-5", "0 18 * * 1-5", Some(600));
    check("0 22 * * *", "30 5 * * *", Some(450));
    check("0 8 1 * *", "0 8 3 * *", Some(2880));
    check("0 8 * * *", "0 8 * * *", Some(1440));
    // From Friday to Monday it would be longer than from Monday to Tuesday.
    check("0 18 * * 1-5", "0 8 * * 1-5", None);
    // It opens again before it closes.
    check("*/5 8 * * *", "0 18 * * *", None);
    check("0 0 1 * *", "0 0 20 * *", None);
    check("0 8 31 2 *", "0 18 * * *", None);
    check("@daily", "0 18 * * *", None);
}
