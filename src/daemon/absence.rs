//! What a policy would have seen while Setpoint was away, so that it need not watch a whole window again before a scale-in.
//!
//! The past is put through the core as the present is, and what it would have decided is left. That is only right where the
//! group has not changed meanwhile, so anything else begins the watch anew.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::control::ControllerState;
use crate::metric::Sources;
use crate::metric::prometheus::{MOST_POINTS, Moments};
use crate::observation::{GroupStatus, Measurement, Observation, elapsed};
use crate::policy::{Capacity, MAX_METRICS, Policy};
use crate::target::Change;

/// What was measured at one moment.
type Row = (Timestamp, ArrayVec<Measurement, MAX_METRICS>);

/// What was measured while nobody looked, oldest first, for as long as a recommendation must stand before a scale-in.
#[derive(Debug)]
pub(super) struct Missed(Vec<Row>);

impl Missed {
    /// Asks the sources of `policy`; `None` unless each of its metrics has a number at every moment.
    pub async fn read(sources: &Sources, policy: &Policy, now: Timestamp) -> Option<Self> {
        let moments = moments(policy, now)?;
        let reads = policy.metrics.iter().map(|metric| sources.past(&metric.source, moments));
        let pasts: Vec<Vec<f64>> = join_all(reads).await.into_iter().collect::<Option<_>>()?;
        let row = |place| {
            let at = moments.from.saturating_add(moments.step.saturating_mul(u32::try_from(place).ok()?)).ok()?;
            Some((at, pasts.iter().map(|past| Measurement::of(past[place], None)).collect()))
        };
        (0..moments.count).map(row).collect::<Option<_>>().map(Self)
    }

    /// What the controller would remember now. `changes` are those of the group, as far as AWS still tells.
    pub fn into_memory(
        self,
        policy: &Policy,
        state: ControllerState,
        group: GroupStatus,
        changes: &[Change],
    ) -> ControllerState {
        let Some((first, _)) = self.0.first() else { return state };
        let rests = [group.in_service, group.warm, group.healthy].iter().all(|count| *count == group.desired);
        if !rests || group.pending > Capacity::ZERO || changes.iter().any(|change| change.at >= *first) {
            return state;
        }
        tracing::info!(event = "caught-up", policy = %policy.name, since = %first, "the past was read from Prometheus");
        self.0.into_iter().fold(state, |state, (at, measurements)| {
            let seen = Observation { measurements, group: Some(group), ..Observation::default() };
            state.having_seen(policy, &seen, at)
        })
    }
}

/// As many intervals as a full window has, up to now, and one more.
fn moments(policy: &Policy, now: Timestamp) -> Option<Moments> {
    let step = Duration::from_secs(policy.interval.as_secs().max(1));
    let window = policy.stabilization.inward;
    let count = usize::try_from(window.as_secs().div_ceil(step.as_secs())).ok()? + 2;
    let from = now.saturating_sub(step.saturating_mul(u32::try_from(count).ok()?)).ok()?;
    let from = Timestamp::from_second(from.as_second()).ok()?;
    debug_assert!(elapsed(from, now) >= window);
    (!window.is_zero() && count <= MOST_POINTS).then_some(Moments { from, step, count })
}
