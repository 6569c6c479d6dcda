//! placeholder
pub mod agent;
pub mod context;
pub mod credentials;
pub mod device;
pub mod enrol;
pub mod hardware;
pub mod journal;
pub mod transport;
pub mod unit;
