//! `vendctl order`.

use crate::arg;
use crate::call::{Seen, Session, Whence};
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, money, when};
use clap::{Args, Subcommand};
use tonic::Request;
use vendfleet_proto::v1::watch_orders_response::Message;
use vendfleet_proto::v1::{
    CancelOrderRequest, CreateOrderLine, CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Money,
    Order, WatchOrdersRequest,
};

const MAX_PAGE: usize = 100;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Orders, newest first.
    List(List),
    /// One order.
    Get(One),
    /// Takes stock and makes an order.
    Create(Create),
    /// Cancels an order that nobody was asked to pay yet.
    Cancel(One),
    /// Shows what happens to a customer's orders, until interrupted.
    Watch(Watch),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this customer's; without it your own, or with the scope orders.on_behalf everybody's.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,
    /// Only this status; may be repeated.
    #[arg(long = "status", value_parser = arg::choice("OrderStatus"))]
    statuses: Vec<i32>,
    /// Only those that wait for a definite answer of the gateway.
    #[arg(long)]
    unsettled: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// The order's id.
    #[arg(value_name = "ORDER", value_parser = arg::id)]
    order: String,
    /// The customer to act for; needs the scope orders.on_behalf.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,
}

#[derive(Args)]
pub(crate) struct Create {
    /// What is wanted: a product's id, and units where more than one are.
    #[arg(required = true, value_name = "PRODUCT[=UNITS]", value_parser = order_line)]
    lines: Vec<CreateOrderLine>,
    /// The customer to act for; needs the scope orders.on_behalf.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,
    /// Names the order: the same key gives the same order. Without it the request id is the key.
    #[arg(long, value_name = "TEXT", conflicts_with = "request_id")]
    key: Option<String>,
    /// What the customer was shown, minor units: another total is refused.
    #[arg(long, value_name = "MINOR_UNITS", requires = "currency", value_parser = clap::value_parser!(i64).range(0..))]
    expected_total_minor: Option<i64>,
    /// ISO 4217 code of the expected total.
    #[arg(long, value_parser = arg::currency, requires = "expected_total_minor")]
    currency: Option<String>,
}

#[derive(Args)]
pub(crate) struct Watch {
    /// The customer to act for; needs the scope orders.on_behalf.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,
    /// Only this order.
    #[arg(long, value_parser = arg::id)]
    order: Option<String>,
    /// After the event with this cursor, as --json shows it; without it from now on.
    #[arg(long, default_value = "", value_name = "CURSOR")]
    cursor: String,
    /// Ends after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Row for Order {
    const COLUMNS: &'static [Column] = &[
        left("ORDER"),
        left("CUSTOMER"),
        left("STATUS"),
        left("PAYMENT"),
        left("UNSETTLED"),
        right("LINES"),
        right("TOTAL"),
        left("MADE"),
        left("CHANGED"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.order_id.clone(),
            self.customer_id.clone(),
            word("OrderStatus", self.status),
            word("PaymentStatus", self.payment_status),
            if self.unsettled { "yes".to_owned() } else { String::new() },
            self.lines.len().to_string(),
            total(self),
            when::time(self.create_time_ms),
            when::time(self.update_time_ms),
        ]
    }
}

fn total(order: &Order) -> String {
    order
        .total
        .as_ref()
        .map(|total| money::format(total.minor_units, &total.currency_code))
        .unwrap_or_default()
}

fn order_line(text: &str) -> Result<CreateOrderLine, String> {
    let (product, units) = text.split_once('=').unwrap_or((text, "1"));
    let quantity = units.parse().ok().filter(|units| (1..=10_000).contains(units));
    Ok(CreateOrderLine {
        product_id: arg::id(product)?,
        quantity: quantity.ok_or("the units after = must be 1 to 10000")?,
    })
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => list(args, session, output).await,
        Verb::Get(One { order: order_id, customer: customer_id }) => {
            let request = GetOrderRequest { order_id, customer_id };
            let answer = session.orders(request, async |c, r| c.get_order(r).await).await?;
            output.one(&answer.order.ok_or_else(|| Failure::missing("order"))?)
        }
        Verb::Create(args) => create(args, session, output).await,
        Verb::Cancel(One { order: order_id, customer: customer_id }) => {
            let request = CancelOrderRequest { order_id, customer_id };
            let answer = session.orders(request, async |c, r| c.cancel_order(r).await).await?;
            if answer.already_cancelled {
                output.hint("an earlier call had cancelled it")?;
            }
            output.one(&answer.order.ok_or_else(|| Failure::missing("order"))?)
        }
        Verb::Watch(args) => watch(args, session, output).await,
    }
}

async fn list(args: List, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let filter = ListOrdersRequest {
        customer_id: args.customer,
        statuses: args.statuses,
        unsettled_only: args.unsettled,
        ..ListOrdersRequest::default()
    };
    let fetch = async |page_size, page_token| {
        let request = ListOrdersRequest { page_size, page_token, ..filter.clone() };
        let page = session.orders(request, async |c, r| c.list_orders(r).await).await?;
        Ok((page.orders, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}

async fn create(args: Create, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let named = args.key.is_some();
    let expected = args.expected_total_minor.zip(args.currency);
    let request = CreateOrderRequest {
        idempotency_key: args.key.unwrap_or_else(|| session.request_id()),
        customer_id: args.customer,
        lines: args.lines,
        expected_total: expected.map(|(minor_units, currency_code)| Money { currency_code, minor_units }),
    };
    let answer = if named {
        session.orders(request, async |c, r| c.create_order(r).await).await?
    } else {
        session.orders_write(request, async |c, r| c.create_order(r).await).await?
    };
    if answer.already_existed {
        output.hint("an earlier call with this key had made it")?;
    }
    output.one(&answer.order.ok_or_else(|| Failure::missing("order"))?)
}

async fn watch(args: Watch, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let first = WatchOrdersRequest {
        customer_id: args.customer,
        cursor: args.cursor,
        order_id: args.order.unwrap_or_default(),
    };
    let open = async |whence: &Whence| {
        let mut request = first.clone();
        if let Whence::After(cursor) = whence {
            request.cursor.clone_from(cursor);
        }
        session.order_stream().watch_orders(Request::new(request)).await
    };
    let mut left = args.count;
    let see = |answer: vendfleet_proto::v1::WatchOrdersResponse| {
        if let Some(Message::Order(event)) = &answer.message {
            let order = event.order.clone().unwrap_or_default();
            let cells = [
                when::time(event.time_ms),
                word("OrderEventType", event.r#type),
                order.order_id.clone(),
                word("PaymentStatus", order.payment_status),
                total(&order),
            ];
            output.event(&answer, &cells)?;
            left = left.map(|left| left - 1);
        }
        Ok(Seen { cursor: answer.cursor, done: left == Some(0) })
    };
    session.follow(open, see).await
}
