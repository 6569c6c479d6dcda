//! Reads SQLite's write-ahead log without SQLite, to see what SQLite does not say: recovery stops at the first frame
//! whose checksum fails and takes everything after it for leftovers. A single flipped bit so loses every later commit,
//! and `integrity_check` says ok.
//!
//! Frames of this log's generation (same salts) behind such a frame tell the difference. At most one transaction can
//! have been unsynced when the power went; so if more than one lies there, or the log's own header fails (it is synced
//! before the first frame), the log is damaged. If just one lies there, it was torn by the cut or hit later: nobody can
//! say which, so the number it may have used is not used again. Only when no power was cut is there a note that can say
//! (see `sqlite/told.rs`).
//!
//! Format: <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// A frame whose salts differ in no more bits than this was hit, not left over: leftover salts are random.
const MOST_FLIPPED_SALT_BITS: u32 = 4;

/// How a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::journal) enum Tail {
    /// At its last commit, or in a transaction that was never finished.
    Clean,
    /// In one transaction that does not check: torn by a cut, or hit in its last commit.
    Torn,
    /// Before commits that had been synced.
    Damaged,
}

/// One frame of this log's generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::journal) struct Frame {
    /// Page it holds, if its header can be believed.
    pub(in crate::journal) page: u32,
    /// Where its page's bytes begin in the log.
    pub(in crate::journal) offset: u64,
}

/// Bytes of a written [`LogEnd`].
pub(in crate::journal) const END_BYTES: usize = 8 + FRAME_HEADER_BYTES;

/// Where the last commit in a log ends. All zero: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::journal) struct LogEnd {
    /// Frames up to it.
    pub(in crate::journal) frames: u64,
    /// The header of the last one: its checksums stand for all before it.
    pub(in crate::journal) header: [u8; FRAME_HEADER_BYTES],
}

impl LogEnd {
    pub(in crate::journal) fn to_bytes(self) -> [u8; END_BYTES] {
        let mut bytes = [0; END_BYTES];
        let (frames, header) = bytes.split_at_mut(8);
        frames.copy_from_slice(&self.frames.to_be_bytes());
        header.copy_from_slice(&self.header);
        bytes
    }

    pub(in crate::journal) fn from_bytes(bytes: &[u8; END_BYTES]) -> Option<Self> {
        let (frames, header) = bytes.split_first_chunk()?;
        Some(Self { frames: u64::from_be_bytes(*frames), header: header.try_into().ok()? })
    }

    fn salts(&self) -> (u32, u32) {
        (word(&self.header, 8), word(&self.header, 12))
    }
}

/// A log as it lies on the medium.
pub(in crate::journal) struct Log {
    pub(in crate::journal) tail: Tail,
    pub(in crate::journal) frames: Vec<Frame>,
    /// The last commit that checks.
    pub(in crate::journal) end: LogEnd,
    /// They name its generation.
    salts: (u32, u32),
}

impl Log {
    /// Whether nothing was committed between `end` and this log's last commit.
    pub(in crate::journal) fn ends_at(&self, end: &LogEnd) -> bool {
        // When the log begins again, all of the generation before is in the file, and the first salt goes up by one.
        let next_generation = || end.salts().0.wrapping_add(1) == self.salts.0;
        self.end == *end || (self.end.frames == 0 && end.frames > 0 && next_generation())
    }

    /// Whether this log has lost commits that it had up to `end`.
    pub(in crate::journal) fn is_short_of(&self, end: &LogEnd) -> bool {
        self.end.frames < end.frames && self.salts == end.salts()
    }

    /// Takes what was begun behind the last commit out of the log at `path`: the headers, from the last to the first, so
    /// that what is left after a kill in between is unfinished still. It needs no room.
    pub(in crate::journal) fn erase_unfinished(&self, path: &Path) -> io::Result<()> {
        let kept = usize::try_from(self.end.frames).unwrap_or(usize::MAX);
        let unfinished = self.frames.get(kept..).unwrap_or_default();
        if unfinished.is_empty() {
            return Ok(());
        }
        let mut file = File::options().write(true).open(path)?;
        for frame in unfinished.iter().rev() {
            file.seek(SeekFrom::Start(frame.offset - FRAME_HEADER_BYTES as u64))?;
            file.write_all(&[0; FRAME_HEADER_BYTES])?;
        }
        file.sync_data()
    }
}

/// Where a frame's header lies in the log; the first is frame 0.
pub(in crate::journal) fn frame_offset(index: u64, page_bytes: u64) -> u64 {
    HEADER_BYTES as u64 + index * (FRAME_HEADER_BYTES as u64 + page_bytes)
}

/// Reads a log; a missing one is clean and empty.
pub(in crate::journal) fn inspect(path: &Path, page_bytes: usize) -> io::Result<Log> {
    let mut log = Log { tail: Tail::Clean, frames: Vec::new(), end: LogEnd::default(), salts: (0, 0) };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut header = [0u8; HEADER_BYTES];
    if length < (HEADER_BYTES + frame_bytes) as u64 || !read_whole(&mut reader, &mut header)? {
        return Ok(log);
    }
    let magic = word(&header, 0);
    let big_endian = magic & 1 == 1;
    let mut sum = checksum(big_endian, (0, 0), &header[..24]);
    let header_holds = magic & !1 == 0x377f_0682
        && word(&header, 8) as usize == page_bytes
        && sum == (word(&header, 24), word(&header, 28));

    log.salts = (word(&header, 16), word(&header, 20));
    let mut salts = header_holds.then_some(log.salts);
    let mut chained = header_holds;
    // Frames and commits of this generation behind the last commit that checks.
    let (mut behind, mut commits_behind, mut after_commit) = (0u64, 0u64, false);
    let mut frame = vec![0u8; frame_bytes];
    let mut offset = HEADER_BYTES as u64;
    while read_whole(&mut reader, &mut frame)? {
        let Some((&header, page)) = frame.split_first_chunk() else { break };
        let head: &[u8; FRAME_HEADER_BYTES] = &header;
        let found = (word(head, 8), word(head, 12));
        let salts = *salts.get_or_insert(found);
        let flipped = (found.0 ^ salts.0).count_ones() + (found.1 ^ salts.1).count_ones();
        if flipped <= MOST_FLIPPED_SALT_BITS {
            log.frames.push(Frame { page: word(head, 0), offset: offset + FRAME_HEADER_BYTES as u64 });
            let commit = word(head, 4) != 0;
            if chained {
                sum = checksum(big_endian, checksum(big_endian, sum, &head[..8]), page);
                chained = flipped == 0 && sum == (word(head, 16), word(head, 20));
                if chained && commit {
                    log.end = LogEnd { frames: log.frames.len() as u64, header };
                }
            }
            if !chained {
                after_commit |= commits_behind > 0;
                behind += 1;
                commits_behind += u64::from(commit);
            }
        } else {
            chained = false;
        }
        offset += frame_bytes as u64;
    }
    log.tail = match (header_holds, behind) {
        (true, 0) => Tail::Clean,
        (true, _) if !after_commit => Tail::Torn,
        _ => Tail::Damaged,
    };
    Ok(log)
}

fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|w| w.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn checksum(big_endian: bool, mut sum: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (pairs, _) = bytes.as_chunks::<8>();
    for &[a, b, c, d, e, f, g, h] in pairs {
        let (x, y) = if big_endian {
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        } else {
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
        };
        sum.0 = sum.0.wrapping_add(x).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(y).wrapping_add(sum.0);
    }
    sum
}
