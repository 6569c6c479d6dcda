//! How alerts of a Sync are worded and told apart.

use super::call::SyncCall;
use super::writes::{AlertKind, AlertOver, AlertRaise, Writes};
use crate::domain::ids::{AlertId, Ids};
use vend_core::id::Epoch;

/// Raises an alert about an epoch; one per kind and epoch stays open.
pub(super) fn raise(
    writes: &mut Writes,
    ids: &mut dyn Ids,
    call: &SyncCall,
    kind: AlertKind,
    about: (Epoch, u64),
    detail: String,
) {
    raise_keyed(writes, ids, call, kind, hex::encode(about.0.0), about.1, detail);
}

/// Says that an alert is over. The store ends alerts before it raises any, so one that began in this same batch is taken
/// back instead: its records tell of it.
pub(super) fn over(writes: &mut Writes, call: &SyncCall, kind: AlertKind, key: String) {
    writes.alerts.retain(|a| !(a.machine == call.machine && a.kind == kind && a.key == key));
    let (machine, trace_id) = (call.machine, call.trace_id.clone());
    writes.alerts_over.push(AlertOver { machine, kind, key, trace_id });
}

/// Raises an alert told apart by a key of its own.
pub(super) fn raise_keyed(
    writes: &mut Writes,
    ids: &mut dyn Ids,
    call: &SyncCall,
    kind: AlertKind,
    key: String,
    seq: u64,
    detail: String,
) {
    writes.alerts.push(AlertRaise {
        id: AlertId(ids.uuid_v7()),
        machine: call.machine,
        kind,
        key,
        epoch: Some(call.epoch),
        seq,
        detail,
        at_ms: call.received_at_ms,
        trace_id: call.trace_id.clone(),
    });
}
