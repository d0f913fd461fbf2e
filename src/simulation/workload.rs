//! Requests per second over time. Pure: the rate is a function of the time since the start.

use std::time::Duration;

/// Requests per second before the sale is announced: two instances at 0.66.
pub const QUIET_RATE: f64 = 265.0;

/// Requests per second as the word spreads.
pub const RAMP_RATE: f64 = 1.5 * QUIET_RATE;

/// Requests per second of the crowd: twelve instances at 0.66, nine at the limit of the objective.
pub const CROWD_RATE: f64 = 6.0 * QUIET_RATE;

/// How long the ticket sale is watched.
pub const TICKET_SALE: Duration = Duration::from_secs(1350);

/// A part of the ticket sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nobody knows yet.
    Quiet,
    /// The word spreads.
    Ramp,
    /// The crowd arrives, six times the quiet rate within one minute.
    Arrival,
    /// The crowd is there.
    Crowd,
    /// Sold out: the crowd leaves.
    Decay,
    /// As before the sale.
    Aftermath,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 6] = [Self::Quiet, Self::Ramp, Self::Arrival, Self::Crowd, Self::Decay, Self::Aftermath];

    /// When the phase begins, since the start of the sale.
    pub const fn begins(self) -> Duration {
        Duration::from_secs(match self {
            Self::Quiet => 0,
            Self::Ramp => 120,
            Self::Arrival => 240,
            Self::Crowd => 300,
            Self::Decay => 540,
            Self::Aftermath => 660,
        })
    }

    /// The rate changes in it.
    fn rushes(self) -> bool {
        matches!(self, Self::Ramp | Self::Arrival | Self::Decay)
    }

    /// The rate that it begins with, in times of the quiet one.
    fn first_factor(self) -> f64 {
        match self {
            Self::Quiet | Self::Ramp | Self::Aftermath => 1.0,
            Self::Arrival => RAMP_RATE / QUIET_RATE,
            Self::Crowd | Self::Decay => CROWD_RATE / QUIET_RATE,
        }
    }

    /// The phase of the ticket sale at this time since its start.
    pub fn at(since_start: Duration) -> Self {
        Self::ALL.into_iter().rev().find(|phase| phase.begins() <= since_start).unwrap_or(Self::Quiet)
    }
}

/// Requests per second over time, linear between its corners.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    corners: Vec<(Duration, f64)>,
}

impl Workload {
    /// The same rate at all times, in requests per second; not negative.
    pub fn constant(rate: f64) -> Self {
        Self { corners: vec![(Duration::ZERO, rate)] }
    }

    /// The ticket sale, with its [`Phase`]s.
    pub fn ticket_sale() -> Self {
        Self::ticket_sale_within(QUIET_RATE, TICKET_SALE)
    }

    /// A ticket sale from a `quiet` rate that takes this long. What waits is stretched to that: the quiet, the crowd and the
    /// aftermath. What rushes takes its minutes however long the rest is.
    pub fn ticket_sale_within(quiet: f64, duration: Duration) -> Self {
        let begins = Phase::ALL.map(Phase::begins);
        let lengths = begins.iter().zip(begins[1..].iter().chain([&TICKET_SALE])).map(|(from, to)| to.abs_diff(*from));
        let phases = || Phase::ALL.into_iter().zip(lengths.clone());
        let sum = |rush| phases().filter(|(phase, _)| phase.rushes() == rush).map(|(_, length)| length).sum();
        let (rushed, waited): (Duration, Duration) = (sum(true), sum(false));
        let stretch = duration.saturating_sub(rushed).div_duration_f64(waited);
        let mut now = Duration::ZERO;
        let corners = phases().map(|(phase, length)| {
            let corner = (now, quiet * phase.first_factor());
            now += if phase.rushes() { length } else { length.mul_f64(stretch) };
            corner
        });
        Self::through(corners.collect())
    }

    /// Through these corners (time since the start, requests per second), which are in order of time; constant before
    /// the first and after the last. No corners: no requests.
    pub fn through(corners: Vec<(Duration, f64)>) -> Self {
        debug_assert!(corners.is_sorted_by_key(|corner| corner.0), "corners are in order of time");
        Self { corners }
    }

    /// Requests per second at this time since the start.
    pub fn rate(&self, since_start: Duration) -> f64 {
        let next = self.corners.partition_point(|corner| corner.0 <= since_start);
        match (next.checked_sub(1).and_then(|last| self.corners.get(last)), self.corners.get(next)) {
            (Some(&(t0, r0)), Some(&(t1, r1))) => {
                r0 + (r1 - r0) * since_start.abs_diff(t0).div_duration_f64(t1.abs_diff(t0))
            }
            (Some(&(_, rate)), None) | (None, Some(&(_, rate))) => rate,
            (None, None) => 0.0,
        }
    }

    /// The highest rate, in requests per second.
    pub fn peak(&self) -> f64 {
        self.corners.iter().map(|corner| corner.1).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(second: u64, phase: Phase, rate: f64) {
        let at = Duration::from_secs(second);
        assert_eq!(Phase::at(at), phase, "at {second} s");
        let measured = Workload::ticket_sale().rate(at);
        assert!((measured - rate).abs() < 1e-9, "{measured} at {second} s, expected {rate}");
    }

    #[test]
    fn the_ticket_sale_has_its_phases() {
        check(0, Phase::Quiet, QUIET_RATE);
        check(119, Phase::Quiet, QUIET_RATE);
        check(180, Phase::Ramp, 1.25 * QUIET_RATE);
        check(240, Phase::Arrival, RAMP_RATE);
        check(300, Phase::Crowd, CROWD_RATE);
        check(539, Phase::Crowd, CROWD_RATE);
        check(600, Phase::Decay, 3.5 * QUIET_RATE);
        check(660, Phase::Aftermath, QUIET_RATE);
        check(5000, Phase::Aftermath, QUIET_RATE);
    }

    #[test]
    fn the_crowd_is_six_times_the_quiet_rate_within_a_minute() {
        assert!(Phase::Crowd.begins().abs_diff(Phase::Arrival.begins()) <= Duration::from_mins(1));
        assert!((Workload::ticket_sale().peak() / QUIET_RATE - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_longer_sale_waits_longer_and_rushes_as_fast() {
        let sale = Workload::ticket_sale_within(10.0, Duration::from_hours(3));
        let check = |second, rate: f64| {
            let measured = sale.rate(Duration::from_secs(second));
            assert!((measured - rate).abs() < 1e-9, "{measured} at {second} s, expected {rate}");
        };
        check(1200, 10.0);
        check(1320, 15.0);
        check(1380, 60.0);
        check(3780, 60.0);
        check(3900, 10.0);
        check(10_800, 10.0);
    }

    #[test]
    fn a_workload_without_corners_is_empty() {
        assert!(Workload::through(vec![]).rate(Duration::from_secs(9)).abs() < 1e-12);
        assert!((Workload::constant(7.0).rate(Duration::ZERO) - 7.0).abs() < 1e-12);
    }
}
