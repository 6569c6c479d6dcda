//! What the journal promises the agent, without any fault.
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Acknowledgement, EpochOrder, Journal, JournalError, Verdict};
use journal_common::{all, boot, epoch, intent, names_in, open, sell, state};
use vend_core::config::Config;
use vend_core::id::{ConfigId, Epoch};
use vend_core::machine::{Commit, Configs};
use vend_core::record::{Body, EpochReason, Fault, Record};
use vendfleet_wire::{Link, NO_HASH, verify_chain};

const DAY_MS: i64 = 86_400_000;

fn fresh(sales: u64) -> (tempfile::TempDir, SqliteJournal) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    for sale in 1..=sales {
        sell(&mut journal, sale).unwrap();
    }
    (dir, journal)
}

fn marks(epoch: Epoch, accepted: u64, durable: u64, now_ms: i64) -> Acknowledgement {
    Acknowledgement {
        epoch,
        accepted_through: accepted,
        durable_through: durable,
        now_ms,
        keep_days: 7,
        verdicts: vec![],
        facts: vec![],
    }
}

#[test]
fn numbers_are_contiguous_from_one_and_survive_a_restart() {
    let (dir, mut journal) = fresh(3);
    drop(journal);
    journal = open(dir.path(), &Options::default(), epoch(2));
    assert_eq!(journal.recovered().epoch, epoch(1));
    assert_eq!(journal.recovered().stored.durable, state(3));
    assert_eq!(sell(&mut journal, 4).unwrap().last_seq, 5);
    let records = all(&mut journal, epoch(1));
    assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let links = records.iter().map(|r| Link {
        seq: r.seq,
        kind: r.kind,
        schema: r.schema,
        body: &r.body,
        hash: &r.hash,
    });
    verify_chain(&epoch(1), 1, &NO_HASH, links).unwrap();
}

#[test]
fn nothing_is_committed_before_the_boot_record_of_the_first_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(dir.path(), &Options::default(), epoch(1)).unwrap();
    assert!(journal.recovered().opens_epoch);
    assert_eq!(journal.cursor().unwrap(), None);
    assert!(matches!(journal.commit(&intent(1)), Err(JournalError::Refused { .. })));
    journal.commit(&boot(None, 0)).unwrap();
    journal.commit(&intent(1)).unwrap();
}

#[test]
fn only_one_process_has_the_journal() {
    let (dir, journal) = fresh(0);
    let second = SqliteJournal::open(dir.path(), &Options::default(), epoch(2));
    assert!(matches!(second, Err(JournalError::InUse)));
    drop(journal);
    SqliteJournal::open(dir.path(), &Options::default(), epoch(2)).unwrap();
}

#[test]
fn a_record_too_long_for_the_contract_is_refused_whole() {
    let (_dir, mut journal) = fresh(1);
    let before = names_in(&mut journal);
    let body = Body::Fault(Fault { code: "X".into(), slot: None, detail: "x".repeat(5000), cleared: false });
    let long = Record { stamp: Default::default(), lifetime_after: None, body };
    let commit =
        Commit { records: vec![boot(None, 1).records.remove(0), long], state: state(9), configs: None };
    let error = journal.commit(&commit).unwrap_err();
    assert!(
        error.to_string().starts_with("commit refused: records: must encode to at most 4096 bytes"),
        "{error}"
    );
    assert_eq!(names_in(&mut journal), before);
}

#[test]
fn configs_stay_until_they_are_replaced() {
    let (dir, mut journal) = fresh(0);
    let (bytes, sha256) = vendfleet_wire::config::encode(&config());
    let assignment = vend_core::config::Assignment { number: 3, sha256, config: config() };
    assert!(bytes.len() < vendfleet_wire::MAX_CONFIG_BYTES);
    let configs = Configs { current: Some(assignment), ..Configs::default() };
    journal.commit(&Commit { records: vec![], state: state(0), configs: Some(configs.clone()) }).unwrap();
    sell(&mut journal, 1).unwrap();
    drop(journal);
    let journal = open(dir.path(), &Options::default(), epoch(2));
    assert_eq!(journal.recovered().stored.configs, configs);
}

fn config() -> Config {
    Config {
        id: ConfigId([4; 16]),
        currency: vend_core::money::Currency::parse("EUR").unwrap(),
        products: vec![],
        slots: vec![],
        cash: Default::default(),
        offline_cashless: Default::default(),
        unknown_policy: Default::default(),
        selection_timeout_ms: 30_000,
    }
}

