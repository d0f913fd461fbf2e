//! A page of the docs, read as its readers see it: its code, its links, and what can be linked to.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where something stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// From the root of the project.
    pub page: String,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.line)
    }
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    pub place: Place,
    /// What the fence says; nothing where there is an indentation and no fence.
    pub language: String,
    pub text: String,
}

#[derive(Default)]
pub struct Page {
    /// From the root of the project.
    pub path: String,
    pub blocks: Vec<Block>,
    /// Code within a line.
    pub codes: Vec<(Place, String)>,
    /// Links and images.
    pub links: Vec<(Place, String)>,
    /// What may follow a `#` in a link to this page.
    pub anchors: BTreeSet<String>,
}

/// Every page that is written for a reader. The changelog is none of them: it may name what is gone.
pub fn all() -> Vec<Page> {
    let docs =
        fs::read_dir(Path::new(ROOT).join("docs")).expect("the docs").map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let docs = docs.map(|path| path.strip_prefix(ROOT).expect("below the root").to_str().expect("UTF-8").to_owned());
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "config/terraform/README.md"].map(String::from);
    let mut paths: Vec<String> = docs.chain(others).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: String) -> Page {
    let text = fs::read_to_string(Path::new(ROOT).join(&path)).expect("a page");
    let mut page = Page { path, ..Page::default() };
    let (mut block, mut heading): (Option<Block>, Option<String>) = (None, None);
    for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
        let place = || Place { page: page.path.clone(), line: 1 + text[..range.start].matches('\n').count() };
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some(Block { place: place(), language, text: String::new() });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => page.anchors.extend(heading.take().map(|heading| anchor(&heading))),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((place(), dest_url.into_string()));
            }
            Event::Text(text) => {
                if let Some(open) = block.as_mut().map(|block| &mut block.text).or(heading.as_mut()) {
                    open.push_str(&text);
                }
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                page.codes.push((place(), code.into_string()));
            }
            _ => {}
        }
    }
    page
}

/// The name that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}
