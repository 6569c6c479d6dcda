//! Appending to chains: each record counted, dead-lettered or set apart.

use super::alerts::{over, raise, raise_keyed};
use super::call::{BadBody, LastContact, RecordIn, SyncCall};
use super::clock::bounds;
use super::view::{
    Branch, BranchKey, BranchReason, BranchState, EpochRow, Ledger, MachineView, Sold, Verdict,
};
use super::writes::{
    AlertKind, ConfigFact, DeadLetterRow, Disposition, EventRow, QuarantineRow, RecordRow, VerdictReason,
    Writes,
};
use crate::domain::ids::{EventId, Ids};
use vend_core::counters;
use vend_core::money::Currency;
use vend_core::record::{Body, ConfigOutcome, ConfigVerdict, Fault, Record};
use vend_core::stock::{self, Level, Levels};

/// Appends `records[skip..]` to the main chain of the call's epoch, which exists. Advances its marks.
pub(super) fn to_main(
    view: &mut MachineView,
    call: &SyncCall,
    previous: Option<LastContact>,
    skip: usize,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let records = &call.records[skip..];
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
    let Some(mut epoch) = view.epochs.remove(&call.epoch) else { return };
    let mut levels = levels_of(view);
    let mut stock_changed = false;
    writes.records.reserve(records.len());
    for record in records {
        let counted = count(view, call, &mut epoch, record, ids, writes);
        let stamp = record.meaning.as_ref().ok().map(|m| &m.stamp);
        let when = bounds(call, previous, stamp);
        if let Some(meaning) = counted {
            stock_changed |= matches!(meaning.body, Body::Vend(_) | Body::Refill(_) | Body::Audit(_));
            stock::fold(&mut levels, &meaning.body);
        }
        writes.records.push(RecordRow {
            machine: call.machine,
            epoch: call.epoch,
            seq: record.seq,
            kind: record.kind,
            schema: record.schema,
            body: record.body.clone(),
            hash: record.hash,
            transaction: counted.and_then(|m| m.body.transaction()),
            disposition: if counted.is_some() { Disposition::Applied } else { Disposition::DeadLetter },
            received_at_ms: call.received_at_ms,
            earliest_ms: when.earliest_ms,
            latest_ms: when.latest_ms,
        });
    }
    if stock_changed {
        store_levels(view, call, &levels, last.seq);
    }
    epoch.accepted_through = last.seq;
    epoch.durable_through = last.seq;
    epoch.last_hash = Some(last.hash);
    view.epochs.insert(call.epoch, epoch);
    view.epochs_dirty.insert(call.epoch);
    writes.events.push(EventRow {
        id: EventId(ids.uuid_v7()),
        machine: call.machine,
        epoch: call.epoch,
        first_seq: first.seq,
        last_seq: last.seq,
        at_ms: call.received_at_ms,
        trace_id: call.trace_id.clone(),
    });
}

/// Counts one record, or says why not. `None`: dead-lettered.
fn count<'r>(
    view: &mut MachineView,
    call: &SyncCall,
    epoch: &mut EpochRow,
    record: &'r RecordIn,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Option<&'r Record> {
    let meaning = match &record.meaning {
        Ok(meaning) => meaning,
        Err(bad) => {
            epoch.expected = None;
            dead_letter(view, call, record.seq, bad.clone(), ids, writes);
            return None;
        }
    };
    check_counters(call, epoch, record.seq, meaning, ids, writes);
    if let Some(transaction) = meaning.body.transaction()
        && !view.counted.insert((transaction, record.kind))
    {
        let bad = BadBody {
            reason: VerdictReason::DuplicateTransaction,
            detail: format!("transaction_id {} already counts for this kind", hex::encode(transaction.0)),
        };
        dead_letter(view, call, record.seq, bad, ids, writes);
        return None;
    }
    super::commands::hear(view, call, record.seq, &meaning.body, writes);
    match &meaning.body {
        Body::ConfigVerdict(verdict) => note_config(view, call, record.seq, verdict, ids, writes),
        Body::CommandResult(result) => {
            view.machine.commands_done_through = view.machine.commands_done_through.max(result.number);
            view.machine_dirty = true;
        }
        Body::Fault(fault) => note_fault(call, record.seq, fault, ids, writes),
        Body::Boot(_)
        | Body::Vend(_)
        | Body::Settlement(_)
        | Body::CashIn(_)
        | Body::Refill(_)
        | Body::Audit(_)
        | Body::CashCollected(_) => {}
    }
    Some(meaning)
}

