//! `vendctl dead-letters`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, detail, when};
use clap::{Args, Subcommand};
use prost::Message as _;
use vendfleet_proto::v1::dead_letter::Subject;
use vendfleet_proto::v1::{
    DeadLetter, GetDeadLetterRequest, ListDeadLettersRequest, RecordBody, RedriveDeadLetterRequest,
};

const MAX_PAGE: usize = 200;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Dead letters, in order of creation.
    List(List),
    /// One dead letter, with what can be read of its record.
    Show(One),
    /// Tries it again.
    Redrive(One),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this kind.
    #[arg(long, default_value = "any", value_parser = arg::filter("DeadLetterKind"))]
    kind: i32,
    /// Only this state.
    #[arg(long, default_value = "open", value_parser = arg::filter("DeadLetterState"))]
    state: i32,
    /// Only this machine's records.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this order's.
    #[arg(long, value_parser = arg::id)]
    order: Option<String>,
}

#[derive(Args)]
pub(crate) struct One {
    /// The dead letter's id.
    #[arg(value_name = "DEAD_LETTER", value_parser = arg::id)]
    dead_letter: String,
}

impl Row for DeadLetter {
    const COLUMNS: &'static [Column] = &[
        left("DEAD LETTER"),
        left("KIND"),
        left("STATE"),
        left("ABOUT"),
        left("REASON"),
        left("DETAIL"),
        right("REDRIVES"),
        left("SET ASIDE"),
    ];

    fn cells(&self) -> Vec<String> {
        let about = match &self.subject {
            Some(Subject::Record(dead)) => {
                let seq = dead.record.as_ref().map_or(0, |record| record.seq);
                format!("machine {} record {}:{seq}", dead.machine_id, dead.epoch)
            }
            Some(Subject::OrderId(id)) => format!("order {id}"),
            Some(Subject::PurchaseId(id)) => format!("purchase {id}"),
            None => String::new(),
        };
        vec![
            self.dead_letter_id.clone(),
            word("DeadLetterKind", self.kind),
            word("DeadLetterState", self.state),
            about,
            self.reason.clone(),
            self.detail.clone(),
            self.redrives.to_string(),
            when::time(self.create_time_ms),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => {
            let filter = ListDeadLettersRequest {
                kind: args.kind,
                state: args.state,
                machine_id: args.machine.unwrap_or_default(),
                order_id: args.order.unwrap_or_default(),
                ..ListDeadLettersRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListDeadLettersRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_dead_letters(r).await).await?;
                Ok((page.dead_letters, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
        Verb::Show(One { dead_letter: dead_letter_id }) => {
            let request = GetDeadLetterRequest { dead_letter_id };
            let answer = session.fleet(request, async |c, r| c.get_dead_letter(r).await).await?;
            let letter = answer.dead_letter.ok_or_else(|| Failure::missing("dead_letter"))?;
            output.one(&letter)?;
            if output.is_json() { Ok(()) } else { output.text(&readable(&letter)?) }
        }
        Verb::Redrive(One { dead_letter: dead_letter_id }) => {
            let request = RedriveDeadLetterRequest { request_id: session.request_id(), dead_letter_id };
            let answer = session.fleet_write(request, async |c, r| c.redrive_dead_letter(r).await).await?;
            output.one(&answer.dead_letter.ok_or_else(|| Failure::missing("dead_letter"))?)
        }
    }
}

/// What the record's body says, as far as this program can read it.
fn readable(letter: &DeadLetter) -> Result<String, Failure> {
    let Some(Subject::Record(dead)) = &letter.subject else { return Ok(String::new()) };
    let Some(record) = &dead.record else { return Ok(String::new()) };
    match RecordBody::decode(record.body.clone()) {
        Ok(body) => {
            let said = detail::render(&body)?;
            let lines: String = said.lines().map(|line| format!("  {line}\n")).collect();
            Ok(format!("what the body says:\n{lines}"))
        }
        Err(error) => Ok(format!("the body can't be read: {error}\n")),
    }
}
