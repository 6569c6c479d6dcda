//! One cabinet: its plug, its cable, its directory, and the unit that runs while there is power.

use super::copy;
use super::{Blueprint, CutPoint};
use crate::context::Context;
use crate::credentials::{CredentialStore, StoreError};
use crate::device::{Device, DeviceError, Event, Parts, Power};
use crate::enrol::{self, About, EnrolError};
use crate::hardware::sim::{SimHardware, SimTerminal, Witness};
use crate::journal::JournalError;
use crate::open_journal;
use crate::transport::CallError;
use crate::transport::grpc::GrpcTransport;
use crate::transport::line::Line;
use crate::unit::{Snapshot, Unit, UnitError, Uplink};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vend_core::config::Assignment;
use vend_core::machine::Input;

/// Why a simulated machine did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// It is switched off.
    #[error("machine {0} is off")]
    Off(String),
    /// The power was cut while it did.
    #[error("the power was cut")]
    PowerCut,
    /// Its unit ended.
    #[error(transparent)]
    Unit(UnitError),
    /// Its journal could not be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It could not be enrolled.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The fleet has no server.
    #[error("the blueprint names no server")]
    NoServer,
    /// The server can't be spoken to with what the blueprint says.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its directory could not be copied or changed.
    #[error("directory: {0}")]
    Directory(#[from] io::Error),
    /// It did not settle in time; the text says what was open.
    #[error("not settled in time: {0}")]
    NotSettled(String),
    /// A part of it panicked: a bug.
    #[error("a task panicked")]
    Panicked,
}

impl From<StoreError> for SimError {
    fn from(error: StoreError) -> Self {
        Self::Enrol(EnrolError::Store(error))
    }
}

/// One simulated machine. See [the module](super) for what can be done to it.
pub struct SimMachine {
    name: String,
    dir: PathBuf,
    seed: u64,
    rng: ChaCha8Rng,
    blueprint: Arc<Blueprint>,
    line: Line,
    power: Power,
    witness: Witness,
    context: Context,
    boots: u32,
    unit: Option<Unit>,
}

