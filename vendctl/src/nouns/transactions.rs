//! `vendctl transactions`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, money, when};
use vendfleet_proto::v1::{ListTransactionsRequest, Transaction, TransactionKind};

const MAX_PAGE: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this machine's, in its own order; without it in order of receipt.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this kind.
    #[arg(long, default_value = "any", value_parser = arg::filter("TransactionKind"))]
    kind: i32,
    /// Only vends of this product.
    #[arg(long, value_parser = arg::id)]
    product: Option<String>,
    /// Only vends with this outcome.
    #[arg(long, default_value = "any", value_parser = arg::filter("VendOutcome"))]
    outcome: i32,
    /// Only those received at or after this, e.g. 2026-11-21T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = arg::time)]
    from: Option<i64>,
    /// Only those received before this.
    #[arg(long, value_name = "TIME", value_parser = arg::time)]
    before: Option<i64>,
}

impl Row for Transaction {
    const COLUMNS: &'static [Column] = &[
        left("HAPPENED"),
        left("MACHINE"),
        right("SEQ"),
        left("KIND"),
        right("SLOT"),
        left("PRODUCT"),
        right("AMOUNT"),
        left("PAYMENT"),
        left("OUTCOME"),
        right("OWED"),
        left("TRANSACTION"),
    ];

    fn cells(&self) -> Vec<String> {
        let is_vend = self.kind == i32::from(TransactionKind::Vend);
        let amount = if is_vend { self.price_minor } else { self.cash_in_minor };
        let owed = if self.owed_minor == 0 {
            String::new()
        } else {
            money::format(self.owed_minor, &self.currency_code)
        };
        let happened = self.happened.as_ref().map_or(0, |estimate| estimate.time_ms);
        vec![
            when::time(happened),
            self.machine_id.clone(),
            self.seq.to_string(),
            word("TransactionKind", self.kind),
            if is_vend { self.slot.to_string() } else { String::new() },
            self.product_id.clone(),
            money::format(amount, &self.currency_code),
            word("PaymentMethod", self.payment),
            word("VendOutcome", self.outcome),
            owed,
            self.transaction_id.clone(),
        ]
    }
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let filter = ListTransactionsRequest {
        machine_id: args.machine.unwrap_or_default(),
        kind: args.kind,
        product_id: args.product.unwrap_or_default(),
        outcome: args.outcome,
        received_from_ms: args.from.unwrap_or_default(),
        received_before_ms: args.before.unwrap_or_default(),
        ..ListTransactionsRequest::default()
    };
    let fetch = async |page_size, page_token| {
        let request = ListTransactionsRequest { page_size, page_token, ..filter.clone() };
        let page = session.fleet(request, async |c, r| c.list_transactions(r).await).await?;
        Ok((page.transactions, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}
