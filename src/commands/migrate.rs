//! `vendfleet migrate`.

use std::process::ExitCode;

use anyhow::Result;
use server::{config::Config, context::Context, serve};

pub(crate) fn run(config: &Config) -> Result<ExitCode> {
    let version = super::runtime()?.block_on(serve::migrate(config, Context::system()))?;
    println!("schema version {version}");
    Ok(ExitCode::SUCCESS)
}
