//! A journal in memory: real bodies, real hashes.

use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::sync::{CredentialState, GENESIS, Hash, RecordIn, SyncCall};
use uuid::Uuid;
use vend_core::counters::{self, Totals};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::Currency;
use vend_core::record::{
    Body, Boot, CommandResult, EpochReason, Fault, ParentEpoch, Payment, Record, Vend, VendOutcome,
};
use vend_core::time::{ClockQuality, Now, Stamp};
use vendfleet_wire as wire;

#[derive(Clone)]
pub(super) struct Journal {
    pub(super) epoch: Epoch,
    pub(super) parent: Option<ParentEpoch>,
    pub(super) records: Vec<RecordIn>,
    /// Records up to here are pruned.
    pub(super) pruned: u64,
    pub(super) accepted: u64,
}

#[derive(Clone)]
pub(super) struct Device {
    pub(super) journals: Vec<Journal>,
    pub(super) totals: Totals,
    currency: Currency,
    pub(super) resend_from: Option<u64>,
    pub(super) verdicts_seen: u64,
    /// Highest command number with a journalled result.
    pub(super) commands_done: u64,
    salt: u64,
    boot: BootId,
    uptime_ms: u64,
}

pub(super) fn machine() -> MachineId {
    MachineId(Uuid::from_u128(7))
}

impl Device {
    pub(super) fn new(salt: u64) -> Self {
        let mut device = Self {
            journals: Vec::new(),
            totals: Totals::default(),
            currency: Currency::NONE,
            resend_from: None,
            verdicts_seen: 0,
            commands_done: 0,
            salt,
            boot: BootId([1; 16]),
            uptime_ms: 0,
        };
        device.open(None);
        device
    }

    /// From here on its records differ from those of the device it was copied from.
    pub(super) fn diverge(&mut self, salt: u64) {
        self.salt = salt;
    }

