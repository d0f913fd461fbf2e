//! How long requests take on one instance at a load: M/M/c in front of exponential service, plus a fluid backlog.
//!
//! Pure arithmetic. Times are in seconds, rates in requests per second of one instance at full capacity.

use super::trace::CEILING;

/// Workers of one instance.
pub const WORKERS: u32 = 8;

/// Mean time that a request keeps one worker busy, in seconds.
pub const MEAN_SERVICE: f64 = 0.040;

/// Requests per second that one warm instance can serve at most.
pub const INSTANCE_RATE: f64 = 200.0;

/// The longest that a request waits; the backlog beyond it is dropped, and the queueing formulas, which grow without
/// bound towards full load, are cut off there.
pub const LONGEST_WAIT: f64 = 10.0;

/// Requests that take longer miss the objective, in seconds.
pub const OBJECTIVE: f64 = 0.5;

/// Utilization above which the formulas are held: beyond it the stationary queue has no finite length.
const FULL: f64 = 0.998;

/// The probability that a request finds all `servers` busy at `offered` load (arrival rate × mean service time), for
/// `offered < servers`.
///
/// Erlang's C formula, by the recursion for Erlang's B, which neither overflows nor cancels.
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    let blocked = (1..=servers).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b));
    let utilization = offered / f64::from(servers);
    blocked / (1.0 - utilization * (1.0 - blocked))
}

/// What one instance can do, and what its owner promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// Requests per second that one warm instance can serve at most.
    pub rate: f64,
    /// Workers of one instance; each is busy for `workers / rate` seconds with a request, on average.
    pub workers: u32,
    /// The 99th percentile of the response time is to stay within this many seconds.
    pub objective: f64,
    /// The utilization up to which it does.
    pub ceiling: f64,
}

impl Service {
    /// The instances of the reference plant.
    pub const REFERENCE: Self = Self { rate: INSTANCE_RATE, workers: WORKERS, objective: OBJECTIVE, ceiling: CEILING };

    /// An instance of `workers` that serve `rate` requests per second together, with an `objective` in seconds; `None`
    /// where even an idle one misses that.
    pub fn new(rate: f64, workers: u32, objective: f64) -> Option<Self> {
        let at = |ceiling| Self { rate, workers, objective, ceiling };
        let kept = |load: f64| Queue::of(&at(load), load, 0.0).p99() <= objective;
        let (mut low, mut high) = (0.0, FULL);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if kept(middle) { low = middle } else { high = middle }
        }
        kept(low).then(|| at(low)).filter(|service| service.ceiling > 0.0)
    }

    /// Seconds that a request keeps one worker busy, on average.
    pub fn mean_service(&self) -> f64 {
        f64::from(self.workers) / self.rate
    }
}

/// The queue of one instance at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue {
    /// Probability that a request waits for a worker.
    busy: f64,
    /// Rate at which the wait of those that wait decays, per second.
    drain: f64,
    /// Seconds that every request spends behind the backlog.
    backlog: f64,
    /// Seconds of service, on average.
    service: f64,
}

impl Queue {
    /// The queue of a reference instance at `utilization` (0..=1) behind `backlog` seconds of work.
    pub fn at(utilization: f64, backlog: f64) -> Self {
        Self::of(&Service::REFERENCE, utilization, backlog)
    }

    /// The queue of an instance of this `service`.
    pub fn of(service: &Service, utilization: f64, backlog: f64) -> Self {
        let load = utilization.clamp(0.0, FULL);
        Self {
            busy: erlang_c(service.workers, load * f64::from(service.workers)),
            drain: service.rate * (1.0 - load),
            backlog: backlog.clamp(0.0, LONGEST_WAIT),
            service: service.mean_service(),
        }
    }

    /// The mean response time.
    pub fn mean(&self) -> f64 {
        self.service + self.mean_wait() + self.backlog
    }

    /// The mean wait for a worker, without that behind the backlog.
    pub fn mean_wait(&self) -> f64 {
        (self.busy / self.drain).min(LONGEST_WAIT)
    }

    /// The 99th percentile of the response time, from above: the percentiles of service and wait are added.
    pub fn p99(&self) -> f64 {
        let service = self.service * 100.0_f64.ln();
        let wait = ((100.0 * self.busy).ln().max(0.0) / self.drain).min(LONGEST_WAIT);
        service + wait + self.backlog
    }

