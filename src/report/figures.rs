//! Which figures of a score are shown, in which unit, and what each means.

use super::table::Table;
use super::{Report, Run};
use crate::simulation::score::Score;

/// One figure of a score.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Above its column, with the unit.
    pub name: &'static str,
    /// In JSON.
    pub key: &'static str,
    /// What it means, as whole sentences.
    pub means: &'static str,
    /// The figure itself.
    pub of: fn(&Score) -> f64,
    /// Digits that are shown behind the point.
    pub digits: usize,
}

/// What a comparison is about.
pub const FIGURES: [Figure; 7] = [
    Figure {
        name: "time over %",
        key: "over_objective",
        means: "The share of the time that the 99th percentile of the response time was over the objective.",
        of: |score| score.over_objective,
        digits: 2,
    },
    Figure {
        name: "requests over %",
        key: "requests_over_objective",
        means: "The share of the requests that took longer than the objective or were dropped. Crowds come when it is \
                slow, so this can be far above the share of the time.",
        of: |score| score.requests_over_objective,
        digits: 3,
    },
    Figure {
        name: "cost ×",
        key: "relative_cost",
        means: "Instance-time that was billed, booting instances included, relative to the clairvoyant optimum: the \
                least that keeps the objective for one who knows the future. 1.30 is 30 % more. Below 1 too little was \
                bought.",
        of: |score| score.relative_cost,
        digits: 2,
    },
    Figure {
        name: "instance-hours",
        key: "instance_hours",
        means: "The same in hours. Multiply it by the price of an instance for money.",
        of: |score| score.instance_hours,
        digits: 1,
    },
    Figure {
        name: "mean size",
        key: "mean_size",
        means: "Instances that were billed at a time, on average.",
        of: |score| score.mean_size,
        digits: 1,
    },
    Figure {
        name: "actions/day",
        key: "actions_a_day",
        means: "How often the desired capacity was changed in a day.",
        of: |score| score.actions_a_day,
        digits: 1,
    },
    Figure {
        name: "reversals/day",
        key: "reversals_a_day",
        means: "How many of these went the other way than the one before: out after in, or in after out.",
        of: |score| score.reversals_a_day,
        digits: 1,
    },
];

/// What is told beside it: who asks for one of these knows what it is for.
pub const DETAILS: [Figure; 8] = [
    Figure {
        name: "θU %",
        key: "under_accuracy",
        means: "Under-provisioning accuracy of SPEC: instances missing, as a share of those needed, over all the time.",
        of: |score| score.elasticity.under_accuracy,
        digits: 2,
    },
    Figure {
        name: "θO %",
        key: "over_accuracy",
        means: "Over-provisioning accuracy of SPEC: instances too many, as a share of those needed, over all the time. \
                Headroom that was meant counts too.",
        of: |score| score.elasticity.over_accuracy,
        digits: 1,
    },
    Figure {
        name: "τU %",
        key: "under_timeshare",
        means: "Under-provisioning timeshare of SPEC: the share of the time with fewer instances than needed.",
        of: |score| score.elasticity.under_timeshare,
        digits: 2,
    },
    Figure {
        name: "τO %",
        key: "over_timeshare",
        means: "Over-provisioning timeshare of SPEC: the share of the time with more instances than needed.",
        of: |score| score.elasticity.over_timeshare,
        digits: 1,
    },
    Figure {
        name: "υ %",
        key: "instability",
        means: "Instability of SPEC: the share of the time in which need and fleet did not change the same way.",
        of: |score| score.elasticity.instability,
        digits: 1,
    },
    Figure {
        name: "mean response ms",
        key: "mean_response_ms",
        means: "Response time of the requests that were answered, on average.",
        of: |score| 1000.0 * score.mean_response,
        digits: 0,
    },
    Figure {
        name: "dropped %",
        key: "requests_dropped",
        means: "The share of the requests that were never answered, since ten seconds of work were waiting already.",
        of: |score| score.requests_dropped,
        digits: 3,
    },
    Figure {
        name: "over ceiling %",
        key: "over_ceiling",
        means: "The share of the time that the instances were busier than the objective allows.",
        of: |score| score.over_ceiling,
        digits: 2,
    },
];

