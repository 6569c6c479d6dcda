//! A device's journal in memory, and the committer's steps by hand.

use server::domain::ids::{CredentialId, Ids, MachineId};
use server::domain::sync::{
    self, Answer, BadBody, CredentialState, GENESIS, Hash, RecordIn, Settings, SyncCall, VerdictReason,
    Writes,
};
use server::store::{Store, StoreError};
use uuid::Uuid;
use vend_core::counters::{self, Totals};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::Currency;
use vend_core::record::{Body, Boot, CashIn, Payment, Record, Vend, VendOutcome};
use vend_core::time::{ClockQuality, Now, Stamp};

use crate::stage::START_MS;

/// What one device wrote under one epoch.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) machine: MachineId,
    pub(crate) epoch: Epoch,
    pub(crate) records: Vec<RecordIn>,
    totals: Totals,
    currency: Currency,
}

impl Chain {
    /// A journal whose first record is a boot.
    pub(crate) fn new(machine: MachineId) -> Self {
        let epoch = Epoch(*Uuid::new_v4().as_bytes());
        let mut chain =
            Self { machine, epoch, records: Vec::new(), totals: Totals::default(), currency: Currency::NONE };
        chain.append(Body::Boot(Boot { firmware: "1".into(), boot_count: 1, parent: None }));
        chain
    }

    /// One of so many records, all but the boot counting as transactions.
    pub(crate) fn of(machine: MachineId, records: u64) -> Self {
        let mut chain = Self::new(machine);
        for _ in 1..records {
            chain.cash(TransactionId(*Uuid::now_v7().as_bytes()));
        }
        chain
    }

    pub(crate) fn cash(&mut self, transaction: TransactionId) {
        let currency = Currency::parse("EUR").unwrap();
        self.append(Body::CashIn(CashIn { transaction, amount_minor: 100, inserted_minor: 100, currency }));
    }

    /// A vend on remote credit that a numbered command asked for.
    pub(crate) fn vend(&mut self, transaction: TransactionId, command_number: u64) {
        let currency = Currency::parse("EUR").unwrap();
        self.append(Body::Vend(Vend {
            transaction,
            slot: 3,
            product: ProductId([7; 16]),
            config: ConfigId([4; 16]),
            price_minor: 100,
            currency,
            payment: Payment::Remote,
            outcome: VendOutcome::Success,
            cash_in_minor: 0,
            payout_intent_minor: 0,
            owed_minor: 0,
            command_number,
        }));
    }

    fn append(&mut self, body: Body) {
        counters::advance(&mut self.currency, &mut self.totals, &body);
        let at = Now { uptime_ms: self.last_seq() + 1, wall_ms: 0, clock: ClockQuality::Unset };
        let stamp = Stamp { boot: BootId([1; 16]), at };
        let record = Record { stamp, lifetime_after: Some(self.totals), body };
        let encoded = vendfleet_wire::encode(&record);
        self.push(encoded.kind as u32, encoded.schema, encoded.body, Ok(record));
    }

    /// A record whose body means nothing.
    pub(crate) fn garbage(&mut self, body: &[u8]) {
        let bad = BadBody { reason: VerdictReason::BodyUnreadable, detail: "not a RecordBody".to_owned() };
        self.push(2, 1, body.to_vec(), Err(bad));
    }

    fn push(&mut self, kind: u32, schema: u32, body: Vec<u8>, meaning: Result<Record, BadBody>) {
        let (seq, previous) = (self.last_seq() + 1, self.hash_at(self.last_seq()));
        let hash = vendfleet_wire::record_hash(&self.epoch, seq, kind, schema, &previous, &body);
        self.records.push(RecordIn { seq, kind, schema, body: body.into(), hash, meaning });
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn hash_at(&self, seq: u64) -> Hash {
        seq.checked_sub(1).map_or(GENESIS, |at| self.records[usize::try_from(at).unwrap()].hash)
    }

    /// A Sync that brings these seqs.
    pub(crate) fn call(&self, first: u64, last: u64) -> SyncCall {
        let at = |seq: u64| usize::try_from(seq).unwrap();
        SyncCall {
            machine: self.machine,
            credential: CredentialId(Uuid::from_u128(9)),
            credential_state: CredentialState::Active,
            epoch: self.epoch,
            oldest_seq: 1,
            last_seq: self.last_seq(),
            accepted_through: first - 1,
            first_seq: first,
            previous_hash: self.hash_at(first - 1),
            records: self.records[at(first - 1)..at(last)].to_vec(),
            parent: None,
            verdicts_seen_through: 0,
            same_incarnation: true,
            now: Stamp {
                boot: BootId([1; 16]),
                at: Now { uptime_ms: 1_000_000, wall_ms: 0, clock: ClockQuality::Unset },
            },
            slots: None,
            applied: None,
            commands_done_through: 0,
            out_of_service: false,
            firmware: "1".to_owned(),
            received_at_ms: START_MS,
            trace_id: "trace".to_owned(),
        }
    }

    /// A Sync that brings everything.
    pub(crate) fn whole(&self) -> SyncCall {
        self.call(1, self.last_seq())
    }
}

pub(crate) struct RandomIds;

impl Ids for RandomIds {
    fn uuid_v7(&mut self) -> Uuid {
        Uuid::now_v7()
    }
}

pub(crate) fn settings() -> Settings {
    Settings { base_interval_ms: 60_000, stale_call_grace_ms: 60_000, doubt_after_ms: 60_000 }
}

/// One batch, as the committer does it. Machines that don't exist have no answer.
pub(crate) async fn sync(store: &Store, calls: &[SyncCall]) -> Result<Vec<Answer>, StoreError> {
    sync_checked(store, calls, false).await
}

/// The same, having looked first which transactions count already.
pub(crate) async fn sync_checked(
    store: &Store,
    calls: &[SyncCall],
    check_counted: bool,
) -> Result<Vec<Answer>, StoreError> {
    let mut tx = store.begin_hot().await?;
    let mut views = tx.load_sync(calls, check_counted).await?;
    let mut writes = Writes::default();
    let answers = calls
        .iter()
        .filter_map(|call| {
            let view = views.get_mut(&call.machine)?;
            Some(sync::fold(view, call, &settings(), &mut RandomIds, &mut writes))
        })
        .collect();
    tx.write_sync(&views, &writes).await?;
    tx.commit().await?;
    Ok(answers)
}
