//! A typed reader of layered values. It reports what it can't read and goes on, so that one run finds everything.
//!
//! Every read gives `None` for what has a finding. The keys that nobody asked for are the unknown ones, so no list of
//! keys stands apart from the code that reads them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::document;
use super::duration;
use super::finding::{Location, Position, Report, nearest};
use super::is_name;
use super::size;

/// Keys that are designed and not yet built, with the table that they stand in.
const LATER: [(&str, &str); 2] = [("prometheus", "sigv4"), ("policy", "for_each")];

/// A table whose keys are being read.
pub(super) struct Table<'a> {
    entries: &'a Map<String, Value>,
    path: String,
    location: Location,
    report: &'a Report,
    asked: RefCell<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    /// Reads the whole document.
    pub(super) fn root<T>(value: &Value, report: &Report, read: impl FnOnce(&Table) -> Option<T>) -> Option<T> {
        let location = report.in_file(Position::START);
        Field { value, path: String::new(), location, report }.table(read)
    }

    /// The value of `key`, if it is there and has no finding yet.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key).filter(|value| value.kind != ValueKind::Nil).map(|value| self.field(key, value))
    }

    /// The value of `key`; a finding that says `expected` where it is missing.
    pub(super) fn need(&self, key: &'static str, expected: impl fmt::Display) -> Option<Field<'a>> {
        if !self.entries.contains_key(key) {
            let problem = format!("is missing, expected {expected}");
            self.report.add(&self.location, &join(&self.path, key), problem, None);
        }
        self.get(key)
    }

    /// Reads the table at `key`, as an empty one where it is missing.
    pub(super) fn section<T>(&self, key: &'static str, read: impl FnOnce(&Table) -> Option<T>) -> Option<T> {
        let absent = Value::new(None, Map::<String, Value>::new());
        let (path, location) = (join(&self.path, key), self.location.clone());
        let field = self.get(key).unwrap_or(Field { value: &absent, path, location, report: self.report });
        field.table(read)
    }

    /// All entries, of a table whose keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.asked.borrow_mut().extend(self.entries.keys().map(String::as_str));
        self.entries.iter().map(|(key, value)| (key.as_str(), self.field(key, value)))
    }

    /// Where it begins.
    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// A finding on the table itself.
    pub(super) fn wrong(&self, problem: impl Into<String>) {
        self.report.add(&self.location, &self.path, problem, None);
    }

    fn field(&self, key: &str, value: &'a Value) -> Field<'a> {
        let path = join(&self.path, key);
        let location = match (document::position(value), value.origin()) {
            (Some(position), _) => self.report.in_file(position),
            (None, Some(_)) => Location { source: document::variable(&path).into(), position: None },
            // A table that came to be because a variable names a key in it.
            (None, None) => self.location.clone(),
        };
        Field { value, path, location, report: self.report }
    }

    fn report_unknown_keys(&self) {
        let asked = self.asked.borrow();
        let table = self.path.rsplit('.').next().and_then(|name| name.split('[').next()).unwrap_or_default();
        for (key, value) in self.entries.iter().filter(|(key, _)| !asked.contains(&key.as_str())) {
            let field = self.field(key, value);
            if LATER.contains(&(table, key.as_str())) {
                field.wrong::<()>("is not in this version of Setpoint");
            } else {
                field.unknown(key, asked.iter().copied());
            }
        }
    }
}

/// One value that is being read.
pub(super) struct Field<'a> {
    value: &'a Value,
    path: String,
    location: Location,
    report: &'a Report,
}

impl<'a> Field<'a> {
    /// Where it was set.
    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// Adds a finding. The value is not repeated: it could be a secret.
    pub(super) fn wrong<T>(&self, problem: impl Into<String>) -> Option<T> {
        self.report.add(&self.location, &self.path, problem, None);
        None
    }