#[test]
fn a_batch_keeps_both_bounds_and_begins_where_it_is_asked() {
    let (_dir, mut journal) = fresh(20);
    let batch = journal.batch(epoch(1), 5, 4, 1_000_000).unwrap();
    assert_eq!(batch.records.iter().map(|r| r.seq).collect::<Vec<_>>(), [5, 6, 7, 8]);
    let one = batch.records[0].body.len();
    assert_eq!(journal.batch(epoch(1), 5, 100, one * 2).unwrap().records.len(), 2);
    assert_eq!(
        journal.batch(epoch(1), 5, 100, 1).unwrap().records.len(),
        1,
        "at least one, whatever its length"
    );
    assert_eq!(batch.previous_hash, journal.batch(epoch(1), 4, 1, 1).unwrap().records[0].hash);
    // Past the end: nothing, and the hash that the next record will follow.
    let end = journal.batch(epoch(1), 999, 10, 10).unwrap();
    assert_eq!((end.first_seq, end.records.len()), (22, 0));
    assert_eq!(end.previous_hash, journal.batch(epoch(1), 21, 1, 1).unwrap().records[0].hash);
    assert!(matches!(journal.batch(epoch(9), 1, 1, 1), Err(JournalError::UnknownEpoch(_))));
}

#[test]
fn marks_are_believed_up_and_down() {
    let (dir, mut journal) = fresh(10);
    journal.acknowledge(&marks(epoch(1), 9, 8, 0)).unwrap();
    journal.acknowledge(&marks(epoch(1), 5, 4, 0)).unwrap();
    let cursor = journal.cursor().unwrap().unwrap();
    assert_eq!((cursor.accepted_through, cursor.durable_through), (5, 4));
    // Never past what exists, however the answer came about.
    journal.acknowledge(&marks(epoch(1), u64::MAX, u64::MAX, 0)).unwrap();
    assert_eq!(journal.cursor().unwrap().unwrap().accepted_through, 11);
    journal.acknowledge(&marks(epoch(7), 3, 3, 0)).unwrap();
    drop(journal);
    let mut journal = open(dir.path(), &Options::default(), epoch(2));
    assert_eq!(journal.cursor().unwrap().unwrap().durable_through, 11);
}

#[test]
fn durable_records_go_after_their_days_and_the_chain_still_checks() {
    let (dir, mut journal) = fresh(10);
    journal.acknowledge(&marks(epoch(1), 11, 6, DAY_MS)).unwrap();
    journal.acknowledge(&marks(epoch(1), 11, 6, 8 * DAY_MS - 1)).unwrap();
    assert_eq!(journal.cursor().unwrap().unwrap().oldest_seq, 1, "a day early");
    journal.acknowledge(&marks(epoch(1), 11, 9, 8 * DAY_MS)).unwrap();
    assert_eq!(journal.cursor().unwrap().unwrap().oldest_seq, 7);
    let batch = journal.batch(epoch(1), 1, 100, 1_000_000).unwrap();
    assert_eq!((batch.first_seq, batch.records.len()), (7, 5));
    drop(journal);
    let mut journal = open(dir.path(), &Options::default(), epoch(2));
    assert_eq!(journal.verify().unwrap().records, 5);
    // All of it: seq and hash go on from where they were.
    journal.acknowledge(&marks(epoch(1), 11, 11, 9 * DAY_MS)).unwrap();
    journal.acknowledge(&marks(epoch(1), 11, 11, 99 * DAY_MS)).unwrap();
    assert_eq!(journal.cursor().unwrap().unwrap().oldest_seq, 12);
    assert_eq!(sell(&mut journal, 11).unwrap().last_seq, 12);
    journal.verify().unwrap();
}

#[test]
fn a_clock_that_jumped_back_does_not_keep_records_for_ever() {
    let (_dir, mut journal) = fresh(10);
    journal.acknowledge(&marks(epoch(1), 11, 6, 9_000 * DAY_MS)).unwrap();
    journal.acknowledge(&marks(epoch(1), 11, 8, DAY_MS)).unwrap();
    journal.acknowledge(&marks(epoch(1), 11, 8, 9 * DAY_MS)).unwrap();
    assert_eq!(journal.cursor().unwrap().unwrap().oldest_seq, 9);
}

