//! Hands work on an order that was set aside back to the workers.

use super::dead_letter_not_found;
use crate::context::Context;
use crate::domain::fleet::{DeadLetterState, OrderLetter};
use crate::domain::order::{Answer, Command, Redrive, Refusal, Writes, fold};
use crate::error::{ApiError, Reason};
use crate::operations::deps::{ContextIds, Failure};
use crate::store::Tx;
use crate::store::events::Origin;
use crate::store::orders::{self, Keys};

/// In the transaction that took the request id, so that both are kept or neither is. Work that is handed back already and not
/// finished yet is left to its worker.
pub(super) async fn redrive_order(
    tx: &mut Tx,
    letter: OrderLetter,
    context: &Context,
    origin: &Origin,
) -> Result<OrderLetter, Failure> {
    let id = letter.id;
    let at_ms = context.now_ms();
    let command = Command::Redrive(Redrive {
        order: letter.order,
        kind: letter.kind,
        at_ms,
        trace_id: origin.trace_id.clone(),
        traceparent: origin.traceparent.clone(),
    });
    let mut view = orders::load(tx, std::slice::from_ref(&command), Keys::TrustNew, at_ms).await?;
    let mut writes = Writes::default();
    let answer = fold(&mut view, &command, &mut ContextIds(context), &mut writes);
    // The order is locked from here on, and with it what was set aside of it.
    let letter = orders::find_letter(tx, id).await?.ok_or_else(|| dead_letter_not_found(id))?;
    match answer {
        Answer::Done(_) => {
            orders::write(tx, &view, &writes).await?;
            Ok(orders::find_letter(tx, id).await?.ok_or_else(|| dead_letter_not_found(id))?)
        }
        Answer::Refused(Refusal::NotSetAside(_)) if letter.state == DeadLetterState::Redriving => Ok(letter),
        Answer::Refused(Refusal::NotSetAside(_)) => {
            let text = "the dead letter is done";
            Err(ApiError::new(Reason::DeadLetterNotOpen, text).with("dead_letter_id", id).into())
        }
        other => Err(ApiError::internal(format!("a redrive was answered with {other:?}")).into()),
    }
}
