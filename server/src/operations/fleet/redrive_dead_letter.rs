//! Tries a dead letter again: decoded with the present code, held against the present rules.

use super::body::{counts_already, read_body};
use super::list_dead_letters::find;
use super::redrive_order::redrive_order;
use super::{dead_letter_not_found, lock_machine};
use crate::domain::fleet::{
    DeadLetter, DeadLetterState, LateFold, SetAside, StoredRecord, redriven_event_id,
};
use crate::domain::request::RequestKey;
use crate::domain::sync::{BadBody, Disposition, Verdict, VerdictReason, Writes};
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, origin, write};
use crate::operations::request::begin;
use crate::store::events::{self, KIND_REDRIVEN, NewEvent, Origin, SYNC_SHARD};
use crate::store::fleet::records::Kinds;
use crate::store::fleet::{dead_letters, judged, records, slots};
use crate::store::{Tx, commands, pool};
use uuid::Uuid;
use vend_core::id::Epoch;
use vend_core::record::{Body, Record};

/// Records read at a time while a late record's effect on slots is followed.
const RECORDS_PER_STEP: i64 = 500;
/// Later records that are followed, at most. Behind more, levels stay as they are: the next count or report says.
const MAX_FOLLOWED: usize = 20_000;

/// Redrives a dead letter. A record is done when it counts now, and stays open with a fresh reason when it does not; work on an
/// order goes back to the workers.
///
/// # Errors
/// DEAD_LETTER_NOT_FOUND, DEAD_LETTER_NOT_OPEN, IDEMPOTENCY_KEY_REUSED.
pub async fn redrive_dead_letter(deps: &Deps, key: RequestKey, id: Uuid) -> Result<SetAside, ApiError> {
    let input = (key, origin(), deps.context.clone());
    let letter = write(deps, "redrive_dead_letter", input, move |tx, (key, origin, context)| {
        Box::pin(async move {
            let now_ms = context.now_ms();
            let repeated = begin(tx, key, &id.to_string(), now_ms).await?.is_some();
            let unlocked = find(tx, id).await?.ok_or_else(|| dead_letter_not_found(id))?;
            match unlocked {
                repeat if repeated => Ok(repeat),
                SetAside::Record(unlocked) => {
                    lock_machine(tx, unlocked.record.machine).await?;
                    let letter =
                        dead_letters::find(tx, id).await?.ok_or_else(|| dead_letter_not_found(id))?;
                    Ok(SetAside::Record(redrive(tx, letter, now_ms, origin).await?))
                }
                SetAside::Order(letter) => {
                    Ok(SetAside::Order(redrive_order(tx, letter, context, origin).await?))
                }
                SetAside::Purchase(letter) => {
                    if !pool::redrive(tx, letter.purchase, now_ms).await? {
                        let text = "the dead letter is done";
                        return Err(ApiError::new(Reason::DeadLetterNotOpen, text)
                            .with("dead_letter_id", id)
                            .into());
                    }
                    find(tx, id).await?.ok_or_else(|| dead_letter_not_found(id).into())
                }
            }
        })
    })
    .await?;
    if matches!(letter, SetAside::Purchase(_)) {
        deps.pool.wake_workers();
    }
    if let SetAside::Record(letter) = &letter {
        super::hint(deps, &[letter.record.machine]).await;
    }
    Ok(letter)
}

async fn redrive(
    tx: &mut Tx,
    mut letter: DeadLetter,
    now_ms: i64,
    origin: &Origin,
) -> Result<DeadLetter, Failure> {
    if letter.state == DeadLetterState::Done {
        return Err(ApiError::new(
            Reason::DeadLetterNotOpen,
            "the dead letter was redriven with success before",
        )
        .with("dead_letter_id", letter.id)
        .into());
    }
    letter.redrives = letter.redrives.saturating_add(1);
    letter.updated_at_ms = now_ms;
    match judge(tx, &letter.record).await? {
        Ok(meaning) => {
            letter.state = DeadLetterState::Done;
            records::count(tx, &letter.record, meaning.body.transaction()).await?;
            commands::hear(tx, letter.record.machine, (letter.record.seq, &meaning.body), now_ms).await?;
            move_levels(tx, &letter.record, &meaning.body).await?;
            dead_letters::update(tx, &letter).await?;
            tell(tx, &letter.record).await?;
            happened(tx, &letter, origin).await?;
        }
        Err(bad) => {
            letter.reason = bad.reason.as_str().to_owned();
            letter.detail = bad.detail;
            dead_letters::update(tx, &letter).await?;
        }
    }
    Ok(letter)
}

