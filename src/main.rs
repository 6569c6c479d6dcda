//! `vendfleet`: the server, its demo and its tools in one binary; the one place that knows server and client.

mod cli;
mod commands;
mod demo;

use std::process::ExitCode;

use clap::Parser as _;

/// A call allocates some hundred times on one thread and frees on another, which this allocator is made for.
/// `cargo bench -p vendfleet-tests --bench create_order` shows what the system's costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // To standard error and once: whoever starts a server must see why it does not, log or no log.
            eprintln!("vendfleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
