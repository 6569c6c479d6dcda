//! One bit of the journal's files is flipped. Either nothing at all is different, or it is noticed: the file is set aside,
//! what can be read is kept or written again, and a new epoch begins. No number ever means two things.
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::Journal;
use fleet_client::journal::sqlite::{Options, SqliteJournal};
use journal_common::{Names, boot, epoch, names_in, open_epoch_if_due, sales_in, sell, transaction};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use vend_core::id::TransactionId;
use vend_core::record::EpochReason;
use vendfleet_faultfs::FaultFs;

const SALES: u64 = 40;
const FLIPS_PER_PAGE: usize = 14;
const PAGE: usize = 4096;
const SEED: u64 = 20_261_121;

/// Its syncs cost nothing; what is damaged here is damaged by hand.
fn quick() -> Options {
    Options { vfs: Some(FaultFs::register().name().into()), ..Options::default() }
}

struct Sound {
    files: BTreeMap<String, Vec<u8>>,
    names: Names,
    sales: BTreeSet<TransactionId>,
}

/// A journal as it lies on the medium: after a clean stop (all in the file), or killed, with its log still full and the
/// note of how far it was told.
fn sound(stopped: bool) -> Sound {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    for sale in 1..=SALES {
        sell(&mut journal, sale).unwrap();
    }
    let names = names_in(&mut journal);
    let sales = (1..=SALES).map(transaction).collect();
    let still_open = if stopped {
        drop(journal);
        None
    } else {
        Some(journal)
    };
    let mut files = BTreeMap::new();
    for name in ["journal.db", "journal.db-wal", "journal.told"] {
        if let Ok(bytes) = std::fs::read(dir.path().join(name)) {
            files.insert(name.to_owned(), bytes);
        }
    }
    drop(still_open);
    Sound { files, names, sales }
}

#[derive(Default, Debug)]
struct Tally {
    harmless: u32,
    salvaged: u32,
    sales_lost: u32,
}

/// Opens what is left, and checks every promise.
fn check(sound: &Sound, damage: &dyn Fn(&Path), what: &str, tally: &mut Tally) {
    let (dir, options) = (tempfile::tempdir().unwrap(), quick());
    for (name, bytes) in &sound.files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    damage(dir.path());
    let mut journal =
        SqliteJournal::open(dir.path(), &options, epoch(2)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let recovered = journal.recovered().clone();
    match &recovered.salvage {
        None => {
            assert_eq!(names_in(&mut journal), sound.names, "{what}: not noticed, and not harmless");
            assert_eq!(recovered.stored.durable.counters.lifetime.vends, SALES, "{what}");
            tally.harmless += 1;
        }
        Some(report) => {
            assert!(recovered.opens_epoch && recovered.epoch == epoch(2), "{what}: {report:?}");
            if let Some(parent) = recovered.parent {
                assert_eq!((parent.epoch, parent.reason), (epoch(1), EpochReason::Salvaged), "{what}");
                assert!(parent.highest_seq >= parent.last_common_seq, "{what}");
                assert!(parent.highest_seq <= SALES + 1, "{what}: {parent:?}");
            }
            assert!(dir.path().join(&report.set_aside).exists(), "{what}: {report:?}");
            tally.salvaged += 1;
        }
    }
    open_epoch_if_due(&mut journal);
    let readable: BTreeSet<TransactionId> = sales_in(&mut journal).into_iter().collect();
    // A sale whose outcome was torn off is still in hand: the machine writes it down as OUTCOME_UNKNOWN.
    let in_hand = recovered.stored.durable.intent.map(|i| i.transaction);
    let lost = sound.sales.difference(&readable).filter(|sale| Some(**sale) != in_hand).count();
    assert!(lost == 0 || recovered.salvage.is_some(), "{what}");
    if let Some(report) = &recovered.salvage
        && recovered.parent.is_some()
    {
        assert!(lost as u64 <= report.lost, "{what}: {lost} sales gone, {report:?}");
    }
    tally.sales_lost += u32::try_from(lost).unwrap();
    sell(&mut journal, SALES + 1).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (name, hash) in names_in(&mut journal) {
        assert!(sound.names.get(&name).is_none_or(|h| *h == hash), "{what}: seq {} means two things", name.1);
    }
    journal.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    // And it stays so.
    drop(journal);
    let journal = SqliteJournal::open(dir.path(), &options, epoch(3)).unwrap();
    assert!(!journal.recovered().opens_epoch, "{what}: salvaged twice");
}

fn flip_everywhere(stopped: bool, name: &str, flips_per_page: usize) -> Tally {
    let sound = sound(stopped);
    let length = sound.files[name].len();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut tally = Tally::default();
    for page in (0..length).step_by(PAGE) {
        let end = (page + PAGE).min(length);
        // In the file also the page's own header, where a flip hurts most.
        let header = if stopped { vec![page, page + 4] } else { vec![] };
        let anywhere = (header.len()..flips_per_page).map(|_| random.random_range(page..end));
        let places: Vec<usize> = header.iter().copied().chain(anywhere).collect();
        for at in places {
            let bit = random.random_range(0..8);
            let flip = |dir: &Path| {
                let path = dir.join(name);
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, bytes).unwrap();
            };
            check(&sound, &flip, &format!("{name}, byte {at}, bit {bit}, seed {SEED}"), &mut tally);
        }
    }
    tally
}

