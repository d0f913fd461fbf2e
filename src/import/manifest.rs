//! Finds the one object of a kind in the documents of a Kubernetes manifest.

use serde_json::Value;

use super::Error;
use super::source::Source;

/// The one object in `text` whose kind is `kind`, and a remark on each document that is another.
pub(super) fn only(text: &str, kind: &'static str) -> Result<(Source, Vec<String>), Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| Error::Yaml(error.to_string()))?;
    let mut wanted = Vec::new();
    let mut others = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        for object in objects(document) {
            if object["kind"] == kind {
                wanted.push(object);
            } else {
                let other = object["kind"].as_str().unwrap_or("without a kind");
                others.push(format!("document {} is {other}", index + 1));
            }
        }
    }
    match wanted.len() {
        1 => {
            Ok((Source::new(wanted.remove(0)), others.into_iter().map(|other| format!("Not read: {other}.")).collect()))
        }
        0 => Err(Error::None { kind, others: if others.is_empty() { "nothing".into() } else { others.join(", ") } }),
        count => Err(Error::Several { kind, count }),
    }
}

/// The objects of a document: `kubectl get` prints a list of them as one.
fn objects(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        object => vec![object],
    }
}
