//! Request ids: what each was first used for.

use super::{Session, StoreError, Tx};
use crate::domain::request::{KnownRequest, RequestKey};

/// Takes a request id for this transaction. `None`: it is new, and nobody else gets it unless this transaction fails.
/// `Some`: it was used before. Another transaction that holds it is waited for.
pub async fn take(
    tx: &mut Tx,
    key: &RequestKey,
    resource_id: &str,
    now_ms: i64,
) -> Result<Option<KnownRequest>, StoreError> {
    let taken = tx
        .execute(
            "INSERT INTO request_ids (caller, method, request_id, fingerprint, resource_id, response, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, method, request_id) DO NOTHING",
            &[
                (&key.caller).into(),
                key.method.into(),
                (&key.request_id).into(),
                (&key.fingerprint).into(),
                resource_id.into(),
                b"".as_slice().into(),
                now_ms.into(),
            ],
        )
        .await?;
    if taken == 1 { Ok(None) } else { find(tx, key).await }
}

/// Adds to what a repeated call is answered with.
pub async fn note_response(tx: &mut Tx, key: &RequestKey, response: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE request_ids SET response = $4 WHERE caller = $1 AND method = $2 AND request_id = $3",
        &[(&key.caller).into(), key.method.into(), (&key.request_id).into(), response.into()],
    )
    .await?;
    Ok(())
}

async fn find(session: &mut Session, key: &RequestKey) -> Result<Option<KnownRequest>, StoreError> {
    let row = session
        .one(
            "SELECT fingerprint, resource_id, response FROM request_ids \
             WHERE caller = $1 AND method = $2 AND request_id = $3",
            &[(&key.caller).into(), key.method.into(), (&key.request_id).into()],
        )
        .await?;
    let mut columns = row.columns();
    Ok(Some(KnownRequest {
        fingerprint: columns.array()?,
        resource_id: columns.text()?.to_owned(),
        response: columns.bytes()?.to_vec(),
    }))
}

/// Forgets request ids older than this, at most so many rows. Gives how many went.
pub async fn forget_before(tx: &mut Tx, before_ms: i64, most_rows: i64) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM request_ids WHERE (caller, method, request_id) IN \
         (SELECT caller, method, request_id FROM request_ids WHERE created_at_ms < $1 \
          ORDER BY created_at_ms LIMIT $2)",
        &[before_ms.into(), most_rows.into()],
    )
    .await
}
