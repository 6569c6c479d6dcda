//! One command, one file.

mod backup;
mod certs;
mod healthcheck;
mod migrate;
mod restore;
mod serve;
mod token;

use std::process::ExitCode;

use anyhow::Result;
use server::{
    config::{self, Config, Layers},
    context,
};

use crate::cli::{Cli, Command, ConfigArgs};

/// Runs the command that was given.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    let (args, more) = match &cli.command {
        Command::Demo(args) => return crate::demo::run(args.clone()),
        Command::Serve(serve) => {
            let named = [("server.listen", &serve.listen), ("server.http_listen", &serve.http_listen)];
            (&serve.config, named.iter().filter_map(|(key, value)| Some((*key, (*value).clone()?))).collect())
        }
        Command::Migrate { config }
        | Command::Backup { config, .. }
        | Command::Restore { config, .. }
        | Command::Certs { config, .. }
        | Command::Healthcheck { config, .. } => (config, Vec::new()),
        Command::Token(token) => (&token.config, Vec::new()),
    };
    let config = load(args, more)?;
    if args.print_config {
        print!("{}", config::print(&config));
        return Ok(ExitCode::SUCCESS);
    }
    match cli.command {
        Command::Demo(args) => crate::demo::run(args),
        Command::Serve(args) => serve::run(config, &args),
        Command::Migrate { .. } => migrate::run(&config),
        Command::Backup { to, .. } => backup::run(&config, &to),
        Command::Restore { from, .. } => restore::run(&config, from.as_deref()),
        Command::Certs { command, .. } => certs::run(&config, command),
        Command::Token(args) => token::run(&config, args),
        Command::Healthcheck { timeout_ms, .. } => healthcheck::run(&config, timeout_ms),
    }
}

fn load(args: &ConfigArgs, more: Vec<(&str, String)>) -> Result<Config> {
    let named = [("server.data_dir", &args.data_dir), ("database.url", &args.database_url)];
    let named = named.iter().filter_map(|(key, value)| Some((*key, (*value).clone()?)));
    // The flags with names of their own win over `--set`.
    let flags = args.set.iter().cloned().chain(named.chain(more).map(|(key, value)| (key.to_owned(), value)));
    let layers =
        Layers { file: args.config.clone(), environment: context::environment(), flags: flags.collect() };
    Ok(config::load(&layers)?)
}

/// The runtime of a command that talks to something.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(server::serve::runtime().build()?)
}
