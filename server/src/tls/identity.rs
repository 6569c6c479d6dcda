//! The identity inside a machine's certificate.

use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::auth::CertificateIdentity;

/// Reads `urn:vendfleet:machine:<id>:credential:<id>` from a certificate whose chain rustls has checked.
pub fn certificate_identity(der: &[u8]) -> Option<CertificateIdentity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => parse(uri),
        _ => None,
    })
}

fn parse(uri: &str) -> Option<CertificateIdentity> {
    let (machine, credential) = uri.strip_prefix("urn:vendfleet:machine:")?.split_once(":credential:")?;
    let (machine_id, credential_id) = (Uuid::try_parse(machine).ok()?, Uuid::try_parse(credential).ok()?);
    Some(CertificateIdentity { machine_id, credential_id })
}
