//! `vendfleet token`.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use server::{
    auth::{Person, Scope, Tokens},
    config::Config,
    context::Context,
    data_dir::DataDir,
};

use crate::cli::Token;

pub(crate) fn run(config: &Config, args: Token) -> Result<ExitCode> {
    let scopes = args
        .scopes
        .iter()
        .map(|name| {
            Scope::parse(name).ok_or_else(|| anyhow!("--scope {name}: the scopes are: orders.on_behalf"))
        })
        .collect::<Result<_>>()?;
    let person = Person { subject: args.subject, role: args.role.into(), scopes };
    let dir = DataDir::open(&config.server.data_dir)?;
    let tokens = Tokens::open(&config.auth, Context::system(), &dir)?;
    println!("{}", tokens.issue(&person, args.ttl)?);
    Ok(ExitCode::SUCCESS)
}
