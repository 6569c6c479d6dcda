//! `vendctl claim`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left};
use crate::output::{Output, Row, when};
use clap::{Args, Subcommand};
use vendfleet_proto::v1::{
    ClaimToken, CreateClaimTokenRequest, ListClaimTokensRequest, RevokeClaimTokenRequest,
};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Makes a claim token. It is shown once.
    Create(Create),
    /// Claim tokens, newest first; never the token itself.
    List(List),
    /// Takes an unused claim token back.
    Revoke(Revoke),
}

#[derive(Args)]
pub(crate) struct Create {
    /// The machine the device becomes; without it a new machine is made.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// The serial the device must have.
    #[arg(long, default_value = "", value_name = "TEXT")]
    serial: String,
    /// Name of the new machine.
    #[arg(long, default_value = "", value_name = "TEXT", conflicts_with = "machine")]
    name: String,
    /// Group of the new machine.
    #[arg(long, value_parser = arg::label, conflicts_with = "machine")]
    group: Option<String>,
    /// How long it can be used, up to 30d [default: a day].
    #[arg(long, value_name = "SPAN", value_parser = arg::span)]
    ttl: Option<i64>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only those bound to this machine.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this state.
    #[arg(long, default_value = "any", value_parser = arg::filter("ClaimTokenState"))]
    state: i32,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// The token's id, not the token itself.
    #[arg(value_name = "CLAIM_TOKEN_ID", value_parser = arg::id)]
    claim_token: String,
}

impl Row for ClaimToken {
    const COLUMNS: &'static [Column] = &[
        left("CLAIM TOKEN ID"),
        left("STATE"),
        left("MACHINE"),
        left("SERIAL"),
        left("MADE BY"),
        left("EXPIRES"),
        left("CREDENTIAL"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.claim_token_id.clone(),
            word("ClaimTokenState", self.state),
            self.machine_id.clone(),
            self.serial.clone(),
            self.created_by.clone(),
            when::time(self.expire_time_ms),
            self.credential_id.clone(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => {
            let request = CreateClaimTokenRequest {
                request_id: session.request_id(),
                machine_id: args.machine.unwrap_or_default(),
                serial: args.serial,
                name: args.name,
                group: args.group.unwrap_or_default(),
                ttl_ms: args.ttl.unwrap_or_default(),
            };
            let answer = session.fleet_write(request, async |c, r| c.create_claim_token(r).await).await?;
            if answer.claim_token.is_empty() {
                output.hint(
                    "this token was shown when it was made and never again: if that answer was lost, \
                     revoke it and make another",
                )?;
            }
            output.one(&answer)
        }
        Verb::List(args) => {
            let filter = ListClaimTokensRequest {
                machine_id: args.machine.unwrap_or_default(),
                state: args.state,
                ..ListClaimTokensRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListClaimTokensRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_claim_tokens(r).await).await?;
                Ok((page.claim_tokens, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
        Verb::Revoke(Revoke { claim_token: claim_token_id }) => {
            let request = RevokeClaimTokenRequest { claim_token_id };
            let answer = session.fleet(request, async |c, r| c.revoke_claim_token(r).await).await?;
            output.one(&answer.claim_token.ok_or_else(|| Failure::missing("claim_token"))?)
        }
    }
}
