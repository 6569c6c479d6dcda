//! `vendctl quarantine`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, money, when};
use clap::{Args, Subcommand};
use vendfleet_proto::v1::record_body::Body;
use vendfleet_proto::v1::{
    AdoptBranchRequest, DiscardBranchRequest, ListQuarantineBranchesRequest, ListQuarantinedRecordsRequest,
    QuarantineBranch, QuarantinedRecord,
};

const MAX_PAGE: usize = 500;
const MAX_RECORDS_PAGE: usize = 200;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Branches, in order of creation.
    List(List),
    /// The records of a branch.
    Records(One),
    /// Counts a branch after all; a transaction that has counted before does not count again.
    Adopt(Adopt),
    /// Leaves a branch out for good; its records stay stored.
    Discard(Discard),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this state.
    #[arg(long, default_value = "any", value_parser = arg::filter("BranchState"))]
    state: i32,
    /// Only this reason.
    #[arg(long, default_value = "any", value_parser = arg::filter("BranchReason"))]
    reason: i32,
}

#[derive(Args)]
pub(crate) struct One {
    /// The branch's id.
    #[arg(value_name = "BRANCH", value_parser = arg::id)]
    branch: String,
}

#[derive(Args)]
pub(crate) struct Adopt {
    /// The branch's id.
    #[arg(value_name = "BRANCH", value_parser = arg::id)]
    branch: String,
    /// Why.
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
}

#[derive(Args)]
pub(crate) struct Discard {
    /// The branch's id.
    #[arg(value_name = "BRANCH", value_parser = arg::id)]
    branch: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    note: String,
}

impl Row for QuarantineBranch {
    const COLUMNS: &'static [Column] = &[
        left("BRANCH"),
        left("MACHINE"),
        left("EPOCH"),
        right("FIRST SEQ"),
        right("LAST SEQ"),
        right("RECORDS"),
        right("VENDS"),
        right("WORTH"),
        left("REASON"),
        left("STATE"),
        left("LAST RECEIVED"),
    ];

    fn cells(&self) -> Vec<String> {
        let worth = if self.currency_code.is_empty() {
            String::new()
        } else {
            money::format(self.vends_minor, &self.currency_code)
        };
        vec![
            self.branch_id.clone(),
            self.machine_id.clone(),
            self.epoch.clone(),
            self.first_seq.to_string(),
            self.last_seq.to_string(),
            self.records.to_string(),
            self.vends.to_string(),
            worth,
            word("BranchReason", self.reason),
            word("BranchState", self.state),
            when::time(self.update_time_ms),
        ]
    }
}

impl Row for QuarantinedRecord {
    const COLUMNS: &'static [Column] =
        &[right("SEQ"), left("KIND"), left("WHAT"), right("AMOUNT"), left("RECEIVED"), left("HASH")];

    fn cells(&self) -> Vec<String> {
        let record = self.record.clone().unwrap_or_default();
        let body = self.decoded.as_ref().and_then(|decoded| decoded.body.as_ref());
        let (what, amount) = match body {
            Some(Body::Vend(vend)) => (
                format!("slot {} {}", vend.slot, word("VendOutcome", vend.outcome)),
                money::format(vend.price_minor, &vend.currency_code),
            ),
            Some(Body::Settlement(settlement)) => (
                word("SettlementKind", settlement.what),
                money::format(settlement.amount_minor, &settlement.currency_code),
            ),
            Some(Body::CashIn(cash)) => {
                (String::new(), money::format(cash.amount_minor, &cash.currency_code))
            }
            Some(_) => (String::new(), String::new()),
            None => ("unreadable".to_owned(), String::new()),
        };
        let kind =
            i32::try_from(record.kind).map_or_else(|_| record.kind.to_string(), |n| word("RecordKind", n));
        vec![
            record.seq.to_string(),
            kind,
            what,
            amount,
            when::time(self.received_time_ms),
            hex::encode(&record.hash).chars().take(12).collect(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => {
            let filter = ListQuarantineBranchesRequest {
                machine_id: args.machine.unwrap_or_default(),
                state: args.state,
                reason: args.reason,
                ..ListQuarantineBranchesRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListQuarantineBranchesRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_quarantine_branches(r).await).await?;
                Ok((page.branches, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
        Verb::Records(One { branch }) => {
            let fetch = async |page_size, page_token| {
                let branch_id = branch.clone();
                let request = ListQuarantinedRecordsRequest { page_size, page_token, branch_id };
                let page = session.fleet(request, async |c, r| c.list_quarantined_records(r).await).await?;
                Ok((page.records, page.next_page_token))
            };
            output.list(&session.pages(MAX_RECORDS_PAGE, fetch).await?)
        }
        Verb::Adopt(Adopt { branch: branch_id, note }) => {
            let request = AdoptBranchRequest { request_id: session.request_id(), branch_id, note };
            output.one(&session.fleet_write(request, async |c, r| c.adopt_branch(r).await).await?)
        }
        Verb::Discard(Discard { branch: branch_id, note }) => {
            let request = DiscardBranchRequest { request_id: session.request_id(), branch_id, note };
            let answer = session.fleet_write(request, async |c, r| c.discard_branch(r).await).await?;
            output.one(&answer.branch.ok_or_else(|| Failure::missing("branch"))?)
        }
    }
}
