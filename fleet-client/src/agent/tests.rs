//! What the agent's mind promises, without I/O and without a clock.

#![allow(clippy::unwrap_used)]

mod answers;
mod backing_off;
pub(crate) mod fake;
mod talking;
mod timing;

use super::plan::{Limits, Plan};
use crate::journal::EpochCursor;
use crate::transport::{CallError, FailureKind, Standing, SyncAnswer};
use std::time::Duration;
use vend_core::id::Epoch;

const OURS: Epoch = Epoch([1; 16]);
const OLDER: Epoch = Epoch([2; 16]);

/// No luck at all: every draw is the ceiling.
fn longest(max: u64) -> u64 {
    max
}

fn cursor(last_seq: u64, accepted_through: u64) -> EpochCursor {
    EpochCursor {
        epoch: OURS,
        parent: None,
        oldest_seq: 1,
        last_seq,
        accepted_through,
        durable_through: accepted_through,
        current: true,
    }
}

fn answer(accepted_through: u64) -> SyncAnswer {
    SyncAnswer {
        epoch: OURS,
        accepted_through,
        durable_through: accepted_through,
        resend_from: None,
        verdicts: Vec::new(),
        server_incarnation: "life-1".to_owned(),
        server_time_ms: 1_700_000_000_000,
        next_sync_after_ms: 60_000,
        config: None,
        commands: Vec::new(),
        unreadable_commands: Vec::new(),
        open_epoch: None,
        reenroll: None,
        standing: Standing::Active,
        keep_days: 30,
    }
}

fn failure(kind: FailureKind, retry_after: Option<Duration>) -> CallError {
    CallError { kind, reason: "TEST".to_owned(), message: "made for this test".to_owned(), retry_after }
}

fn plan() -> Plan {
    Plan::new(Limits::default())
}
