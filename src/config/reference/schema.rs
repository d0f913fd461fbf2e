//! The JSON Schema (2020-12) of the configuration, for editors. It says what one value may be; what needs a calendar, a
//! `PromQL` parser or a comparison of two values is left to `setpoint check`. Its keywords mean the same in draft 7, which
//! is all that some editors know.

use std::ops::Bound;

use serde_json::{Map, Value as Json, json};

use super::daemon::ROOT;
use super::{Key, Keys, Need, Rule, Value};

/// The schema. It refuses nothing that `check` accepts.
pub fn schema() -> Json {
    let mut schema = table(&ROOT);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Setpoint".into();
    schema["description"] =
        "The configuration of Setpoint. `setpoint check` says everything that is wrong with one.".into();
    schema
}

fn table(table: &Keys) -> Json {
    let properties: Map<String, Json> = table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = table.keys.iter().filter(|key| matches!(key.need, Need::Required)).map(|key| key.name);
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required: Vec<_> = required.collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !table.rules.is_empty() {
        schema["allOf"] = table.rules.iter().map(|rule| self::rule(rule, table)).collect();
    }
    schema
}

fn property(key: &Key) -> Json {
    let mut schema = value(&key.value);
    let form = match &key.value {
        Value::Table(_) | Value::Tables(..) | Value::Headers => String::new(),
        value => format!("\n\n{value}"),
    };
    schema["description"] = format!("{}{form}", key.doc).into();
    if let Need::Default(default) = key.need {
        schema["default"] = from_toml(default);
    }
    schema
}

/// The JSON of a value that is written as TOML.
fn from_toml(text: &str) -> Json {
    let document: Result<Map<String, Json>, _> = toml::from_str(&format!("value = {text}"));
    document.ok().and_then(|mut document| document.remove("value")).unwrap_or_default()
}

fn value(value: &Value) -> Json {
    match value {
        Value::Text { pattern, longest, .. } => {
            let mut schema = json!({ "type": "string", "minLength": 1 });
            if !pattern.is_empty() {
                schema["pattern"] = (*pattern).into();
            }
            if *longest < usize::MAX {
                schema["maxLength"] = (*longest).into();
            }
            schema
        }
        Value::Boolean => json!({ "type": "boolean" }),
        Value::Integer(range) => json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
        Value::Number(least, most) => number(*least, *most),
        Value::Percentage => json!({ "type": "string", "pattern": r"^\s*[+]?[0-9.]+([eE][-+]?[0-9]+)?\s*%$" }),
        Value::Duration(_) => {
            json!({ "type": "string", "minLength": 2, "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" })
        }
        Value::Size(_) => json!({ "type": "string", "pattern": r"^[0-9]+\s*(MB|GB|TB)$" }),
        Value::Word(words) => json!({ "enum": words }),
        Value::List(element) => json!({ "type": "array", "items": self::value(element) }),
        Value::Table(keys) => table(keys),
        Value::Tables(keys, usize::MAX) => json!({ "type": "array", "minItems": 1, "items": table(keys) }),
        Value::Tables(keys, most) => json!({ "type": "array", "minItems": 1, "maxItems": most, "items": table(keys) }),
        Value::Headers => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" },
            "additionalProperties": { "type": "string", "pattern": "^[ -~]+$" },
        }),
        Value::Either(values) => json!({ "anyOf": values.iter().map(self::value).collect::<Json>() }),
    }
}

fn number(least: Bound<f64>, most: Bound<f64>) -> Json {
    let mut schema = json!({ "type": "number" });
    match least {
        Bound::Included(least) => schema["minimum"] = least.into(),
        Bound::Excluded(least) => schema["exclusiveMinimum"] = least.into(),
        Bound::Unbounded => {}
    }
    match most {
        Bound::Included(most) => schema["maximum"] = most.into(),
        Bound::Excluded(most) => schema["exclusiveMaximum"] = most.into(),
        Bound::Unbounded => {}
    }
    schema
}

fn rule(rule: &Rule, table: &Keys) -> Json {
    let there = |keys: &[&str]| keys.iter().map(|key| json!({ "required": [key] })).collect::<Json>();
    let with = |of: &str, word: &str| json!({ "required": [of], "properties": { of: { "const": word } } });
    match rule {
        Rule::ExactlyOne(keys) => json!({ "oneOf": there(keys) }),
        Rule::AtLeastOne(keys) => json!({ "anyOf": there(keys) }),
        Rule::NotBoth(one, other) => json!({ "not": { "required": [one, other] } }),
        Rule::Needs(key, other) => json!({ "if": { "required": [key] }, "then": { "required": [other] } }),
        Rule::Only { keys, of, words } => {
            let mut then = json!({ "properties": { *of: { "enum": words } } });
            if !words.iter().any(|word| is_default(table, of, word)) {
                then["required"] = json!([of]);
            }
            json!({ "if": { "anyOf": there(keys) }, "then": then })
        }
        Rule::Asks { of, word, keys } => json!({ "if": with(of, word), "then": { "anyOf": there(keys) } }),
        Rule::Narrows { of, word, key, value } => {
            json!({ "if": with(of, word), "then": { "properties": { *key: self::value(value) } } })
        }
    }
}

fn is_default(table: &Keys, key: &str, word: &str) -> bool {
    let key = table.keys.iter().find(|known| known.name == key);
    matches!(key.map(|key| &key.need), Some(Need::Default(default)) if from_toml(default) == word)
}
