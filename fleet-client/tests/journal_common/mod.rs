//! A machine's worth of commits for the journal tests: every sale is an intent (state only) and an outcome (a record).
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Batch, Committed, EpochCursor, Hash, Journal, JournalError, RawRecord};
use std::collections::BTreeMap;
use std::path::Path;
use vend_core::counters::Totals;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::machine::{Commit, Durable, VendIntent};
use vend_core::money::Currency;
use vend_core::record::{Body, Boot, Fault, ParentEpoch, Payment, Record, Vend, VendOutcome};
use vend_core::time::Stamp;

/// `(epoch, seq) -> hash`: what may never mean two things.
pub(crate) type Names = BTreeMap<(Epoch, u64), Hash>;

pub(crate) fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

pub(crate) fn transaction(n: u64) -> TransactionId {
    let mut id = [7u8; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    TransactionId(id)
}

pub(crate) fn totals(sales: u64) -> Totals {
    let minor = i64::try_from(sales).unwrap() * 150;
    Totals {
        vends: sales,
        vends_minor: minor,
        cash_vends: sales,
        cash_vends_minor: minor,
        cash_in_minor: minor,
        ..Totals::default()
    }
}

pub(crate) fn state(sales: u64) -> Durable {
    let mut state = Durable::default();
    state.counters.currency = Currency::parse("EUR").unwrap();
    state.counters.lifetime = totals(sales);
    state.boot_count = 1;
    state
}

pub(crate) fn boot(parent: Option<ParentEpoch>, sales: u64) -> Commit {
    let body = Body::Boot(Boot { firmware: "test 1".into(), boot_count: 1, parent });
    let record = Record { stamp: stamp(), lifetime_after: Some(totals(sales)), body };
    Commit { records: vec![record], state: state(sales), configs: None }
}

pub(crate) fn intent(sale: u64) -> Commit {
    let mut state = state(sale - 1);
    state.intent = Some(VendIntent {
        transaction: transaction(sale),
        slot: 12,
        product: ProductId([3; 16]),
        config: ConfigId([4; 16]),
        price_minor: 150,
        currency: Currency::parse("EUR").unwrap(),
        payment: Payment::Cash,
        command_number: 0,
    });
    Commit { records: vec![], state, configs: None }
}

pub(crate) fn outcome(sale: u64) -> Commit {
    let body = Body::Vend(Vend {
        transaction: transaction(sale),
        slot: 12,
        product: ProductId([3; 16]),
        config: ConfigId([4; 16]),
        price_minor: 150,
        currency: Currency::parse("EUR").unwrap(),
        payment: Payment::Cash,
        outcome: VendOutcome::Success,
        cash_in_minor: 150,
        payout_intent_minor: 0,
        owed_minor: 0,
        command_number: 0,
    });
    let record = Record { stamp: stamp(), lifetime_after: Some(totals(sale)), body };
    Commit { records: vec![record], state: state(sale), configs: None }
}

pub(crate) fn fault(sales: u64) -> Commit {
    let body =
        Body::Fault(Fault { code: "MOTOR_JAM".into(), slot: None, detail: String::new(), cleared: false });
    let record = Record { stamp: stamp(), lifetime_after: None, body };
    Commit { records: vec![record], state: state(sales), configs: None }
}

fn stamp() -> Stamp {
    Stamp { boot: BootId([9; 16]), ..Stamp::default() }
}

/// Opens a journal and, when it must, an epoch in it.
pub(crate) fn open(dir: &Path, options: &Options, fresh: Epoch) -> SqliteJournal {
    let mut journal = SqliteJournal::open(dir, options, fresh).unwrap();
    open_epoch_if_due(&mut journal);
    journal
}

pub(crate) fn open_epoch_if_due(journal: &mut SqliteJournal) {
    let recovered = journal.recovered().clone();
    if recovered.opens_epoch {
        let mut commit = boot(recovered.parent, 0);
        commit.state = recovered.stored.durable;
        commit.state.boot_count += 1;
        journal.commit(&commit).unwrap();
    }
}

/// One sale: two commits.
pub(crate) fn sell(journal: &mut SqliteJournal, sale: u64) -> Result<Committed, JournalError> {
    journal.commit(&intent(sale))?;
    journal.commit(&outcome(sale))
}

/// Every record held, through the API a sync agent uses; marks stay as they are.
pub(crate) fn held(journal: &mut SqliteJournal) -> Vec<(EpochCursor, Vec<RawRecord>)> {
    let mut names = Vec::new();
    let mut cursor = journal.cursor().unwrap();
    // The parents, newest first, then this.
    while let Some(c) = cursor {
        names.push(c);
        cursor = None;
        if let Some(parent) = c.parent
            && let Ok(batch) = journal.batch(parent.epoch, 1, 1, 1)
        {
            cursor = Some(batch.cursor);
        }
    }
    names.into_iter().map(|c| (c, all(journal, c.epoch))).collect()
}

pub(crate) fn all(journal: &mut SqliteJournal, epoch: Epoch) -> Vec<RawRecord> {
    let mut records = Vec::new();
    loop {
        let from = records.last().map_or(1, |r: &RawRecord| r.seq + 1);
        let batch: Batch = journal.batch(epoch, from, 512, 200_000).unwrap();
        if batch.records.is_empty() {
            return records;
        }
        records.extend(batch.records);
    }
}

/// The sales a journal holds records of, in any epoch.
pub(crate) fn sales_in(journal: &mut SqliteJournal) -> Vec<TransactionId> {
    let mut out = Vec::new();
    journal.export(&mut out).unwrap();
    let mut sales = Vec::new();
    for line in String::from_utf8(out).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(id) = line["record"]["vend"]["transaction_id"].as_str() {
            sales.push(TransactionId(vendfleet_wire::parse_uuid(id).unwrap()));
        }
    }
    sales
}

/// All names a journal uses, from its export.
pub(crate) fn names_in(journal: &mut SqliteJournal) -> Names {
    let mut out = Vec::new();
    journal.export(&mut out).unwrap();
    let mut names = Names::new();
    for line in String::from_utf8(out).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |key: &str| hex::decode(line[key].as_str().unwrap()).unwrap();
        let epoch = Epoch(bytes("epoch").try_into().unwrap());
        let before = names.insert((epoch, line["seq"].as_u64().unwrap()), bytes("hash").try_into().unwrap());
        assert_eq!(before, None, "a number twice in one journal");
    }
    names
}
