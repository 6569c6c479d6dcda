//! `vendctl gaps`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use vendfleet_proto::v1::{Gap, ListGapsRequest};

const MAX_PAGE: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this reason.
    #[arg(long, default_value = "any", value_parser = arg::filter("GapReason"))]
    reason: i32,
}

impl Row for Gap {
    const COLUMNS: &'static [Column] = &[
        left("GAP"),
        left("MACHINE"),
        left("EPOCH"),
        right("FIRST SEQ"),
        right("LAST SEQ"),
        right("RECORDS"),
        left("REASON"),
        right("VENDS INSIDE"),
        left("NAMED"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.gap_id.clone(),
            self.machine_id.clone(),
            self.epoch.clone(),
            self.first_seq.to_string(),
            self.last_seq.to_string(),
            self.last_seq.saturating_sub(self.first_seq).saturating_add(1).to_string(),
            word("GapReason", self.reason),
            self.missing.as_ref().map_or_else(|| "unknown".to_owned(), |totals| totals.vends.to_string()),
            when::time(self.create_time_ms),
        ]
    }
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let filter = ListGapsRequest {
        machine_id: args.machine.unwrap_or_default(),
        reason: args.reason,
        ..ListGapsRequest::default()
    };
    let fetch = async |page_size, page_token| {
        let request = ListGapsRequest { page_size, page_token, ..filter.clone() };
        let page = session.fleet(request, async |c, r| c.list_gaps(r).await).await?;
        Ok((page.gaps, page.next_page_token))
    };
    output.list(&session.pages(MAX_PAGE, fetch).await?)
}
