//! Every page image that a damaged journal still has, from file and log, whatever SQLite thinks of them; and the rows on
//! them. Format: <https://www.sqlite.org/fileformat2.html#b_tree_pages>.

use crate::journal::wal::Frame;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Largest row looked at, bytes: two configs and some.
const MAX_ROW_BYTES: u64 = 512 * 1024;

/// Where a page image lies.
#[derive(Clone, Copy)]
enum Place {
    Database(u64),
    Log(u64),
}

pub(super) struct Pages {
    database: File,
    log: Option<File>,
    page_bytes: usize,
    images: Vec<Place>,
    /// Newest image of each page number: what overflow chains are followed through.
    newest: HashMap<u32, Place>,
}

/// A row as it lies on a leaf page: its row id and its columns.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) columns: Vec<Value>,
}

pub(super) enum Value {
    Null,
    Integer(i64),
    Blob(Vec<u8>),
    Other,
}

impl Pages {
    pub(super) fn new(
        database: File,
        log: Option<File>,
        frames: &[Frame],
        page_bytes: usize,
    ) -> io::Result<Self> {
        let length = database.metadata()?.len();
        let mut pages = Self { database, log, page_bytes, images: Vec::new(), newest: HashMap::new() };
        let mut number = 1;
        let mut offset = 0;
        while offset + page_bytes as u64 <= length {
            pages.images.push(Place::Database(offset));
            pages.newest.insert(number, Place::Database(offset));
            number += 1;
            offset += page_bytes as u64;
        }
        for frame in frames {
            pages.images.push(Place::Log(frame.offset));
            pages.newest.insert(frame.page, Place::Log(frame.offset));
        }
        Ok(pages)
    }

    /// Hands every row of every page to `take`, oldest image first.
    pub(super) fn rows(&mut self, mut take: impl FnMut(Row)) {
        let mut page = vec![0u8; self.page_bytes];
        for place in self.images.clone() {
            // A sector that can't be read costs its page, not the salvage.
            if self.read(place, &mut page).is_err() {
                continue;
            }
            // The file's own header comes before the first page's.
            let start = if matches!(place, Place::Database(0)) || page.starts_with(b"SQLite format 3\0") {
                100
            } else {
                0
            };
            // Neither the page's type nor its count of cells is trusted: a flipped bit in either would cost the whole page,
            // and what makes no sense as a row is passed over anyway.
            for slot in (start + 8..page.len() / 2).step_by(2) {
                let at = short(&page, slot).map_or(0, usize::from);
                if at == 0 {
                    break;
                }
                if let Some(row) = self.cell(&page, at) {
                    take(row);
                }
            }
        }
    }

    fn read(&mut self, place: Place, page: &mut [u8]) -> io::Result<()> {
        let (file, offset) = match (place, &mut self.log) {
            (Place::Database(offset), _) => (&mut self.database, offset),
            (Place::Log(offset), Some(log)) => (log, offset),
            (Place::Log(_), None) => return Err(io::ErrorKind::NotFound.into()),
        };
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(page)
    }

    fn cell(&mut self, page: &[u8], at: usize) -> Option<Row> {
        let cell = page.get(at..)?;
        let (length, cell) = varint(cell)?;
        let (id, cell) = varint(cell)?;
        if length > MAX_ROW_BYTES {
            return None;
        }
        let length = usize::try_from(length).ok()?;
        let usable = self.page_bytes;
        let most = usable - 35;
        let columns = if length <= most {
            columns(cell.get(..length)?)?
        } else {
            let least = (usable - 12) * 32 / 255 - 23;
            let fitting = least + (length - least) % (usable - 4);
            let local = if fitting <= most { fitting } else { least };
            let mut payload = cell.get(..local)?.to_vec();
            let mut next = long(cell, local)?;
            let mut image = vec![0u8; usable];
            while payload.len() < length {
                let place = *self.newest.get(&next)?;
                self.read(place, &mut image).ok()?;
                next = long(&image, 0)?;
                let missing = length - payload.len();
                payload.extend_from_slice(image.get(4..4 + missing.min(usable - 4))?);
            }
            columns(&payload)?
        };
        Some(Row { id: i64::from_ne_bytes(id.to_ne_bytes()), columns })
    }
}

/// The columns of a row's payload; `None` when its header makes no sense.
fn columns(payload: &[u8]) -> Option<Vec<Value>> {
    let (header, rest) = varint(payload)?;
    let header = usize::try_from(header).ok()?;
    let mut types = rest.get(..header.checked_sub(payload.len() - rest.len())?)?;
    let mut body = payload.get(header..)?;
    let mut columns = Vec::new();
    while !types.is_empty() {
        let (kind, after) = varint(types)?;
        types = after;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            blob_or_text => usize::try_from((blob_or_text - 12) / 2).ok()?,
        };
        let (value, after) = body.split_at_checked(size)?;
        body = after;
        columns.push(match kind {
            0 => Value::Null,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            1..=6 => {
                let start = if value.first().is_some_and(|b| b & 0x80 != 0) { -1_i64 } else { 0 };
                Value::Integer(value.iter().fold(start, |n, b| (n << 8) | i64::from(*b)))
            }
            even if even >= 12 && even % 2 == 0 => Value::Blob(value.to_vec()),
            _ => Value::Other,
        });
        if columns.len() > 16 {
            return None;
        }
    }
    Some(columns)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (index, &byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some(((number << 8) | u64::from(byte), bytes.get(9..)?));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
