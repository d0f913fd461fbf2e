//! `setpoint report`: what policies came to in instance-hours and money, beside what they would have come to otherwise.
//! It changes nothing but its cache of the past.

mod replay;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::replay::{Asked, Replayed};
use super::client::{Client, Connection};
use super::{Output, history, table};
use crate::account::{Baseline, Bill, Named};
use crate::report::table::Table;

pub(super) const EXAMPLE: &str = "Examples:
  $ setpoint report --from 7d
  $ setpoint report web --from 30d --output json | jq .policies[0].cost

  Beside the policy as it was before, replayed on what Prometheus remembers:
  $ setpoint report web --from 14d -c setpoint.toml --previous old.toml --capacity-query 'count(up{asg=\"web-prod\"})'";

const CAVEAT: &str = "An estimate: instances alone, at one price, without volumes, traffic and discounts.
Baselines cover the time in which the size is known. `min over`: minutes in
which a latency was over its target or, where the policy has none, another
metric by more than a tenth; it is not known of a fleet that never was.
";

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The policy; all of them when left out.
    policy: Option<String>,
    /// How far back to go: to the beginning of that day in UTC.
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = history::span)]
    from: SignedDuration,
    #[command(flatten)]
    replay: Asked,
    #[command(flatten)]
    connection: Connection,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What a policy came to.
#[derive(Serialize, Deserialize)]
struct Account {
    policy: String,
    #[serde(flatten)]
    bill: Bill,
    /// The replays, if any were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replays: Vec<Replayed>,
}

#[derive(Deserialize)]
struct Policy {
    name: String,
}

/// Asks the daemon, replays if that is asked for, and prints.
pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = Client::new(&options.connection)?;
    let from = Timestamp::now().checked_sub(options.from)?;
    let names = match &options.policy {
        Some(name) => vec![name.clone()],
        None => client.policies::<Policy>().await?.into_iter().map(|policy| policy.name).collect(),
    };
    let mut accounts = Vec::new();
    for name in &names {
        accounts.push(account(&client, name, from).await?);
    }
    if let (Some(name), [account]) = (&options.policy, &mut accounts[..]) {
        let span = Duration::try_from(options.from)?;
        account.replays = Box::pin(options.replay.replays(name, span)).await?;
    }
    match options.output {
        Output::Text => table::say(&Texts(&accounts).to_string()),
        Output::Json => table::say(&json!({ "policies": accounts }).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn account(client: &Client, name: &str, from: Timestamp) -> anyhow::Result<Account> {
    let part = [("from", from.to_string())];
    let reply = client.get_part(&["api", "v1", "policies", name, "cost"], &part).await?;
    if reply.status == StatusCode::NOT_FOUND {
        return Err(client.unknown(name).await);
    }
    client.parse(&client.accept(reply)?)
}

struct Texts<'a>(&'a [Account]);

impl fmt::Display for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|account| writeln!(f, "{account}"))?;
        f.write_str(CAVEAT)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, bill, replays } = self;
        writeln!(f, "{policy}, from {:.0} to {:.0}", bill.from, bill.to)?;
        match bill.price {
            Some(price) => writeln!(f, "At {price} an instance-hour:")?,
            None => writeln!(f, "At no known price; set instance_price or instance_type in the policy:")?,
        }
        f.write_str(&figures(bill, replays).text(Some(WIDTH)))?;
        if bill.unknown_hours >= 0.05 {
            let hours = bill.unknown_hours;
            writeln!(f, "Its size is unknown for {hours:.1} h of this time, which is left out.")?;
        }
        if bill.judged_minutes < 60.0 * bill.known_hours - 1.0 {
            let judged = bill.judged_minutes / 60.0;
            writeln!(f, "Whether it was over the target is known for {judged:.1} h of {:.1} h.", bill.known_hours)?;
        }
        Ok(())
    }
}

/// What every terminal has.
const WIDTH: usize = 80;

fn figures(bill: &Bill, replays: &[Replayed]) -> Table {
    let money = |cost: Option<f64>| cost.map_or_else(|| "?".to_owned(), |cost| format!("{cost:.2}"));
    let hours = |hours: f64| format!("{hours:.1}");
    let over = if bill.judged_minutes > 0.0 { format!("{:.0}", bill.over_minutes) } else { "?".into() };
    let row = |cells: [String; 6]| cells.to_vec();
    let own = ["as it was".into(), hours(bill.instance_hours), money(bill.cost), String::new(), String::new(), over];
    let baseline = |baseline: &Baseline| {
        let share = 100.0 * baseline.saved_hours / baseline.instance_hours;
        let share = if share.is_finite() { format!("{share:.1} %") } else { String::new() };
        let Baseline { instance_hours, cost, saved_cost, .. } = *baseline;
        row([label(baseline.name).into(), hours(instance_hours), money(cost), money(saved_cost), share, "?".into()])
    };
    let replayed = |replayed: &Replayed| {
        let cost = bill.price.map(|price| price * replayed.instance_hours);
        let over = format!("{:.0}", replayed.over_minutes);
        row([replayed.name.clone(), hours(replayed.instance_hours), money(cost), String::new(), String::new(), over])
    };
    let columns = ["", "instance-hours", "money", "saved", "saved %", "min over"].map(str::to_owned);
    let rows = [row(own)].into_iter().chain(bill.baselines.iter().map(baseline)).chain(replays.iter().map(replayed));
    Table { columns: columns.to_vec(), rows: rows.collect() }
}

fn label(name: Named) -> &'static str {
    match name {
        Named::StaticAtMax => "always at max",
        Named::StaticAtPeak => "always at its peak",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Stretch, Sums};

    fn account(price: Option<f64>, replays: Vec<Replayed>) -> Account {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = (at("2026-03-02T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        let hours = 3600.0 * 717.0;
        let over = 60.0 * 12.0;
        let sums = Sums { known: hours, instances: 4.5 * hours, at_max: 200.0 * hours, peak: 9, judged: hours, over };
        let bill = Bill::of(&[Stretch { from, to, sums }], from, to, price);
        Account { policy: "web".into(), bill, replays }
    }

    #[test]
    fn a_report_fits_a_terminal_and_says_what_is_not_known() {
        let replay = |name: &str| Replayed { name: name.into(), instance_hours: 3301.25, over_minutes: 31.2 };
        let replays = vec![replay("this policy, replayed"), replay("previous policy, replayed")];
        let text = account(Some(0.0816), replays).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        for row in [
            "web, from 2026-03-02T00:00:00Z to 2026-04-01T00:00:00Z",
            "At 0.0816 an instance-hour:",
            "as it was                          3226.5    263.28                           12",
            "always at max                    143400.0  11701.44  11438.16   97.8 %         ?",
            "always at its peak                 6453.0    526.56    263.28   50.0 %         ?",
            "previous policy, replayed          3301.2    269.38                           31",
            "Its size is unknown for 3.0 h of this time, which is left out.",
        ] {
            assert!(text.lines().any(|line| line == row), "{row} is not in\n{text}");
        }
        let text = account(None, Vec::new()).to_string();
        assert!(text.contains("At no known price; set instance_price or instance_type"), "{text}");
    }
}
