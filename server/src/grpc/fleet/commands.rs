//! Commands to machines.

use super::out::epoch_out;
use crate::domain::command::{Command, DEFAULT_TTL_MS, MAX_TTL_MS, NewCommand, Order, Place, State};
use crate::domain::ids::MachineId;
use crate::domain::text::{Text, Within};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, fleet};
use tonic::Request;
use vendfleet_proto::v1;

pub(super) async fn send_command(
    deps: &Deps,
    request: Request<v1::SendCommandRequest>,
) -> Result<v1::SendCommandResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "SendCommand", &request_id, &message);
    let machine = fields.uuid("machine_id", &message.machine_id).map(MachineId);
    let order = order(&mut fields, message.command);
    let ttl_ms: Option<Within<0, MAX_TTL_MS>> = fields.within("ttl_ms", message.ttl_ms);
    let ((key, machine), (order, ttl_ms)) = fields.finish(key.zip(machine).zip(order.zip(ttl_ms)))?;
    let ttl_ms = if ttl_ms.get() == 0 { DEFAULT_TTL_MS } else { ttl_ms.get() };
    let new = NewCommand { machine, order, ttl_ms, sent_by: caller.subject };
    let clock_ms = deps.moment().await?.clock_ms;
    let command = fleet::send_command(deps, key, new).await?;
    Ok(v1::SendCommandResponse { command: Some(command_out(command, clock_ms)) })
}

fn order(fields: &mut Fields, command: Option<v1::send_command_request::Command>) -> Option<Order> {
    use v1::send_command_request::Command as Wire;
    match command {
        Some(Wire::OutOfService(v1::OutOfServiceCommand { reason })) => {
            let reason: Option<Text<0, 64>> = fields.text("out_of_service.reason", &reason);
            reason.map(|reason| Order::OutOfService(reason.into_string()))
        }
        Some(Wire::ReturnToService(v1::ReturnToServiceCommand {})) => Some(Order::ReturnToService),
        None => {
            fields.broke("command", "required");
            None
        }
    }
}

pub(super) async fn list_commands(
    deps: &Deps,
    request: Request<v1::ListCommandsRequest>,
) -> Result<v1::ListCommandsResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListCommands", &message);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let state = fields.member("state", message.state, |n| State::from_number(i64::from(n)));
    let page = list.request::<Place>(&mut fields, size, &token, (50, 500))?;
    let (machine, state) = fields.finish(machine.zip(state))?;
    let now_ms = deps.moment().await?.clock_ms;
    let page = fleet::list_commands(deps, machine.map(MachineId), state, now_ms, &page).await?;
    let next_page_token = list.token(&page);
    let commands = page.items.into_iter().map(|command| command_out(command, now_ms)).collect();
    Ok(v1::ListCommandsResponse { commands, next_page_token })
}

fn command_out(command: Command, now_ms: i64) -> v1::Command {
    use v1::command::Command as Wire;
    let state = command.state_at(now_ms);
    v1::Command {
        machine_id: command.machine.to_string(),
        number: command.number,
        state: state as i32,
        epoch: epoch_out(command.epoch),
        boot_id: command.boot.map(|boot| hex::encode(boot.0)).unwrap_or_default(),
        // A time that ran out by itself was nobody's write.
        end_time_ms: if state == State::Expired && command.ended_at_ms == 0 {
            command.expires_at_ms
        } else {
            command.ended_at_ms
        },
        command: Some(match command.order {
            Order::Dispense(dispense) => Wire::Dispense(v1::DispenseCommand {
                transaction_id: dispense.purchase.as_bytes().to_vec(),
                slot: dispense.slot.into(),
                product_id: dispense.product.0.to_vec(),
                price_minor: dispense.price_minor,
                currency_code: dispense.currency.as_str().to_owned(),
            }),
            Order::OutOfService(reason) => Wire::OutOfService(v1::OutOfServiceCommand { reason }),
            Order::ReturnToService => Wire::ReturnToService(v1::ReturnToServiceCommand {}),
        }),
        refusal_reason: command.refusal,
        result_seq: command.result_seq,
        sent_by: command.sent_by,
        create_time_ms: command.created_at_ms,
        hand_out_time_ms: command.handed_out_at_ms,
        expire_time_ms: command.expires_at_ms,
    }
}
