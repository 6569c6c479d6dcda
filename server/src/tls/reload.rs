//! The server's TLS settings, read anew when certificate files change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, ServerConfig, crypto::CryptoProvider, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    Authority, TlsError,
    ca::{SERVER_KEY, SERVER_PEM},
};
use crate::{config::TlsConfig, data_dir::DataDir};

/// What new connections are taken with. A handshake takes the settings of its moment; open connections keep theirs.
#[derive(Debug)]
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    /// Set while the certificate is the development CA's, which is renewed here.
    development: Option<(Arc<Authority>, Vec<String>)>,
    current: RwLock<(Arc<ServerConfig>, i64)>,
    seen: RwLock<[Option<SystemTime>; 3]>,
}

impl ServerTls {
    /// Reads certificate, key and client CA; makes the development certificate when none is configured.
    pub fn open(config: &TlsConfig, dir: &DataDir, authority: Arc<Authority>) -> Result<Self, TlsError> {
        let or = |configured: &str, name: &str| {
            if configured.is_empty() { dir.path(name) } else { PathBuf::from(configured) }
        };
        let development = config.cert_file.is_empty().then(|| (authority, config.sans.clone()));
        if let Some((authority, sans)) = &development {
            authority.ensure_server(sans)?;
        }
        let certificate = or(&config.cert_file, SERVER_PEM);
        let key = or(&config.key_file, SERVER_KEY);
        let client_ca = or(&config.client_ca_file, "tls/ca.pem");
        let seen = RwLock::new(modified(&[&certificate, &key, &client_ca]));
        let current = RwLock::new(read(&certificate, &key, &client_ca)?);
        Ok(Self { certificate, key, client_ca, development, current, seen })
    }

    /// The settings for the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// When the certificate in use ends, seconds since the Unix epoch.
    pub fn ends_s(&self) -> i64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Reads the files again, renewing a development certificate near its end. On an error the old settings stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        if let Some((authority, sans)) = &self.development {
            authority.ensure_server(sans)?;
        }
        let seen = modified(&[&self.certificate, &self.key, &self.client_ca]);
        let config = read(&self.certificate, &self.key, &self.client_ca)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn changed(&self) -> bool {
        let now = modified(&[&self.certificate, &self.key, &self.client_ca]);
        *self.seen.read().unwrap_or_else(PoisonError::into_inner) != now || self.due()
    }

    fn due(&self) -> bool {
        // ensure_server looks at the date itself and does nothing while it is far.
        self.development
            .as_ref()
            .is_some_and(|(authority, sans)| authority.ensure_server(sans).unwrap_or(false))
    }
}

/// Looks at the files every so often, and at once when told (SIGHUP), until cancelled.
pub async fn watch_files(tls: Arc<ServerTls>, poll: Duration, told: Arc<Notify>, stop: CancellationToken) {
    loop {
        let forced = tokio::select! {
            () = stop.cancelled() => return,
            () = told.notified() => true,
            () = tokio::time::sleep(poll) => false,
        };
        let tls = tls.clone();
        let looked = tokio::task::spawn_blocking(move || (forced || tls.changed()).then(|| tls.reload()));
        match looked.await {
            Ok(Some(Ok(()))) => tracing::info!("certificates read again"),
            Ok(Some(Err(cause))) => {
                tracing::error!(%cause, "certificates not read again; the old ones stay in use");
            }
            Ok(None) => {}
            Err(cause) => tracing::error!(%cause, "looking at the certificates failed"),
        }
    }
}

fn modified(paths: &[&PathBuf; 3]) -> [Option<SystemTime>; 3] {
    paths.map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// The settings, and when their certificate ends.
fn read(certificate: &Path, key: &Path, client_ca: &Path) -> Result<(Arc<ServerConfig>, i64), TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|cause| TlsError::Damaged {
        path: key.to_owned(),
        rule: format!("must hold a private key, PEM: {cause}"),
    })?;
    let mut roots = RootCertStore::empty();
    for root in certificates(client_ca)? {
        roots.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Asked for and not required: a machine may come with its secret instead, people come with tokens. Whether the
    // credential in a certificate still stands is the authenticator's to say: it knows within seconds, a CRL would not.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|cause| TlsError::Damaged {
            path: client_ca.to_owned(),
            rule: format!("must hold CAs: {cause}"),
        })?;
    let ends_s =
        ends_s(&chain[0]).map_err(|rule| TlsError::Damaged { path: certificate.to_owned(), rule })?;
    Ok((Arc::new(build(provider, verifier, chain, key)?), ends_s))
}

fn ends_s(der: &[u8]) -> Result<i64, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|cause| cause.to_string())?;
    Ok(certificate.validity().not_after.timestamp())
}

fn build(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(TlsError::Damaged { path: path.to_owned(), rule: "must hold a certificate, PEM".to_owned() })
        }
        Err(cause) => Err(TlsError::Damaged {
            path: path.to_owned(),
            rule: format!("must hold certificates, PEM: {cause}"),
        }),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause })
}
