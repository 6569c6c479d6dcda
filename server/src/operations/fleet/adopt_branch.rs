//! Counts a branch after all.
//!
//! A fork's seqs are taken in its epoch, so what is adopted is kept among the counted records under the branch's own id:
//! the one unique index over `(machine, transaction, kind)` then guards it like any other record.

use super::body::{counts_already, read_body};
use super::{branch_not_found, end_late_alert, lock_open_branch};
use crate::domain::fleet::{BranchRecord, BranchSummary};
use crate::domain::ids::{EventId, Ids};
use crate::domain::request::RequestKey;
use crate::domain::sync::{
    BadBody, BranchState, DeadLetterRow, Disposition, EventRow, RecordRow, Verdict, VerdictReason, Writes,
};
use crate::domain::text::Text;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::{ContextIds, Failure, write};
use crate::operations::request::begin;
use crate::store::fleet::{branches, judged, records};
use crate::store::{Tx, commands, events};
use crate::telemetry;
use std::collections::HashSet;
use uuid::Uuid;
use vend_core::id::{Epoch, TransactionId};
use vend_core::record::Record;

/// Records judged at a time.
const RECORDS_PER_STEP: i64 = 500;

/// Adopts a branch: each of its records counts, or becomes a dead letter. Slot levels and marks stay as they are: what the
/// machine had in its slots then is older than what is known now, and its next count or report says.
///
/// # Errors
/// BRANCH_NOT_FOUND, BRANCH_NOT_OPEN, MACHINE_CLONED, IDEMPOTENCY_KEY_REUSED.
pub async fn adopt_branch(
    deps: &Deps,
    key: RequestKey,
    id: Uuid,
    note: Text<0, 256>,
    by: String,
) -> Result<BranchSummary, ApiError> {
    let now_ms = deps.context.now_ms();
    let trace = telemetry::current().map(|trace| trace.id).unwrap_or_default();
    let input = (key, note.into_string(), by, deps.context.clone(), trace);
    let adopted = write(deps, "adopt_branch", input, move |tx, (key, note, by, context, trace)| {
        Box::pin(async move {
            if begin(tx, key, &id.to_string(), now_ms).await?.is_some() {
                return Ok(branches::find(tx, id).await?.ok_or_else(|| branch_not_found(id))?);
            }
            let mut branch = lock_open_branch(tx, id).await?;
            branch.branch.state = BranchState::Adopted;
            branch.ended_at_ms = now_ms;
            branch.ended_by.clone_from(by);
            branch.note.clone_from(note);
            let over = end_late_alert(tx, &branch, now_ms).await?;
            count(tx, &mut branch, &mut ContextIds(context), (now_ms, trace)).await?;
            events::write(tx, &over).await?;
            branches::end(tx, &branch).await?;
            Ok(branch)
        })
    })
    .await?;
    super::hint(deps, &[adopted.machine]).await;
    Ok(adopted)
}

async fn count(
    tx: &mut Tx,
    branch: &mut BranchSummary,
    ids: &mut ContextIds<'_>,
    (now_ms, trace_id): (i64, &str),
) -> Result<(), Failure> {
    let (machine, chain) = (branch.machine, Epoch(*branch.id.as_bytes()));
    let mut seen: HashSet<(TransactionId, u32)> = HashSet::new();
    let mut after = branch.branch.first_seq.saturating_sub(1);
    loop {
        let batch = branches::records(tx, machine, &branch.branch.key, after, RECORDS_PER_STEP).await?;
        let Some(last) = batch.last() else { break };
        after = last.seq;
        let mut writes = Writes::default();
        for record in batch {
            let judged = judge(tx, branch, &record, &mut seen).await?;
            if let Ok(meaning) = &judged {
                commands::hear(tx, machine, (record.seq, &meaning.body), now_ms).await?;
            }
            let transaction = judged.as_ref().ok().and_then(|meaning| meaning.body.transaction());
            let disposition = if judged.is_ok() { Disposition::Applied } else { Disposition::DeadLetter };
            match judged {
                Ok(_) => branch.applied_records += 1,
                Err(bad) => {
                    branch.dead_lettered_records += 1;
                    writes.dead_letters.push(DeadLetterRow {
                        machine,
                        epoch: chain,
                        seq: record.seq,
                        reason: bad.reason,
                        detail: bad.detail,
                        at_ms: now_ms,
                        trace_id: trace_id.to_owned(),
                    });
                }
            }
            writes.records.push(counted_row(branch, chain, record, transaction, disposition));
        }
        judged::write(tx, &writes).await?;
    }
    let (first_seq, last_seq) = (branch.branch.first_seq, branch.branch.last_seq);
    let verdict = Verdict {
        number: judged::next_verdict(tx, machine).await?,
        epoch: branch.branch.key.epoch,
        first_seq,
        last_seq,
        disposition: Disposition::Applied,
        reason: VerdictReason::Adopted,
    };
    let event = EventRow {
        id: EventId(ids.uuid_v7()),
        machine,
        epoch: chain,
        first_seq,
        last_seq,
        at_ms: now_ms,
        trace_id: trace_id.to_owned(),
    };
    let writes = Writes { verdicts: vec![(machine, verdict)], events: vec![event], ..Writes::default() };
    Ok(judged::write(tx, &writes).await?)
}

/// What a record counts for, or why it does not.
async fn judge(
    tx: &mut Tx,
    branch: &BranchSummary,
    record: &BranchRecord,
    seen: &mut HashSet<(TransactionId, u32)>,
) -> Result<Result<Record, BadBody>, Failure> {
    let meaning = match read_body(record.kind, record.schema, &record.body) {
        Ok(meaning) => meaning,
        Err(bad) => return Ok(Err(bad)),
    };
    let Some(transaction) = meaning.body.transaction() else { return Ok(Ok(meaning)) };
    let twice = !seen.insert((transaction, record.kind))
        || records::counts(tx, branch.machine, transaction, record.kind).await?;
    Ok(if twice { Err(counts_already(transaction)) } else { Ok(meaning) })
}

fn counted_row(
    branch: &BranchSummary,
    chain: Epoch,
    record: BranchRecord,
    transaction: Option<TransactionId>,
    disposition: Disposition,
) -> RecordRow {
    RecordRow {
        machine: branch.machine,
        epoch: chain,
        seq: record.seq,
        kind: record.kind,
        schema: record.schema,
        body: record.body,
        hash: record.hash,
        transaction,
        disposition,
        received_at_ms: record.received_at_ms,
        earliest_ms: record.earliest_ms,
        latest_ms: record.latest_ms,
    }
}
