//! `vendctl command`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use clap::{Args, Subcommand, ValueEnum};
use vendfleet_proto::v1::{
    Command, ListCommandsRequest, OutOfServiceCommand, ReturnToServiceCommand, SendCommandRequest, command,
    send_command_request,
};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Queues a command for a machine.
    Send(Send),
    /// Commands with what became of them, newest first.
    List(List),
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Stop selling.
    OutOfService,
    /// Sell again.
    ReturnToService,
}

#[derive(Args)]
pub(crate) struct Send {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
    /// What to do.
    what: What,
    /// How long it may be handed out, up to 30d [default: a day].
    #[arg(long, value_name = "SPAN", value_parser = arg::span)]
    ttl: Option<i64>,
    /// With out-of-service: the reason that the machine shows.
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this state.
    #[arg(long, default_value = "any", value_parser = arg::filter("CommandState"))]
    state: i32,
}

impl Row for Command {
    const COLUMNS: &'static [Column] = &[
        left("MACHINE"),
        right("NUMBER"),
        left("COMMAND"),
        left("STATE"),
        left("SENT BY"),
        left("SENT"),
        left("EXPIRES"),
        left("REFUSAL"),
    ];

    fn cells(&self) -> Vec<String> {
        let what = match &self.command {
            Some(command::Command::Dispense(_)) => "dispense",
            Some(command::Command::OutOfService(_)) => "out-of-service",
            Some(command::Command::ReturnToService(_)) => "return-to-service",
            None => "",
        };
        vec![
            self.machine_id.clone(),
            self.number.to_string(),
            what.to_owned(),
            word("CommandState", self.state),
            self.sent_by.clone(),
            when::time(self.create_time_ms),
            when::time(self.expire_time_ms),
            self.refusal_reason.clone(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Send(args) => {
            let what = match args.what {
                What::OutOfService => {
                    send_command_request::Command::OutOfService(OutOfServiceCommand { reason: args.reason })
                }
                What::ReturnToService => {
                    send_command_request::Command::ReturnToService(ReturnToServiceCommand {})
                }
            };
            let request = SendCommandRequest {
                request_id: session.request_id(),
                machine_id: args.machine,
                command: Some(what),
                ttl_ms: args.ttl.unwrap_or_default(),
            };
            let answer = session.fleet_write(request, async |c, r| c.send_command(r).await).await?;
            output.one(&answer.command.ok_or_else(|| Failure::missing("command"))?)
        }
        Verb::List(args) => {
            let filter = ListCommandsRequest {
                machine_id: args.machine.unwrap_or_default(),
                state: args.state,
                ..ListCommandsRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListCommandsRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_commands(r).await).await?;
                Ok((page.commands, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
    }
}
