//! What waits for machines, and the configs they are told: the reads beside the hot path.

use super::{Arg, Store, StoreError};
use crate::domain::ids::MachineId;
use uuid::Uuid;
use vend_core::id::ConfigId;

/// Machines asked about in one statement; a shorter list is padded, so that one statement serves all.
const MACHINES_PER_STATEMENT: usize = 100;

/// What waits for one machine; zero means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Waiting {
    /// Number of the desired assignment that is neither applied nor refused.
    pub config_number: u64,
    /// Number of the newest verdict that is not echoed.
    pub verdict_number: u64,
    /// Number of the newest command, while one may be handed out.
    pub command_number: u64,
}

impl Waiting {
    /// Is there a reason to hint?
    #[must_use]
    pub fn is_something(self) -> bool {
        self != Self::default()
    }
}

/// A config as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigBody {
    /// SHA-256 over `body`.
    pub sha256: [u8; 32],
    /// The serialised `MachineConfig`.
    pub body: Vec<u8>,
}

impl Store {
    /// What waits for each of these machines; machines that are not known or cloned are left out.
    pub async fn waiting(&self, machines: &[MachineId]) -> Result<Vec<(MachineId, Waiting)>, StoreError> {
        let mut found = Vec::new();
        let mut session = self.read().await?;
        for chunk in machines.chunks(MACHINES_PER_STATEMENT) {
            let padding = std::iter::repeat_n(&chunk[0], MACHINES_PER_STATEMENT - chunk.len());
            let args: Vec<Arg<'_>> = chunk.iter().chain(padding).map(|m| m.as_bytes().into()).collect();
            for row in session.all(sqlx::AssertSqlSafe(statement()), &args).await? {
                let mut columns = row.columns();
                let machine = MachineId(columns.uuid()?);
                let (desired, applied, rejected): (u64, u64, u64) =
                    (columns.number()?, columns.number()?, columns.number()?);
                let (verdict, seen): (u64, u64) = (columns.number()?, columns.number()?);
                let (command, has_commands): (u64, bool) = (columns.number()?, columns.bool()?);
                let wanted = desired != applied && rejected < desired;
                found.push((
                    machine,
                    Waiting {
                        config_number: if wanted { desired } else { 0 },
                        verdict_number: if verdict > seen { verdict } else { 0 },
                        command_number: if has_commands { command } else { 0 },
                    },
                ));
            }
        }
        Ok(found)
    }

    /// A published config's bytes.
    pub async fn config_body(&self, id: ConfigId) -> Result<Option<ConfigBody>, StoreError> {
        let id = Uuid::from_bytes(id.0);
        let row = self
            .read()
            .await?
            .optional("SELECT sha256, body FROM configs WHERE config_id = $1", &[(&id).into()])
            .await?;
        row.map(|row| {
            let mut columns = row.columns();
            Ok(ConfigBody { sha256: columns.array()?, body: columns.bytes()?.to_vec() })
        })
        .transpose()
    }
}

fn statement() -> String {
    let names: Vec<String> = (1..=MACHINES_PER_STATEMENT).map(|n| format!("${n}")).collect();
    format!(
        "SELECT machine_id, desired_number, applied_number, rejected_number, verdict_number, verdicts_seen, \
         command_number, has_commands \
         FROM machine_sync WHERE standing = 1 AND machine_id IN ({})",
        names.join(", ")
    )
}