impl Figure {
    /// As it is shown.
    pub fn show(&self, score: &Score) -> String {
        format!("{:.*}", self.digits, (self.of)(score))
    }
}

impl Run {
    /// One row for each contestant.
    pub fn table(&self, figures: &[Figure]) -> Table {
        let names = std::iter::once("").chain(figures.iter().map(|figure| figure.name));
        let row = |name: &str, score: &Score| {
            let cells = figures.iter().map(|figure| figure.show(score));
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        Table {
            columns: names.map(str::to_owned).collect(),
            rows: self.courses.iter().map(|course| row(&course.name, &course.score)).collect(),
        }
    }
}

impl Report {
    /// The one table of this report: every figure of a single run, or of several each one's time over the objective in
    /// percent and its cost.
    pub fn table(&self) -> Table {
        match &self.runs[..] {
            [run] => run.table(&FIGURES),
            runs => across(runs),
        }
    }
}

/// One row for each workload, one column for each contestant, and the means below: of shares the arithmetic one, of
/// costs, which are ratios, the geometric one.
fn across(runs: &[Run]) -> Table {
    let names = runs.first().map(|run| run.courses.iter().map(|course| course.name.clone())).into_iter().flatten();
    let cell = |over: f64, cost: f64| format!("{over:.2} / {cost:.2}");
    let row = |run: &Run| {
        let scores = run.courses.iter().map(|course| cell(course.score.over_objective, course.score.relative_cost));
        std::iter::once(run.workload.clone()).chain(scores).collect()
    };
    let columns: Vec<String> = std::iter::once("time over % / cost ×".to_owned()).chain(names).collect();
    let means = (0..columns.len() - 1).map(|index| {
        let scores = || runs.iter().filter_map(|run| run.courses.get(index)).map(|course| &course.score);
        let over = mean(scores().map(|score| score.over_objective));
        cell(over, mean(scores().map(|score| score.relative_cost.ln())).exp())
    });
    let last = std::iter::once("mean".to_owned()).chain(means).collect();
    Table { columns, rows: runs.iter().map(row).chain([last]).collect() }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Targets;
    use super::*;
    use crate::simulation::contest::Course;
    use crate::simulation::score::Tally;

    fn run(workload: &str, scores: &[(f64, f64)]) -> Run {
        let course = |(over_objective, relative_cost): &(f64, f64)| {
            let score = Tally::default().score(1.0);
            let score = Score { over_objective: *over_objective, relative_cost: *relative_cost, ..score };
            Course { name: format!("by {relative_cost}"), score, moments: Vec::new(), actions: Vec::new() }
        };
        Run {
            workload: workload.into(),
            notes: Vec::new(),
            start: Timestamp::UNIX_EPOCH,
            optimum_hours: 1.0,
            targets: Targets { utilization: None, p99: 0.5 },
            courses: scores.iter().map(course).collect(),
            doubts: Vec::new(),
        }
    }

    #[test]
    fn shares_have_an_arithmetic_mean_and_costs_a_geometric_one() {
        let runs = vec![run("calm", &[(0.0, 1.0), (1.0, 1.2)]), run("wild", &[(3.0, 4.0), (2.0, 1.2)])];
        let table = Report { title: String::new(), notes: Vec::new(), runs }.table();
        assert_eq!(table.columns[1..], ["by 1", "by 1.2"]);
        assert_eq!(table.rows[2], ["mean", "1.50 / 2.00", "1.50 / 1.20"]);
    }

    #[test]
    fn a_single_run_has_a_row_for_each_contestant() {
        let report = Report { title: String::new(), notes: Vec::new(), runs: vec![run("calm", &[(0.125, 1.5)])] };
        let table = report.table();
        assert_eq!((table.columns.len(), table.rows.len()), (1 + FIGURES.len(), 1));
        assert_eq!(table.rows[0][..4], ["by 1.5", "0.12", "0.000", "1.50"]);
    }

    #[test]
    fn no_figure_is_told_twice() {
        let mut keys: Vec<&str> = FIGURES.iter().chain(&DETAILS).map(|figure| figure.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), FIGURES.len() + DETAILS.len());
    }
}
