//! The fastest way this PostgreSQL takes the same rows: large transactions on a few connections, records by COPY BINARY
//! or UNNEST, updates by UNNEST.

use crate::load::{Machine, Sync};
use crate::raw::{EXPECTED, NewEvent};
use server::domain::ids::MachineId;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;

/// How records get in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Copy,
    Unnest,
}

/// A group of Syncs, owned so that a task can carry it.
pub struct Group {
    records: Vec<Record>,
    machines: Vec<Update>,
    slots: Vec<Slot>,
}

struct Record {
    machine: [u8; 16],
    epoch: [u8; 16],
    seq: i64,
    kind: i64,
    body: prost::bytes::Bytes,
    hash: [u8; 32],
    transaction: Option<[u8; 16]>,
    at_ms: i64,
}

struct Update {
    machine: [u8; 16],
    epoch: [u8; 16],
    boot: [u8; 16],
    uptime_ms: i64,
    at_ms: i64,
    first_seq: i64,
    last_seq: i64,
    last_hash: [u8; 32],
    event: NewEvent,
}

struct Slot {
    machine: [u8; 16],
    slot: i64,
    units: i64,
    seq: i64,
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

impl Group {
    pub fn of(syncs: &[(&Machine, &Sync)]) -> Self {
        let mut group = Self { records: Vec::new(), machines: Vec::new(), slots: Vec::new() };
        for (machine, sync) in syncs {
            let id = *MachineId::as_bytes(&machine.id);
            let last = sync.last();
            group.records.extend(sync.entries.iter().map(|e| Record {
                machine: id,
                epoch: machine.epoch.0,
                seq: int(e.seq),
                kind: i64::from(e.kind),
                body: e.body.clone(),
                hash: e.hash,
                transaction: e.record.body.transaction().map(|t| t.0),
                at_ms: e.record.stamp.at.wall_ms,
            }));
            group.machines.push(Update {
                machine: id,
                epoch: machine.epoch.0,
                boot: machine.boot.0,
                uptime_ms: int(last.record.stamp.at.uptime_ms),
                at_ms: last.record.stamp.at.wall_ms,
                first_seq: int(sync.first_seq()),
                last_seq: int(last.seq),
                last_hash: last.hash,
                event: NewEvent::of(sync),
            });
            group.slots.extend(Machine::slots_changed(sync).map(|slot| Slot {
                machine: id,
                slot: i64::from(slot),
                units: i64::from(sync.levels[usize::from(slot) - 1]),
                seq: int(last.seq),
            }));
        }
        group.machines.sort_by_key(|update| update.machine);
        group
    }
}

/// Writes each lane's groups on a connection of its own.
pub async fn run(url: &str, lanes: Vec<Vec<Group>>, way: Way) {
    let mut writing = JoinSet::new();
    for groups in lanes {
        let url = url.to_owned();
        writing.spawn(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute("SET jit = off").await.unwrap();
            let fsync: String = sqlx::query_scalar("SELECT current_setting('fsync')")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(fsync, "on", "figures with fsync off say nothing");
            for group in groups {
                write(&mut connection, &group, way).await;
            }
            connection.close().await.unwrap();
        });
    }
    while let Some(ended) = writing.join_next().await {
        ended.unwrap();
    }
}

async fn write(connection: &mut PgConnection, group: &Group, way: Way) {
    let mut tx = connection.begin().await.unwrap();
    match way {
        Way::Copy => copy_records(&mut tx, &group.records).await,
        Way::Unnest => unnest_records(&mut tx, &group.records).await,
    }
    let m = &group.machines;
    sqlx::query(
        "UPDATE machine_sync t SET last_boot = i.boot, last_uptime_ms = i.uptime, last_contact_ms = i.at_ms, \
         sync_count = sync_count + 1, spoke_epoch = i.epoch, spoke_last_seq = i.seq \
         FROM UNNEST($1::BYTEA[], $2::BYTEA[], $3::BIGINT[], $4::BIGINT[], $5::BYTEA[], $6::BIGINT[]) \
         AS i (machine, boot, uptime, at_ms, epoch, seq) WHERE t.machine_id = i.machine",
    )
    .bind(bytes(m, |u| &u.machine))
    .bind(bytes(m, |u| &u.boot))
    .bind(ints(m, |u| u.uptime_ms))
    .bind(ints(m, |u| u.at_ms))
    .bind(bytes(m, |u| &u.epoch))
    .bind(ints(m, |u| u.last_seq))
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "UPDATE epochs t SET accepted_through = i.seq, durable_through = i.seq, last_hash = i.hash, expected = $5, \
         spoke_at_ms = i.at_ms FROM UNNEST($1::BYTEA[], $2::BYTEA[], $3::BIGINT[], $4::BYTEA[], $6::BIGINT[]) \
         AS i (machine, epoch, seq, hash, at_ms) WHERE t.machine_id = i.machine AND t.epoch = i.epoch",
    )
    .bind(bytes(m, |u| &u.machine))
    .bind(bytes(m, |u| &u.epoch))
    .bind(ints(m, |u| u.last_seq))
    .bind(bytes(m, |u| &u.last_hash))
    .bind(&EXPECTED[..])
    .bind(ints(m, |u| u.at_ms))
    .execute(&mut *tx)
    .await
    .unwrap();
    let s = &group.slots;
    sqlx::query(
        "UPDATE slots t SET derived = i.units, derived_seq = i.seq, reported = i.units, reported_seq = i.seq, \
         agreed_seq = i.seq FROM UNNEST($1::BYTEA[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) \
         AS i (machine, slot, units, seq) WHERE t.machine_id = i.machine AND t.slot = i.slot",
    )
    .bind(bytes(s, |u| &u.machine))
    .bind(ints(s, |u| u.slot))
    .bind(ints(s, |u| u.units))
    .bind(ints(s, |u| u.seq))
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "WITH head AS (UPDATE event_heads SET position = position + $9 WHERE shard = 0 RETURNING position - $9 AS base) \
         INSERT INTO events (shard, position, event_id, kind, machine_id, epoch, first_seq, last_seq, at_ms, trace_id) \
         SELECT 0, head.base + i.ordinal, i.event_id, 1, i.machine_id, i.epoch, i.first_seq, i.last_seq, i.at_ms, i.trace_id \
         FROM UNNEST($1::BYTEA[], $2::BYTEA[], $3::BYTEA[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::TEXT[], \
         $8::BIGINT[]) AS i (event_id, machine_id, epoch, first_seq, last_seq, at_ms, trace_id, ordinal) CROSS JOIN head",
    )
    .bind(bytes(m, |u| &u.event.id))
    .bind(bytes(m, |u| &u.machine))
    .bind(bytes(m, |u| &u.epoch))
    .bind(ints(m, |u| u.first_seq))
    .bind(ints(m, |u| u.last_seq))
    .bind(ints(m, |u| u.at_ms))
    .bind(m.iter().map(|u| u.event.trace_id.as_str()).collect::<Vec<&str>>())
    .bind((1..=int(m.len() as u64)).collect::<Vec<i64>>())
    .bind(int(m.len() as u64))
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

