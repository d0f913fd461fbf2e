//! A report for a terminal, and its table for a README.

use std::fmt::{self, Display, Write};

use super::{CAVEATS, Report};

/// What was done, the table within `width` characters, and what belongs to it.
pub fn text(report: &Report, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write(&mut text, report, width);
    text
}

/// The table, and what belongs wherever it is quoted.
pub fn markdown(report: &Report) -> String {
    format!("{}\n- {}\n", report.table().markdown(), CAVEATS.join("\n- "))
}

fn write(text: &mut String, report: &Report, width: Option<usize>) -> fmt::Result {
    writeln!(text, "{}\n", report.title)?;
    sentences(text, &report.notes)?;
    match &report.runs[..] {
        [run] => {
            sentences(text, &run.notes)?;
            writeln!(text, "The optimum is {:.1} instance-hours.", run.optimum_hours)?;
        }
        runs => {
            for run in runs {
                writeln!(text, "{}: {}", run.workload, run.notes.join(" "))?;
            }
        }
    }
    write!(text, "\n{}\n", report.table().text(width))?;
    sentences(text, &CAVEATS)
}

fn sentences(text: &mut String, sentences: &[impl Display]) -> fmt::Result {
    sentences.iter().try_for_each(|sentence| writeln!(text, "{sentence}"))
}
