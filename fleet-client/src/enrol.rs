//! Enrolment: a claim token and a secret of the device's own become an identity.
//!
//! The order is the promise: the secret is durable before the server hears it, and the credentials are durable before
//! the enrolment is forgotten. Whatever is lost in between, [`resume`] asks again with the same token and the same
//! secret, and the server gives the same answer.

#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::credentials::{
    ClientCertificate, CredentialStore, Credentials, Endpoint, Identity, Pending, Secret, StoreError,
};
use crate::transport::{CallError, Enroll, Transport};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the caller knows of the device.
#[derive(Clone, Debug)]
pub struct About {
    /// Hardware serial; may be empty; at most 64 bytes.
    pub serial: String,
    /// Hardware model, at most 64 bytes.
    pub model: String,
    /// Firmware version, at most 64 bytes.
    pub firmware: String,
    /// Ask for a client certificate, for mutual TLS.
    pub certificate: bool,
}

/// Why a device has no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The directory holds credentials already.
    #[error("already enrolled as machine {0}")]
    AlreadyEnrolled(String),
    /// The files can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server said no, or nothing. The enrolment is remembered and can be resumed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No key or certificate request could be made.
    #[error("certificate request: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Enrols a device that has no identity yet. One that was begun with the same token is resumed.
///
/// # Errors
/// When the server refuses, can't be reached, or the files can't be used.
pub async fn enrol<T: Transport>(
    store: &CredentialStore,
    transport: &T,
    context: &Context,
    endpoint: Endpoint,
    claim_token: &str,
    about: &About,
) -> Result<Credentials, EnrolError> {
    if let Some(known) = store.credentials()?
        && store.pending()?.is_none()
    {
        return Err(EnrolError::AlreadyEnrolled(known.identity.machine_id));
    }
    begin(store, context, endpoint, claim_token, about)?;
    resume(store, transport, about).await.map(|done| done.expect("an enrolment was begun just above"))
}

/// Remembers an enrolment: makes the secret and, when wanted, the key. One with the same token stays as it is.
///
/// # Errors
/// When it is not durable.
pub fn begin(
    store: &CredentialStore,
    context: &Context,
    endpoint: Endpoint,
    claim_token: &str,
    about: &About,
) -> Result<(), EnrolError> {
    if store.pending()?.is_some_and(|p| p.claim_token == claim_token) {
        return Ok(());
    }
    let key_pem = about.certificate.then(rcgen::KeyPair::generate).transpose()?.map(|k| k.serialize_pem());
    let secret = Secret(context.random32());
    let serial = about.serial.clone();
    store.begin(&Pending { endpoint, claim_token: claim_token.to_owned(), secret, serial, key_pem })?;
    Ok(())
}

/// Carries an enrolment that was begun to its end; `None` when none was.
///
/// # Errors
/// When the server refuses or can't be reached; try again.
pub async fn resume<T: Transport>(
    store: &CredentialStore,
    transport: &T,
    about: &About,
) -> Result<Option<Credentials>, EnrolError> {
    let Some(pending) = store.pending()? else { return Ok(None) };
    let csr_der = pending.key_pem.as_deref().map(request).transpose()?.unwrap_or_default();
    let answer = transport
        .enroll(Enroll {
            claim_token: pending.claim_token,
            secret: pending.secret.0,
            serial: pending.serial,
            model: about.model.clone(),
            firmware: about.firmware.clone(),
            csr_der,
        })
        .await?;
    if !answer.ca_pem.is_empty() && answer.ca_pem.trim() != pending.endpoint.ca_pem.trim() {
        tracing::warn!("the server names another CA than the pinned one; the pinned one stays");
    }
    let certificate = pending
        .key_pem
        .filter(|_| !answer.certificate_der.is_empty())
        .map(|key_pem| ClientCertificate { certificate_pem: pem(&answer.certificate_der), key_pem });
    let credentials = Credentials {
        endpoint: pending.endpoint,
        identity: Identity {
            machine_id: answer.machine_id,
            credential_id: answer.credential_id,
            secret: pending.secret,
            certificate,
        },
    };
    store.finish(&credentials)?;
    tracing::info!(machine_id = credentials.identity.machine_id, "enrolled");
    Ok(Some(credentials))
}

/// A PKCS#10 request for this key. Its subject is ignored by the server, which knows who is asking.
fn request(key_pem: &str) -> Result<Vec<u8>, rcgen::Error> {
    let key = rcgen::KeyPair::from_pem(key_pem)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "vendfleet machine");
    Ok(params.serialize_request(&key)?.der().to_vec())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    // 64 characters a line: RFC 7468.
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
