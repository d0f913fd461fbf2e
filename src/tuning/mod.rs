//! The cheapest setting of a policy's own knobs that keeps an objective, searched for on a workload.
//!
//! Pure and deterministic: the same policy, workload and seed give the same advice, on any number of cores. It opens no
//! file and changes none; what it finds is advice.
//!
//! | file | is |
//! |---|---|
//! | [`knobs`](self::knobs()) | what may be turned, and how far |
//! | `search` | which settings are tried, and which of them are run to the end |
//! | `saving` | whether a saving is more than chance |
//! | `parallel` | the same work on all cores |

mod knobs;
mod parallel;
mod saving;
mod search;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use self::knobs::{Knob, Range, knobs};
pub use self::saving::Saving;

use self::search::Search;
use crate::policy::{Mode, Policy};
use crate::simulation::contest::{Arena, Contestant};
use crate::simulation::reference::Settings;
use crate::simulation::score::Score;
use crate::simulation::trace::Demand;

/// The part of the workload, from its beginning, that settings are searched on; the rest is held out.
pub const TRAINING: f64 = 0.7;

/// What is to be found.
#[derive(Clone, Debug)]
pub struct Task {
    /// The plant.
    pub settings: Settings,
    /// What comes upon it.
    pub demand: Demand,
    /// Percent of the time that the 99th percentile may be over the objective.
    pub slo: f64,
    /// How many settings are tried; the present one is among them.
    pub candidates: usize,
    /// The same draws the same settings.
    pub seed: u64,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Of the work that is planned at most, from 0 to 1.
    pub done: f64,
    /// Instance-hours on the training part of the cheapest setting so far that keeps the objective.
    pub best: Option<f64>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Advice {
    /// What to do.
    pub verdict: Verdict,
    /// As the policy is.
    pub present: Judgement,
    /// As it could be.
    pub best: Judgement,
    /// The policy with the best setting.
    pub policy: Policy,
    /// What differs, in the order of [`knobs`](self::knobs()).
    pub changes: Vec<Change>,
    /// Of the training part, of the best over the present.
    pub saving: Saving,
    /// Settings that were looked at.
    pub tried: usize,
    /// It was told to stop, so not all were.
    pub stopped: bool,
}

/// What to do about a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Change it: the best is cheaper, or keeps what the present one does not.
    Change,
    /// Leave it: the present setting keeps the objective, and what the best would save may be chance.
    Keep,
    /// The best keeps the objective where it was searched, but not on the held-out part, so that nothing is proven.
    Unproven,
    /// No setting that was tried keeps the objective; the best is the nearest.
    OutOfReach,
}

/// A setting on both parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Where it was searched.
    pub training: Score,
    /// Where it was not.
    pub held_out: Score,
}

/// A knob that is to be turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub knob: Knob,
    /// What it is.
    pub from: f64,
    /// What it should be.
    pub to: f64,
}

/// Searches until all candidates were tried or `stop` is set; `watch` is shown how far it is, from several threads.
///
/// [`Mode::Observe`] counts as [`Mode::Active`]. The advice has no knobs but those of [`knobs`](self::knobs()).
pub fn tune(policy: &Policy, task: &Task, stop: &AtomicBool, watch: &(dyn Fn(Progress) + Sync)) -> Advice {
    let mut policy = policy.clone();
    if policy.mode == Mode::Observe {
        policy.mode = Mode::Active;
    }
    let (training, held_out) = parts(task);
    let search = Search::new(&policy, &training, task, stop, watch);
    let found = search.run();
    let judge = |policy: &Policy| {
        let score = |arena: &Arena| arena.tally(&contestant(policy)).score(arena.optimum());
        Judgement { training: score(&training), held_out: score(&held_out) }
    };
    let best = search.policy_of(&found.best);
    let (present, judged) = (judge(&policy), judge(&best));
    let saving = Saving::of(&training, &policy, &best);
    let verdict = if judged.training.over_objective > task.slo {
        Verdict::OutOfReach
    } else if present.training.over_objective <= task.slo && saving.may_be_chance() {
        Verdict::Keep
    } else if judged.held_out.over_objective > task.slo {
        Verdict::Unproven
    } else {
        Verdict::Change
    };
    let change = |range: Range| Change { knob: range.knob, from: range.knob.of(&policy), to: range.knob.of(&best) };
    let changes = knobs(&policy).into_iter().map(change).filter(Change::is_one).collect();
    Advice { verdict, present, best: judged, policy: best, changes, saving, tried: found.tried, stopped: found.stopped }
}

impl Change {
    fn is_one(&self) -> bool {
        (self.from - self.to).abs() > f64::EPSILON * self.from.abs()
    }
}

fn contestant(policy: &Policy) -> Contestant {
    Contestant::Policy(Box::new(policy.clone()))
}

/// The training part and the held-out part, each with a fleet of its own.
pub fn parts(task: &Task) -> (Arena, Arena) {
    let steps = task.demand.expected.len();
    let first = share(steps, TRAINING);
    let later = task.demand.seconds() * TRAINING;
    let start = task.settings.start.saturating_add(Duration::from_secs_f64(later)).unwrap_or(task.settings.start);
    let training = Arena::new(task.settings.clone(), part(&task.demand, 0, first));
    let held_out = Arena::new(Settings { start, ..task.settings.clone() }, part(&task.demand, first, steps));
    (training, held_out)
}

/// The steps of `demand` from `from` to before `to`.
fn part(demand: &Demand, from: usize, to: usize) -> Demand {
    let cut = |rates: &[f64]| rates[from..to].to_vec();
    Demand { expected: cut(&demand.expected), arrived: cut(&demand.arrived), retried: demand.retried }
}

/// So much of `count`, at least one where there is one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a count that fits into memory"
)]
fn share(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).clamp(count.min(1), count)
}
