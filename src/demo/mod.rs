//! `vendfleet demo`: the main job, on one machine, in under two minutes, with everything that can go wrong on the way.
//!
//! A real server (a child process, so that it can be killed), real TLS, real journals. The report is read from both ends:
//! from the devices' own journals and from the server's public API, and held against each other.

mod acts;
mod api;
mod cast;
mod child;
mod remote;
mod report;
mod stage;

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be set of the demo.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Machines in the fleet.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(8..=200))]
    pub(crate) machines: u16,
    /// Everything random follows from this.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Run on this PostgreSQL instead of embedded SQLite. The database should be empty.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Leave the server running afterwards, and say what to try next.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to put everything; a temporary directory when not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print the report as JSON on standard output, the story on standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the demo; the exit code says whether the report came out clean.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode> {
    server::serve::runtime().build()?.block_on(acts::play(args))
}
