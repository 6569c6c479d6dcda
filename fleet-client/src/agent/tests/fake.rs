//! A server in memory behind the transport's seam. It keeps one chain per epoch, checks every hash, and misbehaves by
//! script.

use crate::agent::plan::Limits;
use crate::context::Context;
use crate::credentials::{CredentialStore, Credentials, Endpoint, Identity, Secret};
use crate::device::{Parts, Power};
use crate::enrol::About;
use crate::hardware::sim::{Behaviour, SimHardware, SimTerminal, Witness};
use crate::journal::{EpochOrder, RawRecord, Verdict};
use crate::open_journal;
use crate::simulate::{refill, sample_config};
use crate::transport::{
    CallError, Enroll, Enrolled, FailureKind, Hint, Hints, OfferedConfig, Standing, SyncAnswer, SyncCall,
    Transport,
};
use crate::unit::{Unit, Uplink};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use vend_core::id::{BootId, Epoch};
use vend_core::machine::Input;
use vendfleet_wire::record_hash;

/// What goes wrong with one Sync.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    LoseRequest,
    LoseReply,
    /// Arrives twice, answered once.
    Twice,
    Overloaded(Duration),
    /// The server has lost all but so many records of every chain.
    Restore(usize),
}

type Look = Box<dyn Fn(&Enroll) + Send>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) chains: BTreeMap<Epoch, Vec<RawRecord>>,
    pub(crate) calls: Vec<SyncCall>,
    pub(crate) script: VecDeque<Fault>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) open_epoch: Option<EpochOrder>,
    pub(crate) reenroll: Option<String>,
    pub(crate) config: Option<OfferedConfig>,
    pub(crate) enrolments: Vec<Enroll>,
    pub(crate) lose_enrol_replies: u32,
    /// Looked at when an enrolment arrives, before it is answered.
    pub(crate) on_enroll: Option<Look>,
    pub(crate) speaking_as: Option<Identity>,
    in_flight: u32,
    pub(crate) most_in_flight: u32,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) hint: watch::Sender<u64>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), hint: watch::Sender::new(0) }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    /// The records of an epoch, by number.
    pub(crate) fn seqs(&self, epoch: Epoch) -> Vec<u64> {
        self.with(|s| s.chains.get(&epoch).map(|c| c.iter().map(|r| r.seq).collect()).unwrap_or_default())
    }
}

impl State {
    fn answer(&mut self, call: &SyncCall) -> SyncAnswer {
        let mut previous = call.previous_hash;
        for (seq, r) in (call.first_seq..).zip(&call.records) {
            assert_eq!(r.seq, seq, "contiguous from first_seq");
            assert_eq!(
                r.hash,
                record_hash(&call.epoch, seq, r.kind, r.schema, &previous, &r.body),
                "BAD_HASH"
            );
            previous = r.hash;
        }
        let chain = self.chains.entry(call.epoch).or_default();
        let held = |n: usize| u64::try_from(n).unwrap();
        let mut resend_from = None;
        if call.first_seq > held(chain.len()) + 1 {
            resend_from = Some(held(chain.len()) + 1);
        } else {
            for record in &call.records {
                match chain.iter().find(|r| r.seq == record.seq) {
                    Some(known) => assert_eq!(known.hash, record.hash, "same name, same record"),
                    None => chain.push(record.clone()),
                }
            }
            if call.accepted_through > held(chain.len()) {
                resend_from = Some(held(chain.len()) + 1);
            }
        }
        let accepted_through = held(chain.len());
        self.verdicts.retain(|v| v.number > call.verdicts_seen_through);
        let newest = call.state.is_some();
        SyncAnswer {
            epoch: call.epoch,
            accepted_through,
            durable_through: accepted_through,
            resend_from,
            verdicts: self.verdicts.clone(),
            server_incarnation: "life-1".to_owned(),
            server_time_ms: 1_800_000_000_000,
            next_sync_after_ms: 600_000,
            config: self
                .config
                .clone()
                .filter(|c| newest && call.state.as_ref().is_some_and(|s| s.assignment_number != c.number)),
            commands: Vec::new(),
            unreadable_commands: Vec::new(),
            open_epoch: self.open_epoch.take_if(|o| o.epoch == call.epoch),
            reenroll: self.reenroll.take(),
            standing: Standing::Active,
            keep_days: 30,
        }
    }
}

fn lost() -> CallError {
    CallError::local(FailureKind::Later, "UNAVAILABLE", "lost on the way")
}

impl Transport for Fake {
    type Hints = FakeHints;

    async fn enroll(&self, call: Enroll) -> Result<Enrolled, CallError> {
        self.with(|s| {
            s.enrolments.push(call.clone());
            if let Some(look) = &s.on_enroll {
                look(&call);
            }
            if s.lose_enrol_replies > 0 {
                s.lose_enrol_replies -= 1;
                return Err(lost());
            }
            Ok(Enrolled {
                machine_id: format!("machine-of-{}", call.claim_token),
                credential_id: format!("credential-of-{}", call.claim_token),
                certificate_der: Vec::new(),
                ca_pem: String::new(),
                server_time_ms: 0,
            })
        })
    }

