//! A `SyncRequest` into a `SyncCall`: after this it can't be malformed. Runs on the caller's own task, outside any lock.

use crate::auth::{MachineCaller, Standing};
use crate::domain::ids::{CredentialId, Incarnation, MachineId};
use crate::domain::sync::{
    AppliedConfig, BadBody, CredentialState, RecordIn, ReportedSlot, ReportedSlots, SyncCall, VerdictReason,
};
use crate::error::{ApiError, FieldViolation, MAX_VIOLATIONS, Reason};
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};
use vend_core::record::{EpochReason, ParentEpoch};
use vend_core::time::{ClockQuality, Now, Stamp};
use vendfleet_proto::v1;
use vendfleet_wire as wire;

/// Highest seq, verdict, assignment or command number: what a BIGINT holds, with room to add.
const MAX_NUMBER: u64 = 1 << 62;
/// Longest firmware version, bytes.
const MAX_FIRMWARE_BYTES: usize = 64;

/// What the edge knows of a call besides its message.
pub(super) struct Edge {
    pub(super) caller: MachineCaller,
    pub(super) incarnation: Incarnation,
    pub(super) received_at_ms: i64,
    pub(super) trace_id: String,
    pub(super) max_records: usize,
    pub(super) max_body_bytes: usize,
}

/// Parses and checks, hashes included.
///
/// # Errors
/// INVALID_FIELD with every field that breaks its rule, or BAD_HASH naming the record.
pub(super) fn sync_call(request: v1::SyncRequest, edge: Edge) -> Result<SyncCall, ApiError> {
    let mut check = Check::default();
    let epoch = Epoch(check.bytes("epoch", &request.epoch));
    let boot = BootId(check.bytes("now.boot_id", request.now.as_ref().map_or(&[][..], |now| &now.boot_id)));
    let previous_hash: [u8; 32] = check.bytes("previous_hash", &request.previous_hash);
    check.marks(&request);
    check.records(&request, &edge);
    let parent = request.parent.as_ref().map(|parent| check.parent(parent, epoch));
    let slots = request.slots.as_ref().map(|slots| check.slots(slots));
    let applied = request.applied_config.as_ref().map(|applied| check.applied(applied));
    check.rule(request.firmware.len() <= MAX_FIRMWARE_BYTES, "firmware", "at most 64 bytes");
    check.rule(request.server_incarnation.len() <= 64, "server_incarnation", "at most 64 bytes");
    check.done()?;

    let records = records(&epoch, request.first_seq, &previous_hash, request.records)?;
    let now = request.now.unwrap_or_default();
    Ok(SyncCall {
        machine: MachineId(edge.caller.machine_id),
        credential: CredentialId(edge.caller.credential_id),
        credential_state: match edge.caller.standing {
            Standing::Active => CredentialState::Active,
            Standing::UploadOnly { .. } => CredentialState::UploadOnly,
        },
        epoch,
        oldest_seq: request.oldest_seq,
        last_seq: request.last_seq,
        accepted_through: request.accepted_through,
        first_seq: request.first_seq,
        previous_hash,
        records,
        parent,
        verdicts_seen_through: request.verdicts_seen_through,
        same_incarnation: request.server_incarnation == edge.incarnation.to_string(),
        now: Stamp {
            boot,
            at: Now { uptime_ms: now.uptime_ms, wall_ms: now.wall_ms, clock: clock(now.clock_quality) },
        },
        slots,
        applied,
        commands_done_through: request.commands_done_through,
        out_of_service: request.out_of_service,
        firmware: request.firmware,
        received_at_ms: edge.received_at_ms,
        trace_id: edge.trace_id,
    })
}

fn records(
    epoch: &Epoch,
    first_seq: u64,
    previous: &[u8; 32],
    received: Vec<v1::Record>,
) -> Result<Vec<RecordIn>, ApiError> {
    let links = received.iter().map(|r| wire::Link {
        seq: r.seq,
        kind: r.kind,
        schema: r.schema,
        body: &r.body,
        hash: &r.hash,
    });
    wire::verify_chain(epoch, first_seq, previous, links).map_err(|broken| {
        ApiError::new(Reason::BadHash, format!("{broken}; nothing of this call was stored"))
            .with("record_index", broken.index)
            .with("seq", broken.seq)
    })?;
    received
        .into_iter()
        .map(|r| {
            let hash = <[u8; 32]>::try_from(&r.hash[..]).map_err(ApiError::internal)?;
            let meaning = wire::decode(r.kind, r.schema, &r.body).map_err(|error| BadBody {
                reason: VerdictReason::of_body(&error.field, error.is_other_kind()),
                detail: error.to_string(),
            });
            Ok(RecordIn { seq: r.seq, kind: r.kind, schema: r.schema, body: r.body, hash, meaning })
        })
        .collect()
}

fn clock(number: i32) -> ClockQuality {
    match v1::ClockQuality::try_from(number) {
        Ok(v1::ClockQuality::Synced) => ClockQuality::Synced,
        Ok(v1::ClockQuality::FreeRunning) => ClockQuality::FreeRunning,
        // A quality this server doesn't know is not one it can rely on.
        Ok(v1::ClockQuality::Unspecified) | Err(_) => ClockQuality::Unset,
    }
}

/// Gathers every broken rule, so that one answer names them all.
#[derive(Default)]
struct Check {
    violations: Vec<FieldViolation>,
}

