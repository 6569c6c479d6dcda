//! `fleet-client enroll`.

use anyhow::Context as _;
use fleet_client::context::Context;
use fleet_client::credentials::{CredentialStore, Endpoint};
use fleet_client::enrol::{self, About};
use fleet_client::transport::grpc::GrpcTransport;
use fleet_client::transport::line::Line;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The server: `https://host:port`.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The claim token, as an operator was shown it.
    #[arg(long, env = "VENDFLEET_CLAIM_TOKEN", hide_env_values = true)]
    token: String,
    /// The CA that signs the server's certificate, PEM. Nothing else is trusted.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The machine's directory; made when it is not there.
    #[arg(long)]
    dir: PathBuf,
    /// Hardware serial, at most 64 bytes.
    #[arg(long, default_value = "")]
    serial: String,
    /// Hardware model, at most 64 bytes.
    #[arg(long, default_value = "simulated")]
    model: String,
    /// Name to expect in the server's certificate, when it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Also ask for a client certificate, for mutual TLS.
    #[arg(long)]
    mtls: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let ca_pem = std::fs::read_to_string(&args.ca).with_context(|| format!("--ca {}", args.ca.display()))?;
    let endpoint = Endpoint { url: args.server, ca_pem, server_name: args.server_name };
    let about = About {
        serial: args.serial,
        model: args.model,
        firmware: fleet_client::FIRMWARE.to_owned(),
        certificate: args.mtls,
    };
    let store = CredentialStore::new(&args.dir);
    let runtime = super::small_runtime()?;
    let credentials = runtime.block_on(async {
        let context = Context::system();
        let transport = GrpcTransport::new(context.clone(), &endpoint, Line::default())?;
        enrol::enrol(&store, &transport, &context, endpoint, &args.token, &about).await
    })?;
    println!("machine_id     {}", credentials.identity.machine_id);
    println!("credential_id  {}", credentials.identity.credential_id);
    println!("certificate    {}", if credentials.identity.certificate.is_some() { "yes" } else { "no" });
    println!("next           fleet-client run --dir {}", args.dir.display());
    Ok(ExitCode::SUCCESS)
}
