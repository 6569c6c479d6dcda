//! `vendctl drift`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use vendfleet_proto::v1::ListInventoryDiscrepanciesRequest;

const MAX_PAGE: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this product.
    #[arg(long, value_parser = arg::id)]
    product: Option<String>,
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let filter = ListInventoryDiscrepanciesRequest {
        machine_id: args.machine.unwrap_or_default(),
        product_id: args.product.unwrap_or_default(),
        ..ListInventoryDiscrepanciesRequest::default()
    };
    let fetch = async |page_size, page_token| {
        let request = ListInventoryDiscrepanciesRequest { page_size, page_token, ..filter.clone() };
        let page = session.fleet(request, async |c, r| c.list_inventory_discrepancies(r).await).await?;
        Ok((page.slots, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}
