//! The agent's hands: waits, calls, and carries out the steps of an answer in order.

use super::plan::{FACT_INCARNATION, Limits, Next, Plan, Step};
use super::watch::{self, Seen};
use super::{Agent, AgentError, Marks, backoff::Backoff, config};
use crate::credentials::Credentials;
use crate::enrol::{self, EnrolError};
use crate::journal::{Batch, EpochCursor, Journal, JournalError};
use crate::transport::{CallError, FailureKind, SyncAnswer, SyncCall, Transport};
use crate::unit::Message;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vend_core::machine::Input;

/// Hints waiting to be looked at: they say all the same, so one is enough.
const HINTS_QUEUED: usize = 1;

type Answered = (EpochCursor, Result<SyncAnswer, CallError>);
type InFlight = Pin<Box<dyn Future<Output = Result<Option<Answered>, AgentError>> + Send>>;

impl<T: Transport> Agent<T> {
    /// Runs until the device ends or the journal must be opened again. Finishes an enrolment that was begun first.
    ///
    /// # Errors
    /// See [`AgentError`]; a failing server or network is none.
    pub async fn run(mut self) -> Result<(), AgentError> {
        let mut credentials = self.who_am_i().await?;
        loop {
            self.transport.speak_as(&credentials.endpoint, &credentials.identity)?;
            let machine_id = credentials.identity.machine_id.clone();
            self.status.send_modify(|s| s.machine_id = machine_id);
            let token = self.speak().await?;
            credentials = self.enrol_anew(&credentials, &token).await?;
        }
    }

    /// The identity this machine has, or gets by finishing the enrolment that was begun.
    async fn who_am_i(&self) -> Result<Credentials, AgentError> {
        let mut backoff = Backoff::new(self.limits.backoff);
        loop {
            match enrol::resume(&self.store, self.transport.as_ref(), &self.about).await {
                Ok(Some(credentials)) => return Ok(credentials),
                Ok(None) => return self.store.credentials()?.ok_or(AgentError::NotEnrolled),
                Err(EnrolError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    if let (Some(known), EnrolError::Call(call)) = (self.store.credentials()?, &error)
                        && call.kind != FailureKind::Later
                    {
                        tracing::error!(%error, "the server does not enrol this machine anew; it stays who it was");
                        self.store.abandon()?;
                        return Ok(known);
                    }
                    let ms = backoff.failed(|max| self.context.up_to(max));
                    tracing::warn!(%error, retry_in_ms = ms, "not enrolled yet");
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
            }
        }
    }

    async fn enrol_anew(&self, now: &Credentials, token: &str) -> Result<Credentials, AgentError> {
        tracing::warn!(machine_id = now.identity.machine_id, "the server asks to enrol anew");
        let about = enrol::About { certificate: now.identity.certificate.is_some(), ..self.about.clone() };
        match enrol::begin(&self.store, &self.context, now.endpoint.clone(), token, &about) {
            Ok(()) => self.who_am_i().await,
            Err(EnrolError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "no new enrolment could be begun");
                Ok(now.clone())
            }
        }
    }

