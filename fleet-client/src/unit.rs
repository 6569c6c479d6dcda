//! One machine, whole: its device and, when it has a server, its sync agent, side by side on one runtime.
//!
//! The device is blocking code and runs on the runtime's blocking threads, one input at a time, in the order of its
//! inbox. It tells where it stands through a [`Snapshot`]; the agent tells through a [`SyncStatus`]. Dropping a [`Unit`]
//! is a power cut: whatever is under way ends, and what is durable is what the journal holds.

use crate::agent::plan::Limits;
use crate::agent::{Agent, AgentError, SyncStatus};
use crate::credentials::CredentialStore;
use crate::device::{Device, DeviceError, Event, Parts, SharedJournal};
use crate::enrol::About;
use crate::journal::EpochOrder;
use crate::transport::{ReportedSlot, ReportedState, Transport};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use vend_core::config::Config;
use vend_core::id::Epoch;
use vend_core::machine::{Durable, Input, State, View};

/// Messages that may wait for the device while a motor turns.
const INBOX: usize = 32;
/// Asks for a Sync that may wait; they all say the same.
const ASKS: usize = 1;
/// How often the machine is told that time has passed.
const TICK: Duration = Duration::from_secs(1);

/// Where events of the device go. Called from a blocking thread, as things happen.
pub type Observer = Box<dyn FnMut(Event) + Send>;

/// Something for the device.
pub enum Message {
    /// For the machine.
    Input(Box<Input>, Option<oneshot::Sender<Vec<Event>>>),
    /// The server's order to open a new epoch.
    OpenEpoch(EpochOrder),
}

impl Message {
    /// An input whose events nobody waits for.
    #[must_use]
    pub fn input(input: Input) -> Self {
        Self::Input(Box::new(input), None)
    }
}

/// Where a device stands after an input.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// The epoch written into.
    pub epoch: Epoch,
    /// The last record whose effect is in here.
    pub last_seq: u64,
    /// What a display would need.
    pub view: View,
    /// What the machine remembers.
    pub durable: Durable,
    /// The config in force.
    pub config: Option<Arc<Config>>,
}

impl Snapshot {
    /// `known` is the config of the snapshot before: it is big, and seldom another.
    fn of(device: &Device, known: Option<&Arc<Config>>) -> Self {
        let current = device.machine().configs().current.as_ref().map(|a| &a.config);
        let config = current.map(|current| match known {
            Some(known) if known.id == current.id => Arc::clone(known),
            _ => Arc::new(current.clone()),
        });
        Self {
            config,
            epoch: device.epoch(),
            last_seq: device.last_seq(),
            view: device.machine().view(),
            durable: device.machine().durable().clone(),
        }
    }

    pub(crate) fn position(&self) -> (Epoch, u64) {
        (self.epoch, self.last_seq)
    }

    /// As a Sync reports it.
    #[must_use]
    pub fn reported(&self) -> ReportedState {
        let slots = self.durable.slots.iter().map(|s| ReportedSlot {
            slot: s.slot,
            product: s.product,
            units: s.units,
            faulted: s.faulted,
        });
        ReportedState {
            as_of_seq: self.last_seq,
            slots: slots.collect(),
            assignment_number: self.durable.applied_number,
            config_id: self.durable.applied_config,
            rejected_number: self.durable.rejected_number,
            // Not that of the vend in hand: the server takes what is claimed here as proof that a result was written.
            commands_done_through: self.durable.commands_done_through(),
            out_of_service: self.durable.out_of_service || matches!(self.view.state, State::OutOfService(_)),
        }
    }
}

/// The server side of a unit.
pub struct Uplink<T> {
    /// The way to the server.
    pub transport: Arc<T>,
    /// Who this machine is.
    pub store: CredentialStore,
    /// What it says about itself when it must enrol anew.
    pub about: About,
    /// The agent's bounds.
    pub limits: Limits,
}

/// Why a unit ended.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The device ended.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The agent ended.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Part of it panicked: a bug.
    #[error("a task of this unit panicked")]
    Panicked,
}

/// A running machine.
pub struct Unit {
    inbox: mpsc::Sender<Message>,
    ask: mpsc::Sender<()>,
    snapshot: watch::Receiver<Snapshot>,
    status: watch::Receiver<SyncStatus>,
    journal: SharedJournal,
    tasks: JoinSet<Result<(), UnitError>>,
    /// Kept while there is no agent to hold it, so that who waits on the status waits.
    _no_agent: Option<watch::Sender<SyncStatus>>,
}

