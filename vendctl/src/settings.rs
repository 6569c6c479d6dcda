//! Where the server is and who calls: flags, then the environment, then the profile file, then defaults.

use crate::cli::Global;
use crate::context::Context;
use crate::failure::Failure;
use serde::Deserialize;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;

/// Where `vendfleet serve` listens unless told otherwise.
pub(crate) const DEFAULT_SERVER: &str = "https://localhost:7443";

/// What `~/.config/vendctl/config.toml` may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: Option<String>,
    ca: Option<PathBuf>,
    tls_name: Option<String>,
    token_file: Option<PathBuf>,
}

/// Where the server is and who calls.
pub(crate) struct Settings {
    pub(crate) server: Uri,
    pub(crate) ca_pem: Option<Vec<u8>>,
    pub(crate) tls_name: Option<String>,
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: u32,
}

impl Settings {
    pub(crate) fn new(global: &Global, context: &Context) -> Result<Self, Failure> {
        let variables = context.variables();
        let profile = Profile::read(variables.config.as_deref())?;
        let server = global
            .server
            .as_deref()
            .or(variables.server.as_deref())
            .or(profile.server.as_deref())
            .unwrap_or(DEFAULT_SERVER);
        let ca = global.ca.as_deref().or(variables.ca.as_deref()).or(profile.ca.as_deref());
        let token = match (&global.token, &global.token_file, &variables.token, &profile.token_file) {
            (Some(token), ..) => Some(token.clone()),
            (None, Some(path), ..) => Some(read(path, "--token-file")?),
            (None, None, Some(token), _) => Some(token.clone()),
            (None, None, None, Some(path)) => Some(read(path, "token_file of the profile")?),
            (None, None, None, None) => None,
        };
        let server = server_uri(server)?;
        let authorization = token.as_deref().map(authorization).transpose()?;
        if authorization.is_some() && !is_safe_for_tokens(&server) {
            return Err(Failure::usage(format!(
                "--server: {server} is neither https nor this host: a token would cross the network readable"
            )));
        }
        Ok(Self {
            server,
            ca_pem: ca.map(ca_pem).transpose()?,
            tls_name: global.tls_name.clone().or(profile.tls_name),
            authorization,
            timeout: Duration::from_secs(global.timeout.into()),
            attempts: global.attempts,
        })
    }
}

impl Profile {
    /// A file that isn't there says nothing.
    fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::usage(format!("{}: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }
}

fn read(path: &Path, what: &str) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{what}: {} can't be read: {error}", path.display())))
}

/// A file without a certificate would trust nobody, and the handshake's error would not say why.
fn ca_pem(path: &Path) -> Result<Vec<u8>, Failure> {
    let pem = read(path, "--ca")?;
    if pem.contains("-----BEGIN CERTIFICATE-----") {
        Ok(pem.into_bytes())
    } else {
        Err(Failure::usage(format!("--ca: {} holds no PEM certificate", path.display())))
    }
}

/// `host:port` means https.
fn server_uri(text: &str) -> Result<Uri, Failure> {
    let bad = |rule: &str| Failure::usage(format!("--server: \"{text}\" {rule}"));
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|_| bad("is no address: https://HOST:PORT is"))?;
    match uri.scheme_str() {
        Some("https" | "http") => {}
        _ => return Err(bad("must begin with https:// or http://")),
    }
    match uri.path_and_query().map(tonic::codegen::http::uri::PathAndQuery::as_str) {
        None | Some("" | "/") => Ok(uri),
        Some(_) => Err(bad("must end after the port: https://HOST:PORT")),
    }
}

fn is_safe_for_tokens(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    server.scheme_str() == Some("https")
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorization(token: &str) -> Result<MetadataValue<Ascii>, Failure> {
    let token = token.trim();
    if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(Failure::usage(
            "token: must be printable ASCII on one line, as `vendfleet token` prints it",
        ));
    }
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().expect("printable ASCII makes a header value");
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
