//! `vendfleet certs`.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use server::{
    config::Config,
    context::Context,
    data_dir::DataDir,
    tls::{Authority, CertificateInfo},
};

use crate::cli::Certs;

pub(crate) fn run(config: &Config, command: Certs) -> Result<ExitCode> {
    let dir = DataDir::open(&config.server.data_dir)?;
    let context = Context::system();
    match command {
        Certs::Show => {}
        Certs::Init => {
            Authority::open(&dir, context.clone())?.ensure_server(&config.tls.sans)?;
        }
        Certs::Renew => Authority::open(&dir, context.clone())?.renew_server(&config.tls.sans)?,
        Certs::Server { sans } => {
            let all: Vec<String> = config.tls.sans.iter().cloned().chain(sans).collect();
            Authority::open(&dir, context.clone())?.renew_server(&all)?;
        }
    }
    for (what, configured, made) in [
        ("CA", &config.tls.client_ca_file, "tls/ca.pem"),
        ("server", &config.tls.cert_file, "tls/server.pem"),
    ] {
        let path = if configured.is_empty() { dir.path(made) } else { configured.into() };
        let pem = fs::read_to_string(&path)
            .with_context(|| format!("{} (`vendfleet certs init` makes it)", path.display()))?;
        let info = CertificateInfo::of_pem(&pem).map_err(|cause| anyhow!("{}: {cause}", path.display()))?;
        let days = (info.not_after_s - context.now_ms() / 1_000).div_euclid(86_400);
        println!("{what}: {}", path.display());
        println!("  subject: {}", info.subject);
        if !info.names.is_empty() {
            println!("  names: {}", info.names.join(", "));
        }
        println!("  ends in: {days} days");
    }
    Ok(ExitCode::SUCCESS)
}
