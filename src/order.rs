//! What operators order, for how long, by whom and why; and the channel's words in which the daemon is told.
//!
//! Plain data: nothing here acts, reads a clock or keeps anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::policy::{Capacity, Mode, PerDirection, Policy};

/// Most characters of an author's name.
pub const LONGEST_AUTHOR: usize = 100;

/// Most characters of a reason.
pub const LONGEST_REASON: usize = 500;

/// Who wants it, and why. Neither is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Author {
    /// Whoever is answerable for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a pause stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Scaling out and in.
    #[default]
    Both,
    /// Removing instances only.
    ScaleIn,
    /// Adding instances only.
    ScaleOut,
}

/// Nothing is done in the directions of its scope until it ends, or is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// What it stops.
    pub scope: Scope,
    /// Who and why.
    #[serde(flatten)]
    pub author: Author,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Other bounds, within those that hold anyway, until it ends or is ended. At least one of the two is there; an exact
/// capacity is both at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// The least capacity.
    pub floor: Option<Capacity>,
    /// The most capacity, not below the floor.
    pub cap: Option<Capacity>,
    /// Who and why.
    #[serde(flatten)]
    pub author: Author,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// One thing that an operator orders. What stood before in its place is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Pause a policy.
    Pause {
        /// Its name.
        policy: Arc<str>,
        /// What, who, why and until when.
        #[serde(flatten)]
        pause: Pause,
    },
    /// End the pause of a policy. There need be none.
    Resume {
        /// Its name.
        policy: Arc<str>,
        /// Who and why.
        #[serde(flatten)]
        author: Author,
    },
    /// Set other bounds for a policy.
    Override {
        /// Its name.
        policy: Arc<str>,
        /// Which, who, why and until when.
        #[serde(flatten)]
        bounds: Override,
    },
    /// End the override of a policy. There need be none.
    Release {
        /// Its name.
        policy: Arc<str>,
        /// Who and why.
        #[serde(flatten)]
        author: Author,
    },
    /// Pause every policy, those of later configurations as well.
    Freeze(Pause),
    /// End the freeze. Pauses of single policies stay. There need be none.
    Unfreeze(Author),
}

/// Every order that stands. Those whose time is over are still in here until [`Standing::expire`] takes them out, but no
/// question about a time after their end finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The pause of every policy.
    pub freeze: Option<Pause>,
    /// The pauses of single policies, by name.
    pub pauses: BTreeMap<Arc<str>, Pause>,
    /// The overrides, by name of the policy.
    pub overrides: BTreeMap<Arc<str>, Override>,
}

/// What the daemon is told.
#[derive(Debug)]
pub enum Command {
    /// Read the configuration again and, if nothing is wrong with it, put it in force.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Put an order into effect at once: the policies that it concerns are evaluated without waiting for their interval.
    Order(Order, oneshot::Sender<Result<Receipt, Refusal>>),
    /// Finish the running cycles and stop.
    Stop,
}

/// The answer to an order that is in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Receipt {
    /// Of an order that ends another: that there was none, or what stops the policy all the same.
    pub but: Option<String>,
    /// Why a restart would forget it; `None` when it is in the journal.
    pub not_kept_because: Option<String>,
}

/// Why an order is not put into effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no policy of that name.
    #[error("no policy is named {0:?}")]
    UnknownPolicy(Arc<str>),
    /// Nobody is answerable for it.
    #[error("who orders this is not said, expected a name of 1 to {LONGEST_AUTHOR} characters")]
    Anonymous,
    /// Nobody will know why.
    #[error("why is not said, expected a reason of 1 to {LONGEST_REASON} characters")]
    Unexplained,
    /// It would be over before it began.
    #[error("it ends at {until}, which is not after it begins at {since}; expected an end in the future")]
    Over {
        /// When it would begin.
        since: Timestamp,
        /// When it would end.
        until: Timestamp,
    },
    /// An override without bounds.
    #[error("it overrides nothing, expected a floor, a cap or both")]
    Empty,
    /// An override that no capacity meets.
    #[error("the floor of {floor} is above the cap of {cap}, expected at most that")]
    Contradiction {
        /// The least capacity.
        floor: Capacity,
        /// The most capacity.
        cap: Capacity,
    },
    /// An override that the bounds of the policy would take back.
    #[error("the floor of {floor} is above the policy's max of {max}, which holds anyway; expected at most that")]
    AboveMax {
        /// The least capacity.
        floor: Capacity,
        /// The policy's most capacity.
        max: Capacity,
    },
    /// An override that the bounds of the policy would take back.
    #[error("the cap of {cap} is below the policy's min of {min}, which holds anyway; expected at least that")]
    BelowMin {
        /// The most capacity.
        cap: Capacity,
        /// The policy's least capacity.
        min: Capacity,
    },
}

impl Author {
    fn check(&self) -> Result<(), Refusal> {
        let fits = |text: &str, most| !text.trim().is_empty() && text.chars().count() <= most;
        match (fits(&self.by, LONGEST_AUTHOR), fits(&self.reason, LONGEST_REASON)) {
            (false, _) => Err(Refusal::Anonymous),
            (_, false) => Err(Refusal::Unexplained),
            _ => Ok(()),
        }
    }
}

