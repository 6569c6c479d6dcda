//! What machines have to say, made before any clock starts: chains of vends with counters and valid hashes, cut into
//! Syncs, in each form that a part of the bench needs.

use prost::Message as _;
use prost::bytes::Bytes;
use server::domain::ids::{CredentialId, MachineId};
use server::domain::sync::{
    AppliedConfig, CredentialState, Hash, RecordIn, ReportedSlot, ReportedSlots, SyncCall,
};
use uuid::Uuid;
use vend_core::counters::{self, Totals};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::{Currency, Pieces};
use vend_core::record::{Audit, Body, Boot, Payment, Record, SlotCount, Vend, VendOutcome};
use vend_core::time::{ClockQuality, Now, Stamp};
use vendfleet_proto::v1;

/// Slots of a machine.
pub const SLOTS: u16 = 8;
const FULL: u32 = 1_000_000;
const FIRMWARE: &str = "bench/1.0";
/// Wall clock of the first record, ms.
const FROM_MS: i64 = 1_795_000_000_000;
const CONFIG: ConfigId = ConfigId([0x33; 16]);
const ASSIGNMENT: u64 = 1;

/// One numbered record in both forms.
pub struct Entry {
    pub seq: u64,
    pub record: Record,
    pub kind: u32,
    pub body: Bytes,
    pub hash: Hash,
}

/// One machine and everything it will send.
pub struct Machine {
    pub id: MachineId,
    pub credential: Uuid,
    pub secret: [u8; 32],
    pub epoch: Epoch,
    pub boot: BootId,
    /// The first opens the epoch and counts the slots; it is sent before the clock starts.
    pub syncs: Vec<Sync>,
}

/// One Sync.
pub struct Sync {
    pub previous_hash: Hash,
    pub entries: Vec<Entry>,
    /// Levels after it, by slot from 1.
    pub levels: [u32; SLOTS as usize],
}

impl Sync {
    pub fn first_seq(&self) -> u64 {
        self.entries[0].seq
    }

    pub fn last(&self) -> &Entry {
        self.entries.last().unwrap()
    }
}

/// A fleet: `syncs` calls of `records` vends each from every machine.
pub fn fleet(machines: usize, syncs: usize, records: usize) -> Vec<Machine> {
    (0..machines).map(|_| machine(syncs, records)).collect()
}

fn machine(syncs: usize, records: usize) -> Machine {
    let mut pen = Pen::new();
    let opening = [
        Body::Boot(Boot { firmware: FIRMWARE.into(), boot_count: 1, parent: None }),
        Body::Audit(Audit {
            slots: (1..=SLOTS).map(|slot| SlotCount { slot, product: product(slot), units: FULL }).collect(),
            tubes: vec![Pieces { denomination: 10, count: 50 }, Pieces { denomination: 20, count: 50 }],
            box_minor: 0,
            since_reset: Totals::default(),
        }),
    ];
    let mut all = vec![pen.sync(opening.into())];
    for _ in 0..syncs {
        let vends = (0..records).map(|_| pen.vend()).collect();
        all.push(pen.sync(vends));
    }
    Machine {
        id: MachineId(Uuid::now_v7()),
        credential: Uuid::now_v7(),
        secret: rand::random(),
        epoch: pen.epoch,
        boot: pen.boot,
        syncs: all,
    }
}

fn product(slot: u16) -> ProductId {
    ProductId([u8::try_from(slot).unwrap(); 16])
}

/// Writes a journal.
struct Pen {
    epoch: Epoch,
    boot: BootId,
    seq: u64,
    hash: Hash,
    totals: Totals,
    currency: Currency,
    levels: [u32; SLOTS as usize],
}

impl Pen {
    fn new() -> Self {
        Self {
            epoch: Epoch(rand::random()),
            boot: BootId(rand::random()),
            seq: 0,
            hash: vendfleet_wire::NO_HASH,
            totals: Totals::default(),
            currency: Currency::NONE,
            levels: [FULL; SLOTS as usize],
        }
    }

    /// A cash sale with change, or every third time a card sale.
    fn vend(&mut self) -> Body {
        let slot = rand::random_range(1..=SLOTS);
        self.levels[usize::from(slot) - 1] -= 1;
        let cash = !rand::random_ratio(1, 3);
        Body::Vend(Vend {
            transaction: TransactionId(*Uuid::now_v7().as_bytes()),
            slot,
            product: product(slot),
            config: CONFIG,
            price_minor: 150,
            currency: Currency::parse("EUR").unwrap(),
            payment: if cash {
                Payment::Cash
            } else {
                Payment::Cashless { reference: "T-4711-0815".into(), offline: false }
            },
            outcome: VendOutcome::Success,
            cash_in_minor: if cash { 200 } else { 0 },
            payout_intent_minor: if cash { 50 } else { 0 },
            owed_minor: 0,
            command_number: 0,
        })
    }

