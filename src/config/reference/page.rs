//! The reference of the configuration as Markdown: `docs/configuration.md`.

use std::fmt::Write;

use super::super::document::{OVERRIDES, PREFIX};
use super::daemon::ROOT;
use super::{Keys, Need, Value};

const HEAD: &str = "\
<!-- Made by `setpoint schema --format markdown > docs/configuration.md` from the code that it describes. -->

# Configuration

Every table and key of the configuration file. `setpoint check FILE` says everything that is wrong with a file, with line
and column, and connects to nothing. [setpoint.toml](../config/setpoint.toml) is the same as a file to start from, and
[examples](../config/examples) has one for each kind of service.

A **duration** is whole numbers with units, from the longest to the shortest: `\"500ms\"`, `\"90s\"`, `\"5m\"`, `\"1h30m\"`,
`\"2d\"`. A **size** is a whole number with `MB`, `GB` or `TB`, in thousands. A number without its unit is refused, and so is
a key that is not on this page.

An editor completes and checks these keys while they are written, once it has the schema. With Even Better TOML (VS Code),
Taplo or Tombi:

    setpoint schema > setpoint.schema.json      # then, as the first line of the configuration:
    #:schema ./setpoint.schema.json
";

/// The page.
pub fn page() -> String {
    let mut page = Page { text: HEAD.to_owned(), described: Vec::new() };
    page.text.push_str("\n## The file itself\n");
    page.table(&ROOT, "");
    let mut text = page.text;
    text.push_str("\n## The environment\n\nIt overrides settings of the daemon, never a policy or a header:\n\n");
    for name in OVERRIDES {
        let _ = writeln!(text, "- `{PREFIX}{name}`");
    }
    text
}

struct Page {
    text: String,
    /// The tables that stand on it, and where in a file each of them is.
    described: Vec<(&'static Keys, String)>,
}

impl Page {
    /// Adds a table's keys, and after them each table in it.
    fn table(&mut self, table: &'static Keys, path: &str) {
        if let Some((_, first)) = self.described.iter().find(|(described, _)| std::ptr::eq(*described, table)) {
            let _ = writeln!(self.text, "\nIts keys are those of `{first}`.");
            return;
        }
        self.described.push((table, path.to_owned()));
        self.keys(table);
        for key in table.keys {
            let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            self.tables_in(&key.value, &path);
        }
    }

    fn keys(&mut self, table: &Keys) {
        self.text.push_str("\n| key | is | default | means |\n|---|---|---|---|\n");
        for key in table.keys {
            let default = match key.need {
                Need::Required => "**required**".to_owned(),
                Need::Optional => String::new(),
                Need::Default(default) => format!("`{default}`"),
            };
            let _ = writeln!(self.text, "| `{}` | {} | {default} | {} |", key.name, key.value, key.doc);
        }
        if !table.rules.is_empty() {
            let rules: Vec<_> = table.rules.iter().map(ToString::to_string).collect();
            let _ = writeln!(self.text, "\n{}", rules.join("  \n"));
        }
    }

    fn tables_in(&mut self, value: &'static Value, path: &str) {
        match value {
            Value::Table(keys) => {
                let _ = writeln!(self.text, "\n## `[{path}]`");
                self.table(keys, path);
            }
            Value::Tables(keys, _) => {
                let _ = writeln!(self.text, "\n## `[[{path}]]`");
                self.table(keys, path);
            }
            Value::Either(values) => values.iter().for_each(|value| self.tables_in(value, path)),
            _ => {}
        }
    }
}
