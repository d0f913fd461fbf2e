//! `setpoint import`: reads what scales a service elsewhere, and prints a configuration. Changes nothing.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::target::{AutoScaling, Settings, Setup};
use crate::{config, import};

/// What `--help` ends with.
pub(super) const EXAMPLE: &str = "Examples:
  $ kubectl get hpa web --output yaml | setpoint import hpa - --group web-prod > web.toml
  $ kubectl get scaledobject web --output yaml | setpoint import keda - --group web-prod > web.toml
  $ setpoint import asg web-prod --region eu-central-1 > web.toml
  $ setpoint check web.toml";

/// The longest that one call to AWS may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// A KEDA `ScaledObject`, `keda.sh/v1alpha1`, as YAML or JSON.
    #[command(after_help = EXAMPLE)]
    Keda {
        /// The manifest; `-` is the standard input.
        file: PathBuf,
        /// The Auto Scaling group that is to be scaled.
        #[arg(long, value_name = "ASG")]
        group: String,
    },
    /// The scaling policies and scheduled actions of an Auto Scaling group, as AWS has them now.
    ///
    /// Calls `DescribeAutoScalingGroups`, `DescribePolicies` and `DescribeScheduledActions`, and changes nothing. Credentials
    /// come from where the AWS command line takes them.
    #[command(after_help = EXAMPLE)]
    Asg {
        /// The Auto Scaling group.
        group: String,
        /// Its region, where neither the environment nor the profile says.
        #[arg(long)]
        region: Option<String>,
        /// The profile of the shared AWS configuration files.
        #[arg(long)]
        profile: Option<String>,
        /// Where the Auto Scaling API is, when not at its public address.
        #[arg(long, value_name = "URL")]
        endpoint_url: Option<String>,
    },
}

/// Prints the configuration. One that `setpoint check` would refuse is an error, which says why.
pub(super) fn run(from: &From) -> anyhow::Result<ExitCode> {
    let (source, imported) = match from {
        From::Hpa { file, group } => {
            let source = file.display().to_string();
            let text = read(file).with_context(|| source.clone())?;
            (source.clone(), import::hpa(&text, group).context(source)?)
        }
        From::Keda { file, group } => {
            let source = file.display().to_string();
            let text = read(file).with_context(|| source.clone())?;
            (source.clone(), import::keda(&text, group).context(source)?)
        }
        From::Asg { group, region, profile, endpoint_url } => {
            let settings = Settings {
                region: region.clone(),
                endpoint_url: endpoint_url.clone(),
                profile: profile.clone(),
                assume_role: None,
                timeout: PATIENCE,
            };
            let Setup { group: described, policies, actions } = super::runtime()?
                .block_on(async { AutoScaling::connect(&settings, None, None).await?.setup(group).await })?;
            (
                group.clone(),
                import::asg(&described, &policies, &actions, region.as_deref()).with_context(|| group.clone())?,
            )
        }
    };
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
