//! What machines sold, and cash without a sale: what counts, once each.

use super::body::read_body;
use super::{machine_not_found, transaction_not_found};
use crate::domain::fleet::{
    Chain, SettlementFact, StoredRecord, Transaction, TransactionCursor, TransactionFilter, TransactionKind,
};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::Session;
use crate::store::fleet::records::{Kinds, Received};
use crate::store::fleet::{machines, records};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use vend_core::id::TransactionId;
use vend_core::record::{Body, VendOutcome};

/// Records looked at for one page, at most: a filter that fits few gives short pages, and a token to go on with.
const MAX_SCANNED: usize = 5_000;
/// Records read at a time.
const RECORDS_PER_STEP: i64 = 500;
/// Ranges of received records read at a time.
const RANGES_PER_STEP: i64 = 64;
/// Settlements looked at behind a vend, at most.
const MAX_SETTLEMENTS_SCANNED: i64 = 256;
/// Settlements in an answer, at most.
const MAX_SETTLEMENTS: usize = 64;

/// A page of transactions: with a machine in the machine's own order, without in order of receipt, oldest first.
///
/// # Errors
/// None of its own.
pub async fn list_transactions(
    deps: &Deps,
    filter: &TransactionFilter,
    page: &PageRequest<TransactionCursor>,
) -> Result<Page<Transaction, TransactionCursor>, ApiError> {
    let mut session = deps.store.read().await?;
    let mut scan = Scan { filter, size: page.size, found: Vec::new(), scanned: 0, chains: HashMap::new() };
    let next = match filter.machine {
        Some(machine) => scan.machine(&mut session, machine, page.after).await?,
        None => scan.fleet(&mut session, page.after).await?,
    };
    Ok(Page { items: scan.found, next })
}

/// One transaction with its settlements.
///
/// # Errors
/// MACHINE_NOT_FOUND, TRANSACTION_NOT_FOUND.
pub async fn get_transaction(
    deps: &Deps,
    machine: MachineId,
    id: TransactionId,
    kind: TransactionKind,
) -> Result<Transaction, ApiError> {
    let mut session = deps.store.read().await?;
    if machines::find(&mut session, machine).await?.is_none() {
        return Err(machine_not_found(machine));
    }
    let found = records::by_transaction(&mut session, machine, id, kind.record_kind() as u32).await?;
    let stored = found.ok_or_else(|| transaction_not_found(machine, id))?;
    let chains = records::chains(&mut session, machine).await?;
    let transaction = read(stored, &chains)?.ok_or_else(|| transaction_not_found(machine, id))?;
    settled(&mut session, transaction, &chains).await
}

struct Scan<'f> {
    filter: &'f TransactionFilter,
    size: usize,
    found: Vec<Transaction>,
    scanned: usize,
    chains: HashMap<MachineId, Vec<Chain>>,
}

