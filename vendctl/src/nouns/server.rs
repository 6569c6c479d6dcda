//! `vendctl server`.

use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use clap::Subcommand;
use vendfleet_proto::v1::{GetServerInfoRequest, GetServerInfoResponse};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Version, incarnation, storage, time and services.
    Info,
}

pub(crate) async fn run(verb: &Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Info => output.one(&info(session).await?),
    }
}

pub(crate) async fn info(session: &Session<'_>) -> Result<GetServerInfoResponse, Failure> {
    session.fleet(GetServerInfoRequest {}, async |c, r| c.get_server_info(r).await).await
}
