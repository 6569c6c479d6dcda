//! `vendfleet restore`.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use server::{config::Config, context::Context, serve};

pub(crate) fn run(config: &Config, from: Option<&Path>) -> Result<ExitCode> {
    let restored = super::runtime()?.block_on(serve::restore(config, Context::system(), from))?;
    println!("incarnation {}", restored.incarnation.0);
    if let Some(kept) = restored.kept {
        println!("the database before is kept as {}", kept.display());
    }
    Ok(ExitCode::SUCCESS)
}