fn bytes<T, const N: usize>(rows: &[T], of: impl Fn(&T) -> &[u8; N]) -> Vec<&[u8]> {
    rows.iter().map(|row| of(row).as_slice()).collect()
}

fn ints<T>(rows: &[T], of: impl Fn(&T) -> i64) -> Vec<i64> {
    rows.iter().map(of).collect()
}

async fn unnest_records(connection: &mut PgConnection, rows: &[Record]) {
    sqlx::query(
        "INSERT INTO records (machine_id, epoch, seq, kind, schema_no, body, hash, transaction_id, disposition, \
         received_at_ms, earliest_ms, latest_ms) \
         SELECT machine, epoch, seq, kind, 1, body, hash, transaction_id, 1, at_ms, at_ms, at_ms \
         FROM UNNEST($1::BYTEA[], $2::BYTEA[], $3::BIGINT[], $4::BIGINT[], $5::BYTEA[], $6::BYTEA[], $7::BYTEA[], \
         $8::BIGINT[]) AS i (machine, epoch, seq, kind, body, hash, transaction_id, at_ms)",
    )
    .bind(bytes(rows, |r| &r.machine))
    .bind(bytes(rows, |r| &r.epoch))
    .bind(ints(rows, |r| r.seq))
    .bind(ints(rows, |r| r.kind))
    .bind(rows.iter().map(|r| &r.body[..]).collect::<Vec<&[u8]>>())
    .bind(bytes(rows, |r| &r.hash))
    .bind(rows.iter().map(|r| r.transaction.as_ref().map(<[u8; 16]>::as_slice)).collect::<Vec<Option<&[u8]>>>())
    .bind(ints(rows, |r| r.at_ms))
    .execute(connection)
    .await
    .unwrap();
}

/// COPY's binary format: a header, per row a count of fields and each with its length, a trailer.
async fn copy_records(connection: &mut PgConnection, rows: &[Record]) {
    let mut copy = Vec::with_capacity(rows.len() * 512);
    copy.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
    copy.extend_from_slice(&[0; 8]);
    for row in rows {
        copy.extend_from_slice(&12_i16.to_be_bytes());
        let mut field = |value: Option<&[u8]>| match value {
            Some(value) => {
                copy.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                copy.extend_from_slice(value);
            }
            None => copy.extend_from_slice(&(-1_i32).to_be_bytes()),
        };
        field(Some(&row.machine));
        field(Some(&row.epoch));
        field(Some(&row.seq.to_be_bytes()));
        field(Some(&row.kind.to_be_bytes()));
        field(Some(&1_i64.to_be_bytes()));
        field(Some(&row.body));
        field(Some(&row.hash));
        field(row.transaction.as_ref().map(<[u8; 16]>::as_slice));
        field(Some(&1_i64.to_be_bytes()));
        for _ in 0..3 {
            field(Some(&row.at_ms.to_be_bytes()));
        }
    }
    copy.extend_from_slice(&(-1_i16).to_be_bytes());
    let mut stream = connection
        .copy_in_raw(
            "COPY records (machine_id, epoch, seq, kind, schema_no, body, hash, transaction_id, disposition, \
             received_at_ms, earliest_ms, latest_ms) FROM STDIN (FORMAT binary)",
        )
        .await
        .unwrap();
    stream.send(copy).await.unwrap();
    stream.finish().await.unwrap();
}
