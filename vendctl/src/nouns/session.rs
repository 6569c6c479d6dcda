//! `vendctl session`: who holds a machine for a remote purchase.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use clap::{ArgGroup, Args, Subcommand};
use vendfleet_proto::v1::{GetMachineSessionRequest, PoolState, ResetMachineRequest, ResetMachineResponse};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// A session with its purchase: by its id, by its purchase's, or as the present one of a machine.
    Get(Get),
    /// Ends a machine's session. A dispense command that was handed out stays in doubt: `vendctl purchase resolve`.
    Reset(Reset),
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct Get {
    /// The session's id, present or past.
    #[arg(long, group = "which", value_parser = arg::id)]
    session: Option<String>,
    /// The machine whose present session is meant.
    #[arg(long, group = "which", value_parser = arg::id)]
    machine: Option<String>,
    /// The purchase, as an alert names it.
    #[arg(long, group = "which", value_parser = arg::id)]
    purchase: Option<String>,
}

#[derive(Args)]
pub(crate) struct Reset {
    /// The machine's id.
    #[arg(long, value_parser = arg::id)]
    machine: String,
    /// The session to end, as `vendctl session get --machine` shows it: never the one after it.
    #[arg(long, value_parser = arg::id)]
    session: String,
    /// Why.
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Get(args) => {
            let request = GetMachineSessionRequest {
                machine_id: args.machine.unwrap_or_default(),
                session_id: args.session.unwrap_or_default(),
                purchase_id: args.purchase.unwrap_or_default(),
            };
            let answer = session.orchestrator(request, async |c, r| c.get_machine_session(r).await).await?;
            output.one(&answer.session.ok_or_else(|| Failure::missing("session"))?)
        }
        Verb::Reset(args) => {
            let request = ResetMachineRequest {
                request_id: session.request_id(),
                machine_id: args.machine,
                session_id: args.session,
                note: args.note,
            };
            let answer = session.orchestrator_write(request, async |c, r| c.reset_machine(r).await).await?;
            if let Some(purchase_id) = doubted(&answer) {
                output.hint(&format!(
                    "nobody knows whether the product came out: the machine stays out of the pool until it says so, \
                     or you do with `vendctl purchase resolve {purchase_id}`"
                ))?;
            }
            output.one(&answer)
        }
    }
}

/// The purchase that still keeps the machine out of the pool.
fn doubted(answer: &ResetMachineResponse) -> Option<&str> {
    let pool = answer.machine.as_ref()?.pool.as_ref()?;
    let purchase = answer.session.as_ref()?.purchase.as_ref()?;
    (pool.state() == PoolState::InDoubt).then_some(purchase.purchase_id.as_str())
}
