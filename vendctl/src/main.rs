//! `vendctl`: the operator's command line of Vendfleet.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vendctl: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let context = vendctl::Context::process();
    let (mut out, mut err) = (io::BufWriter::new(io::stdout().lock()), io::stderr().lock());
    runtime.block_on(vendctl::run(&context, std::env::args_os(), &mut out, &mut err)).into()
}
