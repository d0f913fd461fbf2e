//! Writes the XML of the query protocol: elements and text, escaped. It never reads any.

/// A document that grows.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with what `content` writes.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.0.extend(["<", name, ">"]);
        content(self);
        self.0.extend(["</", name, ">"]);
    }

    /// An element with a text.
    #[expect(clippy::needless_pass_by_value, reason = "takes numbers and borrowed texts alike")]
    pub(super) fn text(&mut self, name: &str, text: impl ToString) {
        self.element(name, |xml| text.to_string().chars().for_each(|character| xml.escape(character)));
    }

    /// An element with a text, if there is one.
    pub(super) fn optional(&mut self, name: &str, text: Option<impl ToString>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// A list: one `member` for each item.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut content: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for item in items {
                xml.element("member", |xml| content(xml, item));
            }
        });
    }

    /// An element with a document in it.
    pub(super) fn nest(&mut self, name: &str, content: &Self) {
        self.element(name, |xml| xml.0.push_str(&content.0));
    }

    fn escape(&mut self, character: char) {
        match character {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            other => self.0.push(other),
        }
    }

    /// The document within a root element of the protocol's namespace.
    pub(super) fn into_document(self, root: &str) -> String {
        format!("<{root} xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">{}</{root}>", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_lists_have_members() {
        let mut xml = Xml::default();
        xml.list("Names", ["a<b", "c&d"], |xml, name| xml.text("Name", name));
        xml.optional("Gone", None::<&str>);
        let expected = "<Names><member><Name>a&lt;b</Name></member><member><Name>c&amp;d</Name></member></Names>";
        assert_eq!(xml.0, expected);
        assert!(Xml::default().into_document("Answer").ends_with("></Answer>"));
    }
}
