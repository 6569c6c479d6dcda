//! A fleet in a fresh database.

use crate::load::{Machine, assignment};
use server::auth::SecretKey;
use server::store::{Arg, End, Store};
use uuid::Uuid;

/// Machines and their credentials, as `Enroll` would have left them.
pub async fn add_machines(store: &Store, fleet: &[Machine], key: &SecretKey) {
    let rows: Vec<(Uuid, Uuid, [u8; 32])> =
        fleet.iter().map(|m| (m.id.0, m.credential, key.hash(&m.secret))).collect();
    store
        .run_tx("bench", rows, |tx, rows| {
            Box::pin(async move {
                let none = Uuid::nil();
                let (number, config) = assignment();
                for (machine, credential, hash) in rows {
                    let args: [Arg<'_>; 1] = [machine.into()];
                    let sql = "INSERT INTO machines (machine_id, kind, name, created_at_ms, updated_at_ms) \
                               VALUES ($1, 2, 'bench', 1, 1)";
                    tx.execute(sql, &args).await?;
                    let sql = "INSERT INTO machine_sync (machine_id, desired_number, desired_config, applied_number, \
                               applied_config) VALUES ($1, $2, $3, $2, $3)";
                    tx.execute(sql, &[machine.into(), number.into(), config.into()]).await?;
                    let sql = "INSERT INTO credentials (credential_id, machine_id, secret_hash, state, claim_token_id, \
                               certificate_der, created_at_ms) VALUES ($1, $2, $3, 1, $4, $5, 1)";
                    let der: &[u8] = &[];
                    let args = [credential.into(), machine.into(), hash.into(), (&none).into(), der.into()];
                    tx.execute(sql, &args).await?;
                }
                Ok(End::Commit(()))
            })
        })
        .await
        .unwrap();
}

/// Records in the database; what was acknowledged must be there.
pub async fn count_records(store: &Store) -> i64 {
    let mut session = store.read().await.unwrap();
    session.one("SELECT COUNT(*) FROM records", &[]).await.unwrap().columns().int().unwrap()
}
