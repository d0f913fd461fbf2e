//! A table as text for a terminal and as markdown. It knows nothing of what is in it.

use std::fmt::{self, Write};
use std::ops::Range;

/// Between two columns.
const GAP: &str = "  ";

/// Rows under named columns. The first cell of a row names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// One for each cell of a row.
    pub columns: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Names at the left, figures at the right of their columns. Where `width` characters do not suffice, what is left over
    /// stands below, with the names once more.
    pub fn text(&self, width: Option<usize>) -> String {
        let mut text = String::new();
        for columns in self.folded(width.unwrap_or(usize::MAX)) {
            let separator = if text.is_empty() { "" } else { "\n" };
            // Writing to a string can't fail.
            let _ = text.write_str(separator).and_then(|()| self.write_text(&mut text, columns));
        }
        text
    }

    /// As GitHub and most others read it.
    pub fn markdown(&self) -> String {
        let rule = (0..self.columns.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned());
        let lines = [self.columns.clone(), rule.collect()].into_iter().chain(self.rows.iter().cloned());
        lines.flat_map(|cells| ["| ".to_owned(), escaped(&cells).join(" | "), " |\n".to_owned()]).collect()
    }

    /// The columns after the first, by what fits beside it; at least one at a time.
    fn folded(&self, width: usize) -> Vec<Range<usize>> {
        let (mut parts, mut begin, mut taken) = (Vec::new(), 1, self.width(0));
        for column in 1..self.columns.len() {
            let wide = GAP.len() + self.width(column);
            if taken + wide > width && column > begin {
                parts.push(begin..column);
                (begin, taken) = (column, self.width(0));
            }
            taken += wide;
        }
        parts.push(begin..self.columns.len());
        parts
    }

    fn write_text(&self, text: &mut String, columns: Range<usize>) -> fmt::Result {
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let mut line = format!("{:<1$}", row[0], self.width(0));
            for column in columns.clone() {
                write!(line, "{GAP}{:>1$}", row[column], self.width(column))?;
            }
            writeln!(text, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.columns).chain(&self.rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}

fn escaped(cells: &[String]) -> Vec<String> {
    cells.iter().map(|cell| cell.replace('|', "\\|")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Table {
            columns: row(["policy", "cost", "µ"]),
            rows: vec![row(["web", "1.45", "7"]), row(["a|b", "10", "12.5"])],
        }
    }

    #[test]
    fn figures_are_aligned_at_the_right() {
        assert_eq!(table().text(None), "policy  cost     µ\nweb     1.45     7\na|b       10  12.5\n");
        assert_eq!(table().text(Some(18)), table().text(None));
        let folded = "policy  cost\nweb     1.45\na|b       10\n\npolicy     µ\nweb        7\na|b     12.5\n";
        assert_eq!((table().text(Some(17)), table().text(Some(1))), (folded.into(), folded.into()));
    }

    #[test]
    fn a_name_can_not_break_the_columns_of_markdown() {
        let expected = "| policy | cost | µ |\n| --- | ---: | ---: |\n| web | 1.45 | 7 |\n| a\\|b | 10 | 12.5 |\n";
        assert_eq!(table().markdown(), expected);
    }
}
