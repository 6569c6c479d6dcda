//! `vendctl event`.

use crate::arg;
use crate::call::{Seen, Session, Whence};
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::{Output, money, when};
use clap::{Args, Subcommand};
use tonic::Request;
use vendfleet_proto::v1::event::Data;
use vendfleet_proto::v1::inventory_event::Change;
use vendfleet_proto::v1::sale_event::Sale;
use vendfleet_proto::v1::stream_events_response::Message;
use vendfleet_proto::v1::{Event, InventoryEvent, SaleEvent, StreamEventsRequest, StreamStart};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Shows what happens, in order, until interrupted.
    Stream(Stream),
}

#[derive(Args)]
pub(crate) struct Stream {
    /// Begin with the oldest event that is still kept; without it and --cursor from now on.
    #[arg(long, conflicts_with = "cursor")]
    oldest: bool,
    /// After the event with this cursor, as --json shows it.
    #[arg(long, default_value = "", value_name = "CURSOR")]
    cursor: String,
    /// Only this category; may be repeated.
    #[arg(long = "category", value_parser = arg::choice("EventCategory"))]
    categories: Vec<i32>,
    /// Only events about this machine.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only events about this product, an order's lines included.
    #[arg(long, value_parser = arg::id)]
    product: Option<String>,
    /// Only orders of this customer.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,
    /// Ends after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let Verb::Stream(args) = verb;
    let start = match (args.oldest, args.cursor.is_empty()) {
        (true, _) => StreamStart::Oldest,
        (false, true) => StreamStart::Now,
        (false, false) => StreamStart::Unspecified,
    };
    let first = StreamEventsRequest {
        cursor: args.cursor,
        start: start.into(),
        categories: args.categories,
        machine_id: args.machine.unwrap_or_default(),
        product_id: args.product.unwrap_or_default(),
        customer_id: args.customer,
    };
    let open = async |whence: &Whence| {
        let mut request = first.clone();
        if let Whence::After(cursor) = whence {
            request.cursor.clone_from(cursor);
            request.start = StreamStart::Unspecified.into();
        }
        session.event_stream().stream_events(Request::new(request)).await
    };
    let mut left = args.count;
    let see = |answer: vendfleet_proto::v1::StreamEventsResponse| {
        if let Some(Message::Event(event)) = &answer.message {
            let kind = event.r#type.strip_prefix("dev.vendfleet.").unwrap_or(&event.r#type).to_owned();
            let cells = [when::time(event.time_ms), kind, event.subject.clone(), said(event)];
            output.event(&answer, &cells)?;
            left = left.map(|left| left - 1);
        }
        Ok(Seen { cursor: answer.cursor, done: left == Some(0) })
    };
    session.follow(open, see).await
}

/// What it says, in a few words.
fn said(event: &Event) -> String {
    match &event.data {
        Some(Data::Order(order)) => {
            let order = order.order.clone().unwrap_or_default();
            let total = order.total.unwrap_or_default();
            format!("{} of {}", money::format(total.minor_units, &total.currency_code), order.customer_id)
        }
        Some(Data::Sale(sale)) => sold(sale),
        Some(Data::Inventory(inventory)) => moved(inventory),
        Some(Data::Alert(alert)) => {
            let alert = alert.alert.clone().unwrap_or_default();
            format!("{}: {}", word("AlertType", alert.r#type), alert.message)
        }
        None => String::new(),
    }
}

fn sold(sale: &SaleEvent) -> String {
    match &sale.sale {
        Some(Sale::Transaction(vend)) => {
            let outcome = word("VendOutcome", vend.outcome);
            format!(
                "slot {} at {}: {outcome}",
                vend.slot,
                money::format(vend.price_minor, &vend.currency_code)
            )
        }
        Some(Sale::Settlement(later)) => format!("transaction {}", later.transaction_id),
        Some(Sale::CashCollected(_)) | None => format!("record {}:{}", sale.epoch, sale.seq),
    }
}

fn moved(inventory: &InventoryEvent) -> String {
    match &inventory.change {
        Some(Change::Stock(stock)) => {
            let cause = word("StockChangeCause", stock.cause);
            format!("{:+} by {cause}, {} left", stock.delta, stock.stock_after)
        }
        Some(Change::Slots(slots)) => format!("record {}:{}", slots.epoch, slots.seq),
        None => String::new(),
    }
}
