//! Why a command was not done, as the failure its caller sees.

use crate::context::Context;
use crate::domain::pool::{Refusal, Standing};
use crate::error::{ApiError, Reason};
use std::time::Duration;
use uuid::Uuid;
use vend_core::id::ProductId;

/// Who was told that no machine is idle asks again after this, and up to twice as long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why nobody got a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoIdle {
    /// Nothing was idle when it was looked.
    AtOnce,
    /// Nor until the caller's time was over.
    WaitOver,
    /// Nothing was idle when it was looked, and too many wait already.
    QueueFull,
}

/// NO_IDLE_MACHINE, with RetryInfo. `fitting`: machines that match the filter.
pub(super) fn no_idle(why: NoIdle, fitting: u64, context: &Context) -> ApiError {
    let (cause, text) = match why {
        NoIdle::AtOnce if fitting == 0 => ("NONE_FITS", "no machine matches the filter"),
        NoIdle::AtOnce => ("ALL_BUSY", "no machine that fits is idle"),
        NoIdle::WaitOver => ("WAIT_OVER", "no machine that fits became idle within wait_ms"),
        NoIdle::QueueFull => ("QUEUE_FULL", "too many callers wait for a machine"),
    };
    ApiError::new(Reason::NoIdleMachine, text)
        .with("fitting", fitting)
        .with("cause", cause)
        .retry_after(ASK_AGAIN + context.jitter(ASK_AGAIN))
}

/// Nobody is waited for here any more: another server, or this one once it is back, can be asked.
pub(super) fn draining(context: &Context) -> ApiError {
    ApiError::new(Reason::Unavailable, "the server is draining; repeat with the same request_id")
        .retry_after(ASK_AGAIN + context.jitter(ASK_AGAIN))
}

/// The failure of a refusal.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the end of a refusal, and a map_err function")]
pub fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NoIdleMachine => ApiError::new(Reason::NoIdleMachine, "no machine that fits is idle"),
        Refusal::RequestReused(made) => ApiError::new(
            Reason::IdempotencyKeyReused,
            "request_id: was used before with another request; what that one did stands",
        )
        .with("resource_id", made),
        Refusal::SessionNotFound(id) => {
            ApiError::new(Reason::SessionNotFound, "there is no such session").with("session_id", id)
        }
        Refusal::TokenMismatch(id) => {
            ApiError::new(Reason::SessionTokenMismatch, "session_token: is not this session's")
                .with("session_id", id)
        }
        Refusal::SessionExpired(id, expired_ms) => ApiError::new(
            Reason::SessionExpired,
            "the session's lease ended before a product was chosen; its machine is free for others",
        )
        .with("session_id", id)
        .with("expired_time_ms", expired_ms),
        Refusal::SessionEnded(id, current) => {
            let error = ApiError::new(Reason::SessionEnded, "the session is over").with("session_id", id);
            match current {
                Some(current) => error.with("current_session_id", current),
                None => error,
            }
        }
        Refusal::NotInState(machine, standing) => {
            let (state, expected) = (name(standing), name(Standing::ChooseProduct));
            ApiError::new(
                Reason::MachineNotInState,
                format!("the machine is {state}; a product is chosen in {expected}"),
            )
            .with("machine_id", machine)
            .with("state", state)
            .with("expected", expected)
        }
        Refusal::AlreadyIdle(machine) => {
            ApiError::new(Reason::MachineAlreadyIdle, "the machine is in no session")
                .with("machine_id", machine)
        }
        Refusal::MachineNotFound(machine) => {
            ApiError::new(Reason::MachineNotFound, "machine_id: there is no such machine")
                .with("machine_id", machine)
        }
        Refusal::ProductNotFound(id) => {
            let id = shown(id);
            ApiError::new(Reason::ProductNotFound, format!("there is no product {id}")).with("product_id", id)
        }
        Refusal::ProductArchived(id) => {
            let id = shown(id);
            ApiError::new(Reason::ProductArchived, format!("product {id} is archived")).with("product_id", id)
        }
        Refusal::ProductNotInMachine(machine, id) => {
            let id = shown(id);
            ApiError::new(Reason::ProductNotInMachine, format!("no slot of the machine has product {id}"))
                .with("machine_id", machine)
                .with("product_id", id)
        }
        Refusal::InsufficientStock(id) => {
            let id = shown(id);
            ApiError::new(Reason::InsufficientStock, format!("nothing is left of product {id}"))
                .with("product_id", id)
                .with("requested", 1)
                .with("available", 0)
        }
        Refusal::PriceChanged { product, expected, actual } => ApiError::new(
            Reason::PriceChanged,
            format!("expected_price: is {} {}, the price is {}", expected.1, expected.0, actual.1),
        )
        .with("product_id", shown(product))
        .with("expected_minor", expected.1)
        .with("price_minor", actual.1)
        .with("currency_code", actual.0),
        Refusal::CurrencyMismatch { expected, actual } => ApiError::new(
            Reason::CurrencyMismatch,
            format!("expected_price: is in {expected}, the price is in {actual}"),
        )
        .with("expected", expected)
        .with("actual", actual),
        Refusal::Unreachable(machine, last_sync_ms) => {
            ApiError::new(Reason::MachineUnreachable, "the machine is not connected any more")
                .with("machine_id", machine)
                .with("last_sync_time_ms", last_sync_ms)
        }
        Refusal::Cloned(machine) => {
            ApiError::new(Reason::MachineCloned, "two devices speak as this machine: split it first")
                .with("machine_id", machine)
        }
        Refusal::PurchaseNotFound(id) => {
            ApiError::new(Reason::PurchaseNotFound, "purchase_id: there is no such purchase")
                .with("purchase_id", id)
        }
        Refusal::NotInDoubt(id, state) => ApiError::new(
            Reason::PurchaseNotInDoubt,
            format!("only a purchase in doubt can be resolved; this one is {state}"),
        )
        .with("purchase_id", id)
        .with("state", state),
    }
}

/// The contract's name for it, without prefix.
fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Idle => "IDLE",
        Standing::ChooseProduct => "CHOOSE_PRODUCT",
        Standing::Processing => "PROCESSING",
        Standing::InDoubt => "IN_DOUBT",
        Standing::Resting => "RESTING",
        Standing::Absent => "ABSENT",
    }
}

fn shown(id: ProductId) -> Uuid {
    Uuid::from_bytes(id.0)
}
