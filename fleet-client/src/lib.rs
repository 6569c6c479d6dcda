//! What runs inside a vending machine: it sells without the network, loses nothing when the power goes, and tells its
//! server exactly once.
//!
//! A firmware author brings two things, [`hardware::Hardware`] for motors and coins and [`hardware::PaymentTerminal`]
//! for cards, and gets a machine. What it decides is `vend-core`'s, pure and proven there; this crate carries it out:
//!
//! | module | does |
//! |---|---|
//! | [`device`] | carries out the machine's effects in order: the commit first, then the motor |
//! | [`journal`] | remembers, on a medium that may lose power between any two writes |
//! | [`agent`] | syncs: when, what and from where is decided as values in [`agent::plan`] |
//! | [`transport`] | the three calls to the server, over TLS with a pinned CA |
//! | [`unit`] | device and agent side by side: a running machine |
//! | [`enrol`], [`credentials`] | a claim token and a secret of its own become an identity |
//! | [`hardware`] | the seams, and simulated mechanics behind them |
//! | [`simulate`] | many machines with cables, plugs and bad luck |
//! | [`context`] | the only clock and the only dice |
//!
//! It never decides what a machine does, never repeats a dispense or a payout, and never knows the server's code.
//!
//! A machine, whole. It sells from a config given by hand, because it has no server yet:
//!
//! ```
//! use fleet_client::context::Context;
//! use fleet_client::device::{Event, Parts, Power};
//! use fleet_client::hardware::{Hardware, Motor, NoTerminal};
//! use fleet_client::transport::grpc::GrpcTransport;
//! use fleet_client::{open_journal, simulate, unit::Unit};
//! use vend_core::config::Assignment;
//! use vend_core::id::TransactionId;
//! use vend_core::machine::{Display, Input, SlotUnits};
//! use vend_core::money::Purse;
//!
//! struct Board;
//!
//! impl Hardware for Board {
//!     fn dispense(&mut self, _: TransactionId, slot: u16) -> Motor {
//!         println!("turn the spiral of slot {slot}, watch the drop sensor");
//!         Motor::Success
//!     }
//!     fn pay_out(&mut self, _: TransactionId, coins: &Purse) -> Purse {
//!         coins.clone() // all of them left the tubes
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let context = Context::system();
//! let parts = Parts {
//!     journal: open_journal(dir, &Default::default(), &context)?,
//!     context,
//!     hardware: Box::new(Board),
//!     terminal: Box::new(NoTerminal),
//!     firmware: "acme-snack/1.0".into(),
//!     power: Power::steady(),
//! };
//! let machine = Unit::start::<GrpcTransport>(parts, None, Box::new(|event| println!("{event:?}"))).await?;
//! let config = simulate::sample_config(4);
//! let (_, sha256) = vendfleet_wire::config::encode(&config);
//! machine.handle(Input::ConfigOffered(Assignment { number: 1, sha256, config })).await;
//! machine.handle(Input::Refill { slots: vec![SlotUnits { slot: 2, units: 5 }], tubes: vec![] }).await;
//!
//! machine.handle(Input::Select { slot: 2 }).await;
//! machine.handle(Input::InsertMoney { denomination: 100 }).await;
//! machine.handle(Input::InsertMoney { denomination: 20 }).await;
//! let events = machine.handle(Input::InsertMoney { denomination: 20 }).await.ok_or("the device ended")?;
//! assert!(events.iter().any(|e| matches!(e, Event::Show(Display::Vended { change_minor: 0, .. }))));
//! assert_eq!(machine.snapshot().durable.counters.lifetime.vends, 1);
//! # machine.stop().await;
//! # Ok(()) }
//! ```
//!
//! With a server it has an uplink, and the config comes from there:
//!
//! ```no_run
//! use fleet_client::context::Context;
//! use fleet_client::credentials::CredentialStore;
//! use fleet_client::enrol::About;
//! use fleet_client::transport::{grpc::GrpcTransport, line::Line};
//! use fleet_client::unit::{Unit, Uplink};
//! # async fn connected(parts: fleet_client::device::Parts, context: Context) -> Result<Unit, Box<dyn std::error::Error>> {
//! let store = CredentialStore::new("/var/lib/machine".as_ref());
//! let known = store.credentials()?.ok_or("first: fleet-client enroll --dir /var/lib/machine ...")?;
//! let uplink = Uplink {
//!     transport: GrpcTransport::new(context, &known.endpoint, Line::default())?.into(),
//!     store,
//!     about: About {
//!         serial: "A-1042".into(),
//!         model: "snack-8".into(),
//!         firmware: "acme-snack/1.0".into(),
//!         certificate: false,
//!     },
//!     limits: Default::default(),
//! };
//! let machine = Unit::start(parts, Some(uplink), Box::new(|event| println!("{event:?}"))).await?;
//! # Ok(machine) }
//! ```
//!
//! **Architecture Invariant:** this crate and the server's never know each other; what they share is the contract.

pub mod agent;
pub mod context;
pub mod credentials;
pub mod device;
pub mod enrol;
pub mod hardware;
pub mod journal;
pub mod json;
pub mod simulate;
pub mod transport;
pub mod unit;

use journal::sqlite::{Options, SqliteJournal};
use std::path::Path;
use vend_core::id::Epoch;

/// Where a machine's directory keeps its journal.
pub const JOURNAL_DIR: &str = "journal";

/// The version this crate's own binary and simulator give as their firmware.
pub const FIRMWARE: &str = concat!("vendfleet/", env!("CARGO_PKG_VERSION"));

/// Opens the SQLite journal of the machine in `dir`, or makes one, in the directory `journal` below it. Blocking.
///
/// # Errors
/// When another process has it, or the medium fails.
pub fn open_journal(
    dir: &Path,
    options: &Options,
    context: &context::Context,
) -> Result<device::SharedJournal, journal::JournalError> {
    let fresh = Epoch(context.random16());
    Ok(device::SharedJournal::new(SqliteJournal::open(&dir.join(JOURNAL_DIR), options, fresh)?))
}