    /// The share of requests that take longer than `seconds`: the exact distribution of M/M/c, shifted by the backlog.
    pub fn share_over(&self, seconds: f64) -> f64 {
        let left = seconds - self.backlog;
        if left <= 0.0 {
            return 1.0;
        }
        let service = 1.0 / self.service;
        let unhindered = (-service * left).exp();
        // Service and wait decay at the same rate where this is singular; a hair beside it, the formula holds.
        let drain = if (self.drain - service).abs() < 1e-6 * service { service * (1.0 + 1e-6) } else { self.drain };
        let both = (drain * unhindered - service * (-drain * left).exp()) / (drain - service);
        ((1.0 - self.busy) * unhindered + self.busy * both).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(measured: f64, expected: f64, tolerance: f64) {
        assert!((measured - expected).abs() <= tolerance, "{measured} is not {expected} ± {tolerance}");
    }

    #[test]
    fn erlang_c_agrees_with_published_figures() {
        // One server: the probability is the utilization. Two: 2ρ²/(1+ρ). Eight and ten: tables of Erlang C.
        near(erlang_c(1, 0.6), 0.6, 1e-12);
        near(erlang_c(2, 1.0), 1.0 / 3.0, 1e-12);
        near(erlang_c(10, 8.0), 0.4092, 1e-4);
        near(erlang_c(8, 0.0), 0.0, 1e-12);
    }

    #[test]
    fn the_99th_percentile_reaches_the_objective_where_the_reference_plant_does() {
        near(Queue::at(0.9305, 0.0).p99(), 0.500, 0.002);
        near(Queue::at(0.930_858_5, 0.0).p99(), 0.500, 1e-6);
        near(Queue::at(0.70, 0.0).p99(), 0.239, 0.002);
        near(Queue::at(0.0, 0.0).p99(), 0.1842, 0.0001);
        near(Queue::at(0.0, 3.0).p99(), 3.1842, 0.0001);
    }

    #[test]
    fn the_mean_is_that_of_erlang() {
        // One worker: 1 / (μ - λ).
        let one = Service::new(10.0, 1, 5.0).unwrap();
        near(Queue::of(&one, 0.6, 0.0).mean(), 1.0 / (10.0 - 6.0), 1e-12);
        near(Queue::of(&one, 0.6, 2.0).mean(), 2.25, 1e-12);
    }

    #[test]
    fn the_ceiling_is_where_the_99th_percentile_reaches_the_objective() {
        near(Service::new(INSTANCE_RATE, WORKERS, OBJECTIVE).unwrap().ceiling, 0.930_858_5, 1e-6);
        // One worker at load r waits beyond w with probability r exp(-(1 - r) rate w).
        let one = Service::new(100.0, 1, 0.2).unwrap();
        let wait = (100.0 * one.ceiling).ln() / (100.0 * (1.0 - one.ceiling));
        near(0.01 * 100.0_f64.ln() + wait, 0.2, 1e-6);
        assert_eq!(Service::new(200.0, 8, 0.1), None, "service alone takes 184 ms");
    }

    #[test]
    fn the_exact_distribution_has_its_percentile_below_the_sum_of_percentiles() {
        // Found by bisection of the tail of M/M/8: 372 ms where the sum gives 498 ms.
        near(Queue::at(0.9305, 0.0).share_over(0.371_976), 0.01, 1e-6);
        near(Queue::at(0.5, 0.0).share_over(0.0), 1.0, 0.0);
        near(Queue::at(0.2, 1.0).share_over(0.9), 1.0, 0.0);
    }

    #[test]
    fn the_share_is_continuous_where_service_and_wait_decay_alike() {
        let singular = 1.0 - 1.0 / (MEAN_SERVICE * INSTANCE_RATE);
        let at = |load| Queue::at(load, 0.0).share_over(0.1);
        near(at(singular), at(singular + 1e-4), 1e-3);
        assert!(at(singular).is_finite());
    }

    #[test]
    fn full_load_is_finite() {
        assert!(Queue::at(1.0, 0.0).p99().is_finite());
        assert!(Queue::at(7.0, 99.0).p99() <= 2.0 * LONGEST_WAIT + 1.0);
    }
}