async fn judge(tx: &mut Tx, record: &StoredRecord) -> Result<Result<Record, BadBody>, Failure> {
    let meaning = match read_body(record.kind, record.schema, &record.body) {
        Ok(meaning) => meaning,
        Err(bad) => return Ok(Err(bad)),
    };
    if let Some(transaction) = meaning.body.transaction()
        && records::counts(tx, record.machine, transaction, record.kind).await?
    {
        return Ok(Err(counts_already(transaction)));
    }
    Ok(Ok(meaning))
}

/// Follows what happened to the slots since, then moves their levels.
async fn move_levels(tx: &mut Tx, late: &StoredRecord, body: &Body) -> Result<(), Failure> {
    let mut fold = LateFold::new(body);
    let chains = records::chains(tx, late.machine).await?;
    // What was adopted never moved a level, and does not now.
    if !chains.iter().any(|chain| chain.id == late.chain && chain.epoch == late.chain) {
        return Ok(());
    }
    let later = chains.iter().filter(|c| c.id == c.epoch).skip_while(|c| c.id != late.chain);
    let mut followed = 0;
    for chain in later {
        let mut first = if chain.id == late.chain { late.seq.saturating_add(1) } else { 1 };
        loop {
            if fold.is_settled() {
                return Ok(());
            }
            let batch =
                records::of_kinds(tx, late.machine, chain.id, Kinds::Stock, first, RECORDS_PER_STEP).await?;
            let Some(last) = batch.last() else { break };
            first = last.seq.saturating_add(1);
            followed += batch.len();
            if followed > MAX_FOLLOWED {
                return Ok(());
            }
            for record in &batch {
                if let Ok(meaning) = read_body(record.kind, record.schema, &record.body) {
                    fold.walk(&meaning.body);
                }
            }
        }
    }
    for (slot, effect) in fold.finish() {
        slots::move_level(tx, late.machine, slot, effect, (late.chain, late.seq)).await?;
    }
    Ok(())
}

/// The device learns that its record counts after all.
async fn tell(tx: &mut Tx, record: &StoredRecord) -> Result<(), Failure> {
    let chains = records::chains(tx, record.machine).await?;
    let epoch =
        chains.iter().find(|chain| chain.id == record.chain).map_or(record.chain, |chain| chain.epoch);
    let verdict = Verdict {
        number: judged::next_verdict(tx, record.machine).await?,
        epoch: Epoch(epoch.0),
        first_seq: record.seq,
        last_seq: record.seq,
        disposition: Disposition::Applied,
        reason: VerdictReason::Adopted,
    };
    let writes = Writes { verdicts: vec![(record.machine, verdict)], ..Writes::default() };
    Ok(judged::write(tx, &writes).await?)
}

/// Whoever follows the log learns of the record now: it was not among what its Sync told of.
async fn happened(tx: &mut Tx, letter: &DeadLetter, origin: &Origin) -> Result<(), Failure> {
    let record = &letter.record;
    let event = NewEvent {
        id: redriven_event_id(letter.id, letter.updated_at_ms),
        kind: KIND_REDRIVEN,
        machine: Some(record.machine),
        epoch: Some(record.chain),
        first_seq: record.seq,
        last_seq: record.seq,
        at_ms: letter.updated_at_ms,
        trace_id: &origin.trace_id,
        traceparent: &origin.traceparent,
        subject: None,
        customer: None,
        body: None,
    };
    Ok(events::append(tx, SYNC_SHARD, &[event]).await?)
}