    async fn sync(&self, call: SyncCall) -> Result<SyncAnswer, CallError> {
        self.with(|s| {
            s.in_flight += 1;
            s.most_in_flight = s.most_in_flight.max(s.in_flight);
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.with(|s| {
            s.in_flight -= 1;
            s.calls.push(call.clone());
            match s.script.pop_front().unwrap_or(Fault::None) {
                Fault::None => Ok(s.answer(&call)),
                Fault::LoseRequest => Err(lost()),
                Fault::LoseReply => {
                    s.answer(&call);
                    Err(lost())
                }
                Fault::Twice => {
                    let first = s.answer(&call);
                    let second = s.answer(&call);
                    assert_eq!(first.accepted_through, second.accepted_through, "the same answer");
                    Ok(second)
                }
                Fault::Overloaded(wait) => Err(CallError { retry_after: Some(wait), ..lost() }),
                Fault::Restore(kept) => {
                    s.chains.values_mut().for_each(|chain| chain.truncate(kept));
                    Ok(s.answer(&call))
                }
            }
        })
    }

    async fn watch(&self, _: Epoch, _: BootId) -> Result<FakeHints, CallError> {
        Ok(FakeHints(self.hint.subscribe()))
    }

    fn speak_as(&self, _: &Endpoint, identity: &Identity) -> Result<(), CallError> {
        self.with(|s| s.speaking_as = Some(identity.clone()));
        Ok(())
    }
}

pub(crate) struct FakeHints(watch::Receiver<u64>);

impl Hints for FakeHints {
    async fn next(&mut self) -> Result<Option<Hint>, CallError> {
        match self.0.changed().await {
            Ok(()) => Ok(Some(Hint { waiting: true })),
            Err(_) => Ok(None),
        }
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint { url: "https://fake".to_owned(), ca_pem: String::new(), server_name: None }
}

pub(crate) fn about() -> About {
    About {
        serial: "S-1".to_owned(),
        model: "test".to_owned(),
        firmware: "test/1".to_owned(),
        certificate: false,
    }
}

/// A machine of its own directory, talking to a fake server.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Fake,
    pub(crate) limits: Limits,
    boots: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            machine_id: "machine-0".to_owned(),
            credential_id: "credential-0".to_owned(),
            secret: Secret([7; 32]),
            certificate: None,
        };
        let credentials = Credentials { endpoint: endpoint(), identity };
        CredentialStore::new(dir.path()).finish(&credentials).unwrap();
        Self { dir, server: Fake::new(), limits: Limits::default(), boots: 0 }
    }

    pub(crate) async fn boot(&mut self) -> Unit {
        self.boots += 1;
        let context = Context::seeded(self.boots);
        let behaviour = Behaviour::default();
        let parts = Parts {
            journal: open_journal(self.dir.path(), &Default::default(), &context).unwrap(),
            context,
            hardware: Box::new(SimHardware::new(behaviour, 1, Witness::default())),
            terminal: Box::new(SimTerminal::new(behaviour, 1, || true)),
            firmware: "test/1".to_owned(),
            power: Power::steady(),
        };
        let uplink = Uplink {
            transport: Arc::new(self.server.clone()),
            store: CredentialStore::new(self.dir.path()),
            about: about(),
            limits: self.limits,
        };
        Unit::start(parts, Some(uplink), Box::new(|_| {})).await.unwrap()
    }

    /// Offers the sample config under this number from now on.
    pub(crate) fn publish(&self, number: u64) {
        let (bytes, sha256) = vendfleet_wire::config::encode(&sample_config(4));
        self.server.with(|s| s.config = Some(OfferedConfig { number, sha256: sha256.to_vec(), bytes }));
    }
}

/// Waits, in virtual time, until the unit has come to where `condition` holds.
pub(crate) async fn until(unit: &Unit, condition: impl Fn(&Unit) -> bool) {
    let (mut snapshots, mut statuses) = (unit.snapshots(), unit.statuses());
    let waiting = async {
        while !condition(unit) {
            tokio::select! {
                changed = snapshots.changed() => changed.unwrap(),
                changed = statuses.changed() => changed.unwrap(),
            }
        }
    };
    let day = Duration::from_secs(24 * 3_600);
    tokio::time::timeout(day, waiting).await.expect("comes to it within a day of virtual time");
}

/// Waits until the server has everything the machine has written.
pub(crate) async fn settled(unit: &Unit) {
    until(unit, |u| {
        let (now, status) = (u.snapshot(), u.status());
        status.all_accepted
            && status.marks.is_some_and(|m| m.epoch == now.epoch && m.accepted_through == now.last_seq)
    })
    .await;
}

/// One sale in coins; the machine is filled first when need be.
pub(crate) async fn sell(unit: &Unit) {
    until(unit, |u| u.snapshot().config.is_some()).await;
    let now = unit.snapshot();
    if now.durable.slots.iter().all(|s| s.units == 0) {
        unit.handle(refill(now.config.as_ref().unwrap(), &now.durable).unwrap()).await.unwrap();
    }
    unit.handle(Input::Select { slot: 1 }).await.unwrap();
    for denomination in [100, 20] {
        unit.handle(Input::InsertMoney { denomination }).await.unwrap();
    }
}
