//! Who is calling, and what they may call.

mod caller;
mod credential;

pub use caller::{Caller, MachineCaller, Person, Role, Scope, Standing};
pub use credential::{
    BoxFuture, CredentialRecord, CredentialSource, CredentialState, SECRET_BYTES, SecretKey,
};
