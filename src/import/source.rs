//! A foreign document that remembers which of its fields were read, so that what nobody read can be named.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

/// A document and the paths that were read of it.
pub(super) struct Source {
    root: Value,
    read: RefCell<BTreeSet<String>>,
}

impl Source {
    pub(super) fn new(root: Value) -> Self {
        Self { root, read: RefCell::default() }
    }

    /// The document itself.
    pub(super) fn root(&self) -> Node<'_> {
        Node { value: &self.root, path: String::new(), source: self }
    }

    /// Each field that holds a value and that nobody read, as its path and its value.
    pub(super) fn unread(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.collect("", &self.root, &mut found);
        found
    }

    fn collect(&self, path: &str, value: &Value, found: &mut Vec<(String, String)>) {
        if self.read.borrow().contains(path) {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.collect(&join(path, key), value, found);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.collect(&format!("{path}[{index}]"), value, found);
                }
            }
            leaf => found.push((path.to_owned(), leaf.to_string())),
        }
    }
}

/// One value of a document.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    source: &'a Source,
}

impl<'a> Node<'a> {
    /// The field `key`, unless it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, path: join(&self.path, key), source: self.source })
    }

    /// The field at the end of `keys`.
    pub(super) fn at(&self, keys: &[&str]) -> Option<Node<'a>> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    /// Where it stands, such as `spec.metrics[0].type`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Counts all of it as read, which its reader owes a remark for.
    pub(super) fn mark(&self) {
        self.source.read.borrow_mut().insert(self.path.clone());
    }

    /// The text of a scalar; a number, and yes or no, as it is written.
    pub(super) fn text(&self) -> Option<String> {
        let text = match self.value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            _ => return None,
        };
        self.mark();
        Some(text)
    }

    /// All of it as it is written, in JSON.
    pub(super) fn literal(&self) -> String {
        self.mark();
        self.value.to_string()
    }

    /// A whole number from 0.
    pub(super) fn whole(&self) -> Option<u64> {
        let number = self.value.as_u64()?;
        self.mark();
        Some(number)
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> Vec<Node<'a>> {
        let item = |(index, value)| Node { value, path: format!("{}[{index}]", self.path), source: self.source };
        self.value.as_array().map(|items| items.iter().enumerate().map(item).collect()).unwrap_or_default()
    }

    /// The fields of a table, by name; none of anything else.
    pub(super) fn fields(&self) -> Vec<(&'a str, Node<'a>)> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.filter_map(|(key, _)| Some((key.as_str(), self.get(key)?))).collect()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
