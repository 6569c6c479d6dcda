//! Reading the event log: how far each shard is, and its rows a page at a time.

use super::{KIND_REDRIVEN, ORDER_SHARD, SYNC_SHARD};
use crate::domain::fleet::StoredRecord;
use crate::domain::ids::{EventId, Incarnation, MachineId};
use crate::store::bulk::{Bulk, Kind};
use crate::store::fleet::records::stored;
use crate::store::{Arg, Session, StoreError, int};
use Kind::{Bytes, Int};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use vend_core::id::Epoch;

/// Every shard of the log.
pub const SHARDS: [i64; 2] = [SYNC_SHARD, ORDER_SHARD];

/// How far a shard is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The shard.
    pub shard: i64,
    /// Position of its last event. All up to it can be read.
    pub position: i64,
    /// Events up to here are no longer kept.
    pub trimmed_through: i64,
}

/// How far the log is, and in which life of the data: one statement, so one moment.
pub async fn heads(session: &mut Session) -> Result<(Incarnation, Vec<Head>), StoreError> {
    let sql = "SELECT m.incarnation, h.shard, h.position, h.trimmed_through \
               FROM event_heads h CROSS JOIN server_meta m WHERE m.id = 1 ORDER BY h.shard";
    let rows = session.all(sql, &[]).await?;
    let mut incarnation = None;
    let mut heads = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut c = row.columns();
        incarnation = Some(Incarnation(c.uuid()?));
        heads.push(Head { shard: c.int()?, position: c.int()?, trimmed_through: c.int()? });
    }
    let incarnation = incarnation.ok_or_else(|| StoreError::corrupt("the event log has no shards"))?;
    Ok((incarnation, heads))
}

/// A row of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Rises in the order of commits.
    pub position: i64,
    /// Tells repeats.
    pub id: EventId,
    /// What happened: one of the `KIND_` numbers, or a later one.
    pub kind: i64,
    /// The machine concerned.
    pub machine: Option<MachineId>,
    /// What the records concerned are stored under.
    pub chain: Option<Epoch>,
    /// First record concerned; 0 when none.
    pub first_seq: u64,
    /// Last record concerned; 0 when none.
    pub last_seq: u64,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// Trace id of the call that caused it.
    pub trace_id: String,
    /// W3C traceparent of that call; may be empty.
    pub traceparent: String,
    /// What it is about besides a machine.
    pub subject: Option<[u8; 16]>,
    /// What its kind needs besides.
    pub body: Vec<u8>,
}

/// Which rows are read. What costs nothing to leave out in the database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowFilter {
    /// Only these kinds.
    pub kinds: Option<Vec<i64>>,
    /// Only about this machine.
    pub machine: Option<MachineId>,
    /// Only about this order, product or alert.
    pub subject: Option<[u8; 16]>,
    /// Only this customer's.
    pub customer: Option<String>,
}

/// Rows of a shard at positions `from..=through`, oldest first, at most `limit`.
pub async fn page(
    session: &mut Session,
    shard: i64,
    (from, through): (i64, i64),
    filter: &RowFilter,
    limit: usize,
) -> Result<Vec<EventRow>, StoreError> {
    let mut sql =
        "SELECT position, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id, \
                   traceparent, subject, body FROM events WHERE shard = $1 AND position BETWEEN $2 AND $3"
            .to_owned();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut args: Vec<Arg<'_>> = vec![shard.into(), from.into(), through.into(), limit.into()];
    if let Some(kinds) = &filter.kinds {
        // No kind is meant: nothing is found, and `IN ()` is no SQL.
        let list: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let list = if list.is_empty() { "NULL".to_owned() } else { list.join(", ") };
        let _ = write!(sql, " AND kind IN ({list})");
    }
    if let Some(machine) = &filter.machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    if let Some(subject) = &filter.subject {
        args.push(subject.into());
        let _ = write!(sql, " AND subject = ${}", args.len());
    }
    if let Some(customer) = &filter.customer {
        args.push(customer.into());
        let _ = write!(sql, " AND customer_id = ${}", args.len());
    }
    sql.push_str(" ORDER BY position LIMIT $4");
    let rows = session.all(AssertSqlSafe(sql), &args).await?;
    rows.iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(EventRow {
                position: c.int()?,
                id: EventId(c.uuid()?),
                kind: c.int()?,
                machine: c.opt_uuid()?.map(MachineId),
                chain: c.opt_array()?.map(Epoch),
                first_seq: c.number()?,
                last_seq: c.number()?,
                at_ms: c.int()?,
                trace_id: c.text()?.to_owned(),
                traceparent: c.text()?.to_owned(),
                subject: c.opt_array()?,
                body: c.opt_bytes()?.unwrap_or_default().to_vec(),
            })
        })
        .collect()
}

/// Records a row of the log is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Whose.
    pub machine: MachineId,
    /// What they are stored under.
    pub chain: Epoch,
    /// First of them.
    pub first_seq: u64,
    /// Last of them.
    pub last_seq: u64,
    /// Kind of the row.
    pub kind: i64,
}

const RANGE: [Kind; 6] = [Int, Bytes, Bytes, Int, Int, Int];

/// What a range's row told of: the records that counted in its commit. One that was redriven later has a row of its own.
static RECORDS: Bulk = Bulk::new(
    "WITH input (place, machine_id, chain, first_seq, last_seq, redriven) AS (",
    &RANGE,
    ") SELECT i.place, COALESCE(b.epoch, r.epoch), r.machine_id, r.epoch, r.seq, r.kind, r.schema_no, r.body, r.hash, \
     r.received_at_ms, r.earliest_ms, r.latest_ms FROM input i JOIN records r ON r.machine_id = i.machine_id \
     AND r.epoch = i.chain AND r.seq BETWEEN i.first_seq AND i.last_seq \
     LEFT JOIN branches b ON b.machine_id = r.machine_id AND b.branch_id = r.epoch \
     WHERE r.disposition = 1 AND r.kind IN (2, 3, 4, 5, 6, 7) AND (i.redriven = 1 OR NOT EXISTS (SELECT 1 \
     FROM dead_letters d WHERE d.machine_id = r.machine_id AND d.epoch = r.epoch AND d.seq = r.seq AND d.state = 3)) \
     ORDER BY i.place, r.seq",
);

/// The counted records of these ranges about sales, money and slots, each with the index of its range and the epoch the
/// device wrote it in; in the order of the ranges and their seqs. What retention has swept is not among them. The caller
/// bounds how many the ranges hold.
pub async fn records(
    session: &mut Session,
    ranges: &[Range],
) -> Result<Vec<(usize, Epoch, StoredRecord)>, StoreError> {
    let mut rows = RECORDS.rows(ranges.len());
    for (place, range) in ranges.iter().enumerate() {
        rows.push([
            int(place as u64)?.into(),
            range.machine.as_bytes().into(),
            (&range.chain.0).into(),
            int(range.first_seq)?.into(),
            int(range.last_seq)?.into(),
            i64::from(range.kind == KIND_REDRIVEN).into(),
        ]);
    }
    let found = rows.fetch(session).await?;
    found
        .iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.number()?, Epoch(c.array()?), stored(&mut c)?))
        })
        .collect()
}