impl Scope {
    /// Whether scaling in each direction stops.
    pub fn stops(self) -> PerDirection<bool> {
        PerDirection { out: self != Self::ScaleIn, inward: self != Self::ScaleOut }
    }
}

impl Order {
    /// The policy that it concerns; `None`: all of them.
    pub fn policy(&self) -> Option<&Arc<str>> {
        match self {
            Self::Pause { policy, .. }
            | Self::Resume { policy, .. }
            | Self::Override { policy, .. }
            | Self::Release { policy, .. } => Some(policy),
            Self::Freeze(_) | Self::Unfreeze(_) => None,
        }
    }

    /// Who orders it, and why.
    pub fn author(&self) -> &Author {
        match self {
            Self::Pause { pause, .. } | Self::Freeze(pause) => &pause.author,
            Self::Override { bounds, .. } => &bounds.author,
            Self::Resume { author, .. } | Self::Release { author, .. } | Self::Unfreeze(author) => author,
        }
    }

    /// A bounded word for logs and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Override { .. } => "override",
            Self::Release { .. } => "release",
            Self::Freeze(_) => "freeze",
            Self::Unfreeze(_) => "unfreeze",
        }
    }

    /// Whether it makes sense by itself. Whether its policy exists is the daemon's to know.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), Refusal> {
        self.author().check()?;
        let lasts = |since, until| if until > since { Ok(()) } else { Err(Refusal::Over { since, until }) };
        match self {
            Self::Pause { pause, .. } | Self::Freeze(pause) => lasts(pause.since, pause.until),
            Self::Override { bounds: Override { floor, cap, since, until, .. }, .. } => match (*floor, *cap) {
                (None, None) => Err(Refusal::Empty),
                (Some(floor), Some(cap)) if floor > cap => Err(Refusal::Contradiction { floor, cap }),
                _ => lasts(*since, *until),
            },
            Self::Resume { .. } | Self::Release { .. } | Self::Unfreeze(_) => Ok(()),
        }
    }
}

