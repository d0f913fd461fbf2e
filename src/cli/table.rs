//! Tables that fit the terminal, in colour where somebody sees it.

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};

/// Below this a line says nothing any more.
const NARROWEST: usize = 40;

/// Between two columns.
const GAP: &str = "  ";

/// A cell: plain text, and how it looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub text: String,
    pub style: Style,
}

pub(super) const PLAIN: Style = Style::new();
pub(super) const HEADING: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const WATCHFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

impl Cell {
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        // What came from elsewhere must not steer the terminal.
        let text = text.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { text, style }
    }
}

/// Lines of `width` characters at most, where there is one: the last column gives way.
pub(super) fn lines(rows: &[Vec<Cell>], width: Option<usize>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let longest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| count(&cell.text)).max();
    let widths: Vec<usize> = (0..columns).map(|column| longest(column).unwrap_or(0)).collect();
    let mut page = String::new();
    for row in rows {
        let mut left = width.map_or(usize::MAX, |width| width.max(NARROWEST));
        for (place, cell) in row.iter().enumerate() {
            let is_last = place + 1 == row.len();
            let text = shortened(&cell.text, left);
            let padding = if is_last { 0 } else { widths[place].saturating_sub(count(&text)).min(left - count(&text)) };
            // Writing to a string can't fail.
            let _ = write!(page, "{}{text}{:#}{:padding$}", cell.style, cell.style, "");
            left = left.saturating_sub(widths[place].max(count(&text)) + GAP.len());
            if is_last || left == 0 {
                break;
            }
            page.push_str(GAP);
        }
        page.truncate(page.trim_end_matches(' ').len());
        page.push('\n');
    }
    page
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn shortened(text: &str, width: usize) -> String {
    if count(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The width of the terminal; `None` where the output goes elsewhere and need not fit.
pub(super) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Prints `text` and a line end, in its colours where the standard output is a terminal and `NO_COLOR` is not set.
pub(super) fn say(text: &str) {
    // Whoever reads may stop reading.
    let _ = writeln!(anstream::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
        rows.iter().map(|row| row.iter().map(|text| Cell::new(*text, PLAIN)).collect()).collect()
    }

    #[test]
    fn columns_are_aligned_and_the_last_gives_way() {
        let table =
            rows(&[&["POLICY", "DESIRED", "WHY"], &["web", "4", "cpu at 0.9 asks for 6"], &["tickets", "12", "-"]]);
        let expected = "POLICY   DESIRED  WHY\nweb      4        cpu at 0.9 asks for 6\ntickets  12       -\n";
        assert_eq!(lines(&table, None), expected);
        let narrow = lines(&table, Some(40));
        assert!(narrow.contains("web      4        cpu at 0.9 asks for 6\n"), "{narrow}");
        let long = rows(&[&["web", &"x".repeat(100)]]);
        assert_eq!(lines(&long, Some(60)), format!("web  {}…\n", "x".repeat(54)));
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_however_narrow() {
        let table = rows(&[&["a-policy-with-a-rather-long-name", "observing", "a state", "and a long reason"]]);
        for width in [0, 40, 41, 45, 50, 80] {
            let page = lines(&table, Some(width));
            assert!(page.lines().all(|line| count(line) <= width.max(NARROWEST)), "{width}: {page}");
        }
    }

    #[test]
    fn what_came_from_elsewhere_does_not_steer_the_terminal() {
        assert_eq!(Cell::new("a\u{1b}[31m\nb", PLAIN).text, "a [31m b");
    }
}
