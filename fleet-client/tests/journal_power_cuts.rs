//! Power goes at every sync boundary, and what was not synced is dropped, reordered or torn. What a commit returned for
//! is there; nothing is numbered twice; and the chain holds.
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Acknowledgement, Journal};
use journal_common::{Names, boot, epoch, intent, names_in, open_epoch_if_due, outcome, sell, transaction};
use vend_core::id::TransactionId;
use vendfleet_faultfs::{FaultFs, Keep};

const SALES: u64 = 24;
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// What the machine had been told when the log was this long.
#[derive(Clone)]
struct Told {
    at: usize,
    names: Names,
    /// Sales whose outcome is durable.
    sold: u64,
    /// A sale whose intent is durable and whose outcome is not.
    in_hand: Option<TransactionId>,
}

/// Sells, acknowledges, prunes and checkpoints on the medium, and remembers what it was told when.
fn history(medium: &FaultFs, options: &Options) -> Vec<Told> {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path(), options, epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    let mut told = Vec::new();
    let mut note = |journal: &mut SqliteJournal, sold, in_hand| {
        told.push(Told { at: medium.now(), names: names_in(journal), sold, in_hand });
    };
    note(&mut journal, 0, None);
    for sale in 1..=SALES {
        journal.commit(&intent(sale)).unwrap();
        note(&mut journal, sale - 1, Some(transaction(sale)));
        journal.commit(&outcome(sale)).unwrap();
        note(&mut journal, sale, None);
        if sale % 8 == 0 {
            acknowledge(&mut journal, sale - 4);
            note(&mut journal, sale, None);
        }
    }
    // Closing folds the log into the file: more boundaries.
    drop(journal);
    told
}

fn acknowledge(journal: &mut SqliteJournal, through: u64) {
    journal
        .acknowledge(&Acknowledgement {
            epoch: epoch(1),
            accepted_through: through,
            durable_through: through,
            now_ms: 1_000,
            keep_days: 0,
            verdicts: vec![],
            facts: vec![("server".into(), b"one".to_vec())],
        })
        .unwrap();
}

#[test]
fn a_power_cut_at_any_sync_loses_nothing_a_commit_returned_for() {
    let medium = FaultFs::register();
    let told = history(&medium, &Options { vfs: Some(medium.name().into()), ..Options::default() });
    let mut cuts = medium.sync_points();
    cuts.push(medium.now());
    let mut images = 0;
    for cut in cuts {
        let keeps = [Keep::Nothing, Keep::Everything].into_iter().chain(SEEDS.map(Keep::Some));
        for keep in keeps {
            let before = told.iter().rev().find(|t| t.at <= cut);
            let after = told.iter().find(|t| t.at > cut);
            check(&medium, cut, keep, before, after);
            images += 1;
        }
    }
    assert!(images > 300, "only {images} images: the history has lost its syncs");
}

/// The same in the middle of what happens between two syncs: some writes have not even been made.
#[test]
fn a_power_cut_between_two_writes_loses_nothing_a_commit_returned_for() {
    let medium = FaultFs::register();
    let told = history(&medium, &Options { vfs: Some(medium.name().into()), ..Options::default() });
    for cut in (1..medium.now()).step_by(2) {
        let before = told.iter().rev().find(|t| t.at <= cut);
        let after = told.iter().find(|t| t.at > cut);
        check(&medium, cut, Keep::Some(cut as u64), before, after);
    }
}

fn check(medium: &FaultFs, cut: usize, keep: Keep, before: Option<&Told>, after: Option<&Told>) {
    let what = format!("cut {cut}, {keep:?}");
    let dir = tempfile::tempdir().unwrap();
    medium.write_image(dir.path(), cut, keep).unwrap();
    // The machine goes on on a medium whose syncs cost nothing.
    let options = Options { vfs: Some(FaultFs::register().name().into()), ..Options::default() };
    let mut journal =
        SqliteJournal::open(dir.path(), &options, epoch(2)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let recovered = journal.recovered().clone();
    let durable = &recovered.stored.durable;

    if let Some(before) = before {
        let names = names_in(&mut journal);
        // What a later acknowledgement pruned may be gone, and only that.
        let still_due = |name: &(vend_core::id::Epoch, u64)| after.is_none_or(|a| a.names.contains_key(name));
        for (name, hash) in before.names.iter().filter(|(name, _)| still_due(name)) {
            assert_eq!(names.get(name), Some(hash), "{what}: seq {} of {recovered:?}", name.1);
        }
        let sold = durable.counters.lifetime.vends;
        assert!(sold == before.sold || sold == before.sold + 1, "{what}: {sold} sold, told {}", before.sold);
        // An intent that was durable is still there, or its outcome is.
        if sold == before.sold
            && let Some(in_hand) = before.in_hand
        {
            assert_eq!(durable.intent.as_ref().map(|i| i.transaction), Some(in_hand), "{what}");
        }
    }
    // The world goes on: nothing that anybody can have seen gets another meaning.
    open_epoch_if_due(&mut journal);
    let next = journal.recovered().stored.durable.counters.lifetime.vends + 1;
    sell(&mut journal, next).unwrap_or_else(|e| panic!("{what}: {e}"));
    let names = names_in(&mut journal);
    for (name, hash) in before.iter().flat_map(|t| &t.names) {
        assert!(names.get(name).is_none_or(|h| h == hash), "{what}: seq {} means two things", name.1);
    }
    journal.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// The control: on this medium a database that does not sync does lose what its commits returned for.
#[test]
fn the_medium_bites_who_does_not_sync() {
    let medium = FaultFs::register();
    let dir = tempfile::tempdir().unwrap();
    let flags = rusqlite::OpenFlags::default();
    let open =
        || rusqlite::Connection::open_with_flags_and_vfs(dir.path().join("x.db"), flags, medium.name());
    let conn = open().unwrap();
    conn.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (n);",
    )
    .unwrap();
    conn.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    let image = medium.image(medium.now(), Keep::Nothing);
    assert!(image["x.db-wal"].is_empty(), "nothing was synced, so nothing is there");
    let image = medium.image(medium.now(), Keep::Everything);
    assert!(image["x.db-wal"].len() > 4096);
}