#[test]
fn the_server_orders_a_new_epoch_and_the_old_one_is_uploaded_first() {
    let (dir, mut journal) = fresh(4);
    journal.acknowledge(&marks(epoch(1), 2, 2, 0)).unwrap();
    let order = EpochOrder { epoch: epoch(1), last_common_seq: 2, reason: EpochReason::Forked };
    let parent = journal.open_epoch(&order, epoch(2)).unwrap().unwrap();
    assert_eq!((parent.last_common_seq, parent.highest_seq, parent.reason), (2, 5, EpochReason::Forked));
    assert_eq!(journal.commit(&boot(Some(parent), 4)).unwrap().epoch, epoch(2));
    assert_eq!(sell(&mut journal, 5).unwrap().last_seq, 2);
    // Told again: silent.
    assert_eq!(journal.open_epoch(&order, epoch(3)).unwrap(), None);
    let cursor = journal.cursor().unwrap().unwrap();
    assert_eq!((cursor.epoch, cursor.current, cursor.last_seq), (epoch(1), false, 5));
    drop(journal);
    let mut journal = open(dir.path(), &Options::default(), epoch(4));
    assert_eq!(journal.recovered().epoch, epoch(2));
    // Pruning the new epoch first must not touch the old one's unsent records.
    journal.acknowledge(&marks(epoch(2), 2, 2, 0)).unwrap();
    journal.acknowledge(&marks(epoch(2), 2, 2, 99 * DAY_MS)).unwrap();
    let unsent: Vec<u64> = all(&mut journal, epoch(1)).iter().map(|r| r.seq).collect();
    assert_eq!(unsent, [3, 4, 5]);
    journal.acknowledge(&marks(epoch(1), 5, 5, 99 * DAY_MS)).unwrap();
    let cursor = journal.cursor().unwrap().unwrap();
    assert_eq!((cursor.epoch, cursor.parent), (epoch(2), Some(parent)));
    journal.verify().unwrap();
}

#[test]
fn an_order_that_was_overtaken_by_a_sale_is_asked_for_again() {
    let (_dir, mut journal) = fresh(1);
    let order = EpochOrder { epoch: epoch(1), last_common_seq: 1, reason: EpochReason::TailLost };
    let stale = journal.open_epoch(&order, epoch(2)).unwrap().unwrap();
    sell(&mut journal, 2).unwrap();
    assert!(matches!(journal.commit(&boot(Some(stale), 2)), Err(JournalError::Refused { .. })));
    let parent = journal.open_epoch(&order, epoch(2)).unwrap().unwrap();
    assert_eq!(parent.highest_seq, 3);
    journal.commit(&boot(Some(parent), 2)).unwrap();
}

#[test]
fn verdicts_and_facts_are_kept_within_their_bounds() {
    let (dir, mut journal) = fresh(1);
    let verdict = |number| Verdict {
        number,
        epoch: epoch(1),
        first_seq: 1,
        last_seq: 2,
        disposition: 2,
        reason: "BODY_UNREADABLE".into(),
    };
    let acknowledgement = Acknowledgement {
        verdicts: (1..=300).map(verdict).collect(),
        facts: vec![("incarnation".into(), b"i-1".to_vec())],
        ..marks(epoch(1), 1, 1, 0)
    };
    journal.acknowledge(&acknowledgement).unwrap();
    drop(journal);
    let mut journal = open(dir.path(), &Options::default(), epoch(2));
    assert_eq!(journal.verdicts_seen_through().unwrap(), 300);
    let kept = journal.verdicts().unwrap();
    assert_eq!((kept.len(), kept.first(), kept.last()), (256, Some(&verdict(45)), Some(&verdict(300))));
    assert_eq!(journal.fact("incarnation").unwrap().as_deref(), Some(b"i-1".as_slice()));
    assert_eq!(journal.fact("other").unwrap(), None);
    assert!(matches!(journal.put_fact("big", &[0; 5000]), Err(JournalError::Refused { .. })));
    journal.put_fact("incarnation", b"i-2").unwrap();
    assert_eq!(journal.fact("incarnation").unwrap().as_deref(), Some(b"i-2".as_slice()));
}

#[test]
fn the_export_names_every_record_and_what_it_says() {
    let (_dir, mut journal) = fresh(2);
    let mut out = Vec::new();
    assert_eq!(journal.export(&mut out).unwrap(), 3);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["record"]["boot"]["firmware"], "test 1");
    assert_eq!(lines[2]["record"]["vend"]["price_minor"], 150);
    assert_eq!(lines[2]["record"]["lifetime_after"]["vends"], 2);
    assert_eq!(lines[2]["hash"].as_str().unwrap().len(), 64);
}
