//! How well a controller did in the reference plant: how often too slow, at what cost, and with how much ado.

use super::queue::Service;
use super::server::Served;
use super::trace::STEP;
use crate::policy::Capacity;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// What was counted in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Steps of the plant.
    pub steps: u32,
    /// Of these, those whose 99th percentile was over the objective.
    pub over_objective: u32,
    /// Of these, those whose utilization was over the ceiling.
    pub over_ceiling: u32,
    /// Requests that arrived.
    pub requests: f64,
    /// Of these, those that took longer than the objective or were dropped.
    pub requests_over_objective: f64,
    /// Of these, those that were dropped.
    pub requests_dropped: f64,
    /// Changes of the desired capacity.
    pub actions: u32,
    /// Of these, those that went the other way than the one before.
    pub reversals: u32,
    /// Instance-seconds: from launch to termination, with the least that an instance is billed for.
    pub billed_seconds: f64,
    /// Response times of all requests that were answered, in seconds.
    response_seconds: f64,
    /// The last action added instances.
    outward: Option<bool>,
    elastic: Elastic,
}

/// What is needed and what serves in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Provision {
    pub needed: Capacity,
    pub in_service: Capacity,
}

/// Sums over steps, for [`Elasticity`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Elastic {
    under: f64,
    over: f64,
    under_steps: u32,
    over_steps: u32,
    unstable: u32,
    last: Option<Provision>,
}

impl Tally {
    /// Counts one step.
    pub(super) fn step(&mut self, served: &Served, service: &Service, provision: Provision) {
        self.steps += 1;
        self.over_objective += u32::from(served.reading.p99 > service.objective);
        self.over_ceiling += u32::from(served.reading.utilization > service.ceiling);
        self.requests += served.requests;
        self.requests_over_objective += served.over_objective;
        self.requests_dropped += served.dropped;
        self.response_seconds += served.answered() * served.mean_response;
        self.elastic.step(provision);
    }

    /// Counts an answer of the controller.
    pub(super) fn change(&mut self, from: Capacity, to: Capacity) {
        if from == to {
            return;
        }
        let outward = to > from;
        self.actions += 1;
        self.reversals += u32::from(self.outward.is_some_and(|before| before != outward));
        self.outward = Some(outward);
    }

    /// The run as shares, relative to the instance-seconds that the optimum needs.
    pub fn score(&self, optimum: f64) -> Score {
        let seconds = f64::from(self.steps) * STEP;
        let share = |steps: u32| 100.0 * f64::from(steps) / f64::from(self.steps);
        let of_requests = |requests: f64| if self.requests > 0.0 { 100.0 * requests / self.requests } else { 0.0 };
        let answered = (self.requests - self.requests_dropped).max(f64::MIN_POSITIVE);
        Score {
            over_objective: share(self.over_objective),
            requests_over_objective: of_requests(self.requests_over_objective),
            requests_dropped: of_requests(self.requests_dropped),
            mean_response: self.response_seconds / answered,
            over_ceiling: share(self.over_ceiling),
            relative_cost: self.billed_seconds / optimum,
            instance_hours: self.billed_seconds / HOUR,
            mean_size: self.billed_seconds / seconds,
            actions_a_day: f64::from(self.actions) * DAY / seconds,
            reversals_a_day: f64::from(self.reversals) * DAY / seconds,
            elasticity: self.elastic.elasticity(self.steps),
        }
    }
}

impl Elastic {
    fn step(&mut self, now: Provision) {
        let (needed, serves) = (now.needed.as_f64(), now.in_service.as_f64());
        let of_need = needed.max(1.0);
        self.under += (needed - serves).max(0.0) / of_need;
        self.over += (serves - needed).max(0.0) / of_need;
        self.under_steps += u32::from(serves < needed);
        self.over_steps += u32::from(serves > needed);
        if let Some(before) = self.last.replace(now) {
            let same = now.in_service.cmp(&before.in_service) == now.needed.cmp(&before.needed);
            self.unstable += u32::from(!same);
        }
    }

    fn elasticity(&self, steps: u32) -> Elasticity {
        let share = |sum: f64| 100.0 * sum / f64::from(steps);
        Elasticity {
            under_accuracy: share(self.under),
            over_accuracy: share(self.over),
            under_timeshare: share(self.under_steps.into()),
            over_timeshare: share(self.over_steps.into()),
            instability: 100.0 * f64::from(self.unstable) / f64::from(steps.saturating_sub(1).max(1)),
        }
    }
}

