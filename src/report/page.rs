//! The HTML file: one file without script, font or image from anywhere else, for a screen, for paper, and for ears.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{Chart, SIZE, rules};
use super::figures::{DETAILS, FIGURES, Figure};
use super::plot::{Plot, plots};
use super::table::Table;
use super::{CAVEATS, Report, Run};
use crate::report::axis::Clock;
use crate::simulation::contest::{Course, Deed};

const STYLE: &str = include_str!("style.css");

/// The most changes of capacity that are listed of one contestant: the largest. JSON has all.
const MOST_DEEDS: usize = 300;

/// The most changes that are in sight without unfolding them.
const UNFOLDED: usize = 60;

/// The whole file.
pub fn page(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.title) }
                style { (PreEscaped(rules())) (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (report.title) }
                    (sentences(&report.notes))
                    (result(report))
                    @for (index, run) in report.runs.iter().enumerate() { (section(run, index)) }
                    (legend_of_figures())
                    (caveats())
                }
                footer { p { "Made by Setpoint " (env!("CARGO_PKG_VERSION")) "." } }
            }
        }
    }
    .into_string()
}

fn sentences(notes: &[String]) -> Markup {
    html! { @if !notes.is_empty() { ul { @for note in notes { li { (note) } } } } }
}

/// The one table over all runs, where there are several; a single run has its own.
fn result(report: &Report) -> Markup {
    let [_, _, ..] = &report.runs[..] else { return html! {} };
    html! {
        section {
            h2 { "All workloads" }
            (table(&report.table(), "Time over the objective in percent / cost relative to the optimum"))
            p.muted { "The last row has the mean of the shares and the geometric mean of the costs." }
            ul { @for (index, run) in report.runs.iter().enumerate() {
                li { a href={ "#run-" (index) } { (run.workload) } }
            } }
        }
    }
}

fn section(run: &Run, index: usize) -> Markup {
    html! {
        section id={ "run-" (index) } {
            h2 { (run.workload) }
            (sentences(&run.notes))
            p {
                "The optimum, known only to those who know the future, is " (format!("{:.1}", run.optimum_hours))
                " instance-hours."
            }
            (table(&run.table(&FIGURES), &format!("How everybody did on {}", run.workload)))
            details {
                summary { "More figures: SPEC elasticity, response times, drops" }
                (table(&run.table(&DETAILS), &format!("More figures of {}", run.workload)))
            }
            (doubts(run))
            @for (number, course) in run.courses.iter().filter(|course| !course.moments.is_empty()).enumerate() {
                (contestant(run, course, &format!("run-{index}-{number}"), number == 0))
            }
        }
    }
}

fn doubts(run: &Run) -> Markup {
    let clock = Clock { start: run.start };
    html! {
        @if !run.doubts.is_empty() {
            h3 { "Not to be trusted" }
            ul { @for doubt in &run.doubts {
                li { (clock.show(doubt.from)) " to " (clock.show(doubt.to)) ": " (doubt.because) }
            } }
        }
    }
}

/// The charts and decisions of one contestant; of the first in sight, of the others folded.
fn contestant(run: &Run, course: &Course, id: &str, open: bool) -> Markup {
    html! {
        details.contestant open=[open.then_some("")] {
            summary { h3 { (course.name) } }
            @for (number, plot) in plots(run, course).iter().enumerate() { (figure(plot, &format!("{id}-{number}"))) }
            (decisions(run, course))
        }
    }
}

fn figure(plot: &Plot, id: &str) -> Markup {
    let (title, description) = (format!("{id}-title"), format!("{id}-desc"));
    html! {
        figure {
            figcaption {
                strong { (plot.title) }
                @for (ink, name) in &plot.legend { span.key { span class={ "swatch " (ink.class()) } {} (name) } }
            }
            div.wide tabindex="0" role="region" aria-label=(plot.title) {
                (svg(&plot.chart, [&title, &description], plot))
            }
        }
    }
}

fn svg(chart: &Chart, [title, description]: [&str; 2], plot: &Plot) -> Markup {
    let (width, height) = SIZE;
    html! {
        svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-labelledby={ (title) " " (description) } {
            title id=(title) { (plot.title) }
            desc id=(description) { (plot.description) }
            (PreEscaped(chart.draw()))
        }
    }
}

/// Peers say nothing, so there is nothing to list of them.
fn decisions(run: &Run, course: &Course) -> Markup {
    let deeds = largest(&course.actions);
    let clock = Clock { start: run.start };
    let caption = match course.actions.len() {
        all if all > deeds.len() => format!("The {} largest of {all} changes of the desired capacity", deeds.len()),
        1 => "The only change of the desired capacity".to_owned(),
        all => format!("All {all} changes of the desired capacity"),
    };
    html! {
        @if course.actions.iter().any(|deed| !deed.because.is_empty()) {
            details open=[(deeds.len() <= UNFOLDED).then_some("")] {
                summary { (caption) ", with their reasons" }
                div.wide tabindex="0" role="region" aria-label=(caption) {
                    table.decisions {
                        caption { (caption) }
                        thead { tr { th scope="col" { "When" } th scope="col" { "Change" } th scope="col" { "Why" } } }
                        tbody { @for deed in deeds { (decision(deed, clock)) } }
                    }
                }
            }
        }
    }
}

fn decision(deed: &Deed, clock: Clock) -> Markup {
    let direction = if deed.to > deed.from { "out" } else { "in" };
    html! {
        tr {
            th scope="row" { (clock.show(deed.at)) }
            td { (direction) ", " (deed.from) " to " (deed.to) }
            td { (deed.because) }
        }
    }
}

/// In order of time.
fn largest(deeds: &[Deed]) -> Vec<&Deed> {
    let mut chosen: Vec<&Deed> = deeds.iter().collect();
    chosen.sort_by_key(|deed| std::cmp::Reverse(deed.from.get().abs_diff(deed.to.get())));
    chosen.truncate(MOST_DEEDS);
    chosen.sort_by_key(|deed| deed.at);
    chosen
}

fn table(table: &Table, caption: &str) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr {
                    @for (index, name) in table.columns.iter().enumerate() {
                        @if index == 0 && name.is_empty() { td {} } @else { th scope="col" { (name) } }
                    }
                } }
                tbody { @for row in &table.rows { tr {
                    @for (index, cell) in row.iter().enumerate() {
                        @if index == 0 { th scope="row" { (cell) } } @else { td.number { (cell) } }
                    }
                } } }
            }
        }
    }
}

fn legend_of_figures() -> Markup {
    let explained = |figures: &[Figure]| html! { dl { @for f in figures { dt { (f.name) } dd { (f.means) } } } };
    html! {
        section {
            h2 { "What the figures mean" }
            (explained(&FIGURES))
            details { summary { "The other figures" } (explained(&DETAILS)) }
            h3 { "What the charts show" }
            p {
                "Of each column of pixels the first, the lowest, the highest and the last value are drawn, so no peak is \
                 lost in a long run. "
                span.swatch.needed {} " Needed is what the optimum has: the fewest instances that keep the objective. \
                 Where the line in service dips into that area, requests were too slow; what is above it was paid for \
                 headroom."
            }
        }
    }
}

fn caveats() -> Markup {
    html! {
        section.caveats {
            h2 { "What these figures can't tell" }
            ul { @for caveat in CAVEATS { li { (caveat) } } }
        }
    }
}