impl Pause {
    fn lasts(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Override {
    /// Whether the bounds of `policy` leave it its effect.
    ///
    /// # Errors
    /// Which of its own bounds is beyond one that holds anyway.
    pub fn fits(&self, policy: &Policy) -> Result<(), Refusal> {
        let Policy { min, max, .. } = *policy;
        match (self.floor, self.cap) {
            (Some(floor), _) if floor > max => Err(Refusal::AboveMax { floor, max }),
            (_, Some(cap)) if cap < min => Err(Refusal::BelowMin { cap, min }),
            _ => Ok(()),
        }
    }
}

impl Standing {
    /// Puts `order` in its place.
    pub fn take(&mut self, order: Order) {
        match order {
            Order::Pause { policy, pause } => drop(self.pauses.insert(policy, pause)),
            Order::Resume { policy, .. } => drop(self.pauses.remove(&policy)),
            Order::Override { policy, bounds } => drop(self.overrides.insert(policy, bounds)),
            Order::Release { policy, .. } => drop(self.overrides.remove(&policy)),
            Order::Freeze(pause) => self.freeze = Some(pause),
            Order::Unfreeze(_) => self.freeze = None,
        }
    }

    /// Adds the orders that stood before the start, as far as none of these has taken their place.
    pub fn resume(&mut self, kept: Standing) {
        self.freeze = self.freeze.take().or(kept.freeze);
        for (policy, pause) in kept.pauses {
            self.pauses.entry(policy).or_insert(pause);
        }
        for (policy, bounds) in kept.overrides {
            self.overrides.entry(policy).or_insert(bounds);
        }
    }

    /// What whoever gives `order`, to end another, would not expect of it: that there is none, or what stops the policy all
    /// the same at `now`. `policy` is the one that it concerns.
    pub fn objection(&self, order: &Order, policy: Option<&Policy>, now: Timestamp) -> Option<String> {
        let frozen = self.freeze.as_ref().filter(|freeze| freeze.lasts(now));
        match order {
            Order::Resume { .. } if frozen.is_some() => {
                let until = frozen?.until.strftime("%Y-%m-%d %H:%M:%S UTC");
                Some(format!("the freeze of every policy lasts until {until}"))
            }
            Order::Resume { .. } if policy.is_some_and(|policy| policy.mode == Mode::Paused) => {
                Some("its mode in the configuration is \"paused\"".into())
            }
            Order::Resume { policy, .. } => {
                let paused = self.pauses.get(policy).is_some_and(|pause| pause.lasts(now));
                (!paused).then(|| "no pause was ordered for it".into())
            }
            Order::Release { policy, .. } => {
                self.bounds(policy, now).is_none().then(|| "no override was ordered for it".into())
            }
            Order::Unfreeze(_) if frozen.is_none() => Some("there was none".into()),
            Order::Unfreeze(_) => {
                let paused = self.pauses.values().filter(|pause| pause.lasts(now)).count();
                (paused > 0).then(|| format!("policies that stay paused by orders of their own: {paused}"))
            }
            Order::Pause { .. } | Order::Override { .. } | Order::Freeze(_) => None,
        }
    }

    /// In which directions `policy` must not be scaled at `now`.
    pub fn stops(&self, policy: &str, now: Timestamp) -> PerDirection<bool> {
        let pauses = [self.freeze.as_ref(), self.pauses.get(policy)].into_iter().flatten();
        pauses.filter(|pause| pause.lasts(now)).fold(PerDirection::default(), |stopped, pause| {
            let PerDirection { out, inward } = pause.scope.stops();
            PerDirection { out: stopped.out || out, inward: stopped.inward || inward }
        })
    }

    /// The override of `policy` at `now`.
    pub fn bounds(&self, policy: &str, now: Timestamp) -> Option<&Override> {
        self.overrides.get(policy).filter(|bounds| now < bounds.until)
    }

    /// When the next of them ends by itself.
    pub fn next_end(&self) -> Option<Timestamp> {
        let pauses = self.freeze.iter().chain(self.pauses.values()).map(|pause| pause.until);
        pauses.chain(self.overrides.values().map(|bounds| bounds.until)).min()
    }

    /// Takes out what is over at `now`. True if anything was.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.count();
        self.freeze.take_if(|pause| pause.until <= now);
        self.pauses.retain(|_, pause| pause.until > now);
        self.overrides.retain(|_, bounds| bounds.until > now);
        self.count() < before
    }

    fn count(&self) -> usize {
        self.freeze.iter().len() + self.pauses.len() + self.overrides.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn author() -> Author {
        Author { by: "mara".into(), reason: "a migration".into() }
    }

    fn pause(scope: Scope, until: i64) -> Pause {
        Pause { scope, author: author(), since: at(0), until: at(until) }
    }

    fn bounds(floor: Option<u32>, cap: Option<u32>, until: i64) -> Override {
        let [floor, cap] = [floor, cap].map(|capacity| capacity.map(Capacity::new));
        Override { floor, cap, author: author(), since: at(0), until: at(until) }
    }

    #[test]
    fn a_pause_stops_its_directions_until_it_ends_or_is_ended() {
        let mut standing = Standing::default();
        let stops = |standing: &Standing, policy, now| {
            let PerDirection { out, inward } = standing.stops(policy, at(now));
            (out, inward)
        };
        standing.take(Order::Pause { policy: "web".into(), pause: pause(Scope::ScaleIn, 100) });
        assert_eq!(stops(&standing, "web", 99), (false, true));
        assert_eq!(stops(&standing, "web", 100), (false, false));
        assert_eq!(stops(&standing, "api", 99), (false, false));
        standing.take(Order::Freeze(pause(Scope::ScaleOut, 50)));
        assert_eq!(stops(&standing, "web", 10), (true, true));
        assert_eq!(stops(&standing, "api", 10), (true, false));
        standing.take(Order::Resume { policy: "web".into(), author: author() });
        assert_eq!(stops(&standing, "web", 10), (true, false), "the freeze stays");
        standing.take(Order::Unfreeze(author()));
        assert_eq!(stops(&standing, "web", 10), (false, false));
    }

    #[test]
    fn what_is_over_is_taken_out() {
        let mut standing = Standing::default();
        standing.take(Order::Override { policy: "web".into(), bounds: bounds(Some(4), None, 100) });
        standing.take(Order::Pause { policy: "web".into(), pause: pause(Scope::Both, 60) });
        assert_eq!(standing.next_end(), Some(at(60)));
        assert!(!standing.expire(at(59)));
        assert!(standing.expire(at(60)));
        assert!(standing.pauses.is_empty());
        assert!(standing.bounds("web", at(99)).is_some());
        assert!(standing.bounds("web", at(100)).is_none());
    }

    #[test]
    fn an_order_without_author_reason_or_sense_is_refused() {
        let check = |order: Order, expected: &str| assert_eq!(order.check().unwrap_err().to_string(), expected);
        let signed = |by: &str, reason: &str| Order::Unfreeze(Author { by: by.into(), reason: reason.into() });
        check(signed(" ", "x"), "who orders this is not said, expected a name of 1 to 100 characters");
        check(signed("x", &"y".repeat(501)), "why is not said, expected a reason of 1 to 500 characters");
        let overriding = |bounds| Order::Override { policy: "web".into(), bounds };
        check(overriding(bounds(None, None, 1)), "it overrides nothing, expected a floor, a cap or both");
        check(overriding(bounds(Some(5), Some(4), 1)), "the floor of 5 is above the cap of 4, expected at most that");
        let over = "it ends at 1970-01-01T00:00:00Z, which is not after it begins at 1970-01-01T00:00:00Z; \
            expected an end in the future";
        check(overriding(bounds(Some(4), None, 0)), over);
        check(Order::Freeze(pause(Scope::Both, 0)), over);
        assert_eq!(overriding(bounds(Some(4), Some(4), 1)).check(), Ok(()));
    }
}