/// One run in figures that compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Percent of the time that the 99th percentile was over the objective.
    pub over_objective: f64,
    /// Percent of the requests that took longer than the objective or were dropped.
    pub requests_over_objective: f64,
    /// Percent of the requests that were dropped.
    pub requests_dropped: f64,
    /// Response time of the requests that were answered in seconds, on average.
    pub mean_response: f64,
    /// Percent of the time that the utilization was over the ceiling.
    pub over_ceiling: f64,
    /// Instance-time billed, relative to the clairvoyant optimum.
    pub relative_cost: f64,
    /// Instance-time billed, in hours.
    pub instance_hours: f64,
    /// Instances billed at a time, on average.
    pub mean_size: f64,
    /// Changes of the desired capacity.
    pub actions_a_day: f64,
    /// Changes that went the other way than the one before.
    pub reversals_a_day: f64,
    /// How closely the fleet followed what was needed.
    pub elasticity: Elasticity,
}

/// The elasticity metrics of the SPEC RG Cloud group (Herbst et al., "Ready for Rain? A View from SPEC Research on the
/// Future of Cloud Metrics", 2016), where `d` instances are needed and `s` are in service over the time `T`.
///
/// They take deliberate headroom for waste: read them beside the cost at equal violations, never alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elasticity {
    /// `θ_U = 100/T ∫ max(d − s, 0)/d dt`, in percent.
    pub under_accuracy: f64,
    /// `θ_O = 100/T ∫ max(s − d, 0)/d dt`, in percent.
    pub over_accuracy: f64,
    /// `τ_U = 100/T ∫ [s < d] dt`, in percent.
    pub under_timeshare: f64,
    /// `τ_O = 100/T ∫ [s > d] dt`, in percent.
    pub over_timeshare: f64,
    /// `υ = 100/T ∫ min(|sgn ṡ − sgn ḋ|, 1) dt`, in percent; changes are those of one step of the plant.
    pub instability: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::plant::Reading;

    fn near(measured: f64, expected: f64) {
        assert!((measured - expected).abs() < 1e-9, "{measured} is not {expected}");
    }

    fn provision(needed: u32, in_service: u32) -> Provision {
        Provision { needed: Capacity::new(needed), in_service: Capacity::new(in_service) }
    }

    fn served(p99: f64, utilization: f64) -> Served {
        let reading = Reading { utilization, arrival_rate: 100.0, p99 };
        Served { reading, requests: 300.0, over_objective: 3.0, dropped: 1.5, mean_response: 0.1 }
    }

    #[test]
    fn a_score_relates_what_was_counted_to_time_and_optimum() {
        let mut tally = Tally { billed_seconds: 3_000.0, ..Tally::default() };
        let mut step = |served: &Served| tally.step(served, &Service::REFERENCE, provision(2, 2));
        (0..98).for_each(|_| step(&served(0.2, 0.7)));
        step(&served(0.51, 0.94));
        step(&served(0.49, 0.931));
        for (from, to) in [(2, 4), (4, 4), (4, 5), (5, 3), (3, 4)] {
            tally.change(Capacity::new(from), Capacity::new(to));
        }
        let score = tally.score(2_000.0);
        near(score.over_objective, 1.0);
        near(score.over_ceiling, 2.0);
        near(score.requests_over_objective, 1.0);
        near(score.requests_dropped, 0.5);
        near(score.mean_response, 0.1);
        near(score.relative_cost, 1.5);
        near(score.instance_hours, 3_000.0 / 3600.0);
        near(score.mean_size, 10.0);
        near(score.actions_a_day, 4.0 * 288.0);
        assert_eq!((tally.actions, tally.reversals), (4, 2));
    }

    #[test]
    fn elasticity_is_that_of_the_formulas() {
        let mut elastic = Elastic::default();
        // Short by 2 of 4, by 1 of 4; met; over by 3 of 2. From one step to the next, each time but one of them moves alone.
        for (needed, in_service) in [(4, 2), (4, 3), (4, 4), (2, 5)] {
            elastic.step(provision(needed, in_service));
        }
        let measured = elastic.elasticity(4);
        near(measured.under_accuracy, 100.0 * (0.5 + 0.25) / 4.0);
        near(measured.over_accuracy, 100.0 * 1.5 / 4.0);
        near(measured.under_timeshare, 50.0);
        near(measured.over_timeshare, 25.0);
        near(measured.instability, 100.0);
        let mut together = Elastic::default();
        for (needed, in_service) in [(2, 2), (3, 4), (3, 4), (1, 2), (2, 2)] {
            together.step(provision(needed, in_service));
        }
        near(together.elasticity(5).instability, 25.0);
    }
}
