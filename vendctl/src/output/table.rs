//! Tables: a header, a line per row, columns two spaces apart, numbers to the right.

use super::text::printable;
use unicode_width::UnicodeWidthStr as _;

/// A column and how it is aligned.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
}

/// Text.
pub(crate) const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

/// Numbers.
pub(crate) const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// Rows to be shown under their columns.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. An empty cell shows as `-`; what could move the cursor is escaped.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell per column");
        self.rows.push(
            cells.into_iter().map(|c| if c.is_empty() { "-".to_owned() } else { printable(&c) }).collect(),
        );
    }

    /// The whole table, with a line end after each line; nothing but `none` when there are no rows.
    pub(crate) fn render(&self) -> String {
        if self.rows.is_empty() {
            return "none\n".to_owned();
        }
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let mut shown = String::new();
            for ((cell, column), width) in line.iter().zip(&self.columns).zip(&widths) {
                if !shown.is_empty() {
                    shown.push_str("  ");
                }
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                if column.right {
                    shown.push_str(&padding);
                    shown.push_str(cell);
                } else {
                    shown.push_str(cell);
                    shown.push_str(&padding);
                }
            }
            text.push_str(shown.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests;
