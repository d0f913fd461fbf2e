//! `[[notification]]`: whom to tell what. Named files are not opened here.

use std::path::PathBuf;

use super::settings;
use super::table::{Field, Table, Taken};
use crate::notification::{Address, Channel, Kind, Topic};

pub(super) const TOPICS: [(&str, Topic); 4] =
    [("scale", Topic::Scale), ("failure", Topic::Failure), ("limit", Topic::Limit), ("order", Topic::Order)];

const PER_MINUTE: u32 = 6;

/// Reads one `[[notification]]`, beside `policies` of these names.
pub(super) fn channel(table: &Table, taken: &mut Taken, policies: &Taken) -> Option<Channel> {
    let name = table.need("name", "a name, which the metrics and the log show").and_then(|f| {
        let name = f.name()?;
        taken.take(name.to_owned(), &f, "the name");
        Some(name)
    });
    let url = address(table);
    let kind = kind(table);
    let topics = table.get("on").map_or(Some(TOPICS.map(|(_, topic)| topic).to_vec()), |f| topics(&f));
    let is_pattern = |text: &str| super::is_name(text.strip_suffix('*').unwrap_or(text)) || text == "*";
    let policies = table.get("policies").map_or(Some(Vec::new()), |f| {
        let named = f.texts("names of policies, or beginnings of names such as \"web-*\"", is_pattern)?;
        match named.iter().find(|name| !name.ends_with('*') && !policies.has(name)) {
            Some(name) => f.wrong(format!("names {name:?}, and no policy is called so; expected one that is there")),
            None => Some(named),
        }
    });
    let per_minute = table.get("per_minute").map_or(Some(PER_MINUTE), |f| f.integer(1..=60));
    let policies = policies?.into_iter().map(String::from).collect();
    Some(Channel { name: name?.into(), kind: kind?, url: url?, topics: topics?, policies, per_minute: per_minute? })
}

fn kind(table: &Table) -> Option<Kind> {
    const WEBHOOK: [(&str, bool); 2] = [("webhook", true), ("slack", false)];
    let is_webhook = table.need("kind", "\"webhook\" or \"slack\"").and_then(|f| f.word(&WEBHOOK));
    let secret = table.get("secret_file");
    match (is_webhook?, secret) {
        (true, Some(secret)) => Some(Kind::Webhook { secret_file: path(&secret)? }),
        (true, None) => {
            table.need("secret_file", "the path of a file with the secret that messages are signed with");
            None
        }
        (false, Some(secret)) => secret.wrong("is for webhooks alone, expected none: a Slack message is not signed"),
        (false, None) => Some(Kind::Slack),
    }
}

fn address(table: &Table) -> Option<Address> {
    match (table.get("url"), table.get("url_file")) {
        (Some(url), None) => Some(Address::Url(settings::url(&url)?.into())),
        (None, Some(file)) => Some(Address::File(path(&file)?)),
        (Some(_), Some(file)) => file.wrong("excludes url, expected one of the two"),
        (None, None) => {
            table.need("url", "a URL, or url_file with the path of a file that holds it");
            None
        }
    }
}

fn topics(field: &Field) -> Option<Vec<Topic>> {
    let known = |text: &str| TOPICS.iter().find(|(word, _)| *word == text);
    let words = field.texts("\"scale\", \"failure\", \"limit\" or \"order\"", |text| known(text).is_some())?;
    Some(words.into_iter().filter_map(|word| known(word).map(|(_, topic)| *topic)).collect())
}

fn path(field: &Field) -> Option<PathBuf> {
    field.text().map(PathBuf::from)
}
