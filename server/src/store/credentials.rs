//! What a machine's credential is checked against, for every call of a machine.

use super::bulk::Keyed;
use super::{Columns, Store, StoreError};
use crate::domain::fleet::CredentialState;
use crate::domain::ids::{CredentialId, MachineId};

/// What a call's credential is checked against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredCredential {
    /// Its name.
    pub id: CredentialId,
    /// The machine it speaks for.
    pub machine: MachineId,
    /// Keyed hash of the device's secret.
    pub secret_hash: [u8; 32],
    /// As stored: an upload-only one whose drain is over is revoked, whatever this says.
    pub state: CredentialState,
    /// When uploading ends, ms since the Unix epoch; 0 unless upload-only or drained.
    pub drain_until_ms: i64,
}

static FIND: Keyed = Keyed::new(
    "SELECT credential_id, machine_id, secret_hash, state, drain_until_ms FROM credentials WHERE credential_id",
    "",
);

impl Store {
    /// Those of these credentials that exist, in no order. Name each once.
    pub async fn find_credentials(&self, ids: &[CredentialId]) -> Result<Vec<StoredCredential>, StoreError> {
        let ids: Vec<&[u8; 16]> = ids.iter().map(CredentialId::as_bytes).collect();
        let mut session = self.read().await?;
        FIND.fetch(&mut session, &ids).await?.iter().map(|row| read(&mut row.columns())).collect()
    }

    /// The credential of that name, if there is one.
    pub async fn find_credential(&self, id: CredentialId) -> Result<Option<StoredCredential>, StoreError> {
        Ok(self.find_credentials(&[id]).await?.pop())
    }
}

fn read(columns: &mut Columns<'_>) -> Result<StoredCredential, StoreError> {
    Ok(StoredCredential {
        id: CredentialId(columns.uuid()?),
        machine: MachineId(columns.uuid()?),
        secret_hash: columns.array()?,
        state: {
            let number = columns.int()?;
            CredentialState::from_number(number)
                .ok_or_else(|| columns.damaged(format_args!("no credential state has number {number}")))?
        },
        drain_until_ms: columns.int()?,
    })
}
