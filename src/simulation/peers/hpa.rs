//! The Horizontal Pod Autoscaler of Kubernetes on CPU utilization, with its default behaviour.
//!
//! Simplified: every instance in service is ready, and its first five minutes are trusted like the rest.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::observation::elapsed;
use crate::policy::Capacity;
use crate::simulation::reference::Seen;

/// A ratio this near to one changes nothing.
const TOLERANCE: f64 = 0.1;

/// Scale-in goes no lower than the highest recommendation of this window.
const STABILIZATION: Duration = Duration::from_mins(5);

/// Scale-out within 15 s, which is one question: to twice the size, or by this many, whichever is more.
const MOST_ADDED: Capacity = Capacity::new(4);

/// The autoscaler, with what it recommended of late.
#[derive(Clone, Debug)]
pub struct HorizontalPodAutoscaler {
    /// In whole percent.
    target: f64,
    recommended: VecDeque<(Timestamp, Capacity)>,
}

impl HorizontalPodAutoscaler {
    /// Keeps the utilization at `target`, a share.
    pub fn new(target: f64) -> Self {
        Self { target: (100.0 * target).round(), recommended: VecDeque::new() }
    }

    /// The replicas that it asks for.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        let now = self.recommend(seen);
        self.recommended.push_back((seen.at, now));
        while self.recommended.front().is_some_and(|(at, _)| elapsed(*at, seen.at) > STABILIZATION) {
            self.recommended.pop_front();
        }
        let highest = self.recommended.iter().map(|(_, replicas)| *replicas).max().unwrap_or(now);
        let most = seen.desired.plus(seen.desired.max(MOST_ADDED));
        // In: down to the highest of the window. Out: up to the lowest of a window of nothing, which is now.
        if now > seen.desired { now.min(most) } else { highest.min(seen.desired) }
    }

    /// Pods that are not ready use nothing where that speaks against scale-out; the truncation to whole percent is
    /// that of the original.
    fn recommend(&self, seen: &Seen) -> Capacity {
        let ready = seen.in_service.as_f64();
        let usage = 100.0 * seen.measured.utilization;
        let ratio = usage.floor() / self.target;
        if seen.pending == Capacity::ZERO || ratio <= 1.0 {
            return if (ratio - 1.0).abs() <= TOLERANCE { seen.desired } else { up(ratio * ready, seen.desired) };
        }
        let pods = ready + seen.pending.as_f64();
        let diluted = (usage * ready / pods).floor() / self.target;
        if diluted <= 1.0 + TOLERANCE { seen.desired } else { up(diluted * pods, seen.desired).max(seen.desired) }
    }
}

fn up(replicas: f64, otherwise: Capacity) -> Capacity {
    Capacity::floor(replicas.ceil()).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::peers::tests::seen;

    #[test]
    fn it_asks_for_the_ratio_of_the_ready_pods() {
        let check = |utilization, in_service, pending, expected| {
            let asked = HorizontalPodAutoscaler::new(0.7).decide(&seen(0, utilization, in_service, pending));
            assert_eq!(asked.get(), expected, "{utilization} on {in_service} and {pending} pending");
        };
        // 91/70 × 10 = 13; 76/70 and 64/70 are within a tenth; 35/70 × 10 = 5.
        check(0.915, 10, 0, 13);
        check(0.76, 10, 0, 10);
        check(0.64, 10, 0, 10);
        check(0.35, 10, 0, 5);
        // 91.5 % of 10 among 13 is 70 %: enough is on its way. 90.5 % of 10 among 11 is 82 %: 82/70 × 11 = 12.9.
        check(0.915, 10, 3, 13);
        check(0.905, 10, 1, 13);
    }

    #[test]
    fn it_adds_four_or_doubles_at_most() {
        let check = |size, expected| {
            assert_eq!(HorizontalPodAutoscaler::new(0.2).decide(&seen(0, 1.0, size, 0)).get(), expected);
        };
        check(2, 6);
        check(10, 20);
    }

    #[test]
    fn it_scales_in_to_the_highest_recommendation_of_five_minutes() {
        let mut hpa = HorizontalPodAutoscaler::new(0.7);
        let mut check = |second, utilization, expected| {
            assert_eq!(hpa.decide(&seen(second, utilization, 10, 0)).get(), expected, "at {second} s");
        };
        check(0, 0.70, 10);
        check(15, 0.49, 10);
        check(300, 0.35, 10);
        check(301, 0.35, 7);
        check(316, 0.35, 5);
    }
}
