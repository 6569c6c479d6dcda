//! The statements that write a batch, each over all rows of its kind.

use crate::store::bulk::{Bulk, Kind};
use Kind::{Bool, Bytes, Int, Text};

pub(super) static RECORDS: Bulk = Bulk::new(
    "INSERT INTO records (machine_id, epoch, seq, kind, schema_no, body, hash, transaction_id, disposition, \
     received_at_ms, earliest_ms, latest_ms)",
    &[Bytes, Bytes, Int, Int, Int, Bytes, Bytes, Bytes, Int, Int, Int, Int],
    "",
);

pub(super) static QUARANTINED: Bulk = Bulk::new(
    "INSERT INTO quarantined_records (machine_id, epoch, first_hash, seq, kind, schema_no, body, hash, \
     received_at_ms, earliest_ms, latest_ms)",
    &[Bytes, Bytes, Bytes, Int, Int, Int, Bytes, Bytes, Int, Int, Int],
    "",
);

pub(super) static MACHINES: Bulk = Bulk::new(
    "INSERT INTO machine_sync (machine_id, standing, current_epoch, verdict_number, verdicts_seen, desired_number, \
     desired_config, applied_number, applied_config, rejected_number, commands_done_through, last_boot, last_uptime_ms, \
     last_contact_ms, sync_count, firmware, spoke_epoch, spoke_last_seq, has_branches)",
    &[
        Bytes, Int, Bytes, Int, Int, Int, Bytes, Int, Bytes, Int, Int, Bytes, Int, Int, Int, Text, Bytes,
        Int, Bool,
    ],
    "ON CONFLICT (machine_id) DO UPDATE SET standing = excluded.standing, current_epoch = excluded.current_epoch, \
     verdict_number = excluded.verdict_number, verdicts_seen = excluded.verdicts_seen, \
     desired_number = excluded.desired_number, desired_config = excluded.desired_config, \
     applied_number = excluded.applied_number, applied_config = excluded.applied_config, \
     rejected_number = excluded.rejected_number, commands_done_through = excluded.commands_done_through, \
     last_boot = excluded.last_boot, last_uptime_ms = excluded.last_uptime_ms, \
     last_contact_ms = excluded.last_contact_ms, sync_count = excluded.sync_count, firmware = excluded.firmware, \
     spoke_epoch = excluded.spoke_epoch, spoke_last_seq = excluded.spoke_last_seq, \
     has_branches = excluded.has_branches",
);

pub(super) static EPOCHS: Bulk = Bulk::new(
    "INSERT INTO epochs (machine_id, epoch, ordinal, status, parent, parent_last_common, parent_highest, reason, \
     accepted_through, durable_through, last_hash, opening, expected, expected_currency, diverged_seq, opened_at_ms, \
     replaced_at_ms, spoke_at_ms, moved_to)",
    &[
        Bytes, Bytes, Int, Int, Bytes, Int, Int, Int, Int, Int, Bytes, Bytes, Bytes, Text, Int, Int, Int,
        Int, Bytes,
    ],
    "ON CONFLICT (machine_id, epoch) DO UPDATE SET status = excluded.status, \
     accepted_through = excluded.accepted_through, durable_through = excluded.durable_through, \
     last_hash = excluded.last_hash, opening = excluded.opening, expected = excluded.expected, \
     expected_currency = excluded.expected_currency, diverged_seq = excluded.diverged_seq, \
     replaced_at_ms = excluded.replaced_at_ms, spoke_at_ms = excluded.spoke_at_ms, moved_to = excluded.moved_to",
);

/// What is reserved is the purchases' to say: a Sync leaves it as it is.
pub(super) static SLOTS: Bulk = Bulk::new(
    "INSERT INTO slots (machine_id, slot, product, derived, derived_seq, reported_product, reported, reported_seq, \
     faulted, epoch, agreed_seq, drift_seq, reserved)",
    &[Bytes, Int, Bytes, Int, Int, Bytes, Int, Int, Bool, Bytes, Int, Int, Int],
    "ON CONFLICT (machine_id, slot) DO UPDATE SET product = excluded.product, derived = excluded.derived, \
     derived_seq = excluded.derived_seq, reported_product = excluded.reported_product, reported = excluded.reported, \
     reported_seq = excluded.reported_seq, faulted = excluded.faulted, epoch = excluded.epoch, \
     agreed_seq = excluded.agreed_seq, drift_seq = excluded.drift_seq",
);

/// What an operator did with a branch stays as it is.
pub(super) static BRANCHES: Bulk = Bulk::new(
    "INSERT INTO branches (machine_id, epoch, first_hash, branch_id, first_seq, root_hash, last_seq, last_hash, reason, \
     state, opened_at_ms, updated_at_ms, credential_id, vends, vends_minor, currency)",
    &[Bytes, Bytes, Bytes, Bytes, Int, Bytes, Int, Bytes, Int, Int, Int, Int, Bytes, Int, Int, Text],
    "ON CONFLICT (machine_id, epoch, first_hash) DO UPDATE SET last_seq = excluded.last_seq, \
     last_hash = excluded.last_hash, updated_at_ms = excluded.updated_at_ms, vends = excluded.vends, \
     vends_minor = excluded.vends_minor, currency = excluded.currency",
);

pub(super) static DEAD_LETTERS: Bulk = Bulk::new(
    "INSERT INTO dead_letters (machine_id, epoch, seq, dead_letter_id, reason, detail, created_at_ms, trace_id)",
    &[Bytes, Bytes, Int, Bytes, Text, Text, Int, Text],
    "",
);

pub(super) static GAPS: Bulk = Bulk::new(
    "INSERT INTO gaps (machine_id, epoch, first_seq, last_seq, gap_id, reason, created_at_ms)",
    &[Bytes, Bytes, Int, Int, Bytes, Int, Int],
    "",
);

pub(super) static VERDICTS: Bulk = Bulk::new(
    "INSERT INTO verdicts (machine_id, number, epoch, first_seq, last_seq, disposition, reason)",
    &[Bytes, Int, Bytes, Int, Int, Int, Text],
    "",
);

pub(super) static VERDICTS_SEEN: Bulk = Bulk::new(
    "WITH input (machine_id, number) AS (",
    &[Bytes, Int],
    ") DELETE FROM verdicts WHERE (machine_id, number) IN (SELECT v.machine_id, v.number \
     FROM input i CROSS JOIN verdicts v WHERE v.machine_id = i.machine_id AND v.number <= i.number)",
);

pub(super) static ASSIGNMENTS: Bulk = Bulk::new(
    "INSERT INTO assignments (machine_id, number, config_id, cause, assigned_at_ms)",
    &[Bytes, Int, Bytes, Int, Int],
    "",
);
