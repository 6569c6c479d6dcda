//! Forgetting what is old enough, a bounded batch at a time. Marks of journals, gaps and verdicts stay.

use super::tx::{End, TxFuture};
use super::value::int;
use super::{Store, StoreError, Tx};
use crate::domain::ids::MachineId;
use vend_core::id::Epoch;

/// Journals looked at in one step.
const JOURNALS_PER_STEP: i64 = 200;

/// Where a sweep over all journals stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PruneCursor {
    machine: MachineId,
    epoch: Epoch,
}

/// What one step of a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Rows deleted.
    pub rows: u64,
    /// Where to go on; `None`: the sweep is over.
    pub next: Option<PruneCursor>,
}

/// Journals in the order of their names, each with the time its oldest record was received. Records of an adopted branch
/// count under the branch's id.
const OLDEST: &str = "SELECT j.machine_id, j.epoch, (SELECT r.received_at_ms FROM records r \
     WHERE r.machine_id = j.machine_id AND r.epoch = j.epoch ORDER BY r.seq LIMIT 1) AS oldest_ms FROM ( \
     SELECT machine_id, epoch FROM epochs UNION ALL SELECT machine_id, branch_id AS epoch FROM branches WHERE state = 2 \
     ) AS j WHERE (j.machine_id, j.epoch) > ($1, $2) ORDER BY j.machine_id, j.epoch LIMIT $3";

/// Records are received in the order of their seqs, so the old ones are the first. One with an open dead letter is kept:
/// its bytes are what a redrive reads.
const DUE: &str = "SELECT r.seq, r.received_at_ms FROM records r WHERE r.machine_id = $1 AND r.epoch = $2 \
     AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.machine_id = r.machine_id AND d.epoch = r.epoch \
     AND d.seq = r.seq AND d.state <> 3) ORDER BY r.seq LIMIT $3";

const DELETE: &str = "DELETE FROM records WHERE machine_id = $1 AND epoch = $2 AND seq <= $3 \
     AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.machine_id = records.machine_id AND d.epoch = records.epoch \
     AND d.seq = records.seq AND d.state <> 3)";

impl Store {
    /// One step of a sweep that deletes records received before `before_ms`, at most `rows` of them, in one transaction.
    /// Begin with `None` and go on with [`Pruned::next`].
    pub async fn prune_records(
        &self,
        before_ms: i64,
        rows: u32,
        from: Option<PruneCursor>,
    ) -> Result<Pruned, StoreError> {
        let from =
            from.unwrap_or(PruneCursor { machine: MachineId(uuid::Uuid::nil()), epoch: Epoch([0; 16]) });
        let args = [from.machine.as_bytes().into(), (&from.epoch.0).into(), JOURNALS_PER_STEP.into()];
        let found = self.read().await?.all(OLDEST, &args).await?;
        let mut journals = Vec::with_capacity(found.len());
        for row in &found {
            let mut columns = row.columns();
            let at = PruneCursor { machine: MachineId(columns.uuid()?), epoch: Epoch(columns.array()?) };
            let due = columns.opt_int()?.is_some_and(|oldest_ms| oldest_ms < before_ms);
            journals.push((at, due));
        }
        let is_last = journals.len() < usize::try_from(JOURNALS_PER_STEP).unwrap_or(usize::MAX);
        let step = Step { from, journals, before_ms, rows: rows.max(1) };
        let mut pruned = self.run_tx("prune_records", step, prune).await?;
        if is_last && pruned.next.is_some_and(|(_, whole)| whole) {
            pruned.next = None;
        }
        Ok(Pruned { rows: pruned.rows, next: pruned.next.map(|(at, _)| at) })
    }

    /// Deletes events of a shard written before `before_ms`, at most `rows`, oldest first. Cursors into them are lost, and
    /// said to be.
    pub async fn trim_events(&self, shard: i64, before_ms: i64, rows: u32) -> Result<u64, StoreError> {
        self.run_tx("trim_events", (shard, before_ms, rows), |tx, (shard, before_ms, rows)| {
            Box::pin(async move {
                let oldest = "SELECT position, at_ms FROM events WHERE shard = $1 ORDER BY position LIMIT $2";
                let mut through = None;
                for row in tx.all(oldest, &[(*shard).into(), (*rows).into()]).await? {
                    let mut columns = row.columns();
                    let (position, at_ms) = (columns.int()?, columns.int()?);
                    if at_ms >= *before_ms {
                        break;
                    }
                    through = Some(position);
                }
                let Some(through) = through else { return Ok(End::RollBack(0)) };
                let args = [(*shard).into(), through.into()];
                let deleted =
                    tx.execute("DELETE FROM events WHERE shard = $1 AND position <= $2", &args).await?;
                tx.execute("UPDATE event_heads SET trimmed_through = $2 WHERE shard = $1", &args).await?;
                Ok(End::Commit(deleted))
            })
        })
        .await
    }
}

struct Step {
    from: PruneCursor,
    /// And whether it has something to delete.
    journals: Vec<(PruneCursor, bool)>,
    before_ms: i64,
    rows: u32,
}

/// Rows, and the last journal done with whether the step went through all of its journals.
struct StepDone {
    rows: u64,
    next: Option<(PruneCursor, bool)>,
}

fn prune<'t>(tx: &'t mut Tx, step: &'t Step) -> TxFuture<'t, StepDone> {
    Box::pin(async move {
        let mut deleted = 0;
        let mut done = step.from;
        for (journal, due) in &step.journals {
            if *due {
                let room = u64::from(step.rows).saturating_sub(deleted);
                let (rows, is_whole) = prune_journal(tx, journal, step.before_ms, room).await?;
                deleted += rows;
                if !is_whole {
                    return Ok(End::Commit(StepDone { rows: deleted, next: Some((done, false)) }));
                }
            }
            done = *journal;
        }
        Ok(End::Commit(StepDone { rows: deleted, next: Some((done, true)) }))
    })
}

/// Deletes at most `room` rows; also tells whether nothing is left to delete.
async fn prune_journal(
    tx: &mut Tx,
    journal: &PruneCursor,
    before_ms: i64,
    room: u64,
) -> Result<(u64, bool), StoreError> {
    let (machine, epoch) = (journal.machine.as_bytes(), &journal.epoch.0);
    let found = tx.all(DUE, &[machine.into(), epoch.into(), int(room)?.into()]).await?;
    let mut through = None;
    let mut is_whole = (found.len() as u64) < room;
    for row in &found {
        let mut columns = row.columns();
        let (seq, received_at_ms) = (columns.int()?, columns.int()?);
        if received_at_ms >= before_ms {
            is_whole = true;
            break;
        }
        through = Some(seq);
    }
    let Some(through) = through else { return Ok((0, is_whole)) };
    let rows = tx.execute(DELETE, &[machine.into(), epoch.into(), through.into()]).await?;
    Ok((rows, is_whole))
}
