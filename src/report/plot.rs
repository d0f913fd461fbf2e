//! Which charts tell of a contestant: what it had against what was needed, and its signals against their targets.

use super::axis::{Axis, Clock};
use super::chart::{Chart, Ink, Series};
use super::extremes::{Point, steps};
use super::{Run, Targets};
use crate::observation::elapsed;
use crate::policy::Capacity;
use crate::simulation::contest::Course;
use crate::simulation::reference::Moment;

/// Milliseconds of a second.
const MILLISECONDS: f64 = 1000.0;

/// A chart and what is said with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The same for those who can't see it.
    pub description: String,
    /// What is drawn how.
    pub legend: Vec<(Ink, String)>,
    /// The drawing.
    pub chart: Chart,
}

/// The charts of `course`.
pub fn plots(run: &Run, course: &Course) -> Vec<Plot> {
    let over = Over { run, moments: &course.moments };
    let mut plots = vec![over.capacity(course), over.utilization(run.targets), over.latency(run.targets)];
    if !run.doubts.is_empty() {
        for plot in &mut plots {
            plot.legend.push((Ink::Doubt, "not to be trusted".to_owned()));
        }
    }
    plots
}

/// The moments of one contestant.
struct Over<'a> {
    run: &'a Run,
    moments: &'a [Moment],
}

impl Over<'_> {
    fn capacity(&self, course: &Course) -> Plot {
        let of: [fn(&Moment) -> Capacity; 3] = [|m| m.needed, |m| m.desired, |m| m.in_service];
        let [needed, desired, serving] = of.map(|of| self.points(|moment| of(moment).as_f64()));
        let highest = [&needed, &desired, &serving].map(|points| extent(points).1).into_iter().fold(0.0, f64::max);
        let description = format!(
            "Needed {}, in service {}. {} changes of the desired capacity.",
            range(&needed, "", 0),
            range(&serving, " instances", 0),
            course.actions.len()
        );
        let drawn =
            [(Ink::Needed, "needed", needed), (Ink::Desired, "desired", desired), (Ink::Fact, "in service", serving)];
        let legend = drawn.each_ref().map(|(ink, name, _)| (*ink, (*name).to_owned())).to_vec();
        let series = drawn.map(|(ink, _, points)| Series { ink, points: steps(&points) }).to_vec();
        let title = "Capacity against demand, in instances".to_owned();
        Plot { title, description, legend, chart: self.chart(Axis::of_values(highest, ""), series) }
    }

    fn utilization(&self, targets: Targets) -> Plot {
        let points = self.points(|moment| 100.0 * moment.utilization);
        let description = format!("Utilization {}.", range(&points, " %", 0));
        let target = targets.utilization.map(|target| (100.0 * target, format!("target {:.0} %", 100.0 * target)));
        let up = Axis::of_values(100.0, " %");
        self.signal(("Utilization against its target", "utilization"), description, points, target, up)
    }

    fn latency(&self, targets: Targets) -> Plot {
        let points = self.points(|moment| MILLISECONDS * moment.p99);
        let over = self.moments.iter().filter(|moment| moment.over_objective > 0.0).count();
        let description = format!(
            "99th percentile {}; over the objective in {over} of {} moments.",
            range(&points, " ms", 0),
            points.len()
        );
        let objective = MILLISECONDS * targets.p99;
        let ((low, high), target) = (extent(&points), (objective.log10(), format!("objective {objective} ms")));
        let up = Axis::of_milliseconds(low.min(objective), high.max(objective));
        let points = points.into_iter().map(|(second, value)| (second, value.max(1.0).log10())).collect();
        let title = "99th percentile of the response time against its objective, on a logarithmic scale";
        self.signal((title, "99th percentile"), description, points, Some(target), up)
    }

    fn signal(
        &self,
        (title, name): (&str, &str),
        description: String,
        points: Vec<Point>,
        target: Option<(f64, String)>,
        up: Axis,
    ) -> Plot {
        let mut legend = vec![(Ink::Fact, name.to_owned())];
        let mut series = vec![Series { ink: Ink::Fact, points }];
        if let Some((level, name)) = target {
            series.push(Series { ink: Ink::Target, points: vec![(0.0, level), (self.seconds(), level)] });
            legend.push((Ink::Target, name));
        }
        Plot { title: title.to_owned(), description, legend, chart: self.chart(up, series) }
    }

    fn chart(&self, up: Axis, series: Vec<Series>) -> Chart {
        let start = self.run.start;
        let since = |at| elapsed(start, at).as_secs_f64();
        let shades = self.run.doubts.iter().map(|doubt| (since(doubt.from), since(doubt.to))).collect();
        Chart { across: Axis::of_time(self.seconds(), Clock { start }), up, shades, series }
    }

    fn seconds(&self) -> f64 {
        self.moments.last().map_or(0.0, |last| elapsed(self.run.start, last.at).as_secs_f64())
    }

    fn points(&self, of: impl Fn(&Moment) -> f64) -> Vec<Point> {
        self.moments.iter().map(|moment| (elapsed(self.run.start, moment.at).as_secs_f64(), of(moment))).collect()
    }
}

/// The lowest and the highest value.
fn extent(points: &[Point]) -> (f64, f64) {
    let values = || points.iter().map(|(_, value)| *value);
    (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
}

fn range(points: &[Point], unit: &str, digits: usize) -> String {
    let (low, high) = extent(points);
    format!("from {low:.digits$} to {high:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Doubt;
    use super::*;
    use crate::simulation::score::Tally;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn moment(at: i64, needed: u32, in_service: u32, p99: f64) -> Moment {
        Moment {
            at: second(at),
            demand: 100.0,
            needed: Capacity::new(needed),
            desired: Capacity::new(in_service),
            in_service: Capacity::new(in_service),
            pending: Capacity::ZERO,
            utilization: 0.7,
            p99,
            mean_response: 0.05,
            over_objective: if p99 > 0.5 { 1.0 } else { 0.0 },
        }
    }

    #[test]
    fn what_is_drawn_is_also_said() {
        let moments = vec![moment(15, 2, 3, 0.2), moment(30, 5, 3, 4.0), moment(45, 2, 4, 0.3)];
        let score = Tally::default().score(1.0);
        let course = Course { name: "web".into(), score, moments, actions: Vec::new() };
        let doubt = Doubt { from: second(15), to: second(30), because: "It was saturated.".into() };
        let run = Run {
            workload: "sale".into(),
            notes: Vec::new(),
            start: Timestamp::UNIX_EPOCH,
            optimum_hours: 1.0,
            targets: Targets { utilization: Some(0.7), p99: 0.5 },
            courses: Vec::new(),
            doubts: vec![doubt],
        };
        let plots = plots(&run, &course);
        let said: Vec<&str> = plots.iter().map(|plot| plot.description.as_str()).collect();
        assert_eq!(
            said,
            [
                "Needed from 2 to 5, in service from 3 to 4 instances. 0 changes of the desired capacity.",
                "Utilization from 70 to 70 %.",
                "99th percentile from 200 to 4000 ms; over the objective in 1 of 3 moments.",
            ]
        );
        for plot in &plots {
            assert_eq!(plot.legend.last(), Some(&(Ink::Doubt, "not to be trusted".to_owned())));
            assert_eq!(plot.chart.shades.len(), 1);
        }
    }
}
