//! The medium is full, or fails, at each write in turn: the commit refuses, nothing that was durable is touched, and it
//! works again when the medium does.
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Acknowledgement, Journal, JournalError, Room};
use journal_common::{boot, epoch, fault, intent, names_in, outcome, sell};
use vend_core::id::ProductId;
use vend_core::machine::SlotLevel;
use vendfleet_faultfs::{Fault, FaultFs};

fn open(dir: &std::path::Path, medium: &FaultFs) -> SqliteJournal {
    let options = Options { vfs: Some(medium.name().into()), ..Options::default() };
    let mut journal = SqliteJournal::open(dir, &options, epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    journal
}

/// Fails the n-th write of a run of sales, for every n, and then lets the medium work again.
fn fails_at_each_write(kind: Fault, expected: fn(&JournalError) -> bool) {
    for after in 0..40 {
        let (dir, medium) = (tempfile::tempdir().unwrap(), FaultFs::register());
        let mut journal = open(dir.path(), &medium);
        medium.fail_writes_after(after, kind);
        let mut sold = 0;
        let error = loop {
            match sell(&mut journal, sold + 1) {
                Ok(_) => sold += 1,
                Err(error) => break error,
            }
        };
        assert!(expected(&error), "write {after}: {error}");
        let names = names_in(&mut journal);
        assert_eq!(names.len() as u64, sold + 1, "write {after}: a refused record is visible");
        if kind == Fault::Full {
            assert_eq!(journal.room(), Room::Full, "write {after}: selling must stop");
        }

        medium.heal();
        assert_eq!(journal.room(), Room::Plenty, "write {after}");
        let next = sell(&mut journal, sold + 1).unwrap();
        assert_eq!(next.last_seq, sold + 2, "write {after}: a gap in the numbers");
        let now = names_in(&mut journal);
        assert!(names.iter().all(|(name, hash)| now.get(name) == Some(hash)), "write {after}");

        // What the failed write left in the log is not taken for damage at the next start.
        drop(journal);
        let mut journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(2)).unwrap();
        assert_eq!(journal.recovered().salvage, None, "write {after}");
        assert_eq!(names_in(&mut journal), now, "write {after}");
    }
}

#[test]
fn a_full_medium_refuses_the_commit_and_loses_nothing() {
    fails_at_each_write(Fault::Full, |e| matches!(e, JournalError::Full(_)));
}

#[test]
fn a_failing_medium_refuses_the_commit_and_loses_nothing() {
    fails_at_each_write(Fault::Broken, |e| matches!(e, JournalError::Io(_)));
}

#[test]
fn a_failed_sync_is_a_failed_commit() {
    for after in 0..12 {
        let (dir, medium) = (tempfile::tempdir().unwrap(), FaultFs::register());
        let mut journal = open(dir.path(), &medium);
        medium.fail_syncs_after(after);
        let mut committed = 1;
        while let Ok(done) = sell(&mut journal, committed) {
            committed = done.last_seq;
        }
        medium.heal();
        let before = names_in(&mut journal);
        assert_eq!(before.len() as u64, committed, "sync {after}");
        let next = sell(&mut journal, committed).unwrap();
        assert_eq!(next.last_seq, committed + 1, "sync {after}");
        let now = names_in(&mut journal);
        assert!(before.iter().all(|(name, hash)| now.get(name) == Some(hash)), "sync {after}");
    }
}

/// The journal's own bound: unsent records fill it, telemetry and then selling give way, and the vend in hand still fits.
#[test]
fn a_full_journal_stops_selling_with_room_for_the_vend_in_hand() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = Some(FaultFs::register().name().into());
    let options = Options { max_bytes: 512 * 1024, reserve_bytes: 128 * 1024, vfs };
    let mut journal = SqliteJournal::open(dir.path(), &options, epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    let mut sale = 0;
    while journal.room() == Room::Plenty {
        sale += 1;
        sell(&mut journal, sale).unwrap();
    }
    assert_eq!(journal.room(), Room::Low);
    let told = names_in(&mut journal);
    // Telemetry first.
    assert_eq!(journal.commit(&fault(sale)).unwrap().left_out, 1);
    assert_eq!(names_in(&mut journal), told);
    // The vend in hand and what follows from it.
    for _ in 0..20 {
        sale += 1;
        journal.commit(&intent(sale)).unwrap();
        journal.commit(&outcome(sale)).unwrap();
    }
    // Whoever does not stop is refused in the end, and nothing is lost.
    let error = loop {
        sale += 1;
        if let Err(error) = sell(&mut journal, sale) {
            break error;
        }
    };
    assert!(matches!(error, JournalError::Full(_)), "{error}");
    assert_eq!(journal.room(), Room::Full);
    let names = names_in(&mut journal);
    assert!(told.iter().all(|(name, hash)| names.get(name) == Some(hash)));
    assert!(std::fs::metadata(dir.path().join("journal.db")).unwrap().len() <= options.max_bytes);

    // What the server has makes room, though its days are not over.
    let last = names.len() as u64;
    let acknowledgement = Acknowledgement {
        epoch: epoch(1),
        accepted_through: last,
        durable_through: last,
        now_ms: 0,
        keep_days: 30,
        verdicts: vec![],
        facts: vec![],
    };
    journal.acknowledge(&acknowledgement).unwrap();
    assert_eq!(journal.room(), Room::Plenty);
    assert_eq!(sell(&mut journal, sale).unwrap().last_seq, last + 1);
    journal.verify().unwrap();
}

/// What a sale costs the flash: one sync for each of its two commits, and the bytes that docs and benches quote.
#[test]
fn a_sale_is_two_syncs_and_less_than_8_kb() {
    let (dir, medium) = (tempfile::tempdir().unwrap(), FaultFs::register());
    let mut journal = open(dir.path(), &medium);
    let sales = 2_000;
    let before = medium.stats();
    for sale in 1..=sales {
        // A machine with 40 slots.
        for mut commit in [intent(sale), outcome(sale)] {
            let level = |slot| SlotLevel {
                slot,
                product: ProductId([3; 16]),
                units: 10,
                failures: 0,
                faulted: false,
            };
            commit.state.slots = (10..50).map(level).collect();
            journal.commit(&commit).unwrap();
        }
    }
    let after = medium.stats();
    let (syncs, bytes) = (after.syncs - before.syncs, after.bytes - before.bytes);
    println!("{sales} sales, two commits each: {syncs} syncs, {} bytes a sale", bytes / sales);
    // Folding the log in costs a few more, once a MiB.
    assert!(syncs <= sales * 2 + 4 * (bytes / 1_048_576 + 1), "{syncs} syncs");
    assert!(bytes / sales <= 8_000, "{} bytes a sale", bytes / sales);
}
