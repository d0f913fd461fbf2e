//! What a page points to is there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::page::{self, ROOT};

/// Folders whose files a page may name.
const FOLDERS: [&str; 7] = [".ci/", ".github/", "config/", "docs/", "src/", "systemd/", "tests/"];

/// What is not there until something has gone wrong.
const LATER: [&str; 1] = ["tests/invariants.regressions"];

#[test]
fn every_link_leads_somewhere() {
    let pages = page::all();
    let mut followed = 0;
    for page in &pages {
        for (place, link) in page.links.iter().filter(|(_, link)| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() { page.path.clone() } else { from(&page.path, file) };
            assert!(Path::new(ROOT).join(&path).exists(), "{place}: there is no {path}");
            if let Some(anchor) = anchor {
                let other = pages.iter().find(|page| page.path == path);
                let known = other.is_some_and(|page| page.anchors.contains(anchor));
                assert!(known, "{place}: {path} has no heading {anchor:?}");
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "{followed}");
}

#[test]
fn every_file_that_is_named_exists() {
    let mut named = 0;
    for (place, code) in page::all().into_iter().flat_map(|page| page.codes) {
        let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder));
        if is_path && !code.contains([' ', '*', '{']) && !LATER.contains(&code.as_str()) {
            assert!(Path::new(ROOT).join(&code).exists(), "{place}: there is no {code}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

/// A test that is named as evidence.
#[test]
fn every_test_that_the_page_on_security_names_exists() {
    let sources: String = ["src", "tests"].iter().flat_map(|folder| sources(&Path::new(ROOT).join(folder))).collect();
    let is_test =
        |code: &&str| code.matches('_').count() > 2 && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let page = page::all().into_iter().find(|page| page.path == "docs/security.md").expect("the page");
    let named: Vec<_> = page.codes.iter().map(|(_, code)| code.as_str()).filter(is_test).collect();
    for test in &named {
        assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
    }
    assert!(named.len() > 25, "{named:?}");
}

fn sources(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let texts = files.map(|path| fs::read_to_string(path).expect("a source"));
    texts.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

/// `link` on `page`, from the root of the project.
fn from(page: &str, link: &str) -> String {
    let mut path = PathBuf::new();
    for component in Path::new(page).parent().expect("a folder").join(link).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{page}: {link} leads out of the project"),
            other => path.push(other),
        }
    }
    path.to_str().expect("a path in UTF-8").to_owned()
}
