//! `setpoint import`: reads what scales a service elsewhere, and prints a configuration. Changes nothing.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::{config, import};

/// What `--help` ends with.
pub(super) const EXAMPLE: &str = "Example:
  $ kubectl get hpa web --output yaml | setpoint import hpa - --group web-prod > web.toml
  $ setpoint check web.toml";

/// What to import from.
#[derive(Debug, clap::Subcommand)]
pub(super) enum From {
    /// A Kubernetes `HorizontalPodAutoscaler`, `autoscaling/v1` or `v2`, as YAML or JSON.
    #[command(after_help = EXAMPLE)]
    Hpa {
        /// The manifest; `-` is the standard input.
        file: PathBuf,
        /// The Auto Scaling group that is to be scaled.
        #[arg(long, value_name = "ASG")]
        group: String,
    },
}

/// Prints the configuration. One that `setpoint check` would refuse is an error, which says why.
pub(super) fn run(from: &From) -> anyhow::Result<ExitCode> {
    let From::Hpa { file, group } = from;
    let source = file.display().to_string();
    let text = read(file).with_context(|| source.clone())?;
    let imported = import::hpa(&text, group).with_context(|| source.clone())?;
    // The environment has no part in what is printed.
    config::parse(&source, &imported, [])
        .map_err(|findings| {
            anyhow::anyhow!("gives a configuration that would be refused, so correct it there first:\n{findings}")
        })
        .context(source)?;
    // Whoever reads may stop reading.
    let _ = io::stdout().write_all(imported.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    }
}