impl Scan<'_> {
    fn is_over(&self) -> bool {
        self.found.len() >= self.size || self.scanned >= MAX_SCANNED
    }

    async fn machine(
        &mut self,
        session: &mut Session,
        machine: MachineId,
        after: Option<TransactionCursor>,
    ) -> Result<Option<TransactionCursor>, ApiError> {
        let chains = records::chains(session, machine).await?;
        self.chains.insert(machine, chains.clone());
        let start = match after {
            Some(TransactionCursor::Machine { chain, .. }) => {
                chains.iter().position(|c| c.id == chain).unwrap_or(chains.len())
            }
            _ => 0,
        };
        for (index, chain) in chains.iter().enumerate().skip(start) {
            let mut seq = match after {
                Some(TransactionCursor::Machine { seq, .. }) if index == start => seq.saturating_add(1),
                _ => 1,
            };
            loop {
                let batch =
                    records::transactions(session, machine, chain.id, (seq, u64::MAX), RECORDS_PER_STEP)
                        .await?;
                if batch.is_empty() {
                    break;
                }
                for stored in batch {
                    seq = stored.seq.saturating_add(1);
                    let cursor = TransactionCursor::Machine { chain: chain.id, seq: stored.seq };
                    self.take(session, stored).await?;
                    if self.is_over() {
                        return Ok(Some(cursor));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn fleet(
        &mut self,
        session: &mut Session,
        after: Option<TransactionCursor>,
    ) -> Result<Option<TransactionCursor>, ApiError> {
        // A cursor points into a range: the range is read again, from behind the record.
        let (mut position, mut inside) = match after {
            Some(TransactionCursor::Fleet { position, seq }) => {
                (position.saturating_sub(1), Some((position, seq)))
            }
            _ => (0, None),
        };
        loop {
            let ranges = records::received(session, position, RANGES_PER_STEP).await?;
            if ranges.is_empty() {
                return Ok(None);
            }
            for range in ranges {
                position = range.position;
                let first = match inside.take() {
                    Some((at, seq)) if at == range.position => seq.saturating_add(1),
                    _ => range.first_seq,
                };
                if let Some(cursor) = self.range(session, range, first).await? {
                    return Ok(Some(cursor));
                }
            }
        }
    }

    async fn range(
        &mut self,
        session: &mut Session,
        range: Received,
        mut first: u64,
    ) -> Result<Option<TransactionCursor>, ApiError> {
        self.scanned = self.scanned.saturating_add(1);
        loop {
            let seqs = (first, range.last_seq);
            let batch =
                records::transactions(session, range.machine, range.chain, seqs, RECORDS_PER_STEP).await?;
            if batch.is_empty() {
                break;
            }
            for stored in batch {
                first = stored.seq.saturating_add(1);
                let cursor = TransactionCursor::Fleet { position: range.position, seq: stored.seq };
                self.take(session, stored).await?;
                if self.is_over() {
                    return Ok(Some(cursor));
                }
            }
        }
        let over = TransactionCursor::Fleet { position: range.position, seq: range.last_seq };
        Ok(self.is_over().then_some(over))
    }

    async fn take(&mut self, session: &mut Session, stored: StoredRecord) -> Result<(), ApiError> {
        self.scanned = self.scanned.saturating_add(1);
        let machine = stored.machine;
        let chains = match self.chains.entry(machine) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(records::chains(session, machine).await?),
        };
        let Some(transaction) = read(stored, chains)? else { return Ok(()) };
        if fits(self.filter, &transaction) {
            let transaction = settled(session, transaction, chains).await?;
            self.found.push(transaction);
        }
        Ok(())
    }
}

fn fits(filter: &TransactionFilter, transaction: &Transaction) -> bool {
    let received = transaction.stored.received_at_ms;
    let in_time = received >= filter.received_from_ms
        && (filter.received_before_ms == 0 || received < filter.received_before_ms);
    let vend = match &transaction.record.body {
        Body::Vend(vend) => Some(vend),
        _ => None,
    };
    let kind = if vend.is_some() { TransactionKind::Vend } else { TransactionKind::CashIn };
    in_time
        && filter.kind.is_none_or(|wanted| wanted == kind)
        && filter.product.is_none_or(|product| vend.is_some_and(|vend| vend.product == product))
        && filter.outcome.is_none_or(|outcome| vend.is_some_and(|vend| outcome.takes(vend.outcome)))
}

/// `None`: not a transaction.
fn read(stored: StoredRecord, chains: &[Chain]) -> Result<Option<Transaction>, ApiError> {
    let record = read_body(stored.kind, stored.schema, &stored.body)
        .map_err(|bad| ApiError::internal(format!("a counted record can't be read: {}", bad.detail)))?;
    let Some(id) = record.body.transaction() else { return Ok(None) };
    let epoch =
        chains.iter().find(|chain| chain.id == stored.chain).map_or(stored.chain, |chain| chain.epoch);
    Ok(Some(Transaction { stored, epoch, record, id, settlements: Vec::new() }))
}

/// Adds later facts about a vend's money: they follow it closely, in its own chain or the next ones.
async fn settled(
    session: &mut Session,
    mut transaction: Transaction,
    chains: &[Chain],
) -> Result<Transaction, ApiError> {
    let Body::Vend(vend) = &transaction.record.body else { return Ok(transaction) };
    // What was free, or failed before money moved, has none.
    if vend.outcome == VendOutcome::Success && vend.price_minor == 0 {
        return Ok(transaction);
    }
    let mut left = MAX_SETTLEMENTS_SCANNED;
    for chain in chains.iter().skip_while(|chain| chain.id != transaction.stored.chain) {
        let first = if chain.id == transaction.stored.chain { transaction.stored.seq } else { 1 };
        let (machine, kinds) = (transaction.stored.machine, Kinds::Settlements);
        let batch = records::of_kinds(session, machine, chain.id, kinds, first, left).await?;
        left = left.saturating_sub(i64::try_from(batch.len()).unwrap_or(i64::MAX));
        for stored in batch {
            if let Ok(record) = read_body(stored.kind, stored.schema, &stored.body)
                && let Body::Settlement(settlement) = record.body
                && settlement.vend == transaction.id
                && transaction.settlements.len() < MAX_SETTLEMENTS
            {
                transaction.settlements.push(SettlementFact {
                    epoch: chain.epoch,
                    seq: stored.seq,
                    received_at_ms: stored.received_at_ms,
                    settlement,
                });
            }
        }
        if left <= 0 {
            break;
        }
    }
    Ok(transaction)
}
