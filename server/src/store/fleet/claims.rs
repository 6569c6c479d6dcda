//! The rows of claim tokens.

use crate::domain::fleet::{ClaimState, ClaimToken};
use crate::domain::ids::{CredentialId, MachineId};
use crate::domain::page::PageRequest;
use crate::store::{Arg, Engine, Row, Session, StoreError, Tx};
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;
use uuid::Uuid;

macro_rules! columns {
    () => {
        "claim_token_id, token_hash, machine_id, serial, name, group_name, created_by, created_at_ms, \
         expires_at_ms, used_at_ms, credential_id, revoked_at_ms"
    };
}

fn claim(row: &Row) -> Result<ClaimToken, StoreError> {
    let mut c = row.columns();
    Ok(ClaimToken {
        id: c.uuid()?,
        token_hash: c.array()?,
        machine: c.opt_uuid()?.map(MachineId),
        serial: c.text()?.to_owned(),
        name: c.text()?.to_owned(),
        group: c.text()?.to_owned(),
        created_by: c.text()?.to_owned(),
        created_at_ms: c.int()?,
        expires_at_ms: c.int()?,
        used_at_ms: c.int()?,
        credential: c.opt_uuid()?.map(CredentialId),
        revoked_at_ms: c.int()?,
    })
}

/// One token by its name.
pub async fn find(session: &mut Session, id: Uuid) -> Result<Option<ClaimToken>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM claim_tokens WHERE claim_token_id = $1");
    session.optional(sql, &[(&id).into()]).await?.as_ref().map(claim).transpose()
}

/// One token by its name, its row locked until the end of the transaction.
pub async fn lock(tx: &mut Tx, id: Uuid) -> Result<Option<ClaimToken>, StoreError> {
    let sql = match tx.engine() {
        Engine::Sqlite => concat!("SELECT ", columns!(), " FROM claim_tokens WHERE claim_token_id = $1"),
        Engine::Postgres => {
            concat!("SELECT ", columns!(), " FROM claim_tokens WHERE claim_token_id = $1 FOR UPDATE")
        }
    };
    tx.optional(sql, &[(&id).into()]).await?.as_ref().map(claim).transpose()
}

/// The token with this hash.
pub async fn find_by_hash(session: &mut Session, hash: &[u8; 32]) -> Result<Option<ClaimToken>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM claim_tokens WHERE token_hash = $1");
    session.optional(sql, &[hash.into()]).await?.as_ref().map(claim).transpose()
}

/// Tokens, newest first.
pub async fn list(
    session: &mut Session,
    machine: Option<MachineId>,
    state: Option<ClaimState>,
    now_ms: i64,
    page: &PageRequest<Uuid>,
) -> Result<Vec<ClaimToken>, StoreError> {
    let before = page.after.unwrap_or(Uuid::max());
    let mut args: Vec<Arg<'_>> = vec![(&before).into(), page.limit().into()];
    let mut sql = concat!("SELECT ", columns!(), " FROM claim_tokens WHERE claim_token_id < $1").to_owned();
    if let Some(machine) = &machine {
        args.push((&machine.0).into());
        let _ = write!(sql, " AND machine_id = ${}", args.len());
    }
    match state {
        None => {}
        Some(ClaimState::Used) => sql.push_str(" AND used_at_ms <> 0"),
        Some(ClaimState::Revoked) => sql.push_str(" AND used_at_ms = 0 AND revoked_at_ms <> 0"),
        Some(state @ (ClaimState::Open | ClaimState::Expired)) => {
            args.push(now_ms.into());
            let order = if state == ClaimState::Open { ">" } else { "<=" };
            let _ = write!(
                sql,
                " AND used_at_ms = 0 AND revoked_at_ms = 0 AND expires_at_ms {order} ${}",
                args.len()
            );
        }
    }
    sql.push_str(" ORDER BY claim_token_id DESC LIMIT $2");
    session.all(AssertSqlSafe(sql), &args).await?.iter().map(claim).collect()
}

/// Adds a token.
pub async fn insert(tx: &mut Tx, t: &ClaimToken) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO claim_tokens (claim_token_id, token_hash, machine_id, serial, name, group_name, created_by, \
         created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&t.id).into(),
            (&t.token_hash).into(),
            t.machine.as_ref().map(MachineId::as_bytes).into(),
            (&t.serial).into(),
            (&t.name).into(),
            (&t.group).into(),
            (&t.created_by).into(),
            t.created_at_ms.into(),
            t.expires_at_ms.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes a token back, unless it was used or taken back before.
pub async fn revoke(tx: &mut Tx, id: Uuid, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE claim_tokens SET revoked_at_ms = $2 \
         WHERE claim_token_id = $1 AND used_at_ms = 0 AND revoked_at_ms = 0",
        &[(&id).into(), now_ms.into()],
    )
    .await?;
    Ok(())
}

/// Notes what a token, its row locked, turned into. The machine is the one made for it, or the one it was bound to.
pub async fn mark_used(
    tx: &mut Tx,
    id: Uuid,
    machine: MachineId,
    credential: CredentialId,
    now_ms: i64,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE claim_tokens SET used_at_ms = $2, credential_id = $3, machine_id = $4 WHERE claim_token_id = $1",
        &[(&id).into(), now_ms.into(), (&credential.0).into(), (&machine.0).into()],
    )
    .await?;
    Ok(())
}