    /// A finding that there is no such `key`; `known` are those that there are.
    pub(super) fn unknown<'k>(&self, key: &str, known: impl IntoIterator<Item = &'k str>) {
        let known: Vec<_> = known.into_iter().collect();
        let meant = nearest(key, known.iter().copied());
        let problem = match &meant {
            Some(_) => "unknown key".to_owned(),
            None => format!("unknown key, expected one of {}", known.join(", ")),
        };
        self.report.add(&self.location, &self.path, problem, meant);
    }

    fn expected<T>(&self, expected: impl fmt::Display) -> Option<T> {
        self.wrong(format!("expected {expected}, found {}", Found(&self.value.kind)))
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) if !text.is_empty() => Some(text),
            _ => self.expected("a text in quotes"),
        }
    }

    /// A text for which `holds`.
    pub(super) fn text_such(&self, expected: &str, holds: impl Fn(&str) -> bool) -> Option<&'a str> {
        let text = self.text()?;
        if holds(text) { Some(text) } else { self.expected(expected) }
    }

    /// A list of texts for each of which `holds`.
    pub(super) fn texts(&self, expected: &str, holds: impl Fn(&str) -> bool) -> Option<Vec<&'a str>> {
        let ValueKind::Array(elements) = &self.value.kind else {
            return self.expected(format_args!("a list of {expected}"));
        };
        let text = |value: &'a Value| match &value.kind {
            ValueKind::String(text) if holds(text) => Ok(text.as_str()),
            other => Err(format!("expected a list of {expected}, found {} in it", Found(other))),
        };
        elements.iter().map(text).collect::<Result<_, _>>().map_or_else(|wrong| self.wrong(wrong), Some)
    }

    /// A name of a policy or a metric.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.text_such("at most 64 letters, digits, - and _", is_name)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value.kind {
            ValueKind::Boolean(truth) => Some(truth),
            _ => self.expected("true or false"),
        }
    }

    /// A finite number for which `holds`.
    pub(super) fn number(&self, expected: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
        let number = match self.value.kind {
            ValueKind::Float(number) => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "no target needs 53 bits")]
            ValueKind::I64(number) => Some(number as f64),
            _ => None,
        };
        number.filter(|number| holds(*number)).or_else(|| self.expected(expected))
    }

    /// A percentage in quotes, such as "70%", as a share for which `holds`.
    pub(super) fn percentage(&self, expected: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
        let share = |text: &str| text.strip_suffix('%')?.trim().parse::<f64>().ok().map(|percent| percent / 100.0);
        self.text_such(expected, |text| share(text).is_some_and(&holds)).and_then(share)
    }

    /// A whole number in `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let integer = match self.value.kind {
            ValueKind::I64(number) => u32::try_from(number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        integer.or_else(|| self.expected(format_args!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// A duration in `range`, with its unit.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        const EXPECTED: &str = "a duration such as \"500ms\", \"90s\", \"5m\" or \"1h30m\"";
        match &self.value.kind {
            ValueKind::I64(number) => {
                self.wrong(format!("{number} has no unit, expected for example \"{number}s\" or \"{number}ms\""))
            }
            ValueKind::String(text) => match duration::parse(text) {
                Some(duration) if range.contains(&duration) => Some(duration),
                Some(_) => {
                    let (least, most) = (duration::text(*range.start()), duration::text(*range.end()));
                    self.expected(format_args!("a duration from {least} to {most}"))
                }
                None => self.expected(EXPECTED),
            },
            _ => self.expected(EXPECTED),
        }
    }

    /// A size in bytes in `range`, with its unit.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = |least: &str, most: &str| format!("a size from {least} to {most}, such as \"256MB\"");
        let expected = expected(&size::text(*range.start()), &size::text(*range.end()));
        match &self.value.kind {
            ValueKind::String(text) => match size::parse(text) {
                Some(size) if range.contains(&size) => Some(size),
                _ => self.expected(expected),
            },
            _ => self.expected(expected),
        }
    }

    /// One of some words, as what it stands for.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let known = words.iter().map(|(word, _)| *word);
        let ValueKind::String(text) = &self.value.kind else {
            return self.expected(format_args!("one of {}", Words(words)));
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word == text) {
            return Some(*meaning);
        }
        let problem = format!("expected one of {}, found {}", Words(words), Found(&self.value.kind));
        self.report.add(&self.location, &self.path, problem, nearest(text, known));
        None
    }

    /// True for a table; no finding where it is something else.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value.kind, ValueKind::Table(_))
    }

    /// True for a text in quotes; no finding where it is something else.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.value.kind, ValueKind::String(_))
    }

    /// Reads a table; `read` asks for every key that there can be.
    pub(super) fn table<T>(&self, read: impl FnOnce(&Table) -> Option<T>) -> Option<T> {
        let ValueKind::Table(entries) = &self.value.kind else {
            return self.expected("a table");
        };
        let (path, location) = (self.path.clone(), self.location.clone());
        let table = Table { entries, path, location, report: self.report, asked: RefCell::default() };
        let read = read(&table);
        table.report_unknown_keys();
        read
    }

    /// Reads a list of at least one table; `None` unless every one could be read.
    pub(super) fn tables<T>(&self, mut read: impl FnMut(&Table) -> Option<T>) -> Option<Vec<T>> {
        let ValueKind::Array(elements) = &self.value.kind else {
            return self.expected("a list of tables, each with its header in double brackets");
        };
        if elements.is_empty() {
            return self.wrong("is empty, expected at least one table");
        }
        let element = |(index, value): (usize, &'a Value)| {
            if value.kind == ValueKind::Nil {
                return None;
            }
            let path = format!("{}[{}]", self.path, label(value, index));
            let location = document::position(value).map_or(self.location.clone(), |p| self.report.in_file(p));
            Field { value, path, location, report: self.report }.table(&mut read)
        };
        // All of them are read before the first that could not be read ends the list.
        let read: Vec<_> = elements.iter().enumerate().map(element).collect();
        read.into_iter().collect()
    }
}

/// The names that were used already, and where.
#[derive(Default)]
pub(super) struct Taken(HashMap<String, Location>);

impl Taken {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes `name`; a finding on `field` where it is taken.
    pub(super) fn take(&mut self, name: String, field: &Field, what: &str) {
        if let Some(first) = self.0.get(&name) {
            field.wrong::<()>(format!("{what} is taken at {first}, expected another"));
        } else {
            self.0.insert(name, field.location().clone());
        }
    }
}

/// The path of `key` in the table at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// An element's own name where it has one, else its number from 1.
fn label(value: &Value, index: usize) -> String {
    if let ValueKind::Table(entries) = &value.kind
        && let Some(ValueKind::String(name)) = entries.get("name").map(|name| &name.kind)
        && is_name(name)
    {
        return name.clone();
    }
    (index + 1).to_string()
}

/// What stands there, in words.
struct Found<'a>(&'a ValueKind);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to recognise it; a misplaced certificate need not fill the terminal.
        const SHOWN: usize = 40;
        match self.0 {
            ValueKind::String(text) if text.chars().count() > SHOWN => {
                write!(f, "{:?}…", text.chars().take(SHOWN).collect::<String>())
            }
            ValueKind::String(text) => write!(f, "{text:?}"),
            ValueKind::Float(number) => write!(f, "{number:?}"),
            ValueKind::Table(_) => f.write_str("a table"),
            ValueKind::Array(_) => f.write_str("a list"),
            other => other.fmt(f),
        }
    }
}

/// Words in quotes, with commas.
struct Words<'a, T>(&'a [(&'a str, T)]);

impl<T> fmt::Display for Words<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (word, _)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{word:?}")?;
        }
        Ok(())
    }
}