/// The counters in a record are a checksum over all before it; the first that disagrees is named.
fn check_counters(
    call: &SyncCall,
    epoch: &mut EpochRow,
    seq: u64,
    record: &Record,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    if let Some(ledger) = &mut epoch.expected {
        counters::advance(&mut ledger.currency, &mut ledger.totals, &record.body);
    }
    let Some(said) = record.lifetime_after else { return };
    if epoch.opening.is_none() {
        epoch.opening = Some(said);
    }
    match &mut epoch.expected {
        Some(ledger) => {
            if ledger.totals != said && epoch.diverged_seq == 0 {
                epoch.diverged_seq = seq;
                let detail = format!(
                    "lifetime totals part from the sum of records at seq {seq}: machine says {} vends worth {}, the sum is {} worth {}",
                    said.vends, said.vends_minor, ledger.totals.vends, ledger.totals.vends_minor
                );
                raise(writes, ids, call, AlertKind::CountersDiverged, (call.epoch, seq), detail);
            }
            ledger.totals = said;
        }
        None => {
            let currency = counters::currency_of(&record.body).unwrap_or(Currency::NONE);
            epoch.expected = Some(Ledger { currency, totals: said });
        }
    }
}

fn dead_letter(
    view: &mut MachineView,
    call: &SyncCall,
    seq: u64,
    bad: BadBody,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    push_verdict(view, call, (seq, seq), Disposition::DeadLetter, bad.reason, writes);
    let detail = format!("record {seq} was not applied: {}", bad.detail);
    raise_keyed(writes, ids, call, AlertKind::DeadLetter, bad.reason.as_str().to_owned(), seq, detail);
    writes.dead_letters.push(DeadLetterRow {
        machine: call.machine,
        epoch: call.epoch,
        seq,
        reason: bad.reason,
        detail: bad.detail,
        at_ms: call.received_at_ms,
        trace_id: call.trace_id.clone(),
    });
}

/// Adds a verdict, which is repeated until it is echoed. A run that continues the newest one of this call extends it.
fn push_verdict(
    view: &mut MachineView,
    call: &SyncCall,
    seqs: (u64, u64),
    disposition: Disposition,
    reason: VerdictReason,
    writes: &mut Writes,
) {
    if let Some((_, newest)) = writes.verdicts.last_mut().filter(|(machine, v)| {
        *machine == call.machine
            && v.epoch == call.epoch
            && v.last_seq + 1 == seqs.0
            && v.disposition == disposition
            && v.reason == reason
    }) {
        newest.last_seq = seqs.1;
        view.verdicts.insert(newest.number, newest.clone());
        return;
    }
    view.machine.verdict_number += 1;
    view.machine_dirty = true;
    let verdict = Verdict {
        number: view.machine.verdict_number,
        epoch: call.epoch,
        first_seq: seqs.0,
        last_seq: seqs.1,
        disposition,
        reason,
    };
    view.verdicts.insert(verdict.number, verdict.clone());
    writes.verdicts.push((call.machine, verdict));
}

fn note_config(
    view: &mut MachineView,
    call: &SyncCall,
    seq: u64,
    verdict: &ConfigVerdict,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) {
    let applied = verdict.verdict == ConfigOutcome::Applied;
    let refusals: Vec<String> =
        verdict.refusals.iter().map(|r| format!("{}: {}", r.field, r.reason)).collect();
    let machine = &mut view.machine;
    view.machine_dirty = true;
    let key = "config".to_owned();
    if applied {
        machine.applied_number = verdict.assignment;
        machine.applied_config = Some(verdict.config);
        over(writes, call, AlertKind::ConfigRefused, key);
    } else {
        machine.rejected_number = machine.rejected_number.max(verdict.assignment);
        let detail = format!("assignment {} was refused: {}", verdict.assignment, refusals.join(", "));
        raise_keyed(writes, ids, call, AlertKind::ConfigRefused, key, seq, detail);
    }
    writes.config_facts.push(ConfigFact {
        machine: call.machine,
        number: verdict.assignment,
        applied,
        refusals: refusals.join("\n"),
        at_ms: call.received_at_ms,
    });
}

