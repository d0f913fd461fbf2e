//! The layers: a TOML document under the environment. Every value remembers where it was set.
//!
//! `config` lays one over the other. It reads TOML also, but only a spanned parse knows lines and columns, and its builder
//! forgets them. Nothing here knows what a key means.

use std::collections::HashMap;
use std::num::ParseIntError;

use config::{Environment, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::{Location, Position, Report, nearest};
use super::table::join;

/// What a variable of ours begins with.
pub(super) const PREFIX: &str = "SETPOINT__";

/// The daemon settings that the environment may set. Policies and headers stand in the file alone: a list has no
/// name in the environment, and the case of a header's name would be lost.
pub(super) const OVERRIDES: [&str; 19] = [
    "INTERVAL",
    "PROMETHEUS__URL",
    "PROMETHEUS__TIMEOUT",
    "PROMETHEUS__BEARER_TOKEN_FILE",
    "PROMETHEUS__BASIC_AUTH__USERNAME",
    "PROMETHEUS__BASIC_AUTH__PASSWORD_FILE",
    "PROMETHEUS__CA_FILE",
    "PROMETHEUS__CLIENT_CERTIFICATE__CERTIFICATE_FILE",
    "PROMETHEUS__CLIENT_CERTIFICATE__KEY_FILE",
    "AWS__REGION",
    "AWS__ENDPOINT_URL",
    "AWS__PROFILE",
    "AWS__ASSUME_ROLE_ARN",
    "AWS__EXTERNAL_ID",
    "AWS__TIMEOUT",
    "HTTP__LISTEN",
    "STATE__PATH",
    "STATE__RETENTION",
    "STATE__MAX_SIZE",
];

/// The environment variable that sets the key `path`.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_uppercase().replace('.', "__"))
}

/// The document with the environment over it; `None` where the text is not TOML. The `origin` of a value is `line:column`
/// for one of the file and something else for one of the environment.
pub(super) fn layered(
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    report: &Report,
) -> Option<Value> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    let mut last_line = 0;
    for error in &errors {
        let position = lines.position(error.span().map_or(0, |span| span.start));
        // What follows a syntax error on its own line is mostly its echo.
        if position.line != last_line {
            report.add(&report.in_file(position), "", format!("is not TOML: {}", error.message()), None);
        }
        last_line = position.line;
    }
    let variables = overrides(environment, report);
    if !errors.is_empty() {
        return None;
    }
    let reader = Reader { lines, report };
    let mut root = reader.table("", table.get_ref(), Position::START);
    let environment = Environment::with_prefix("SETPOINT").separator("__").ignore_empty(true).source(Some(variables));
    if let Err(error) = environment.collect_to(&mut root) {
        report.add(&report.in_file(Position::START), "", format!("can't take the environment: {error}"), None);
        return None;
    }
    Some(root)
}

fn overrides(environment: impl IntoIterator<Item = (String, String)>, report: &Report) -> HashMap<String, String> {
    let ours = |(name, _): &(String, String)| name.starts_with(PREFIX);
    let mut known = HashMap::new();
    for (name, value) in environment.into_iter().filter(ours) {
        let key = &name[PREFIX.len()..];
        if OVERRIDES.contains(&key) {
            known.insert(name, value);
            continue;
        }
        let location = Location { source: name.as_str().into(), position: None };
        if key.starts_with("POLICY") {
            report.add(&location, "", "policies can't be set by the environment, expected them in the file", None);
        } else if key.starts_with("PROMETHEUS__HEADERS") {
            report.add(&location, "", "headers can't be set by the environment, expected them in the file", None);
        } else {
            let meant = nearest(key, OVERRIDES).map(|key| format!("{PREFIX}{key}"));
            report.add(&location, "", "unknown setting", meant);
        }
    }
    known
}

/// Where each line begins.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Self { text, starts }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        // An offset inside a character, or past the end, counts up to the character before.
        let column = self.text[start..].char_indices().take_while(|(index, _)| start + index < offset).count() + 1;
        Position { line, column }
    }
}

/// Turns the spanned tree into values with an origin.
struct Reader<'t> {
    lines: Lines<'t>,
    report: &'t Report,
}

impl Reader<'_> {
    fn table(&self, path: &str, table: &DeTable<'_>, position: Position) -> Value {
        let entries = table.iter().map(|(key, value)| {
            let position = self.lines.position(key.span().start);
            (key.get_ref().to_string(), self.value(&join(path, key.get_ref()), value.get_ref(), position))
        });
        origin(position, ValueKind::Table(entries.collect()))
    }

    /// `Nil` stands for what has a finding already.
    fn value(&self, path: &str, value: &DeValue<'_>, position: Position) -> Value {
        let refuse = |problem: &str| {
            self.report.add(&self.report.in_file(position), path, problem, None);
            ValueKind::Nil
        };
        let kind = match value {
            DeValue::Table(table) => return self.table(path, table, position),
            DeValue::Array(array) => {
                let element =
                    |v: &Spanned<DeValue<'_>>| self.value(path, v.get_ref(), self.lines.position(v.span().start));
                ValueKind::Array(array.iter().map(element).collect())
            }
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_: ParseIntError| refuse("is an integer that does not fit into 64 bits"), ValueKind::I64),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => ValueKind::Float(number),
                _ => refuse("is not a finite number"),
            },
            DeValue::Datetime(_) => refuse("is a date, and no key takes one; expected quotes around a text"),
        };
        origin(position, kind)
    }
}

fn origin(Position { line, column }: Position, kind: ValueKind) -> Value {
    Value::new(Some(&format!("{line}:{column}")), kind)
}

/// The position that [`layered`] left in a value of the file.
pub(super) fn position(value: &Value) -> Option<Position> {
    let (line, column) = value.origin()?.split_once(':')?;
    Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let lines = Lines::of("ab\nöc\r\n");
        let at = |offset| {
            let Position { line, column } = lines.position(offset);
            (line, column)
        };
        assert_eq!((at(0), at(1), at(3), at(5), at(6)), ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3)));
        assert_eq!((at(4), at(8), at(99)), ((2, 2), (3, 1), (3, 1)), "inside a character and past the end");
    }

    #[test]
    fn the_environment_lies_over_the_file_and_keys_keep_their_case() {
        let report = Report::new("t.toml");
        let text = "[prometheus]\nurl = \"http://a\"\nheaders = { X-Scope-OrgID = \"1\" }\n\"a[9].b\" = 1\n";
        let environment = [
            ("SETPOINT__PROMETHEUS__URL".to_owned(), "http://B".to_owned()),
            ("SETPOINT__AWS__REGION".to_owned(), String::new()),
        ];
        let root = layered(text, environment, &report).unwrap().into_table().unwrap();
        assert_eq!(root.keys().collect::<Vec<_>>(), ["prometheus"]);
        let prometheus = root["prometheus"].clone().into_table().unwrap();
        assert_eq!(prometheus["url"].kind, ValueKind::String("http://B".into()));
        assert_eq!(position(&prometheus["url"]), None);
        let headers = prometheus["headers"].clone().into_table().unwrap();
        assert_eq!(position(&headers["X-Scope-OrgID"]), Some(Position { line: 3, column: 13 }));
        assert!(prometheus.contains_key("a[9].b"));
    }
}
