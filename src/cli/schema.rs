//! `setpoint schema`: what can be configured, for editors and for people.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// JSON Schema, for editors.
    #[default]
    Json,
    /// The reference, for people.
    Markdown,
}

pub(super) fn run(format: Format) -> anyhow::Result<ExitCode> {
    let text = match format {
        Format::Json => format!("{:#}\n", config::schema()),
        Format::Markdown => config::page(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