impl Check {
    fn rule(&mut self, holds: bool, field: &str, rule: &str) {
        if !holds && self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(FieldViolation { field: field.to_owned(), rule: rule.to_owned() });
        }
    }

    fn bytes<const N: usize>(&mut self, field: &str, bytes: &[u8]) -> [u8; N] {
        let exact = <[u8; N]>::try_from(bytes).ok();
        self.rule(exact.is_some(), field, &format!("exactly {N} bytes, got {}", bytes.len()));
        exact.unwrap_or([0; N])
    }

    fn number(&mut self, field: &str, number: u64) {
        self.rule(number < MAX_NUMBER, field, "below 2^62");
    }

    fn marks(&mut self, r: &v1::SyncRequest) {
        for (field, number) in [
            ("oldest_seq", r.oldest_seq),
            ("last_seq", r.last_seq),
            ("accepted_through", r.accepted_through),
            ("first_seq", r.first_seq),
            ("verdicts_seen_through", r.verdicts_seen_through),
            ("commands_done_through", r.commands_done_through),
        ] {
            self.number(field, number);
        }
        if !self.violations.is_empty() {
            return;
        }
        self.rule(r.oldest_seq >= 1, "oldest_seq", "at least 1; last_seq + 1 when nothing is held");
        self.rule(r.oldest_seq <= r.last_seq + 1, "oldest_seq", "at most last_seq + 1");
        self.rule(r.first_seq >= r.oldest_seq, "first_seq", "at least oldest_seq");
        self.rule(r.first_seq <= r.last_seq + 1, "first_seq", "at most last_seq + 1");
        let end = r.first_seq.saturating_add(r.records.len() as u64);
        self.rule(end <= r.last_seq + 1, "records", "no seq above last_seq");
        let zero = r.previous_hash.iter().all(|&b| b == 0);
        self.rule(r.first_seq != 1 || zero, "previous_hash", "all zero when first_seq is 1");
        self.rule(r.now.is_some(), "now", "required");
        self.number("now.uptime_ms", r.now.as_ref().map_or(0, |now| now.uptime_ms));
    }

    fn records(&mut self, r: &v1::SyncRequest, edge: &Edge) {
        let (most, most_bytes) = (edge.max_records, edge.max_body_bytes);
        self.rule(r.records.len() <= most, "records", &format!("at most {most}"));
        let bytes: usize = r.records.iter().map(|record| record.body.len()).sum();
        self.rule(bytes <= most_bytes, "records", &format!("at most {most_bytes} bytes of bodies"));
        for (i, record) in r.records.iter().enumerate() {
            if record.body.len() > wire::MAX_BODY_BYTES {
                self.rule(false, &format!("records[{i}].body"), "at most 4096 bytes");
            }
            if record.hash.len() != 32 {
                self.rule(false, &format!("records[{i}].hash"), "exactly 32 bytes");
            }
            if record.seq != r.first_seq.wrapping_add(i as u64) {
                self.rule(false, &format!("records[{i}].seq"), "contiguous from first_seq");
            }
        }
    }

    fn parent(&mut self, parent: &v1::ParentEpoch, epoch: Epoch) -> ParentEpoch {
        let name = Epoch(self.bytes("parent.epoch", &parent.epoch));
        self.rule(name != epoch, "parent.epoch", "another epoch than this one");
        self.number("parent.last_common_seq", parent.last_common_seq);
        self.number("parent.highest_seq", parent.highest_seq);
        let reason = match parent.reason() {
            v1::EpochReason::New | v1::EpochReason::Unspecified => EpochReason::New,
            v1::EpochReason::Salvaged => EpochReason::Salvaged,
            v1::EpochReason::Forked => EpochReason::Forked,
            v1::EpochReason::TailLost => EpochReason::TailLost,
        };
        ParentEpoch {
            epoch: name,
            last_common_seq: parent.last_common_seq,
            highest_seq: parent.highest_seq,
            reason,
        }
    }

    fn slots(&mut self, reported: &v1::ReportedSlots) -> ReportedSlots {
        self.rule(reported.slots.len() <= wire::MAX_SLOTS, "slots.slots", "at most 256");
        self.number("slots.as_of_seq", reported.as_of_seq);
        let mut slots = Vec::with_capacity(reported.slots.len().min(wire::MAX_SLOTS));
        let mut seen = std::collections::HashSet::new();
        for (i, slot) in reported.slots.iter().take(wire::MAX_SLOTS).enumerate() {
            let number = u16::try_from(slot.slot).ok();
            if number.is_none() {
                self.rule(false, &format!("slots.slots[{i}].slot"), "at most 65535");
            }
            if !seen.insert(slot.slot) {
                self.rule(false, &format!("slots.slots[{i}].slot"), "each slot once");
            }
            let product = ProductId(self.bytes(&format!("slots.slots[{i}].product_id"), &slot.product_id));
            let (slot, units, faulted) = (number.unwrap_or(0), slot.units, slot.faulted);
            slots.push(ReportedSlot { slot, product, units, faulted });
        }
        ReportedSlots { as_of_seq: reported.as_of_seq, slots }
    }

    fn applied(&mut self, applied: &v1::AppliedConfig) -> AppliedConfig {
        self.number("applied_config.as_of_seq", applied.as_of_seq);
        self.number("applied_config.assignment_number", applied.assignment_number);
        self.number("applied_config.rejected_number", applied.rejected_number);
        let config = (!applied.config_id.is_empty())
            .then(|| ConfigId(self.bytes("applied_config.config_id", &applied.config_id)));
        AppliedConfig {
            as_of_seq: applied.as_of_seq,
            number: applied.assignment_number,
            config,
            rejected_number: applied.rejected_number,
        }
    }

    fn done(self) -> Result<(), ApiError> {
        if self.violations.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(self.violations)) }
    }
}
