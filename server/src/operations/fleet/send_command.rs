//! Orders a machine something.

use super::{expect_in_use, expect_real, lock_machine};
use crate::domain::command::{Command, MAX_OPEN_PER_MACHINE, NewCommand, State};
use crate::domain::ids::MachineId;
use crate::domain::request::RequestKey;
use crate::domain::sync::MachineStanding;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{Failure, write};
use crate::operations::request::begin;
use crate::store::{Tx, clock, commands, requests};

/// Queues a command, bound to the machine's present epoch. The machine hears of it by its stream of hints, or at its next
/// Sync.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_ARCHIVED, MACHINE_KIND_MISMATCH, MACHINE_NOT_ENROLLED, MACHINE_CLONED, OVERLOADED,
/// IDEMPOTENCY_KEY_REUSED.
pub async fn send_command(deps: &Deps, key: RequestKey, new: NewCommand) -> Result<Command, ApiError> {
    let now_ms = deps.context.now_ms();
    let machine = new.machine;
    let sent = write(deps, "send_command", (key, new), move |tx, (key, new)| {
        Box::pin(async move {
            if let Some(known) = begin(tx, key, &new.machine.to_string(), now_ms).await? {
                let number = known.response.try_into().map(u64::from_be_bytes);
                let number =
                    number.map_err(|_| ApiError::internal("a stored answer is not a command's number"))?;
                let command = commands::find(tx, new.machine, number).await?;
                return Ok(command.ok_or_else(|| ApiError::internal("a command that was sent is missing"))?);
            }
            let clock_ms = clock::clock_ms(tx, now_ms).await?;
            let command = queue(tx, new, now_ms, clock_ms).await?;
            requests::note_response(tx, key, &command.number.to_be_bytes()).await?;
            Ok(command)
        })
    });
    let sent = sent.await?;
    super::hint(deps, &[machine]).await;
    Ok(sent)
}

async fn queue(tx: &mut Tx, new: &NewCommand, now_ms: i64, clock_ms: i64) -> Result<Command, Failure> {
    let id = new.machine;
    let machine = expect_in_use(expect_real(lock_machine(tx, id).await?)?)?;
    let device = machine.device.unwrap_or_default();
    if device.standing == Some(MachineStanding::Cloned) {
        return Err(cloned(id).into());
    }
    let Some(epoch) = device.epoch else {
        let text = "machine_id: the machine has not spoken yet: there is no journal to bind a command to";
        return Err(ApiError::new(Reason::MachineNotEnrolled, text).with("machine_id", id).into());
    };
    if commands::count_open(tx, id).await? >= MAX_OPEN_PER_MACHINE {
        let text = format!("{MAX_OPEN_PER_MACHINE} commands wait for this machine: let it fetch them first");
        return Err(ApiError::new(Reason::Overloaded, text).with("machine_id", id).into());
    }
    let command = Command {
        machine: id,
        number: 0,
        state: State::Pending,
        epoch,
        // It is to hold through restarts.
        boot: None,
        expires_uptime_ms: 0,
        order: new.order.clone(),
        refusal: String::new(),
        result_seq: 0,
        sent_by: new.sent_by.clone(),
        created_at_ms: now_ms,
        handed_out_at_ms: 0,
        expires_at_ms: clock_ms.saturating_add(new.ttl_ms),
        ended_at_ms: 0,
    };
    Ok(commands::queue(tx, command).await?)
}

fn cloned(id: MachineId) -> ApiError {
    let text = "two devices speak as this machine: commands are withheld until it is split";
    ApiError::new(Reason::MachineCloned, text).with("machine_id", id)
}