    fn id(&mut self) -> [u8; 16] {
        self.salt = self.salt.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.salt.to_be_bytes());
        id
    }

    pub(super) fn open(&mut self, parent: Option<ParentEpoch>) {
        let epoch = Epoch(self.id());
        self.journals.push(Journal { epoch, parent, records: Vec::new(), pruned: 0, accepted: 0 });
        self.append(Body::Boot(Boot { firmware: "1".into(), boot_count: 1, parent }));
    }

    pub(super) fn current(&mut self) -> &mut Journal {
        self.journals.last_mut().unwrap()
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.journals.last().unwrap().records.len() as u64
    }

    pub(super) fn append(&mut self, body: Body) {
        self.uptime_ms += 1_000;
        counters::advance(&mut self.currency, &mut self.totals, &body);
        let with_totals = !matches!(body, Body::Fault(_) | Body::ConfigVerdict(_) | Body::CommandResult(_));
        let record = Record {
            stamp: Stamp {
                boot: self.boot,
                at: Now { uptime_ms: self.uptime_ms, wall_ms: 0, clock: ClockQuality::Unset },
            },
            lifetime_after: with_totals.then_some(self.totals),
            body,
        };
        let encoded = wire::encode(&record);
        self.append_raw(encoded.kind as u32, encoded.schema, &encoded.body);
    }

    pub(super) fn append_raw(&mut self, kind: u32, schema: u32, body: &[u8]) {
        let journal = self.current();
        let seq = journal.records.len() as u64 + 1;
        let previous = journal.hash_at(seq - 1);
        let hash = wire::record_hash(&journal.epoch, seq, kind, schema, &previous, body);
        let meaning = wire::decode(kind, schema, body).map_err(|error| crate::domain::sync::BadBody {
            reason: crate::domain::sync::VerdictReason::BodyUnreadable,
            detail: error.to_string(),
        });
        journal.records.push(RecordIn { seq, kind, schema, body: body.to_vec().into(), hash, meaning });
    }

    pub(super) fn vend(&mut self) -> TransactionId {
        let transaction = TransactionId(self.id());
        self.vend_as(transaction);
        transaction
    }

    pub(super) fn vend_as(&mut self, transaction: TransactionId) {
        self.vend_for(0, transaction);
    }

    pub(super) fn vend_for(&mut self, command_number: u64, transaction: TransactionId) {
        self.append(Body::Vend(Vend {
            transaction,
            slot: 3,
            product: ProductId([3; 16]),
            config: ConfigId([4; 16]),
            price_minor: 150,
            currency: Currency::parse("EUR").unwrap(),
            payment: Payment::Cash,
            outcome: VendOutcome::Success,
            cash_in_minor: 200,
            payout_intent_minor: 50,
            owed_minor: 0,
            command_number,
        }));
    }

    /// Carries a dispense command out: vend and result.
    pub(super) fn dispense(&mut self, number: u64, transaction: TransactionId) {
        self.vend_for(number, transaction);
        self.result(number, "");
    }

    /// Journals the result of a command; a reason is a refusal.
    pub(super) fn result(&mut self, number: u64, reason: &str) {
        self.append(Body::CommandResult(CommandResult {
            number,
            done: reason.is_empty(),
            reason: reason.into(),
        }));
        self.commands_done = number;
    }

    /// The power went and came back.
    pub(super) fn restart(&mut self) {
        self.boot = BootId([self.boot.0[0] + 1; 16]);
        self.uptime_ms = 0;
        self.append(Body::Boot(Boot { firmware: "1".into(), boot_count: 2, parent: None }));
    }

    pub(super) fn boot(&self) -> BootId {
        self.boot
    }

    pub(super) fn fault(&mut self, code: &str, cleared: bool) {
        self.append(Body::Fault(Fault { code: code.into(), slot: Some(3), detail: "d".into(), cleared }));
    }

    /// The call it would make now, of the oldest journal that is not accepted, at most `most` records.
    pub(super) fn call(&self, most: usize, at_ms: i64) -> SyncCall {
        let journal = self
            .journals
            .iter()
            .find(|j| j.accepted < j.records.len() as u64)
            .unwrap_or(self.journals.last().unwrap());
        let last = journal.records.len() as u64;
        let next = journal.accepted.min(last) + 1;
        let first = self.resend_from.unwrap_or(next).clamp(journal.pruned + 1, last + 1);
        let from = first as usize - 1;
        SyncCall {
            machine: machine(),
            credential: CredentialId(Uuid::from_u128(9)),
            credential_state: CredentialState::Active,
            epoch: journal.epoch,
            oldest_seq: journal.pruned + 1,
            last_seq: last,
            accepted_through: journal.accepted,
            first_seq: first,
            previous_hash: journal.hash_at(first - 1),
            records: journal.records[from..].iter().take(most).cloned().collect(),
            parent: journal.parent,
            verdicts_seen_through: self.verdicts_seen,
            same_incarnation: true,
            now: Stamp {
                boot: self.boot,
                at: Now { uptime_ms: self.uptime_ms, wall_ms: 0, clock: ClockQuality::Unset },
            },
            slots: None,
            applied: None,
            commands_done_through: self.commands_done,
            out_of_service: false,
            firmware: "1".into(),
            received_at_ms: at_ms,
            trace_id: "t".into(),
        }
    }

    /// Does what an answer says.
    pub(super) fn hear(&mut self, answer: &crate::domain::sync::Answer) {
        if let Some(journal) = self.journals.iter_mut().find(|j| j.epoch == answer.epoch) {
            journal.accepted = answer.accepted_through;
        }
        self.resend_from = answer.resend_from;
        self.verdicts_seen = answer.verdicts.last().map_or(self.verdicts_seen, |v| v.number);
        if let Some(open) = answer.open_epoch
            && answer.epoch == self.current().epoch
        {
            let parent = ParentEpoch {
                epoch: answer.epoch,
                last_common_seq: open.last_common_seq,
                highest_seq: self.last_seq(),
                reason: open.reason,
            };
            self.open(Some(parent));
        }
    }

    /// A journal lost whole: a new one that knows no parent.
    pub(super) fn reflash(&mut self) {
        self.journals.clear();
        self.totals = Totals::default();
        self.verdicts_seen = 0;
        self.resend_from = None;
        self.open(None);
    }

    /// The journal was damaged behind `readable`: a new epoch that says so.
    pub(super) fn salvage(&mut self, readable: u64) {
        let highest = self.last_seq();
        let journal = self.current();
        journal.records.truncate(readable as usize);
        let epoch = journal.epoch;
        let parent = ParentEpoch {
            epoch,
            last_common_seq: readable,
            highest_seq: highest,
            reason: EpochReason::Salvaged,
        };
        self.open(Some(parent));
    }
}

impl Journal {
    pub(super) fn hash_at(&self, seq: u64) -> Hash {
        if seq == 0 { GENESIS } else { self.records[seq as usize - 1].hash }
    }
}