    fn sync(&mut self, bodies: Vec<Body>) -> Sync {
        let previous_hash = self.hash;
        let entries = bodies.into_iter().map(|body| self.write(body)).collect();
        Sync { previous_hash, entries, levels: self.levels }
    }

    fn write(&mut self, body: Body) -> Entry {
        counters::advance(&mut self.currency, &mut self.totals, &body);
        self.seq += 1;
        let at = Now {
            uptime_ms: self.seq * 60_000,
            wall_ms: FROM_MS + i64::try_from(self.seq).unwrap() * 60_000,
            clock: ClockQuality::Synced,
        };
        let record = Record { stamp: Stamp { boot: self.boot, at }, lifetime_after: Some(self.totals), body };
        let encoded = vendfleet_wire::encode(&record);
        let kind = encoded.kind as u32;
        self.hash = vendfleet_wire::record_hash(
            &self.epoch,
            self.seq,
            kind,
            encoded.schema,
            &self.hash,
            &encoded.body,
        );
        Entry { seq: self.seq, record, kind, body: encoded.body.into(), hash: self.hash }
    }
}

impl Machine {
    /// A Sync after the edge has parsed it.
    pub fn call(&self, sync: &Sync) -> SyncCall {
        let last = sync.last();
        SyncCall {
            machine: self.id,
            credential: CredentialId(self.credential),
            credential_state: CredentialState::Active,
            epoch: self.epoch,
            oldest_seq: 1,
            last_seq: last.seq,
            accepted_through: sync.first_seq() - 1,
            first_seq: sync.first_seq(),
            previous_hash: sync.previous_hash,
            records: sync
                .entries
                .iter()
                .map(|e| RecordIn {
                    seq: e.seq,
                    kind: e.kind,
                    schema: vendfleet_wire::SCHEMA,
                    body: e.body.clone(),
                    hash: e.hash,
                    meaning: Ok(e.record.clone()),
                })
                .collect(),
            parent: None,
            verdicts_seen_through: 0,
            same_incarnation: true,
            now: last.record.stamp,
            slots: Some(ReportedSlots {
                as_of_seq: last.seq,
                slots: (1..=SLOTS)
                    .zip(sync.levels)
                    .map(|(slot, units)| ReportedSlot { slot, product: product(slot), units, faulted: false })
                    .collect(),
            }),
            applied: Some(AppliedConfig {
                as_of_seq: last.seq,
                number: ASSIGNMENT,
                config: Some(CONFIG),
                rejected_number: 0,
            }),
            commands_done_through: 0,
            out_of_service: false,
            firmware: FIRMWARE.to_owned(),
            received_at_ms: last.record.stamp.at.wall_ms,
            trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    /// A Sync as it travels.
    pub fn message(&self, sync: &Sync) -> Bytes {
        let last = sync.last();
        let request = v1::SyncRequest {
            epoch: self.epoch.0.to_vec(),
            oldest_seq: 1,
            last_seq: last.seq,
            accepted_through: sync.first_seq() - 1,
            first_seq: sync.first_seq(),
            previous_hash: sync.previous_hash.to_vec(),
            records: sync
                .entries
                .iter()
                .map(|e| v1::Record {
                    seq: e.seq,
                    kind: e.kind,
                    schema: vendfleet_wire::SCHEMA,
                    body: e.body.clone(),
                    hash: e.hash.to_vec(),
                })
                .collect(),
            now: Some(v1::Stamp {
                boot_id: self.boot.0.to_vec(),
                uptime_ms: last.record.stamp.at.uptime_ms,
                wall_ms: last.record.stamp.at.wall_ms,
                clock_quality: v1::ClockQuality::Synced.into(),
            }),
            slots: Some(v1::ReportedSlots {
                as_of_seq: last.seq,
                slots: (1..=SLOTS)
                    .zip(sync.levels)
                    .map(|(slot, units)| v1::ReportedSlot {
                        slot: slot.into(),
                        product_id: product(slot).0.to_vec(),
                        units,
                        faulted: false,
                    })
                    .collect(),
            }),
            applied_config: Some(v1::AppliedConfig {
                as_of_seq: last.seq,
                assignment_number: ASSIGNMENT,
                config_id: CONFIG.0.to_vec(),
                rejected_number: 0,
            }),
            firmware: FIRMWARE.to_owned(),
            ..v1::SyncRequest::default()
        };
        request.encode_to_vec().into()
    }

    /// Slots sold from in a Sync.
    pub fn slots_changed(sync: &Sync) -> impl Iterator<Item = u16> {
        (1..=SLOTS).filter(|slot| {
            sync.entries.iter().any(|e| matches!(&e.record.body, Body::Vend(v) if v.slot == *slot))
        })
    }
}

/// The desired config that each machine has applied already.
pub fn assignment() -> (i64, &'static [u8; 16]) {
    (1, &CONFIG.0)
}
