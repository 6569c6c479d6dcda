//! The CA of a deployment: signs the server's development certificate and the machines' certificates.

use std::{collections::BTreeSet, net::IpAddr};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::TlsError;
use crate::{context::Context, data_dir::DataDir};

const CA_PEM: &str = "tls/ca.pem";
const CA_KEY: &str = "tls/ca.key";
/// The server's development certificate, in the data directory.
pub(super) const SERVER_PEM: &str = "tls/server.pem";
/// Its key.
pub(super) const SERVER_KEY: &str = "tls/server.key";

/// Life of the CA certificate, days. Renewing it keeps its key, so what it signed stays good.
const CA_DAYS: i64 = 7_300;
/// Life of the server's certificate, days: the most that browsers take.
pub const SERVER_DAYS: i64 = 397;
/// Life of a machine's certificate, days. Nobody visits the machine to renew it; what ends it is its credential.
const MACHINE_DAYS: i64 = 3_650;
/// A certificate is renewed when it has fewer days left.
pub const RENEW_BEFORE_DAYS: i64 = 30;
/// How far back certificates start to be valid: clocks of machines are wrong by more than that, and told by Sync.
const BACKDATE: Duration = Duration::days(1);
/// Largest certificate request, bytes; the contract's bound.
const MAX_CSR_BYTES: usize = 4_096;

/// The deployment's CA.
pub struct Authority {
    context: Context,
    dir: DataDir,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// What a certificate says, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Distinguished name.
    pub subject: String,
    /// Names and addresses it is for.
    pub names: Vec<String>,
    /// First second of validity, Unix.
    pub not_before_s: i64,
    /// Last second of validity, Unix.
    pub not_after_s: i64,
}