    /// Speaks as one identity until the server asks for another; gives the claim token for it.
    async fn speak(&mut self) -> Result<String, AgentError> {
        let mut plan = Plan::new(self.limits);
        let (hints, mut hinted) = mpsc::channel(HINTS_QUEUED);
        let watcher = watch::Watcher {
            context: self.context.clone(),
            transport: self.transport.clone(),
            snapshot: self.snapshot.clone(),
            hints,
        };
        let _watching = watch::Guard(tokio::spawn(watcher.run()));
        let mut in_flight: Option<InFlight> = None;
        let mut seen_seq = self.snapshot.borrow_and_update().position();
        loop {
            let now_ms = self.context.uptime_ms();
            let wait = match plan.next(now_ms) {
                Next::Sync => {
                    plan.started();
                    self.status.send_modify(|s| s.started += 1);
                    in_flight = Some(Box::pin(self.call(&plan)));
                    None
                }
                Next::WaitUntil(at) => Some(Duration::from_millis(at.saturating_sub(now_ms))),
                Next::InFlight | Next::Stopped => None,
            };
            tokio::select! {
                outcome = async { match &mut in_flight { Some(call) => call.await, None => pending().await } } => {
                    in_flight = None;
                    if let Some(token) = self.settle(&mut plan, outcome?).await? {
                        return Ok(token);
                    }
                }
                () = async { match wait { Some(d) => tokio::time::sleep(d).await, None => pending().await } } => {}
                changed = self.snapshot.changed() => {
                    changed.map_err(|_| AgentError::DeviceGone)?;
                    let position = self.snapshot.borrow_and_update().position();
                    if position != seen_seq {
                        seen_seq = position;
                        plan.wrote(self.context.uptime_ms());
                    }
                }
                Some(()) = self.asked.recv() => plan.asked(self.context.uptime_ms()),
                Some(seen) = hinted.recv() => match seen {
                    Seen::Waiting => plan.hinted(self.context.uptime_ms()),
                    Seen::Open(open) => self.status.send_modify(|s| s.watching = open),
                },
            }
        }
    }

    /// Reads a batch and sends it. Owns all it needs, so that the agent can listen meanwhile.
    fn call(
        &self,
        plan: &Plan,
    ) -> impl Future<Output = Result<Option<Answered>, AgentError>> + Send + use<T> {
        let plan = plan.clone();
        let journal = self.journal.clone();
        let transport = Arc::clone(&self.transport);
        let context = self.context.clone();
        let firmware = self.about.firmware.clone();
        let snapshot = self.snapshot.clone();
        let limits = self.limits;
        async move {
            // The state is taken before the batch: it then never claims more than the records bear out.
            let state = snapshot.borrow().clone();
            let read = blocking(move || journal.with(|j| gather(j, &plan, limits))).await?;
            let Some(Gathered { batch, verdicts_seen_through, server_incarnation }) = read else {
                return Ok(None);
            };
            let cursor = batch.cursor;
            let call = SyncCall {
                epoch: cursor.epoch,
                oldest_seq: cursor.oldest_seq,
                last_seq: cursor.last_seq,
                accepted_through: cursor.accepted_through,
                first_seq: batch.first_seq,
                previous_hash: batch.previous_hash,
                records: batch.records,
                parent: cursor.parent,
                verdicts_seen_through,
                server_incarnation,
                now: context.stamp(),
                state: (state.epoch == cursor.epoch).then(|| state.reported()),
                firmware,
            };
            Ok(Some((cursor, transport.sync(call).await)))
        }
    }

