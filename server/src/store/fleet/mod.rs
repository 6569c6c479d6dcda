//! The fleet as operators see it: machines, identities, configs, what was uploaded and what needs a person.

pub mod claims;
pub mod configs;
pub mod credentials;
pub mod machines;
