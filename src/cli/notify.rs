//! `setpoint notify`: tells every `[[notification]]` that this is a test, and says what came of it.

use std::path::Path;
use std::process::ExitCode;

use super::check::EX_CONFIG;
use crate::clock::Clock;
use crate::config;
use crate::notification::{self, Notice, State, Topic};
use crate::telemetry;

/// Sends one message to each channel of the configuration `file`; fails if any did not arrive.
pub(super) async fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let config = match config::load(file, config::environment()) {
        Ok(config) => config,
        Err(findings) => {
            eprintln!("{findings}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    anyhow::ensure!(
        !config.notifications.is_empty(),
        "{} has no [[notification]], so nobody is told anything; config/setpoint.toml shows one",
        file.display()
    );
    let mut all_arrived = true;
    for channel in &config.notifications {
        let text = format!("this is a test of the notification {:?}; nothing has happened", &*channel.name);
        let (at, topic) = (Clock::WALL.now(), Topic::Order);
        let notice = Notice { at, topic, state: State::Happened, policy: None, text };
        match notification::tell(channel, notice, Clock::WALL).await {
            Ok(()) => println!("{}: arrived", channel.name),
            Err(failure) => {
                all_arrived = false;
                println!("{}: {}", channel.name, telemetry::chain(&failure));
            }
        }
    }
    Ok(if all_arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
