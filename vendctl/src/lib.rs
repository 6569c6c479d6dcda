//! The operator's command line of Vendfleet, as a library that the binary and tests drive: [`run`].
//!
//! It is a plain client of the public API: whatever it does, `grpcurl` and any generated client can do. It keeps no
//! state, and every write carries one request id per invocation, reused over its own bounded retries, so that a lost
//! reply is not a second write.
//!
//! - People get tables and times in UTC; `--json` gives programs the contract's own JSON: field names as in the `.proto`
//!   files, integers as integers, money in minor units. A list is one object per line, anything else one object.
//! - How it ended is the [`Exit`], the same for every command.
//!
//! To add a command: one file under `nouns/` with its arguments and `run`, one variant in `cli.rs`.

mod arg;
mod call;
mod cli;
mod connect;
mod context;
mod exit;
mod failure;
mod nouns;
mod output;
mod settings;
mod update;

pub use context::{Context, Variables};
pub use exit::Exit;
pub use output::money;

use std::ffi::OsString;
use std::io::Write;

/// Runs one command line, the program's name included, and writes what it has to say to `out` and `err`.
///
/// What a command gives goes to `out`; hints and errors go to `err`. With `--json` an error is one JSON object on `err`.
pub async fn run<Argument: Into<OsString> + Clone>(
    context: &Context,
    arguments: impl IntoIterator<Item = Argument>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let exit = match cli::parse(arguments) {
        Ok(cli) => {
            let json = cli.global.json;
            match cli.run(context, out, err).await {
                Ok(()) => Exit::Ok,
                Err(failure) => failure.report(json, err),
            }
        }
        Err(error) => cli::explain(&error, out, err),
    };
    // What a closed pipe did not want is nobody's loss; anything else that can't be written is said so by the exit.
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
        _ => exit,
    }
}