    /// What a call's end asks for. Gives a claim token when the machine must enrol anew.
    async fn settle(
        &mut self,
        plan: &mut Plan,
        outcome: Option<Answered>,
    ) -> Result<Option<String>, AgentError> {
        let now_ms = self.context.uptime_ms();
        let Some((sent, outcome)) = outcome else {
            let error = CallError::local(FailureKind::Later, "NO_EPOCH", "the journal has no epoch yet");
            plan.failed(now_ms, &error, |max| self.context.up_to(max));
            self.status.send_modify(|s| {
                s.failed += 1;
                s.last_error = Some(error);
            });
            return Ok(None);
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                plan.failed(now_ms, &error, |max| self.context.up_to(max));
                self.failed(error).await?;
                return Ok(None);
            }
        };
        for number in &answer.unreadable_commands {
            tracing::error!(number, "a command this firmware can't read; it is left to expire");
        }
        let marks = Marks {
            epoch: answer.epoch,
            accepted_through: answer.accepted_through,
            durable_through: answer.durable_through,
        };
        let (standing, incarnation) = (answer.standing, answer.server_incarnation.clone());
        let current = self.snapshot.borrow().epoch;
        let steps = plan.answered(now_ms, answer, &sent, current);
        self.tell(Message::input(Input::ServerContact)).await?;
        let mut token = None;
        for step in steps {
            token = self.take(step).await?.or(token);
        }
        // Told last: who sees these marks finds them in the journal too.
        self.status.send_modify(|s| {
            s.answered += 1;
            s.last_error = None;
            s.marks = Some(marks);
            s.all_accepted = sent.current && marks.accepted_through >= sent.last_seq;
            s.standing = standing;
            s.server_incarnation = incarnation;
        });
        Ok(token)
    }

    async fn take(&mut self, step: Step) -> Result<Option<String>, AgentError> {
        match step {
            Step::LearnClock(server_time_ms) => self.context.learn_wall_clock(server_time_ms),
            Step::Store(acknowledgement) => {
                let journal = self.journal.clone();
                match blocking(move || journal.with(|j| j.acknowledge(&acknowledgement))).await {
                    Err(AgentError::Journal(JournalError::Full(why))) => {
                        tracing::error!(
                            why,
                            "the server's answer could not be stored; it will be asked again"
                        );
                    }
                    other => other?,
                }
            }
            Step::OpenEpoch(order) => self.tell(Message::OpenEpoch(order)).await?,
            Step::Offer(offered) => match config::read(&offered) {
                Ok(assignment) => self.tell(Message::input(Input::ConfigOffered(assignment))).await?,
                Err(error) => {
                    tracing::error!(number = offered.number, %error, "an offered config is refused unread");
                    self.status.send_modify(|s| s.configs_refused += 1);
                }
            },
            Step::Command(command) => self.tell(Message::input(Input::Command(command))).await?,
            Step::Reenrol(token) => return Ok(Some(token)),
        }
        Ok(None)
    }

    async fn failed(&mut self, error: CallError) -> Result<(), AgentError> {
        let kind = error.kind;
        self.status.send_modify(|s| {
            s.failed += 1;
            s.last_error = Some(error);
        });
        match kind {
            FailureKind::Later => self.tell(Message::input(Input::ServerLost)).await,
            FailureKind::Invalid => {
                // Either the journal is damaged, which reading it through shows, or this is a bug on one side.
                let journal = self.journal.clone();
                let limits = self.limits;
                blocking(move || verify(&journal, limits)).await
            }
            FailureKind::Revoked | FailureKind::Unauthenticated | FailureKind::Refused => Ok(()),
        }
    }

    async fn tell(&self, message: Message) -> Result<(), AgentError> {
        self.inbox.send(message).await.map_err(|_| AgentError::DeviceGone)
    }
}

struct Gathered {
    batch: Batch,
    verdicts_seen_through: u64,
    server_incarnation: String,
}

fn gather(journal: &mut dyn Journal, plan: &Plan, limits: Limits) -> Result<Option<Gathered>, JournalError> {
    let Some(cursor) = journal.cursor()? else { return Ok(None) };
    let from = plan.batch_start(&cursor);
    let batch = journal.batch(cursor.epoch, from, limits.batch_records, limits.batch_bytes)?;
    let verdicts_seen_through = journal.verdicts_seen_through()?;
    let incarnation = journal.fact(FACT_INCARNATION)?.unwrap_or_default();
    let server_incarnation = String::from_utf8(incarnation).unwrap_or_default();
    Ok(Some(Gathered { batch, verdicts_seen_through, server_incarnation }))
}

/// Reads the epoch in hand from its oldest record to its last; reading checks the chain.
fn verify(journal: &crate::device::SharedJournal, limits: Limits) -> Result<(), JournalError> {
    let Some(cursor) = journal.with(|j| j.cursor())? else { return Ok(()) };
    let mut from = cursor.oldest_seq;
    while from <= cursor.last_seq {
        let batch =
            journal.with(|j| j.batch(cursor.epoch, from, limits.batch_records, limits.batch_bytes))?;
        match batch.records.last() {
            Some(last) => from = last.seq.saturating_add(1),
            None => break,
        }
    }
    Ok(())
}

async fn blocking<A, E>(call: impl FnOnce() -> Result<A, E> + Send + 'static) -> Result<A, AgentError>
where
    A: Send + 'static,
    E: Send + 'static,
    AgentError: From<E>,
{
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => Ok(outcome?),
        // The runtime is going down, or the call panicked: either way this agent is at its end.
        Err(_) => Err(AgentError::DeviceGone),
    }
}
