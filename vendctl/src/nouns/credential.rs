//! `vendctl credential`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use clap::{Args, Subcommand};
use vendfleet_proto::v1::{Credential, ListCredentialsRequest, RevokeCredentialRequest};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Credentials, newest first.
    List(List),
    /// Ends a device's access: upload-only for a drain time, or at once with --hard.
    Revoke(Revoke),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this state.
    #[arg(long, default_value = "any", value_parser = arg::filter("CredentialState"))]
    state: i32,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// The credential's public name.
    #[arg(value_name = "CREDENTIAL", value_parser = arg::credential_id)]
    credential: String,
    /// How long it may still upload into quarantine, up to 90d [default: a week].
    #[arg(long, value_name = "SPAN", value_parser = arg::span, conflicts_with = "hard")]
    drain: Option<i64>,
    /// At once: what the device holds unsent is lost to the server.
    #[arg(long)]
    hard: bool,
    /// With --hard: the number of unsent records that the refusal UNSENT_RECORDS named.
    #[arg(long, value_name = "RECORDS", requires = "hard")]
    confirm_unsent: Option<u64>,
}

impl Row for Credential {
    const COLUMNS: &'static [Column] = &[
        left("CREDENTIAL"),
        left("MACHINE"),
        left("STATE"),
        left("SERIAL"),
        left("LAST USED"),
        left("DRAINS UNTIL"),
        right("UNSENT"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.credential_id.clone(),
            self.machine_id.clone(),
            word("CredentialState", self.state),
            self.serial.clone(),
            when::time(self.last_use_time_ms),
            when::time(self.drain_end_time_ms),
            self.unsent_records.to_string(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => {
            let filter = ListCredentialsRequest {
                machine_id: args.machine.unwrap_or_default(),
                state: args.state,
                ..ListCredentialsRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListCredentialsRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_credentials(r).await).await?;
                Ok((page.credentials, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
        Verb::Revoke(args) => {
            let request = RevokeCredentialRequest {
                credential_id: args.credential,
                drain_ms: args.drain.unwrap_or_default(),
                hard: args.hard,
                confirm_unsent: args.confirm_unsent,
            };
            let answer = session.fleet(request, async |c, r| c.revoke_credential(r).await).await?;
            output.one(&answer.credential.ok_or_else(|| Failure::missing("credential"))?)
        }
    }
}
