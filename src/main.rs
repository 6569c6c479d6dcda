//! `vendfleet`: the server, its demo and its tools in one binary; the one place that knows server and client.

mod cli;
mod commands;
mod demo;

use std::process::ExitCode;

use clap::Parser as _;

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
