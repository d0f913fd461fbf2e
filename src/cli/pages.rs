//! `setpoint completions` and `setpoint man`: what is made of the command line itself.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::Shell;

use super::definition;

pub(super) fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), "setpoint", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The page of the whole, or into `directory` the pages of all commands.
pub(super) fn manual(directory: Option<&Path>) -> anyhow::Result<ExitCode> {
    let command = definition();
    match directory {
        None => clap_mangen::Man::new(command).render(&mut io::stdout())?,
        Some(directory) => clap_mangen::generate_to(command, directory)
            .with_context(|| format!("can't write manual pages to {}", directory.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}
