//! What can be configured, as data: the source of the JSON Schema and of the reference in `docs/configuration.md`.
//!
//! It reads no configuration. That it says what the readers do, key by key, value by value and default by default, is
//! what `tests/reference.rs` shows; a key that it lacks, or that nobody reads, fails there.

mod daemon;
mod page;
mod policy;
mod schema;

use std::fmt;
use std::ops::{Bound, RangeInclusive};
use std::time::Duration;

pub use page::page;
pub use schema::schema;

use super::{duration, size};

/// A table: its keys, and what must hold between them.
struct Keys {
    keys: &'static [Key],
    rules: &'static [Rule],
}

/// One key of a table.
struct Key {
    name: &'static str,
    value: Value,
    need: Need,
    /// What it means, as whole sentences of Markdown.
    doc: &'static str,
}

/// Whether a key must be there.
enum Need {
    Required,
    Optional,
    /// What holds where it is left out, as TOML.
    Default(&'static str),
}

/// What may stand at a key.
enum Value {
    /// A text that is not empty: `what` it is in words, the regular expression that it matches, its most characters.
    Text {
        what: &'static str,
        pattern: &'static str,
        longest: usize,
    },
    Boolean,
    Integer(RangeInclusive<u32>),
    Number(Bound<f64>, Bound<f64>),
    Percentage,
    Duration(RangeInclusive<Duration>),
    Size(RangeInclusive<u64>),
    Word(&'static [&'static str]),
    /// A list of such texts or words.
    List(&'static Value),
    Table(&'static Keys),
    /// A list of at least one table, and of this many at most.
    Tables(&'static Keys, usize),
    /// A table of texts whose keys are free.
    Headers,
    Either(&'static [Value]),
}

/// What must hold between the keys of a table.
enum Rule {
    ExactlyOne(&'static [&'static str]),
    AtLeastOne(&'static [&'static str]),
    NotBoth(&'static str, &'static str),
    /// The first makes sense beside the second only.
    Needs(&'static str, &'static str),
    /// `keys` go with these words of `of` only.
    Only {
        keys: &'static [&'static str],
        of: &'static str,
        words: &'static [&'static str],
    },
    /// With `word` at `of` one of `keys` must be there.
    Asks {
        of: &'static str,
        word: &'static str,
        keys: &'static [&'static str],
    },
    /// With `word` at `of`, what stands at `key` is such.
    Narrows {
        of: &'static str,
        word: &'static str,
        key: &'static str,
        value: Value,
    },
}

const fn required(name: &'static str, value: Value, doc: &'static str) -> Key {
    Key { name, value, need: Need::Required, doc }
}

const fn optional(name: &'static str, value: Value, doc: &'static str) -> Key {
    Key { name, value, need: Need::Optional, doc }
}

/// A key with a `default`, which is TOML.
const fn preset(name: &'static str, value: Value, default: &'static str, doc: &'static str) -> Key {
    Key { name, value, need: Need::Default(default), doc }
}

const fn text(what: &'static str, pattern: &'static str) -> Value {
    Value::Text { what, pattern, longest: usize::MAX }
}

/// The words of a reader's list.
const fn words<T, const N: usize>(list: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    while index < N {
        words[index] = list[index].0;
        index += 1;
    }
    words
}

const NAME: Value = text("name: at most 64 letters, digits, `-` and `_`", "^[A-Za-z0-9_-]{1,64}$");
const FILE: Value = text("path of a file", "");
const REGION: Value = text("AWS region", "^[a-z]+(-[a-z]+)+-[0-9]+$");
const URL: Value = text("http or https URL without user info", "^[Hh][Tt][Tt][Pp][Ss]?:[^#]+$");
const BASE_URL: Value = text("http or https URL without user info and query", "^[Hh][Tt][Tt][Pp][Ss]?:[^?#]+$");

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { what, .. } => f.write_str(what),
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Integer(range) => write!(f, "whole number from {} to {}", range.start(), range.end()),
            Self::Number(least, most) => write!(f, "number{}", Limits(*least, *most)),
            Self::Percentage => f.write_str("percentage such as `\"5%\"`"),
            Self::Duration(range) => {
                write!(f, "duration from {} to {}", duration::text(*range.start()), duration::text(*range.end()))
            }
            Self::Size(range) => write!(f, "size from {} to {}", size::text(*range.start()), size::text(*range.end())),
            Self::Word(words) => write!(f, "{}", Joined(words, " or ")),
            Self::List(Value::Word(words)) => write!(f, "list of {}", Joined(words, " or ")),
            Self::List(value) => write!(f, "list, each a {value}"),
            Self::Table(_) => f.write_str("table"),
            Self::Tables(_, usize::MAX) => f.write_str("list of tables"),
            Self::Tables(_, most) => write!(f, "list of at most {most} tables"),
            Self::Headers => f.write_str("table of texts"),
            Self::Either(values) => values.iter().enumerate().try_for_each(|(index, value)| {
                let separator = if index == 0 { "" } else { ", or " };
                write!(f, "{separator}{value}")
            }),
        }
    }
}

/// The limits of a number, in words.
struct Limits(Bound<f64>, Bound<f64>);

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self(Bound::Included(least), Bound::Included(most)) = self {
            return write!(f, " from {least} to {most}");
        }
        match self.0 {
            Bound::Included(least) => write!(f, " from {least}")?,
            Bound::Excluded(least) => write!(f, " above {least}")?,
            Bound::Unbounded => {}
        }
        match self.1 {
            Bound::Included(most) => write!(f, ", at most {most}"),
            Bound::Excluded(most) => write!(f, ", below {most}"),
            Bound::Unbounded => Ok(()),
        }
    }
}

/// Words as code, with what stands before the last.
struct Joined(&'static [&'static str], &'static str);

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let separator = match index {
                0 => "",
                index if index + 1 == self.0.len() => self.1,
                _ => ", ",
            };
            write!(f, "{separator}`{word}`")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExactlyOne(keys) => write!(f, "Exactly one of {} must be there.", Joined(keys, " and ")),
            Self::AtLeastOne(keys) => write!(f, "At least one of {} must be there.", Joined(keys, " and ")),
            Self::NotBoth(one, other) => write!(f, "`{one}` and `{other}` exclude each other."),
            Self::Needs(key, other) => write!(f, "`{key}` makes sense beside `{other}` only."),
            Self::Only { keys, of, words } => {
                write!(f, "{}: with `{of}` {} only.", Joined(keys, " and "), Joined(words, " or "))
            }
            Self::Asks { of, word, keys } => {
                write!(f, "With `{of}` `{word}` there must be {}.", Joined(keys, " or "))
            }
            Self::Narrows { of, word, key, value } => write!(f, "With `{of}` `{word}`, `{key}` is a {value}."),
        }
    }
}
