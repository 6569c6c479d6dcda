//! The files as a power cut may leave them.

use crate::medium::Event;
use std::collections::BTreeMap;

const SECTOR_BYTES: usize = 512;

/// What becomes of writes that were not synced when the power went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// All are lost.
    Nothing,
    /// All are there: the process died, the system lived.
    Everything,
    /// Each sector holds one of the versions it had since the last sync, drawn with this seed.
    Some(u64),
}

/// One file: what is certainly on the medium, and what may be.
#[derive(Default)]
struct Lying {
    synced: Vec<u8>,
    /// As the process sees it.
    written: Vec<u8>,
    /// Versions of each sector since the last sync, oldest first.
    versions: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Lengths since the last sync.
    lengths: Vec<usize>,
}

pub(crate) fn image(log: &[Event], cut: usize, keep: Keep) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Lying> = BTreeMap::new();
    for event in log.iter().take(cut) {
        match event {
            Event::Create { file } => {
                files.entry(file.clone()).or_default();
            }
            Event::Write { file, offset, bytes } => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                files.entry(file.clone()).or_default().write(offset, bytes);
            }
            Event::Truncate { file, size } => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                let lying = files.entry(file.clone()).or_default();
                lying.written.resize(size, 0);
                lying.lengths.push(size);
            }
            Event::Sync { file } => files.entry(file.clone()).or_default().sync(),
            // Directory changes are taken as durable: the journal deletes only a log it has folded in and synced.
            Event::Delete { file } => drop(files.remove(file)),
        }
    }
    let mut random = match keep {
        Keep::Some(seed) => seed,
        Keep::Nothing | Keep::Everything => 0,
    };
    files.into_iter().map(|(name, lying)| (name, lying.after_cut(keep, &mut random))).collect()
}

impl Lying {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.written.len() < end {
            self.written.resize(end, 0);
            self.lengths.push(end);
        }
        self.written[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
            let start = sector * SECTOR_BYTES;
            let stop = (start + SECTOR_BYTES).min(self.written.len());
            self.versions.entry(sector).or_default().push(self.written[start..stop].to_vec());
        }
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.written);
        self.versions.clear();
        self.lengths.clear();
    }

    fn after_cut(self, keep: Keep, random: &mut u64) -> Vec<u8> {
        match keep {
            Keep::Nothing => self.synced,
            Keep::Everything => self.written,
            Keep::Some(_) => {
                let mut left = self.synced;
                for (sector, versions) in self.versions {
                    // One more choice than versions: the one that was there before.
                    let choice = draw(random) % (versions.len() + 1);
                    let Some(bytes) = choice.checked_sub(1).and_then(|c| versions.get(c)) else { continue };
                    let start = sector * SECTOR_BYTES;
                    if left.len() < start + bytes.len() {
                        left.resize(start + bytes.len(), 0);
                    }
                    left[start..start + bytes.len()].copy_from_slice(bytes);
                }
                let shorter = self.lengths.into_iter().filter(|l| *l < left.len()).min();
                if let Some(length) = shorter
                    && draw(random).is_multiple_of(4)
                {
                    left.truncate(length);
                }
                left
            }
        }
    }
}

/// SplitMix64.
fn draw(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 16).unwrap_or(0)
}
