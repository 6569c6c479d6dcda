//! Changes what an operator says about a machine.

use super::{expect_in_use, hint, lock_machine, name_serial_holder, reread};
use crate::domain::fleet::{DesiredCause, MachineChange, MachineDetail, MachineKind, check_kind};
use crate::domain::ids::MachineId;
use crate::domain::request::RequestKey;
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, write};
use crate::operations::request::begin;
use crate::store::Tx;
use crate::store::fleet::{configs, machines};

/// Changes a machine whose etag is still the one that was read.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_ARCHIVED, MACHINE_KIND_MISMATCH, SERIAL_EXISTS, ETAG_MISMATCH, IDEMPOTENCY_KEY_REUSED.
pub async fn update_machine(
    deps: &Deps,
    key: RequestKey,
    id: MachineId,
    etag: &str,
    change: MachineChange,
) -> Result<MachineDetail, ApiError> {
    let now_ms = deps.context.now_ms();
    let serial = change.serial.clone().flatten().map(Text::into_string).unwrap_or_default();
    let moves = change.group.is_some();
    let input = (key, etag.to_owned(), change);
    let changed = write(deps, "update_machine", input, move |tx, (key, etag, change)| {
        Box::pin(update(tx, key, id, etag, change, now_ms))
    })
    .await;
    match changed {
        Ok(machine) => {
            if moves {
                hint(deps, &[id]).await;
            }
            Ok(machine)
        }
        Err(error) => Err(name_serial_holder(deps, &serial, error).await),
    }
}

async fn update(
    tx: &mut Tx,
    key: &RequestKey,
    id: MachineId,
    etag: &str,
    change: &MachineChange,
    now_ms: i64,
) -> Result<MachineDetail, Failure> {
    let repeated = begin(tx, key, &id.to_string(), now_ms).await?.is_some();
    let before = lock_machine(tx, id).await?;
    if repeated {
        return Ok(before);
    }
    let before = expect_in_use(before)?.machine;
    if before.version.to_string() != etag {
        return Err(ApiError::new(Reason::EtagMismatch, "etag: the machine has changed since it was read")
            .with("resource_id", id)
            .with("etag", before.version)
            .into());
    }
    let has_serial = matches!(change.serial, Some(Some(_)));
    let has_delay = change.virtual_delay_ms.is_some_and(|delay| delay.get() != 0);
    if let Some((field, rule)) = check_kind(before.kind, has_serial, has_delay).first() {
        return Err(ApiError::new(Reason::MachineKindMismatch, format!("{field}: {rule}"))
            .with("machine_id", id)
            .with("kind", before.kind.name())
            .into());
    }
    let old_group = before.group.clone();
    let after = before.changed(change.clone(), now_ms);
    machines::update(tx, &after).await?;
    if after.group != old_group
        && after.kind == MachineKind::Real
        && !after.group.is_empty()
        && let Some(config) = configs::of_group(tx, &after.group).await?
    {
        configs::assign(tx, &[id], config, DesiredCause::GroupMove, now_ms).await?;
    }
    reread(tx, id).await
}
