//! Whom a policy is compared with, and in which form the comparison is handed over: what `simulate` and `backtest` share.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::table;
use crate::report::{self, Report};
use crate::simulation::peers::Peer;

/// What a comparison prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The table alone, for a README.
    Markdown,
}

/// Whom a policy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Against {
    /// Everybody.
    All,
    /// Nobody.
    None,
    /// The Horizontal Pod Autoscaler of Kubernetes.
    Hpa,
    /// The Knative Pod Autoscaler.
    Kpa,
    /// Target tracking of AWS on metrics of a minute.
    Aws,
    /// Target tracking of AWS on metrics of ten seconds.
    AwsHighResolution,
    /// The Nomad Autoscaler.
    Nomad,
    /// As many instances as the peak needs, at all times.
    Static,
    /// One who knows what comes, as far ahead as an instance takes to serve.
    Clairvoyant,
}

impl Against {
    fn peers(self) -> Vec<Peer> {
        match self {
            Self::All => Peer::ALL.to_vec(),
            Self::None => Vec::new(),
            Self::Hpa => vec![Peer::Hpa],
            Self::Kpa => vec![Peer::Kpa],
            Self::Aws => vec![Peer::AwsTargetTracking],
            Self::AwsHighResolution => vec![Peer::AwsTargetTrackingHighResolution],
            Self::Nomad => vec![Peer::Nomad],
            Self::Static => vec![Peer::Static],
            Self::Clairvoyant => vec![Peer::Clairvoyant],
        }
    }
}

/// Each of them once.
pub(super) fn peers(against: &[Against]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for peer in against.iter().flat_map(|whom| whom.peers()) {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    peers
}

/// Writes the page to `file`, if there is one, and prints.
pub(super) fn deliver(report: &Report, output: Output, file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(file) = file {
        let cant = || format!("{} can't be written", file.display());
        fs::write(file, report::page(report)).with_context(cant)?;
    }
    // Whoever reads may stop reading.
    let _ = match output {
        Output::Text => write!(io::stdout(), "{}", report::text(report, table::width())),
        Output::Json => writeln!(io::stdout(), "{:#}", report::json(report)),
        Output::Markdown => write!(io::stdout(), "{}", report::markdown(report)),
    };
    Ok(())
}

/// Drawn on the standard error, and only where that is a terminal.
pub(super) fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}");
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
