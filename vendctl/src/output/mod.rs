//! What a command says: tables and details for people, the contract's JSON for programs.

pub(crate) mod contract;
pub(crate) mod detail;
pub mod money;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod when;

use crate::call::Found;
use crate::failure::Failure;
use contract::Contract;
use std::io::Write;
use table::{Column, Table};
use text::printable;

/// A message that has a row in a table.
pub(crate) trait Row: Contract {
    /// What the table shows.
    const COLUMNS: &'static [Column];

    /// One cell per column.
    fn cells(&self) -> Vec<String>;
}

/// Where a command's result goes, and in which form.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, json: bool) -> Self {
        Self { out, err, json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A list: a table, or an object per line.
    pub(crate) fn list<M: Row>(&mut self, found: &Found<M>) -> Result<(), Failure> {
        if self.json {
            found.items.iter().try_for_each(|item| self.json_line(item))?;
        } else {
            self.table(&found.items)?;
        }
        if found.more {
            self.hint(&format!("the first {}: there are more, raise --limit", found.items.len()))?;
        }
        Ok(())
    }

    /// One message: every field that says something, or an object.
    pub(crate) fn one<M: Contract>(&mut self, message: &M) -> Result<(), Failure> {
        if self.json {
            return self.json_line(message);
        }
        Ok(self.out.write_all(detail::render(message)?.as_bytes())?)
    }

    pub(crate) fn table<M: Row>(&mut self, items: &[M]) -> Result<(), Failure> {
        let mut table = Table::new(M::COLUMNS);
        for item in items {
            table.push(item.cells());
        }
        self.text(&table.render())
    }

    /// One message of a stream, shown at once: a line of cells, or an object.
    pub(crate) fn event<M: Contract>(&mut self, message: &M, cells: &[String]) -> Result<(), Failure> {
        if self.json {
            self.json_line(message)?;
        } else {
            let shown =
                cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(cell) });
            writeln!(self.out, "{}", shown.collect::<Vec<_>>().join("  "))?;
        }
        Ok(self.out.flush()?)
    }

    pub(crate) fn json_line<M: Contract>(&mut self, message: &M) -> Result<(), Failure> {
        contract::write_json(message, self.out)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// An object of our own, where a command sums up what several calls said.
    pub(crate) fn json_value(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{value}")?)
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Something to know beside the result.
    pub(crate) fn hint(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(writeln!(self.err, "{}", serde_json::json!({ "hint": text }))?);
        }
        Ok(writeln!(self.err, "vendctl: {text}")?)
    }
}
