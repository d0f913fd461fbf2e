//! JSON objects whose fields are borrowed until they are asked for, so that whatever is wrong has a field to name.

use std::borrow::Cow;
use std::fmt::{self, Display};

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::policy::{Capacity, MAX_METRICS};

/// What is wrong with a line, and where.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Fault {
    /// The path of the field, with dots; `None`: the line itself.
    field: Option<String>,
    message: String,
}

impl Fault {
    /// Of the line itself.
    pub fn new(message: String) -> Self {
        Self { field: None, message }
    }

    /// The same, of what stands in the field `outer`.
    pub fn within(self, outer: &str) -> Self {
        let field = self.field.map_or_else(|| outer.to_owned(), |inner| format!("{outer}.{inner}"));
        Self { field: Some(field), ..self }
    }
}

/// What a field may hold.
pub(super) struct Kind<T> {
    pub expected: &'static str,
    read: fn(&str) -> Option<T>,
}

/// A number of instances.
pub(super) const COUNT: Kind<Capacity> = Kind {
    expected: "a whole number from 0 to 1000000",
    read: |text| json::<u32>(text).filter(|count| *count <= Capacity::MAX.get()).map(Capacity::new),
};

/// A moment.
pub(super) const SECONDS: Kind<Timestamp> = Kind {
    expected: "seconds from 0 to 253402207200",
    read: |text| {
        let since = std::time::Duration::try_from_secs_f64(json(text)?).ok()?;
        Timestamp::UNIX_EPOCH.checked_add(since).ok()
    },
};

/// True or false.
pub(super) const FLAG: Kind<bool> = Kind { expected: "true or false", read: json };

/// A number of one instance, or null for none.
pub(super) const READING: Kind<Option<f64>> = Kind { expected: "a number or null", read: json };

/// The same of a metric, where it is not an object.
pub(super) const MEASURED: Kind<Option<f64>> =
    Kind { expected: "a number, null, or an object with one of them an instance", read: json };

fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

impl<T> Kind<T> {
    /// What the JSON `text` holds.
    pub fn of(&self, text: &str) -> Result<T, Fault> {
        (self.read)(text).ok_or_else(|| unexpected(text, self.expected))
    }
}

fn unexpected(text: &str, expected: &str) -> Fault {
    Fault::new(format!("is {}, expected {expected}", Summary(text)))
}

/// A JSON value in a few words.
struct Summary<'a>(&'a str);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_bytes().first() {
            Some(b'"') => f.write_str("a string"),
            Some(b'{') => f.write_str("an object"),
            Some(b'[') => f.write_str("an array"),
            None => f.write_str("empty"),
            // A number, true, false, null or no JSON at all; it may have a million digits.
            _ => write!(f, "{:.24}", self.0),
        }
    }
}

/// The fields of an object that nobody has asked for yet.
pub(super) struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a str)>,
    /// The names that were asked for.
    known: ArrayVec<&'a str, MAX_METRICS>,
}

impl<'a> Object<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        if !text.starts_with('{') {
            return Err(unexpected(text, "an object"));
        }
        // Of a single line, the column says it all.
        let why = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
        let parsed: Result<Fields, _> = serde_json::from_str(text);
        let Fields(fields) = parsed.map_err(|error| Fault::new(format!("is not JSON: {}", why(error))))?;
        Ok(Self { fields, known: ArrayVec::new() })
    }

    /// The value of a field that must be there, as JSON; `expected` says what it should have been.
    pub fn value(&mut self, name: &'a str, expected: &str) -> Result<&'a str, Fault> {
        self.take(name)?.ok_or_else(|| Fault::new(format!("is missing, expected {expected}")).within(name))
    }

    pub fn need<T>(&mut self, name: &'a str, kind: &Kind<T>) -> Result<T, Fault> {
        let text = self.value(name, kind.expected)?;
        kind.of(text).map_err(|fault| fault.within(name))
    }

    /// The same of a field that may be left out; null does that too.
    pub fn may<T>(&mut self, name: &'a str, kind: &Kind<T>) -> Result<Option<T>, Fault> {
        let text = self.take(name)?.filter(|text| *text != "null");
        text.map(|text| kind.of(text).map_err(|fault| fault.within(name))).transpose()
    }

    /// What `read` makes of an object that must be there; every field of it must be asked for.
    pub fn object<T>(
        &mut self,
        name: &'a str,
        read: impl FnOnce(&mut Object<'a>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let text = self.value(name, "an object")?;
        object(text, read).map_err(|fault| fault.within(name))
    }

    /// The same of an object that may be left out; null does that too.
    pub fn may_object<T>(
        &mut self,
        name: &'a str,
        read: impl FnOnce(&mut Object<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let text = self.take(name)?.filter(|text| *text != "null");
        text.map(|text| object(text, read).map_err(|fault| fault.within(name))).transpose()
    }

    /// Every field, whatever its name.
    pub fn drain(&mut self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        self.fields.drain(..)
    }

    fn take(&mut self, name: &'a str) -> Result<Option<&'a str>, Fault> {
        // Beyond its capacity a list of what is known only grows shorter.
        let _ = self.known.try_push(name);
        let Some(place) = self.fields.iter().position(|(field, _)| field == name) else { return Ok(None) };
        let (_, text) = self.fields.swap_remove(place);
        let twice = self.fields.iter().any(|(field, _)| field == name);
        if twice { Err(Fault::new("is there twice".into()).within(name)) } else { Ok(Some(text)) }
    }

    fn finish(&self) -> Result<(), Fault> {
        let Some((field, _)) = self.fields.first() else { return Ok(()) };
        let known = self.known.join(", ");
        Err(Fault::new(format!("is unknown, expected one of: {known}")).within(field))
    }
}

/// What `read` makes of the object in `text`; every field must be asked for.
pub(super) fn object<'a, T>(text: &'a str, read: impl FnOnce(&mut Object<'a>) -> Result<T, Fault>) -> Result<T, Fault> {
    let mut object = Object::parse(text.trim_ascii())?;
    let read = read(&mut object)?;
    object.finish()?;
    Ok(read)
}

/// The fields of an object as they stand there.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

/// A name; borrowed, unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::with_capacity(MAX_METRICS);
        while let Some((Name(name), value)) = map.next_entry::<Name, &RawValue>()? {
            fields.push((name, value.get()));
        }
        Ok(Fields(fields))
    }
}