fn note_fault(call: &SyncCall, seq: u64, fault: &Fault, ids: &mut dyn Ids, writes: &mut Writes) {
    let key = match fault.slot {
        Some(slot) => format!("{}:{slot}", fault.code),
        None => fault.code.clone(),
    };
    if fault.cleared {
        over(writes, call, AlertKind::MachineFault, key);
    } else {
        let detail = format!("{}: {}", fault.code, fault.detail);
        raise_keyed(writes, ids, call, AlertKind::MachineFault, key, seq, detail);
    }
}

fn levels_of(view: &MachineView) -> Levels {
    view.slots
        .values()
        .filter_map(|row| Some((row.slot, Level { product: row.product?, units: row.derived })))
        .collect()
}

fn store_levels(view: &mut MachineView, call: &SyncCall, levels: &Levels, through: u64) {
    for (&slot, level) in levels {
        let row = super::reported::slot_row(view, call.epoch, slot);
        if row.product != Some(level.product) || row.derived != level.units {
            row.product = Some(level.product);
            row.derived = level.units;
            row.derived_seq = through;
            row.epoch = call.epoch;
            view.slots_dirty.insert(slot);
        }
    }
}

/// Where quarantined records go.
#[derive(Clone, Copy)]
pub(super) enum Onto {
    /// A branch that is known.
    Known(BranchKey),
    /// A branch that begins with the first of them.
    New(BranchReason),
}

/// Puts `records[skip..]` on a branch and gives its last seq.
pub(super) fn to_branch(
    view: &mut MachineView,
    call: &SyncCall,
    previous: Option<LastContact>,
    onto: Onto,
    skip: usize,
    writes: &mut Writes,
) -> u64 {
    let records = &call.records[skip..];
    let key = match onto {
        Onto::Known(key) => key,
        Onto::New(_) => BranchKey { epoch: call.epoch, first_hash: records[0].hash },
    };
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return view.branches.get(&key).map_or(0, |branch| branch.last_seq);
    };
    let root_hash = if skip == 0 { call.previous_hash } else { call.records[skip - 1].hash };
    let branch = view.branches.entry(key).or_insert_with(|| Branch {
        key,
        first_seq: first.seq,
        root_hash,
        last_seq: first.seq,
        last_hash: first.hash,
        reason: match onto {
            Onto::New(reason) => reason,
            Onto::Known(_) => BranchReason::Fork,
        },
        state: BranchState::Held,
        opened_at_ms: call.received_at_ms,
        credential: call.credential,
        sold: Sold::default(),
    });
    branch.last_seq = last.seq;
    branch.last_hash = last.hash;
    for meaning in records.iter().filter_map(|record| record.meaning.as_ref().ok()) {
        branch.sold.count(&meaning.body);
    }
    let reason = match branch.reason {
        BranchReason::Fork => VerdictReason::Fork,
        BranchReason::Cloned => VerdictReason::MachineCloned,
        BranchReason::Revoked => VerdictReason::CredentialDraining,
    };
    view.branches_dirty.insert(key);
    for record in records {
        let when = bounds(call, previous, record.meaning.as_ref().ok().map(|m| &m.stamp));
        writes.quarantined.push(QuarantineRow {
            machine: call.machine,
            branch: key,
            seq: record.seq,
            kind: record.kind,
            schema: record.schema,
            body: record.body.clone(),
            hash: record.hash,
            received_at_ms: call.received_at_ms,
            earliest_ms: when.earliest_ms,
            latest_ms: when.latest_ms,
        });
    }
    push_verdict(view, call, (first.seq, last.seq), Disposition::Quarantined, reason, writes);
    last.seq
}
