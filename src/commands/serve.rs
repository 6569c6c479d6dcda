//! `vendfleet serve`.

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use server::{
    config::{Config, redact, stray_variables},
    context::{Context, environment},
    serve::{self, Running},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Serve;

/// What a program that starts the server needs to know. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Ready {
    grpc_addr: String,
    http_addr: String,
    tls: bool,
    /// CA to trust, when the certificate is the development CA's.
    ca_file: Option<String>,
    pid: u32,
}

pub(crate) fn run(config: Config, args: &Serve) -> Result<ExitCode> {
    telemetry::init(&config.log).map_err(|cause| anyhow!(cause))?;
    for name in stray_variables(&environment()) {
        tracing::warn!(name, "is no setting, and ignored: those are named VENDFLEET_<SECTION>__<KEY>");
    }
    super::runtime()?.block_on(serve(config, args))
}

async fn serve(config: Config, args: &Serve) -> Result<ExitCode> {
    // Before anything is started: a signal that comes early must not be lost to the default of ending at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let running = serve::start(config.clone(), Context::system()).await?;
    announce(&config, &running, args.ready_file.as_deref())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload.notify_one(),
        }
    }
    tracing::info!(drain_ms = config.server.drain_ms, "draining; a second signal ends at once");
    tokio::select! {
        in_time = running.stop() => {
            tracing::info!(in_time, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
    }
}

fn announce(config: &Config, running: &Running, ready_file: Option<&Path>) -> Result<()> {
    let ready = Ready {
        grpc_addr: running.grpc_address.to_string(),
        http_addr: running.http_address.to_string(),
        tls: config.tls.enabled,
        ca_file: running.ca_file.as_ref().map(|path| path.display().to_string()),
        pid: std::process::id(),
    };
    let line = serde_json::to_string(&ready)?;
    let mut out = std::io::stdout().lock();
    // Whoever started the server may have closed the pipe; that is no reason to end.
    let _ = writeln!(out, "{line}\n{}", invitation(config, running)).and_then(|()| out.flush());
    if let Some(path) = ready_file {
        // Whole or not at all: a reader that sees the file sees all of it.
        let temporary = path.with_extension("new");
        fs::write(&temporary, line)
            .and_then(|()| fs::rename(&temporary, path))
            .with_context(|| format!("--ready-file {}", path.display()))?;
    }
    tracing::info!(
        grpc = ready.grpc_addr,
        http = ready.http_addr,
        tls = ready.tls,
        database = if config.database.url.is_empty() {
            "embedded SQLite".to_owned()
        } else {
            redact(&config.database.url)
        },
        "serving"
    );
    Ok(())
}

/// What a person can paste next.
fn invitation(config: &Config, running: &Running) -> String {
    let dir = &config.server.data_dir;
    let token = if dir == "vendfleet-data" {
        "vendfleet token --role operator --subject me".to_owned()
    } else {
        format!("vendfleet token --data-dir {} --role operator --subject me", quoted(dir))
    };
    let trust = match (&running.ca_file, config.tls.enabled) {
        (Some(ca), _) => format!("-cacert {} ", quoted(&ca.display().to_string())),
        (None, true) => String::new(),
        (None, false) => "-plaintext ".to_owned(),
    };
    let host = if running.grpc_address.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        running.grpc_address.ip().to_string()
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = running.grpc_address.port();
    format!(
        "\nVendfleet is up. Try, as an operator for the next 12 hours:\n\n  TOKEN=$({token})\n  grpcurl {trust}-H \
         \"authorization: Bearer $TOKEN\" {host}:{port} vendfleet.v1.CatalogService/ListProducts\n\nHealth: \
         http://{http}/healthz   Metrics: http://{http}/metrics\n",
        http = running.http_address
    )
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
