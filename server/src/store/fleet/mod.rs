//! The fleet as operators see it: machines, identities, configs, what was uploaded and what needs a person.

pub mod branches;
pub mod chains;
pub mod claims;
pub mod configs;
pub mod credentials;
pub mod dead_letters;
pub mod judged;
pub mod machines;
pub mod records;
pub mod slots;
