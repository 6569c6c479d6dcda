//! Who this machine is and whom it trusts: two small files in the machine's directory, readable by nobody else.
//!
//! `enrolment.json` exists while an enrolment is under way. It holds the secret *before* the server is asked, so that a
//! lost reply or a power cut is retried with the same secret and gets the same answer. `credentials.json` is the
//! result. Both are written beside, synced, renamed and the directory synced: there is the old one or the new one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the server is and how it is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// `https://host:port`.
    pub url: String,
    /// The pinned CA, PEM. Nothing else is trusted.
    pub ca_pem: String,
    /// Name to expect in the server's certificate, when it is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// 32 random bytes that only this device and, keyed and hashed, the server know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

/// Who this machine is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The machine's id.
    pub machine_id: String,
    /// What the secret is called.
    pub credential_id: String,
    /// The secret.
    pub secret: Secret,
    /// For mutual TLS, when a certificate was asked for and given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ClientCertificate>,
}

/// A certificate signed by the server's CA for a key that never left this device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM.
    pub certificate_pem: String,
    /// PKCS#8, PEM.
    pub key_pem: String,
}

/// What `credentials.json` holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// Who this machine is.
    pub identity: Identity,
}

/// What `enrolment.json` holds: an enrolment that was begun.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// The claim token.
    pub claim_token: String,
    /// The secret that will be the credential.
    pub secret: Secret,
    /// Hardware serial; may be empty.
    pub serial: String,
    /// Key for the client certificate, PEM, when one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pem: Option<String>,
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
}

/// The two files of one machine's directory.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    dir: PathBuf,
}

impl CredentialStore {
    /// The files below this directory, which is made when first written to.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The credentials, when the machine is enrolled.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn credentials(&self) -> Result<Option<Credentials>, StoreError> {
        read(&self.dir.join("credentials.json"))
    }

    /// The enrolment under way, if one is.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn pending(&self) -> Result<Option<Pending>, StoreError> {
        read(&self.dir.join("enrolment.json"))
    }

    /// Remembers an enrolment before the server is asked.
    ///
    /// # Errors
    /// When it is not durable.
    pub fn begin(&self, pending: &Pending) -> Result<(), StoreError> {
        write(&self.dir, "enrolment.json", pending)
    }

    /// Stores the result, then forgets the enrolment.
    ///
    /// # Errors
    /// When the credentials are not durable; the enrolment is still remembered then.
    pub fn finish(&self, credentials: &Credentials) -> Result<(), StoreError> {
        write(&self.dir, "credentials.json", credentials)?;
        self.abandon()
    }

    /// Forgets an enrolment that will not be answered.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn abandon(&self) -> Result<(), StoreError> {
        let path = self.dir.join("enrolment.json");
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StoreError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

fn write<T: Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), StoreError> {
    let path = dir.join(name);
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| StoreError::Damaged { path: path.clone(), source })?;
    replace(dir, name, &bytes).map_err(|source| StoreError::Io { path, source })
}

/// There is the old file or the new one, whenever the power goes.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let beside = dir.join(format!(".{name}.new"));
    // A leftover of an earlier cut may have other permissions; the mode below only counts for a file made here.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}

impl Secret {
    /// As it stands in `authorization: Machine <credential_id>.<this>`.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64url())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(serde::de::Error::custom)?;
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| serde::de::Error::custom("a secret is 32 bytes, base64url"))?;
        Ok(Self(bytes))
    }
}
