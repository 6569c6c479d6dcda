//! Certificates: the development CA, the server's own certificate, machines' certificates, and taking connections.

mod ca;
mod identity;
mod listener;
mod reload;
#[cfg(test)]
mod tests;

pub use ca::{Authority, CertificateInfo, RENEW_BEFORE_DAYS, SERVER_DAYS};
pub use identity::certificate_identity;
pub use listener::{Accepted, ConnectionCaps, Listener, PeerInfo, Stream};
pub use reload::{ServerTls, watch_files};

use std::path::PathBuf;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or written.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::DataDirError),
    /// A file can't be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("{path}: {rule}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it must be, and why it is not.
        rule: String,
    },
    /// A certificate can't be made.
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// rustls refused certificate, key or CA.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// A machine's request is unreadable.
    #[error("csr_der: must be a signed PKCS#10 request, DER, at most {max} bytes: {cause}")]
    BadRequest {
        /// Most bytes.
        max: usize,
        /// What is wrong.
        cause: String,
    },
}
