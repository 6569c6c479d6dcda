//! `vendfleet backup`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use server::{config::Config, context::Context, serve};

pub(crate) fn run(config: &Config, to: &Path) -> Result<ExitCode> {
    super::runtime()?.block_on(serve::backup(config, Context::system(), to))?;
    println!("copied to {}", to.display());
    Ok(ExitCode::SUCCESS)
}
