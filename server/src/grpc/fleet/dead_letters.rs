//! Dead letters of all kinds.

use super::out::epoch_out;
use super::upkeep::cut;
use crate::domain::fleet::{
    DeadLetter, DeadLetterFilter, DeadLetterState, OrderLetter, PurchaseLetter, SetAside, SetAsideKind,
};
use crate::domain::ids::{MachineId, OrderId};
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::grpc::page::ListCall;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, fleet};
use tonic::Request;
use uuid::Uuid;
use vendfleet_proto::v1;

pub(super) async fn list_dead_letters(
    deps: &Deps,
    request: Request<v1::ListDeadLettersRequest>,
) -> Result<v1::ListDeadLettersResponse, ApiError> {
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let (size, token) = (std::mem::take(&mut message.page_size), std::mem::take(&mut message.page_token));
    let list = ListCall::new(&deps.key, "ListDeadLetters", &message);
    let kind = fields.member("kind", message.kind, |n| SetAsideKind::from_number(i64::from(n)));
    let state = fields.member("state", message.state, |n| DeadLetterState::from_number(i64::from(n)));
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let order = fields.optional_uuid("order_id", &message.order_id);
    let page = list.request::<Uuid>(&mut fields, size, &token, (50, 200))?;
    let ((kind, state), (machine, order)) = fields.finish(kind.zip(state).zip(machine.zip(order)))?;
    let filter = DeadLetterFilter { kind, state, machine: machine.map(MachineId), order: order.map(OrderId) };
    let page = fleet::list_dead_letters(deps, &filter, &page).await?;
    let next_page_token = list.token(&page);
    let dead_letters = page.items.into_iter().map(dead_letter_out).collect();
    Ok(v1::ListDeadLettersResponse { dead_letters, next_page_token })
}

pub(super) async fn get_dead_letter(
    deps: &Deps,
    request: Request<v1::GetDeadLetterRequest>,
) -> Result<v1::GetDeadLetterResponse, ApiError> {
    let mut fields = Fields::default();
    let id = fields.uuid("dead_letter_id", &request.get_ref().dead_letter_id);
    let letter = fleet::get_dead_letter(deps, fields.finish(id)?).await?;
    Ok(v1::GetDeadLetterResponse { dead_letter: Some(dead_letter_out(letter)) })
}

pub(super) async fn redrive_dead_letter(
    deps: &Deps,
    request: Request<v1::RedriveDeadLetterRequest>,
) -> Result<v1::RedriveDeadLetterResponse, ApiError> {
    let caller = person(request.extensions())?;
    let mut message = request.into_inner();
    let mut fields = Fields::default();
    let request_id = std::mem::take(&mut message.request_id);
    let key = request_key(&mut fields, &caller, "RedriveDeadLetter", &request_id, &message);
    let id = fields.uuid("dead_letter_id", &message.dead_letter_id);
    let (key, id) = fields.finish(key.zip(id))?;
    let letter = fleet::redrive_dead_letter(deps, key, id).await?;
    Ok(v1::RedriveDeadLetterResponse { dead_letter: Some(dead_letter_out(letter)) })
}

fn dead_letter_out(letter: SetAside) -> v1::DeadLetter {
    match letter {
        SetAside::Record(letter) => record_out(letter),
        SetAside::Order(letter) => order_out(letter),
        SetAside::Purchase(letter) => purchase_out(letter),
    }
}

fn purchase_out(letter: PurchaseLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        dead_letter_id: letter.id.to_string(),
        kind: v1::DeadLetterKind::Payment.into(),
        state: letter.state as i32,
        reason: letter.reason,
        detail: cut(&letter.detail, 512),
        redrives: letter.redrives,
        subject: Some(v1::dead_letter::Subject::PurchaseId(letter.purchase.to_string())),
        create_time_ms: letter.created_at_ms,
        update_time_ms: letter.updated_at_ms,
        trace_id: letter.trace_id,
    }
}

fn order_out(letter: OrderLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        dead_letter_id: letter.id.to_string(),
        kind: letter.kind as i32,
        state: letter.state as i32,
        reason: letter.reason,
        detail: cut(&letter.detail, 512),
        redrives: letter.redrives,
        subject: Some(v1::dead_letter::Subject::OrderId(letter.order.to_string())),
        create_time_ms: letter.created_at_ms,
        update_time_ms: letter.updated_at_ms,
        trace_id: letter.trace_id,
    }
}

fn record_out(letter: DeadLetter) -> v1::DeadLetter {
    let record = letter.record;
    v1::DeadLetter {
        dead_letter_id: letter.id.to_string(),
        kind: v1::DeadLetterKind::Record.into(),
        state: letter.state as i32,
        reason: letter.reason,
        detail: cut(&letter.detail, 512),
        redrives: letter.redrives,
        subject: Some(v1::dead_letter::Subject::Record(v1::DeadRecord {
            machine_id: record.machine.to_string(),
            epoch: epoch_out(record.chain),
            record: Some(v1::Record {
                seq: record.seq,
                kind: record.kind,
                schema: record.schema,
                body: record.body,
                hash: record.hash.to_vec(),
            }),
            received_time_ms: record.received_at_ms,
        })),
        create_time_ms: letter.created_at_ms,
        update_time_ms: letter.updated_at_ms,
        trace_id: letter.trace_id,
    }
}