impl Unit {
    /// Boots the device, then starts it and its agent. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the device does not boot.
    pub async fn start<T: Transport>(
        parts: Parts,
        uplink: Option<Uplink<T>>,
        mut observer: Observer,
    ) -> Result<Self, UnitError> {
        let context = parts.context.clone();
        let journal = parts.journal.clone();
        let booted = tokio::task::spawn_blocking(move || {
            let device = Device::boot(parts, &mut observer)?;
            Ok::<_, DeviceError>((device, observer))
        });
        let (device, observer) = booted.await.map_err(|_| UnitError::Panicked)??;

        let (inbox, messages) = mpsc::channel(INBOX);
        let (ask, asked) = mpsc::channel(ASKS);
        let (status_told, status) = watch::channel(SyncStatus::default());
        let (told, snapshot) = watch::channel(Snapshot::of(&device, None));
        let mut tasks = JoinSet::new();
        tasks.spawn(run_device(device, observer, messages, told));
        let mut no_agent = None;
        if let Some(uplink) = uplink {
            let agent = Agent {
                context,
                journal: journal.clone(),
                transport: uplink.transport,
                store: uplink.store,
                about: uplink.about,
                limits: uplink.limits,
                inbox: inbox.clone(),
                snapshot: snapshot.clone(),
                asked,
                status: status_told,
            };
            tasks.spawn(async move { Ok(agent.run().await?) });
        } else {
            no_agent = Some(status_told);
        }
        Ok(Self { inbox, ask, snapshot, status, journal, tasks, _no_agent: no_agent })
    }

    /// Gives the machine an input and waits for what came of it; `None` when the device has ended.
    pub async fn handle(&self, input: Input) -> Option<Vec<Event>> {
        let (answer, events) = oneshot::channel();
        self.inbox.send(Message::Input(Box::new(input), Some(answer))).await.ok()?;
        events.await.ok()
    }

    /// Asks for a Sync now, whatever the pacing says.
    pub fn sync_now(&self) {
        // A full queue already holds the same wish.
        let _ = self.ask.try_send(());
    }

    /// Where the device stands.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Where the conversation with the server stands.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        self.status.borrow().clone()
    }

    /// To wait for the device to come somewhere.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// To wait for the conversation to come somewhere.
    #[must_use]
    pub fn statuses(&self) -> watch::Receiver<SyncStatus> {
        self.status.clone()
    }

    /// The journal, to be read. From a blocking thread.
    #[must_use]
    pub fn journal(&self) -> SharedJournal {
        self.journal.clone()
    }

    /// Waits for the unit to end by itself, which a machine does only when its journal must be opened again.
    pub async fn ended(&mut self) -> UnitError {
        while let Some(end) = self.tasks.join_next().await {
            match end {
                // An agent that only lost its device says nothing; the device knows why.
                Ok(Ok(()) | Err(UnitError::Agent(AgentError::DeviceGone))) => {}
                Ok(Err(error)) => return error,
                Err(_) => return UnitError::Panicked,
            }
        }
        UnitError::Agent(AgentError::DeviceGone)
    }

    /// Ends the unit and waits until its journal is closed, which takes as long as the blocking call under way. Whoever
    /// else holds the journal must let go of it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let closed = self.journal.closed();
        drop(self);
        closed.cancelled().await;
    }
}

async fn run_device(
    mut device: Device,
    mut observer: Observer,
    mut messages: mpsc::Receiver<Message>,
    told: watch::Sender<Snapshot>,
) -> Result<(), UnitError> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => message,
                None => return Ok(()),
            },
            _ = ticks.tick() => Message::input(Input::Tick),
        };
        let turn = tokio::task::spawn_blocking(move || {
            let outcome = take(&mut device, message, &mut observer);
            (device, observer, outcome)
        });
        let (back, eyes, outcome) = turn.await.map_err(|_| UnitError::Panicked)?;
        (device, observer) = (back, eyes);
        let answer = outcome?;
        let now = Snapshot::of(&device, told.borrow().config.as_ref());
        told.send_if_modified(|known| {
            let changed = *known != now;
            if changed {
                *known = now;
            }
            changed
        });
        if let Some((asked, events)) = answer {
            // Whoever asked may have gone; what happened has happened.
            let _ = asked.send(events);
        }
    }
}

type Answer = (oneshot::Sender<Vec<Event>>, Vec<Event>);

fn take(
    device: &mut Device,
    message: Message,
    observer: &mut Observer,
) -> Result<Option<Answer>, DeviceError> {
    match message {
        Message::OpenEpoch(order) => device.open_epoch(&order, observer)?,
        Message::Input(input, None) => device.handle(*input, observer)?,
        Message::Input(input, Some(asked)) => {
            let mut events = Vec::new();
            device.handle(*input, &mut |event| {
                events.push(event.clone());
                observer(event);
            })?;
            return Ok(Some((asked, events)));
        }
    }
    Ok(None)
}
