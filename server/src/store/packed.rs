//! Many SQLite rows in one text.
//!
//! A row through the driver costs an allocation per value and a wake-up of the waiting task: most of what a batch's load cost.
//! So the load asks SQLite for all rows as one text of SQL literals, `X'0A0B',12,NULL;X'...'`, and reads them here.

use super::bulk::Kind;
use super::error::StoreError;
use super::tx::{Conn, Session};
use super::value::{Arg, Raw, Row, bind_sqlite};
use sqlx::{AssertSqlSafe, Row as _};

/// The rows of a `select` with these columns: on PostgreSQL as the driver gives them, on SQLite packed, in any order.
pub(super) async fn fetch(
    session: &mut Session,
    select: String,
    columns: &[Kind],
    args: &[Arg<'_>],
) -> Result<Vec<Row>, StoreError> {
    let Conn::Sqlite(conn) = session.conn() else { return session.all(AssertSqlSafe(select), args).await };
    let query = sqlx::query_with(AssertSqlSafe(statement(&select, columns)), bind_sqlite(args)?);
    let row = query.fetch_one(conn).await?;
    let Some(text) = row.try_get::<Option<&str>, usize>(0)? else { return Ok(Vec::new()) };
    Ok(rows(text, columns.len())?.into_iter().map(|row| Row(Raw::Packed(row))).collect())
}

/// One value of a packed row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    Null,
    Int(i64),
    /// Bytes, or a text's UTF-8.
    Bytes(Vec<u8>),
}

/// `select` with these columns, as a statement of one row with one text, NULL where there are no rows.
pub(super) fn statement(select: &str, columns: &[Kind]) -> String {
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let literals: Vec<String> = columns
        .iter()
        .zip(&names)
        .map(|(kind, name)| match kind {
            // As bytes: a text's own literal would end at a NUL.
            Kind::Text => format!("quote(CAST({name} AS BLOB))"),
            Kind::Int | Kind::Bool | Kind::Bytes => format!("quote({name})"),
        })
        .collect();
    format!(
        "WITH packed ({}) AS ({select}) SELECT group_concat(concat_ws(',', {}), ';') FROM packed",
        names.join(", "),
        literals.join(", ")
    )
}

/// The rows of a packed text.
pub(super) fn rows(text: &str, columns: usize) -> Result<Vec<Vec<Cell>>, StoreError> {
    let mut rows = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        let mut cells = Vec::with_capacity(columns);
        let ended_by = loop {
            let (cell, after) = cell(rest).ok_or_else(broken)?;
            cells.push(cell);
            match after.split_first() {
                Some((b',', after)) => rest = after,
                ended_by => break ended_by,
            }
        };
        if cells.len() != columns {
            return Err(broken());
        }
        rows.push(cells);
        match ended_by {
            None => return Ok(rows),
            Some((b';', after)) => rest = after,
            Some(_) => return Err(broken()),
        }
    }
}

/// The literal that a text begins with, and what comes after it.
fn cell(text: &[u8]) -> Option<(Cell, &[u8])> {
    if let Some(digits) = text.strip_prefix(b"X'") {
        let end = digits.iter().position(|byte| *byte == b'\'')?;
        return Some((Cell::Bytes(hex::decode(&digits[..end]).ok()?), &digits[end + 1..]));
    }
    let end = text.iter().position(|byte| matches!(byte, b',' | b';')).unwrap_or(text.len());
    let (literal, after) = text.split_at(end);
    if literal == b"NULL" {
        return Some((Cell::Null, after));
    }
    let number = std::str::from_utf8(literal).ok()?.parse().ok()?;
    Some((Cell::Int(number), after))
}

fn broken() -> StoreError {
    StoreError::corrupt("packed rows are not the literals they must be")
}

/// What a cell can be read as.
pub(super) trait Unpack<'r>: Sized {
    fn unpack(cell: &'r Cell) -> Option<Self>;
}

/// The value at a place of a row.
pub(super) fn get<'r, T: Unpack<'r>>(cells: &'r [Cell], at: usize) -> Result<T, StoreError> {
    let cell = cells.get(at).and_then(T::unpack);
    cell.ok_or_else(|| StoreError::corrupt(format!("column {at}: of another type, or missing")))
}

impl<'r> Unpack<'r> for i64 {
    fn unpack(cell: &'r Cell) -> Option<Self> {
        if let Cell::Int(value) = cell { Some(*value) } else { None }
    }
}

impl<'r> Unpack<'r> for bool {
    fn unpack(cell: &'r Cell) -> Option<Self> {
        i64::unpack(cell).map(|value| value != 0)
    }
}

impl<'r> Unpack<'r> for &'r [u8] {
    fn unpack(cell: &'r Cell) -> Option<Self> {
        if let Cell::Bytes(bytes) = cell { Some(bytes) } else { None }
    }
}

impl<'r> Unpack<'r> for &'r str {
    fn unpack(cell: &'r Cell) -> Option<Self> {
        std::str::from_utf8(<&[u8]>::unpack(cell)?).ok()
    }
}

impl<'r, T: Unpack<'r>> Unpack<'r> for Option<T> {
    fn unpack(cell: &'r Cell) -> Option<Self> {
        if *cell == Cell::Null { Some(None) } else { T::unpack(cell).map(Some) }
    }
}

#[cfg(test)]
mod tests;
