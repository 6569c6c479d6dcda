//! The command line: one verb, one file.

mod enroll;
mod journal;
mod run;
mod simulate;
mod terminal;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Parser)]
#[command(
    name = "fleet-client",
    version,
    about = "A vending machine: journal, sync agent, simulated hardware"
)]
struct Cli {
    /// What to log to stderr, e.g. `info` or `fleet_client=debug,warn`.
    #[arg(long, global = true, default_value = "warn", env = "VENDFLEET_CLIENT_LOG", value_name = "FILTER")]
    log: Targets,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Trade a claim token for this machine's identity.
    Enroll(enroll::Args),
    /// Run one machine with simulated hardware; type or pipe what people do to it.
    Run(run::Args),
    /// Look into a machine's journal while it is off.
    Journal(journal::Args),
    /// Run many machines at once, with outages, power cuts and clock jumps, from a seed.
    Simulate(simulate::Args),
}

pub(crate) fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(output).with(cli.log).init();
    match cli.verb {
        Verb::Enroll(args) => enroll::run(args),
        Verb::Run(args) => run::run(&args),
        Verb::Journal(args) => journal::run(args),
        Verb::Simulate(args) => simulate::run(&args),
    }
}

/// One thread for everything but what blocks: a machine has little to do and less memory.
fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 * 1024)
        .build()
}
