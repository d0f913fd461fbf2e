//! A table as text for a terminal and as markdown. It knows nothing of what is in it.

use std::fmt::{self, Write};

/// Rows under named columns. The first cell of a row names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// One for each cell of a row.
    pub columns: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Names at the left, figures at the right of their columns.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = self.write_text(&mut text);
        text
    }

    /// As GitHub and most others read it.
    pub fn markdown(&self) -> String {
        let rule = (0..self.columns.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned());
        let lines = [self.columns.clone(), rule.collect()].into_iter().chain(self.rows.iter().cloned());
        lines.flat_map(|cells| ["| ".to_owned(), escaped(&cells).join(" | "), " |\n".to_owned()]).collect()
    }

    fn write_text(&self, text: &mut String) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match index {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
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
        assert_eq!(table().text(), "policy  cost     µ\nweb     1.45     7\na|b       10  12.5\n");
    }

    #[test]
    fn a_name_can_not_break_the_columns_of_markdown() {
        let expected = "| policy | cost | µ |\n| --- | ---: | ---: |\n| web | 1.45 | 7 |\n| a\\|b | 10 | 12.5 |\n";
        assert_eq!(table().markdown(), expected);
    }
}
