//! Who is calling, and what they may call.

mod authenticator;
mod caller;
pub mod calls;
mod credential;
#[cfg(test)]
mod tests;
mod token;
mod verified;

pub use authenticator::{Authenticator, CertificateIdentity};
pub use caller::{Caller, MachineCaller, Person, Role, Scope, Standing};
pub use credential::{
    BoxFuture, CredentialRecord, CredentialSource, CredentialState, MAX_CREDENTIALS_ASKED, SECRET_BYTES,
    SecretKey, USE_NOTED_EVERY_MS,
};
pub use token::{MAX_SUBJECT_BYTES, MAX_TTL_S, Tokens};
