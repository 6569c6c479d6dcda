//! Sessions and purchases on the wire.

use crate::domain::pool::{Purchase, SessionState};
use crate::operations::pool::SessionNow;
use uuid::Uuid;
use vendfleet_proto::v1;

pub(super) fn session_out(now: &SessionNow) -> v1::MachineSession {
    let SessionNow { session, purchase, kind, machine } = now;
    let chooses = session.state == SessionState::ChooseProduct;
    v1::MachineSession {
        session_id: session.id.to_string(),
        machine_id: session.machine.to_string(),
        machine_kind: *kind as i32,
        customer_id: session.customer.clone(),
        state: session.state as i32,
        machine_state: machine.standing as i32,
        lease_end_time_ms: if chooses { session.lease_until_ms } else { 0 },
        purchase: purchase.as_ref().map(purchase_out),
        create_time_ms: session.created_at_ms,
        end_time_ms: session.ended_at_ms,
        usage_count: u64::try_from(machine.usage).unwrap_or(0),
        trace_id: session.trace_id.clone(),
    }
}

pub(super) fn purchase_out(purchase: &Purchase) -> v1::Purchase {
    v1::Purchase {
        purchase_id: purchase.id.to_string(),
        session_id: purchase.session.to_string(),
        machine_id: purchase.machine.to_string(),
        customer_id: purchase.customer.clone(),
        product_id: Uuid::from_bytes(purchase.product.0).to_string(),
        slot: purchase.slot.into(),
        price: Some(v1::Money {
            currency_code: purchase.currency.as_str().to_owned(),
            minor_units: purchase.price_minor,
        }),
        payment: purchase.mode as i32,
        payment_status: purchase.payment as i32,
        gateway_payment_id: purchase.gateway_payment_id.clone(),
        state: purchase.state as i32,
        failure: purchase.failure.map_or(0, |failure| failure as i32),
        failure_detail: purchase.failure_detail.clone(),
        command_number: purchase.command_number,
        reservation_end_time_ms: purchase.reservation_end_ms,
        create_time_ms: purchase.created_at_ms,
        update_time_ms: purchase.updated_at_ms,
        end_time_ms: purchase.ended_at_ms,
    }
}
