//! Where log lines go: standard error, so that standard output stays for programs.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::LogConfig;

/// Starts logging for the whole process. Fails when the filter can't be read or logging has started already.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|cause| format!("`log.filter`: {cause}"))?;
    let pretty = match config.format.as_str() {
        "pretty" => true,
        "json" => false,
        _ => std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let done = if pretty {
        registry.with(fmt::layer().with_writer(std::io::stderr)).try_init()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(json.with_writer(std::io::stderr)).try_init()
    };
    done.map_err(|cause| format!("logging: {cause}"))
}