#[test]
fn a_flipped_bit_in_the_file_is_noticed_or_harmless() {
    let tally = flip_everywhere(true, "journal.db", FLIPS_PER_PAGE);
    assert!(tally.salvaged > 20 && tally.harmless > 20, "{tally:?}");
}

#[test]
fn a_flipped_bit_in_the_log_loses_no_later_commit() {
    let tally = flip_everywhere(false, "journal.db-wal", 2);
    // Later frames repeat most of an earlier one: hardly a sale is beyond reach.
    assert!(tally.salvaged > 100 && tally.sales_lost <= 3, "{tally:?}");
}

/// Only what a write returned for can be missed. A kill may leave the log in the same state; then the note says that nobody
/// was told of what lies behind.
#[test]
fn a_hit_on_the_last_commit_is_damage_though_the_process_was_only_killed() {
    let sound = sound(false);
    let log = &sound.files["journal.db-wal"];
    // A commit is two frames and a frame is a header and a page: from the last page back to the first of the two.
    let frame = 24 + 2048;
    for at in [log.len() - 1, log.len() - frame + 8, log.len() - 2 * frame, log.len() - 2 * frame + 24] {
        let flip = |dir: &Path| {
            let mut bytes = log.clone();
            bytes[at] ^= 1;
            std::fs::write(dir.join("journal.db-wal"), bytes).unwrap();
        };
        let mut tally = Tally::default();
        check(&sound, &flip, &format!("log byte {at}"), &mut tally);
        assert_eq!(tally.salvaged, 1, "log byte {at}: {tally:?}");
    }
}

#[test]
fn a_note_that_is_damaged_or_gone_does_a_sound_journal_no_harm() {
    let sound = sound(false);
    let mut tally = Tally::default();
    for at in 0..sound.files["journal.told"].len() {
        let flip = |dir: &Path| {
            let mut bytes = sound.files["journal.told"].clone();
            bytes[at] ^= 1;
            std::fs::write(dir.join("journal.told"), bytes).unwrap();
        };
        check(&sound, &flip, &format!("note byte {at}"), &mut tally);
    }
    check(&sound, &|dir| std::fs::remove_file(dir.join("journal.told")).unwrap(), "no note", &mut tally);
    assert_eq!(tally.salvaged, 0, "{tally:?}");
}

#[test]
fn a_log_whose_header_is_hit_is_salvaged_from_its_frames() {
    let sound = sound(false);
    let mut tally = Tally::default();
    for byte in 0..32 {
        let flip = |dir: &Path| {
            let path = dir.join("journal.db-wal");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[byte] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        };
        check(&sound, &flip, &format!("log header byte {byte}"), &mut tally);
    }
    assert_eq!((tally.salvaged, tally.sales_lost), (32, 0), "{tally:?}");
}

#[test]
fn a_file_of_nothing_but_noise_is_set_aside() {
    let sound = sound(true);
    let mut tally = Tally::default();
    let noise = |dir: &Path| {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let bytes: Vec<u8> = (0..5 * PAGE).map(|_| random.random()).collect();
        std::fs::write(dir.join("journal.db"), bytes).unwrap();
    };
    check(&sound, &noise, "noise", &mut tally);
    assert_eq!(tally.salvaged, 1);
}

#[test]
fn an_interrupted_salvage_is_finished_or_begun_again() {
    // The order file says that the fresh file is whole; here the cut came after the old log had been moved away.
    let sound = sound(false);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("journal.damaged-1"), &sound.files["journal.db"]).unwrap();
    std::fs::write(dir.path().join("journal.damaged-1-wal"), &sound.files["journal.db-wal"]).unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(journal_common::open(other.path(), &Options::default(), epoch(5)));
    std::fs::copy(other.path().join("journal.db"), dir.path().join("journal.new")).unwrap();
    std::fs::write(dir.path().join("journal.order"), "journal.damaged-1\n").unwrap();
    let journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(6)).unwrap();
    assert_eq!(journal.recovered().epoch, epoch(5));
    assert!(!dir.path().join("journal.order").exists());
    drop(journal);

    // Without an order the fresh file was never whole: it goes, and the journal is what it was.
    std::fs::write(dir.path().join("journal.new"), b"half").unwrap();
    let journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(7)).unwrap();
    assert_eq!(journal.recovered().epoch, epoch(5));
    assert!(!dir.path().join("journal.new").exists());
}
