//! `fleet-client`: a vending machine with simulated hardware, on the command line.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fleet-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}