impl Authority {
    /// Reads the CA from the data directory, making it the first time and renewing it near its end.
    pub fn open(dir: &DataDir, context: Context) -> Result<Self, TlsError> {
        let key = dir.secret(CA_KEY, || new_key().serialize_pem().into_bytes())?;
        let key = std::str::from_utf8(&key)
            .map_err(|cause| cause.to_string())
            .and_then(|text| KeyPair::from_pem(text).map_err(|cause| cause.to_string()))
            .map_err(|cause| damaged(dir, CA_KEY, &cause))?;
        let kept = match dir.read(CA_PEM)? {
            Some(bytes) => {
                let text =
                    String::from_utf8(bytes).map_err(|cause| damaged(dir, CA_PEM, &cause.to_string()))?;
                let info = inspect(&text).map_err(|cause| damaged(dir, CA_PEM, &cause))?;
                let left_s = info.not_after_s.saturating_sub(context.now_ms() / 1_000);
                (left_s > RENEW_BEFORE_DAYS * 86_400).then_some(text)
            }
            None => None,
        };
        let ca_pem = match kept {
            Some(text) => text,
            None => {
                let text = ca_params(&context)?.self_signed(&key)?.pem();
                dir.write(CA_PEM, text.as_bytes(), false)?;
                text
            }
        };
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key)?;
        Ok(Self { context, dir: dir.clone(), issuer, ca_pem })
    }

    /// The CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Makes sure that the server's certificate is there, names these, and has more than [`RENEW_BEFORE_DAYS`] left.
    /// Answers whether a new one was made.
    pub fn ensure_server(&self, sans: &[String]) -> Result<bool, TlsError> {
        let wanted = server_names(sans);
        if let (Some(pem), Some(_)) = (self.dir.read(SERVER_PEM)?, self.dir.read(SERVER_KEY)?)
            && let Ok(info) = inspect(&String::from_utf8_lossy(&pem))
        {
            let left_s = info.not_after_s.saturating_sub(self.now().unix_timestamp());
            let names: BTreeSet<_> = info.names.into_iter().collect();
            if left_s > RENEW_BEFORE_DAYS * 86_400 && wanted.is_subset(&names) && self.signed(&pem) {
                return Ok(false);
            }
        }
        self.renew_server(sans)?;
        Ok(true)
    }

    /// Makes a new server certificate and key.
    pub fn renew_server(&self, sans: &[String]) -> Result<(), TlsError> {
        let names: Vec<String> = server_names(sans).into_iter().collect();
        let key = new_key();
        let mut params = CertificateParams::new(names)?;
        self.date(&mut params, SERVER_DAYS);
        params.distinguished_name = name("vendfleet server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        // Key before certificate: whoever sees the new certificate finds its key.
        self.dir.write(SERVER_KEY, key.serialize_pem().as_bytes(), true)?;
        self.dir.write(SERVER_PEM, pem.as_bytes(), false)?;
        Ok(())
    }

    /// Signs a machine's request. Subject, names, uses and dates are ours; of the request only the public key counts,
    /// and that its signature proves the private one. Answers the certificate, DER, and when it ends, milliseconds since the
    /// Unix epoch.
    pub fn sign_machine_csr(
        &self,
        csr_der: &[u8],
        machine_id: Uuid,
        credential_id: Uuid,
    ) -> Result<(Vec<u8>, i64), TlsError> {
        let bad = |cause: String| TlsError::BadRequest { max: MAX_CSR_BYTES, cause };
        if csr_der.len() > MAX_CSR_BYTES {
            return Err(bad(format!("it has {} bytes", csr_der.len())));
        }
        let mut request = CertificateSigningRequestParams::from_der(&csr_der.into())
            .map_err(|cause| bad(cause.to_string()))?;
        let mut params = CertificateParams::default();
        self.date(&mut params, MACHINE_DAYS);
        params.distinguished_name = name(&machine_id.to_string());
        let uri = format!("urn:vendfleet:machine:{machine_id}:credential:{credential_id}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        let ends_ms = params.not_after.unix_timestamp().saturating_mul(1_000);
        request.params = params;
        Ok((request.signed_by(&self.issuer)?.der().to_vec(), ends_ms))
    }

    fn signed(&self, server_pem: &[u8]) -> bool {
        let parse = |pem: &[u8]| x509_parser::pem::parse_x509_pem(pem).ok().map(|(_, pem)| pem.contents);
        let (Some(server), Some(ca)) = (parse(server_pem), parse(self.ca_pem.as_bytes())) else {
            return false;
        };
        let Ok((_, server)) = X509Certificate::from_der(&server) else { return false };
        let Ok((_, ca)) = X509Certificate::from_der(&ca) else { return false };
        server.verify_signature(Some(ca.public_key())).is_ok()
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.context.now_ms() / 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    fn date(&self, params: &mut CertificateParams, days: i64) {
        date(params, self.now(), days, &self.context);
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// Reads the first certificate of a PEM file.
pub(super) fn inspect(pem: &str) -> Result<CertificateInfo, String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|cause| cause.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|cause| cause.to_string())?;
    let names = certificate.subject_alternative_name().map_err(|cause| cause.to_string())?;
    let names =
        names.map(|names| names.value.general_names.iter().filter_map(show).collect()).unwrap_or_default();
    Ok(CertificateInfo {
        subject: certificate.subject().to_string(),
        names,
        not_before_s: certificate.validity().not_before.timestamp(),
        not_after_s: certificate.validity().not_after.timestamp(),
    })
}

impl CertificateInfo {
    /// What the first certificate of a PEM text says.
    pub fn of_pem(pem: &str) -> Result<Self, String> {
        inspect(pem)
    }
}

fn show(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

fn server_names(sans: &[String]) -> BTreeSet<String> {
    ["localhost", "127.0.0.1", "::1"].into_iter().map(ToOwned::to_owned).chain(sans.iter().cloned()).collect()
}

fn ca_params(context: &Context) -> Result<CertificateParams, rcgen::Error> {
    let now =
        OffsetDateTime::from_unix_timestamp(context.now_ms() / 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut params = CertificateParams::new(Vec::new())?;
    date(&mut params, now, CA_DAYS, context);
    params.distinguished_name = name("vendfleet CA");
    // It signs leaves and nothing else.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn date(params: &mut CertificateParams, now: OffsetDateTime, days: i64, context: &Context) {
    params.not_before = now - BACKDATE;
    params.not_after = now + Duration::days(days);
    // 127 random bits and no sign (RFC 5280, section 4.1.2.2).
    let mut serial = context.random_bytes::<16>();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("ring makes P-256 keys")
}

fn damaged(dir: &DataDir, name: &str, cause: &str) -> TlsError {
    TlsError::Damaged { path: dir.path(name), rule: format!("must be readable PEM: {cause}") }
}
