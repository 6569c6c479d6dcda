//! The rows of credentials.

use crate::domain::fleet::{Credential, CredentialState, Unsent};
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::page::PageRequest;
use crate::store::{Arg, Row, Session, StoreError, Tx, int};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;
use vend_core::id::Epoch;

macro_rules! columns {
    () => {
        "credential_id, machine_id, secret_hash, state, claim_token_id, certificate_sha256, certificate_der, \
         certificate_expires_ms, serial, created_at_ms, last_used_ms, revoked_at_ms, drain_until_ms, unsent_epoch, \
         unsent_last_seq, unsent_received_through"
    };
}

fn credential(row: &Row) -> Result<Credential, StoreError> {
    let mut c = row.columns();
    Ok(Credential {
        id: CredentialId(c.uuid()?),
        machine: MachineId(c.uuid()?),
        secret_hash: c.array()?,
        stored_state: CredentialState::from_number(c.int()?).ok_or_else(|| c.damaged("not a state"))?,
        claim_token: c.uuid()?,
        certificate_sha256: c.opt_array()?,
        certificate_der: c.bytes()?.to_vec(),
        certificate_expires_ms: c.int()?,
        serial: c.text()?.to_owned(),
        created_at_ms: c.int()?,
        last_used_ms: c.int()?,
        revoked_at_ms: c.int()?,
        drain_until_ms: c.int()?,
        unsent_at_revoke: match (c.opt_array()?.map(Epoch), c.number()?, c.number()?) {
            (Some(epoch), last_seq, received_through) => Some(Unsent { epoch, last_seq, received_through }),
            (None, ..) => None,
        },
    })
}

/// One credential.
pub async fn find(session: &mut Session, id: CredentialId) -> Result<Option<Credential>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM credentials WHERE credential_id = $1");
    session.optional(sql, &[(&id.0).into()]).await?.as_ref().map(credential).transpose()
}

/// Credentials of these ids that exist, at most 256 ids.
pub async fn find_all(session: &mut Session, ids: &[Uuid]) -> Result<Vec<Credential>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(256) {
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            concat!("SELECT ", columns!(), " FROM credentials WHERE credential_id IN ({})"),
            places.join(", ")
        );
        let args: Vec<Arg<'_>> = chunk.iter().map(Arg::from).collect();
        for row in session.all(AssertSqlSafe(sql), &args).await? {
            found.push(credential(&row)?);
        }
    }
    Ok(found)
}

/// A machine's credentials that may still do something, newest first; its hot row is locked.
pub async fn standing(
    session: &mut Session,
    machine: MachineId,
    now_ms: i64,
) -> Result<Vec<Credential>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM credentials WHERE machine_id = $1 AND (state = 1 OR (state = 2 AND drain_until_ms > $2)) \
          ORDER BY credential_id DESC"
    );
    session.all(sql, &[(&machine.0).into(), now_ms.into()]).await?.iter().map(credential).collect()
}

/// Credentials, newest first.
pub async fn list(
    session: &mut Session,
    machine: Option<MachineId>,
    state: Option<CredentialState>,
    now_ms: i64,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Credential>, StoreError> {
    let before = page.after.unwrap_or(Uuid::max());
    let mut args: Vec<Arg<'_>> = vec![(&before).into(), page.limit().into()];
    let mut sql = concat!("SELECT ", columns!(), " FROM credentials WHERE credential_id < $1").to_owned();
    if let Some(machine) = &machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    match state {
        None => {}
        Some(CredentialState::Active) => sql.push_str(" AND state = 1"),
        Some(CredentialState::UploadOnly) => {
            args.push(now_ms.into());
            let _ = write!(sql, " AND state = 2 AND drain_until_ms > ${}", args.len());
        }
        Some(CredentialState::Revoked) => {
            args.push(now_ms.into());
            let _ = write!(sql, " AND (state = 3 OR (state = 2 AND drain_until_ms <= ${}))", args.len());
        }
    }
    sql.push_str(" ORDER BY credential_id DESC LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(credential).collect()
}

/// Adds a credential.
pub async fn insert(tx: &mut Tx, c: &Credential) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO credentials (credential_id, machine_id, secret_hash, state, claim_token_id, certificate_sha256, \
         certificate_der, certificate_expires_ms, serial, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            (&c.id.0).into(),
            (&c.machine.0).into(),
            (&c.secret_hash).into(),
            (c.stored_state as i64).into(),
            (&c.claim_token).into(),
            c.certificate_sha256.as_ref().into(),
            c.certificate_der.as_slice().into(),
            c.certificate_expires_ms.into(),
            (&c.serial).into(),
            c.created_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Writes how a credential ended.
pub async fn update_end(tx: &mut Tx, c: &Credential) -> Result<(), StoreError> {
    let unsent = c.unsent_at_revoke;
    tx.execute(
        "UPDATE credentials SET state = $2, revoked_at_ms = $3, drain_until_ms = $4, unsent_epoch = $5, \
         unsent_last_seq = $6, unsent_received_through = $7 WHERE credential_id = $1",
        &[
            (&c.id.0).into(),
            (c.stored_state as i64).into(),
            c.revoked_at_ms.into(),
            c.drain_until_ms.into(),
            unsent.as_ref().map(|u| &u.epoch.0).into(),
            int(unsent.map_or(0, |u| u.last_seq))?.into(),
            int(unsent.map_or(0, |u| u.received_through))?.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Notes that these credentials were used, at most 500 of them.
pub async fn note_used(tx: &mut Tx, ids: &[Uuid], now_ms: i64) -> Result<(), StoreError> {
    let places: Vec<String> = (2..=ids.len() + 1).map(|n| format!("${n}")).collect();
    let sql = format!(
        "UPDATE credentials SET last_used_ms = $1 WHERE last_used_ms < $1 AND credential_id IN ({})",
        places.join(", ")
    );
    let mut args: Vec<Arg<'_>> = vec![now_ms.into()];
    args.extend(ids.iter().map(Arg::from));
    tx.execute(AssertSqlSafe(sql), &args).await?;
    Ok(())
}

/// How far an epoch was received, main chain and quarantine alike.
pub async fn received_through(
    session: &mut Session,
    machine: MachineId,
    epoch: Epoch,
) -> Result<u64, StoreError> {
    let row = session
        .one(
            "SELECT COALESCE(MAX(through), 0) FROM (\
             SELECT accepted_through AS through FROM epochs WHERE machine_id = $1 AND epoch = $2 \
             UNION ALL SELECT last_seq AS through FROM branches WHERE machine_id = $1 AND epoch = $2) marks",
            &[(&machine.0).into(), (&epoch.0).into()],
        )
        .await?;
    row.columns().number()
}

/// What the device behind a machine was last heard to hold that was not received.
pub async fn unsent(session: &mut Session, machine: MachineId) -> Result<Option<Unsent>, StoreError> {
    let sql = "SELECT spoke_epoch, spoke_last_seq FROM machine_sync WHERE machine_id = $1";
    let Some(row) = session.optional(sql, &[(&machine.0).into()]).await? else { return Ok(None) };
    let mut c = row.columns();
    let (Some(epoch), last_seq) = (c.opt_array()?.map(Epoch), c.number()?) else { return Ok(None) };
    let received_through = received_through(session, machine, epoch).await?;
    Ok(Some(Unsent { epoch, last_seq, received_through }))
}
