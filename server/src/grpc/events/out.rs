//! Events as the contract has them.

use crate::domain::event::{AppliedRecord, Event, EventData, StockMover};
use crate::domain::fleet::{SettlementFact, Transaction};
use crate::domain::ids::Incarnation;
use crate::domain::order::{ChangeKind, Order};
use crate::domain::stock::{StockCause, StockMove};
use crate::grpc::fleet::{alert_out, epoch_out, settlement_out, transaction_out, uuid_out};
use crate::grpc::orders::out::order_out;
use vend_core::record::Body;
use vendfleet_proto::v1::{self, event::Data, record_body::Body as ProtoBody};

/// CloudEvents type of everything that comes from here.
const TYPE: &str = "dev.vendfleet";

/// An event of this life of the server's data.
#[must_use]
pub fn event_out(event: &Event, incarnation: Incarnation) -> v1::Event {
    v1::Event {
        event_id: event.name.to_string(),
        source: format!("/vendfleet/{incarnation}"),
        r#type: format!("{TYPE}.{}", event.data.kind()),
        subject: event.data.subject().to_string(),
        time_ms: event.at_ms,
        shard: u32::try_from(event.shard).unwrap_or(0),
        position: u64::try_from(event.place.position).unwrap_or(0),
        trace_id: event.trace_id.clone(),
        traceparent: event.traceparent.clone(),
        data: data_out(event),
    }
}

fn data_out(event: &Event) -> Option<Data> {
    Some(match &event.data {
        EventData::Order { change, order } => Data::Order(order_event_out(event, *change, order)),
        EventData::Stock { moved, mover } => {
            let change = v1::inventory_event::Change::Stock(stock_out(moved, mover));
            Data::Inventory(v1::InventoryEvent { change: Some(change) })
        }
        EventData::Record(applied) => return record_out(applied),
        EventData::Alert { change, alert } => {
            Data::Alert(v1::AlertEvent { r#type: *change as i32, alert: Some(alert_out((**alert).clone())) })
        }
    })
}

/// What happened to an order, with the same id wherever it is told.
pub(crate) fn order_event_out(event: &Event, change: ChangeKind, order: &Order) -> v1::OrderEvent {
    v1::OrderEvent {
        event_id: event.name.to_string(),
        r#type: change as i32,
        order: Some(order_out(order)),
        time_ms: event.at_ms,
        trace_id: event.trace_id.clone(),
    }
}

fn stock_out(moved: &StockMove, mover: &StockMover) -> v1::StockChange {
    let mut out = v1::StockChange {
        product_id: uuid_out(&moved.product.0),
        delta: moved.delta,
        stock_after: moved.after,
        ..v1::StockChange::default()
    };
    let cause = match mover {
        StockMover::Catalogue(StockCause::ProductCreated) => v1::StockChangeCause::ProductCreated,
        StockMover::Catalogue(StockCause::Adjusted(done)) => {
            out.adjustment = Some(crate::grpc::catalog::adjustment_out(done.clone()));
            v1::StockChangeCause::Adjustment
        }
        StockMover::Catalogue(StockCause::Purchased(purchase)) => {
            out.purchase_id = purchase.to_string();
            v1::StockChangeCause::PurchaseCreated
        }
        StockMover::Catalogue(StockCause::GivenBack(purchase)) => {
            out.purchase_id = purchase.to_string();
            v1::StockChangeCause::PurchaseFailed
        }
        StockMover::Order(order, change) => {
            out.order_id = order.to_string();
            match change {
                ChangeKind::Created => v1::StockChangeCause::OrderCreated,
                ChangeKind::Cancelled => v1::StockChangeCause::OrderCancelled,
                _ => v1::StockChangeCause::OrderFailed,
            }
        }
    };
    out.cause = cause.into();
    out
}

fn record_out(applied: &AppliedRecord) -> Option<Data> {
    let AppliedRecord { stored, epoch, record } = applied;
    let (machine_id, epoch_text) = (stored.machine.to_string(), epoch_out(*epoch));
    let sale = |sale| {
        let epoch = epoch_text.clone();
        Data::Sale(v1::SaleEvent { machine_id: machine_id.clone(), epoch, seq: stored.seq, sale: Some(sale) })
    };
    let slots = |change| {
        let (machine_id, epoch) = (machine_id.clone(), epoch_text.clone());
        let slots = v1::SlotChange { machine_id, epoch, seq: stored.seq, change: Some(change) };
        let change = v1::inventory_event::Change::Slots(slots);
        Data::Inventory(v1::InventoryEvent { change: Some(change) })
    };
    Some(match &record.body {
        Body::Vend(_) | Body::CashIn(_) => {
            let transaction = Transaction {
                stored: stored.clone(),
                epoch: *epoch,
                record: record.clone(),
                id: record.body.transaction()?,
                settlements: Vec::new(),
            };
            sale(v1::sale_event::Sale::Transaction(transaction_out(transaction)))
        }
        Body::Settlement(settlement) => {
            let fact = SettlementFact {
                epoch: *epoch,
                seq: stored.seq,
                received_at_ms: stored.received_at_ms,
                settlement: settlement.clone(),
            };
            sale(v1::sale_event::Sale::Settlement(v1::SaleSettlement {
                transaction_id: uuid_out(&settlement.vend.0),
                settlement: Some(settlement_out(&fact)),
                currency_code: settlement.currency.as_str().to_owned(),
            }))
        }
        body => match vendfleet_wire::body_to_proto(body) {
            ProtoBody::CashCollected(body) => sale(v1::sale_event::Sale::CashCollected(body)),
            ProtoBody::Refill(body) => slots(v1::slot_change::Change::Refill(body)),
            ProtoBody::Audit(body) => slots(v1::slot_change::Change::Audit(body)),
            _ => return None,
        },
    })
}
