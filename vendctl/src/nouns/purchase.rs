//! `vendctl purchase`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use clap::{ArgGroup, Args, Subcommand};
use vendfleet_proto::v1::{PurchaseResolution, ResolvePurchaseRequest};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Says what became of a purchase in doubt, when its machine can't.
    Resolve(Resolve),
}

#[derive(Args)]
#[command(group = ArgGroup::new("resolution").required(true))]
pub(crate) struct Resolve {
    /// The purchase's id.
    #[arg(value_name = "PURCHASE", value_parser = arg::id)]
    purchase: String,
    /// The customer has the product: the money is taken.
    #[arg(long, group = "resolution")]
    dispensed: bool,
    /// The customer has nothing: the money is let go, and the slot's unit is free again.
    #[arg(long, group = "resolution")]
    not_dispensed: bool,
    /// How it is known, 1 to 256 bytes.
    #[arg(long, value_name = "TEXT")]
    note: String,
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let Verb::Resolve(args) = verb;
    let resolution =
        if args.dispensed { PurchaseResolution::Dispensed } else { PurchaseResolution::NotDispensed };
    let request = ResolvePurchaseRequest {
        request_id: session.request_id(),
        purchase_id: args.purchase,
        resolution: resolution.into(),
        note: args.note,
    };
    let answer = session.orchestrator_write(request, async |c, r| c.resolve_purchase(r).await).await?;
    output.one(&answer.purchase.ok_or_else(|| Failure::missing("purchase"))?)
}
