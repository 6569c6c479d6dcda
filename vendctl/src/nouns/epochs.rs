//! `vendctl epochs`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use vendfleet_proto::v1::{Epoch, ListEpochsRequest};

const MAX_PAGE: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
}

impl Row for Epoch {
    const COLUMNS: &'static [Column] = &[
        left("EPOCH"),
        left("STATE"),
        left("OPENED AS"),
        left("CONTINUES"),
        right("LAST SEQ"),
        right("ACCEPTED"),
        right("DURABLE"),
        right("APPLIED"),
        right("QUARANTINED"),
        right("DEAD"),
        right("MISSING"),
        left("LAST SYNC"),
    ];

    fn cells(&self) -> Vec<String> {
        let continues = if self.parent_epoch.is_empty() {
            String::new()
        } else {
            format!("{}:{}", self.parent_epoch, self.parent_last_common_seq)
        };
        vec![
            self.epoch.clone(),
            word("EpochState", self.state),
            word("EpochReason", self.reason),
            continues,
            self.last_seq.to_string(),
            self.accepted_through.to_string(),
            self.durable_through.to_string(),
            self.applied_records.to_string(),
            self.quarantined_records.to_string(),
            self.dead_lettered_records.to_string(),
            self.missing_records.to_string(),
            when::time(self.last_sync_time_ms),
        ]
    }
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let fetch = async |page_size, page_token| {
        let request = ListEpochsRequest { page_size, page_token, machine_id: args.machine.clone() };
        let page = session.fleet(request, async |c, r| c.list_epochs(r).await).await?;
        Ok((page.epochs, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}