impl SimMachine {
    /// A cabinet, switched off. The directory is made when needed; one from an earlier run is taken up where it was.
    #[must_use]
    pub fn new(name: &str, dir: &Path, seed: u64, blueprint: Arc<Blueprint>) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
            blueprint,
            line: Line::default(),
            power: Power::steady(),
            witness: Witness::default(),
            context: Context::system(),
            boots: 0,
            unit: None,
        }
    }

    /// The simulator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives it an identity, unless it has one.
    ///
    /// # Errors
    /// When the server refuses or can't be reached.
    pub async fn enrol(&self, claim_token: &str) -> Result<(), SimError> {
        if self.store().credentials()?.is_some() {
            return Ok(());
        }
        let endpoint = self.blueprint.endpoint.clone().ok_or(SimError::NoServer)?;
        let transport = GrpcTransport::new(self.context.clone(), &endpoint, self.line.clone())?;
        enrol::enrol(&self.store(), &transport, &self.context, endpoint, claim_token, &self.about()).await?;
        Ok(())
    }

    /// Whether it has an identity.
    ///
    /// # Errors
    /// When its files can't be read.
    pub fn is_enrolled(&self) -> Result<bool, SimError> {
        Ok(self.store().credentials()?.is_some())
    }

    /// Boots it: a new boot id, the journal opened, the agent started when it is enrolled. One that is on stays on.
    ///
    /// # Errors
    /// When the journal can't be opened, or the cut comes during the boot.
    pub async fn power_on(&mut self) -> Result<(), SimError> {
        if self.unit.is_some() {
            return Ok(());
        }
        self.context = Context::system();
        self.boots += 1;
        let (dir, options, context) =
            (self.dir.clone(), self.blueprint.journal.clone(), self.context.clone());
        let opened = tokio::task::spawn_blocking(move || open_journal(&dir, &options, &context));
        let journal = opened.await.map_err(|_| SimError::Panicked)??;
        let line = self.line.clone();
        let behaviour = self.blueprint.behaviour;
        // Not the same luck after each boot.
        let luck = self.seed.wrapping_mul(31).wrapping_add(u64::from(self.boots));
        let parts = Parts {
            context: self.context.clone(),
            journal,
            hardware: Box::new(SimHardware::new(behaviour, luck, self.witness.clone())),
            terminal: Box::new(SimTerminal::new(behaviour, luck, move || line.is_plugged())),
            firmware: self.blueprint.firmware.clone(),
            power: self.power.clone(),
        };
        let uplink = self.uplink()?;
        match Unit::start(parts, uplink, Box::new(|_| {})).await {
            Ok(unit) => self.unit = Some(unit),
            Err(UnitError::Device(DeviceError::PowerCut)) => return Err(SimError::PowerCut),
            Err(error) => return Err(SimError::Unit(error)),
        }
        Ok(())
    }

    /// Pulls the plug between two inputs. One that is off stays off.
    pub async fn power_off(&mut self) {
        if let Some(unit) = self.unit.take() {
            unit.stop().await;
        }
    }

    /// Whether its controller has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.unit.is_some()
    }

    /// The plug will be pulled when a vend next comes to this point.
    pub fn cut_power_at(&self, point: CutPoint) {
        self.power.cut_at(point);
    }

    /// The plug will be pulled before the effect after the next `effects`.
    pub fn cut_power_after(&self, effects: u32) {
        self.power.cut_after_effects(effects);
    }

    /// Takes back a cut that has not come.
    pub fn keep_power(&self) {
        self.power.keep();
    }

    /// Pulls the network cable.
    pub fn go_offline(&self) {
        self.line.pull();
    }

    /// Plugs the network cable in, and asks for a Sync.
    pub fn go_online(&self) {
        self.line.plug();
        self.sync_now();
    }

    /// Whether the cable is in.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.line.is_plugged()
    }

    /// While `true`, the server hears this machine and it does not hear the server.
    pub fn lose_answers(&self, lossy: bool) {
        self.line.lose_answers(lossy);
    }

    /// Makes the wall clock jump.
    pub fn jump_clock(&self, by_ms: i64) {
        self.context.jump_wall_clock(by_ms);
    }

    /// Asks for a Sync now, whatever the pacing says.
    pub fn sync_now(&self) {
        if let Some(unit) = &self.unit {
            unit.sync_now();
        }
    }

    /// Gives the machine an input and waits for what came of it.
    ///
    /// # Errors
    /// [`SimError::PowerCut`] when it died of it; it is off then.
    pub async fn handle(&mut self, input: Input) -> Result<Vec<Event>, SimError> {
        if let Some(events) = self.unit()?.handle(input).await {
            return Ok(events);
        }
        let Some(mut unit) = self.unit.take() else { return Err(SimError::Off(self.name.clone())) };
        let why = unit.ended().await;
        unit.stop().await;
        match why {
            UnitError::Device(DeviceError::PowerCut) => Err(SimError::PowerCut),
            other => Err(SimError::Unit(other)),
        }
    }

    /// Offers a config without any server, so that a machine that has none can sell.
    ///
    /// # Errors
    /// As [`SimMachine::handle`].
    pub async fn load_config(
        &mut self,
        number: u64,
        config: vend_core::config::Config,
    ) -> Result<Vec<Event>, SimError> {
        let (_, sha256) = vendfleet_wire::config::encode(&config);
        self.handle(Input::ConfigOffered(Assignment { number, sha256, config })).await
    }

    /// Deletes the journal and keeps the identity, as flashing the board anew does. Off and on again.
    ///
    /// # Errors
    /// When the files can't be deleted or it does not boot.
    pub async fn reflash(&mut self) -> Result<(), SimError> {
        self.power_off().await;
        copy::forget_journal(&self.dir)?;
        self.power_on().await
    }

    /// A second device with a copy of everything this one has. It is off; this one is as it was before.
    ///
    /// # Errors
    /// When the files can't be copied or this one does not boot again.
    pub async fn clone_into(&mut self, name: &str, dir: &Path, seed: u64) -> Result<Self, SimError> {
        let was_on = self.is_on();
        self.power_off().await;
        copy::copy(&self.dir, dir)?;
        if was_on {
            self.power_on().await?;
        }
        Ok(Self::new(name, dir, seed, Arc::clone(&self.blueprint)))
    }

    /// A number below `below`, by this machine's seed; 0 when there is none.
    pub(super) fn pick(&mut self, below: usize) -> usize {
        if below == 0 { 0 } else { self.rng.random_range(0..below) }
    }

    pub(super) fn unit(&self) -> Result<&Unit, SimError> {
        self.unit.as_ref().ok_or_else(|| SimError::Off(self.name.clone()))
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, SimError> {
        Ok(self.unit()?.snapshot())
    }

    pub(super) fn boots(&self) -> u32 {
        self.boots
    }

    /// Everything its mechanics did in this run.
    #[must_use]
    pub fn witness(&self) -> Witness {
        self.witness.clone()
    }

    fn store(&self) -> CredentialStore {
        CredentialStore::new(&self.dir)
    }

    fn about(&self) -> About {
        About {
            // Fleets of several runs may meet on one server under the same names.
            serial: format!("{}-{}", self.name, hex::encode(&self.context.random16()[..4])),
            model: "simulated".to_owned(),
            firmware: self.blueprint.firmware.clone(),
            certificate: self.blueprint.certificates,
        }
    }

    fn uplink(&self) -> Result<Option<Uplink<GrpcTransport>>, SimError> {
        let store = self.store();
        // A copy of a directory speaks to the server its credentials name, and so does one from an earlier run.
        let endpoint = match (store.credentials()?, store.pending()?) {
            (Some(known), _) => known.endpoint,
            (None, Some(begun)) => begun.endpoint,
            (None, None) => return Ok(None),
        };
        let transport = GrpcTransport::new(self.context.clone(), &endpoint, self.line.clone())?;
        Ok(Some(Uplink {
            transport: Arc::new(transport),
            store,
            about: self.about(),
            limits: self.blueprint.limits,
        }))
    }
}

/// Boots nothing: a device for tests and benches that want to drive one by hand, on this thread.
///
/// # Errors
/// When the journal can't be opened or does not take the boot record.
pub fn bare_device(dir: &Path, blueprint: &Blueprint, seed: u64) -> Result<(Device, Witness), SimError> {
    let context = Context::seeded(seed);
    let witness = Witness::default();
    let parts = Parts {
        journal: open_journal(dir, &blueprint.journal, &context)?,
        context,
        hardware: Box::new(SimHardware::new(blueprint.behaviour, seed, witness.clone())),
        terminal: Box::new(SimTerminal::new(blueprint.behaviour, seed, || true)),
        firmware: blueprint.firmware.clone(),
        power: Power::steady(),
    };
    let device = Device::boot(parts, &mut |_| {}).map_err(|e| SimError::Unit(e.into()))?;
    Ok((device, witness))
}
