//! One sample line of a `/metrics` page, taken apart strictly: what does not fit the format is an error, never skipped.

/// A sample line. The labels are unescaped, sorted, and without those that are empty, which mean the same as none.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub name: &'a str,
    pub labels: Vec<(String, String)>,
    pub value: &'a str,
    pub timestamp: Option<&'a str>,
}

/// Takes a line apart that is neither empty nor a comment. The error says what was expected.
pub(super) fn parse(line: &str) -> Result<Line<'_>, &'static str> {
    let mut cursor = Cursor { rest: line };
    let name = cursor.word(|c| is_letter(c) || c == ':').ok_or("expected the name of a metric")?;
    let mut labels = if cursor.eat('{') { cursor.labels()? } else { Vec::new() };
    let value = cursor.number().ok_or("expected a value")?;
    let timestamp = cursor.number();
    // An exemplar follows a number sign; it is about one event and says nothing of the sample.
    if !cursor.rest.is_empty() && !cursor.eat('#') {
        return Err("expected nothing after the timestamp");
    }
    labels.sort_unstable();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("expected every label once");
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(Line { name, labels, value, timestamp })
}

/// What is left of a line, without leading blanks.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest.trim_start_matches([' ', '\t']);
        taken
    }

    fn eat(&mut self, c: char) -> bool {
        let eaten = self.rest.starts_with(c);
        if eaten {
            self.take(c.len_utf8());
        }
        eaten
    }

    /// A name: `is_letter` says what may stand anywhere in it, digits may stand anywhere but first.
    fn word(&mut self, is_letter: impl Fn(char) -> bool) -> Option<&'a str> {
        let belongs = |c: char| is_letter(c) || c.is_ascii_digit();
        let length = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.rest.starts_with(is_letter).then(|| self.take(length))
    }

    /// The characters up to the next blank. Whether they are a number, the reader of numbers must say.
    fn number(&mut self) -> Option<&'a str> {
        let length = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let word = &self.rest[..length];
        // Another kind of white space in it would split it once more, further on.
        let plain = length > 0 && !word.starts_with('#') && word.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| self.take(length))
    }

    /// What stands in the braces, and the closing one.
    fn labels(&mut self) -> Result<Vec<(String, String)>, &'static str> {
        let mut labels = Vec::new();
        while !self.eat('}') {
            let name = self.word(is_letter).ok_or("expected the name of a label, or }")?;
            if !self.eat('=') {
                return Err("expected = after the name of a label");
            }
            labels.push((name.to_owned(), self.quoted()?));
            if !self.eat(',') && !self.rest.starts_with('}') {
                return Err("expected , or } after a label");
            }
        }
        Ok(labels)
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        const EXPECTED: &str = "expected a label's value between quotes";
        let inner = self.rest.strip_prefix('"').ok_or(EXPECTED)?;
        let mut value = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.take(at + 2);
                    return Ok(value);
                }
                '\\' => match chars.next().ok_or(EXPECTED)?.1 {
                    'n' => value.push('\n'),
                    escaped @ ('\\' | '"') => value.push(escaped),
                    // Prometheus keeps both, so that exporters may write Windows paths as they are.
                    other => value.extend(['\\', other]),
                },
                other => value.push(other),
            }
        }
        Err(EXPECTED)
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}
