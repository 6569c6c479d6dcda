//! Many machines in one process, each with its own directory, journal, connection and bad luck.
//!
//! # The API
//!
//! A [`Blueprint`] is what the machines of a fleet share: server, mechanics, bounds. A [`SimMachine`] is one cabinet with
//! its plug, its cable and its directory; it outlives the power of its controller. What can be done to it:
//!
//! | call | what happens |
//! |---|---|
//! | [`SimMachine::new`] | a cabinet, switched off; its directory may be new or from an earlier run |
//! | [`SimMachine::enrol`] | trades a claim token for an identity, unless the directory has one |
//! | [`SimMachine::power_on`], [`SimMachine::power_off`] | a boot; the plug pulled between two inputs |
//! | [`SimMachine::cut_power_at`] | the plug will be pulled at this [`CutPoint`] of the next vend |
//! | [`SimMachine::cut_power_after`] | the plug will be pulled before the effect after the next n |
//! | [`SimMachine::go_offline`], [`SimMachine::go_online`] | the network cable, below TLS |
//! | [`SimMachine::lose_answers`] | the server hears, the machine does not |
//! | [`SimMachine::buy`], [`SimMachine::restock`], [`SimMachine::handle`] | a customer, an operator, any input |
//! | [`SimMachine::reflash`] | the journal is deleted, the credentials stay |
//! | [`SimMachine::clone_into`] | a copy of the directory becomes a second device |
//! | [`SimMachine::jump_clock`] | the wall clock jumps |
//! | [`SimMachine::sync_now`], [`SimMachine::settled`] | ask for a Sync; wait until the server has everything |
//! | [`SimMachine::observe`] | state, marks and versions, as they are now |
//! | [`SimMachine::report`] | all that can be laid beside what the server says |
//!
//! A machine that dies of a cut is off: [`SimMachine::is_on`] says so, and [`SimMachine::power_on`] boots it from what its
//! journal holds. [`story::Story`] does all this by itself, from a seed, to a whole fleet.
//!
//! The mechanics are watched by a [`Witness`](crate::hardware::sim::Witness) outside the journal, so a report can say what
//! was really dispensed.

mod copy;
mod customers;
mod machine;
mod observe;
pub mod report;
pub mod story;
#[cfg(test)]
mod tests;

pub use crate::device::CutPoint;
pub use customers::{Bought, refill, sample_config};
pub use machine::{SimError, SimMachine, bare_device};
pub use observe::Observation;

use crate::agent::plan::Limits;
use crate::credentials::Endpoint;
use crate::hardware::sim::Behaviour;
use crate::journal::sqlite::Options;

/// What the machines of a fleet share.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Where the server is; `None`: the machines never sync.
    pub endpoint: Option<Endpoint>,
    /// How their mechanics behave.
    pub behaviour: Behaviour,
    /// Bounds of their agents.
    pub limits: Limits,
    /// Bounds of their journals.
    pub journal: Options,
    /// Firmware version.
    pub firmware: String,
    /// Ask for client certificates when enrolling.
    pub certificates: bool,
}

impl Default for Blueprint {
    fn default() -> Self {
        Self {
            endpoint: None,
            behaviour: Behaviour::default(),
            limits: Limits::default(),
            journal: Options::default(),
            firmware: concat!("vendfleet-sim/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificates: false,
        }
    }
}
