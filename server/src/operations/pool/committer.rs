//! The group commits of the pool: what a batch of them loads, folds and writes.

use super::After;
use crate::context::Context;
use crate::domain::pool::{
    self, Answer, Command, Pick, Pooled, Refusal, Session, Settings as Rules, Start, View, Writes,
};
use crate::operations::commit::{Answers, HotWrite, is_data, refusal};
use crate::operations::deps::ContextIds;
use crate::store::pool::{self as store, Look};
use crate::store::{Engine, Store, StoreError, Tx, UniqueKey};
use std::collections::HashSet;
use std::convert::Infallible;
use uuid::Uuid;

/// In logs and messages to callers.
const STARTS: &str = "calls of StartWork";

fn low_half(id: Uuid) -> u64 {
    // The low half of a UUIDv7 is random.
    id.as_u64_pair().1
}

/// A choice goes where the others of its product go, so that a hot product is one batch after the other and nobody waits for
/// its row; anything else where its machine or purchase goes.
pub(super) fn lane_of(command: &Command) -> u64 {
    match command {
        Command::Start(start) => low_half(start.session.0),
        Command::Choose(choose) => low_half(Uuid::from_bytes(choose.product.0)),
        Command::Reset(reset) => low_half(reset.machine.0),
        Command::Resolve(resolve) => low_half(resolve.purchase.0),
        Command::Report(report) => low_half(report.purchase.0),
        Command::Free(machine, _) => low_half(machine.0),
    }
}

/// Somebody has used a request id since the batch looked: it is there at the next look.
fn again(error: StoreError) -> StoreError {
    match error {
        StoreError::Taken(UniqueKey::PoolRequest) => StoreError::Conflict(error.into()),
        error => error,
    }
}

/// What StartWork came to.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "made once per call and moved to its caller")]
pub(super) enum Granted {
    /// A session, begun now or before.
    Session {
        session: Session,
        already: bool,
        /// The machine right after; `None` for one begun before.
        pooled: Option<Pooled>,
    },
    /// Nothing was changed.
    Refused {
        refusal: Refusal,
        /// Machines that match the filter, idle or not, when none is idle.
        fitting: u64,
        /// A machine that matches was idle as far as is committed, and somebody held it just then.
        passed_by: bool,
    },
}

impl Granted {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::Refused { refusal, fitting: 0, passed_by: false }
    }

    pub(super) fn is_none_idle(&self) -> bool {
        matches!(self, Self::Refused { refusal: Refusal::NoIdleMachine, .. })
    }
}

/// StartWork: locks candidates and nothing else.
pub(super) struct StartWrite {
    pub(super) store: Store,
    pub(super) context: Context,
    pub(super) rules: Rules,
}

impl HotWrite for StartWrite {
    type Call = Start;
    type Answer = Granted;
    /// Calls with one request id are folded one after the other.
    type Key = Infallible;

    const WHAT: &'static str = STARTS;

    async fn commit_once(&self, calls: &[Start], _: bool) -> Result<Answers<Self>, StoreError> {
        Ok(self.look(calls, Look::PassBy).await?.into_iter().map(Ok).collect())
    }

    fn is_provisional(granted: &Granted) -> bool {
        matches!(granted, Granted::Refused { passed_by: true, .. })
    }

    /// The second look. What the first one gave is committed, so one that fails is the failure of those alone who were in it; a
    /// data error of one of them is that one's, as in a batch.
    async fn revise(&self, starts: &[Start], _: Answers<Self>) -> Answers<Self> {
        let mut answers = Vec::with_capacity(starts.len());
        let mut work = vec![starts];
        while let Some(part) = work.pop() {
            match self.look_patiently(part).await {
                Ok(granted) => answers.extend(granted.into_iter().map(Ok)),
                Err(error) if is_data(&error) && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    work.extend([second, first]);
                }
                Err(error) => {
                    tracing::warn!(%error, calls = part.len(), "a second look was not committed");
                    answers.extend(part.iter().map(|_| Err(refusal(&error))));
                }
            }
        }
        answers
    }
}

impl StartWrite {
    /// A lost race is tried again within the store's bound.
    async fn look_patiently(&self, starts: &[Start]) -> Result<Vec<Granted>, StoreError> {
        let mut attempt = 0;
        loop {
            let error = match self.look(starts, Look::Wait).await {
                Ok(granted) => return Ok(granted),
                Err(error) => error,
            };
            match self.store.back_off(STARTS, attempt, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }

    /// What each came to.
    async fn look(&self, starts: &[Start], look: Look) -> Result<Vec<Granted>, StoreError> {
        let mut hot = self.store.begin_hot().await?;
        let tx = hot.tx();
        let mut view = store::load_starts(tx, starts, look, self.context.now_ms()).await?;
        let mut writes = Writes::default();
        let mut ids = ContextIds(&self.context);
        let mut granted = Vec::with_capacity(starts.len());
        // When the machine is taken, not when it was asked for: the session before it has ended by then.
        let at_ms = self.context.now_ms();
        for start in starts {
            let command = Command::Start(Start { at_ms, ..start.clone() });
            granted.push(match pool::fold(&mut view, &command, &self.rules, &mut ids, &mut writes) {
                Answer::Started { session, already } => {
                    if !already {
                        view.pass_over(&start.pick, session.machine);
                    }
                    let pooled = view.pool.get(&session.machine).filter(|_| !already).cloned();
                    Granted::Session { session, already, pooled }
                }
                Answer::Refused(refusal) => Granted::refused(refusal),
                other => return Err(StoreError::Bug(format!("a start was answered with {other:?}").into())),
            });
        }
        self.explain(tx, starts, look, &view, &mut granted).await?;
        if store::is_nothing(&writes) {
            hot.roll_back().await?;
        } else {
            store::write(tx, &view, &writes).await.map_err(again)?;
            hot.commit().await?;
        }
        Ok(granted)
    }

    /// How many machines match, and whether one of them was passed by, of those for whom none is idle.
    async fn explain(
        &self,
        tx: &mut Tx,
        starts: &[Start],
        look: Look,
        view: &View,
        granted: &mut [Granted],
    ) -> Result<(), StoreError> {
        let refused = starts.iter().zip(granted.iter()).filter(|(_, granted)| granted.is_none_idle());
        let picks: HashSet<&Pick> = refused.map(|(start, _)| &start.pick).collect();
        let counts = store::fitting(tx, &picks).await?;
        let mut held = HashSet::new();
        // SQLite has one writer: nothing can have been passed by.
        if look == Look::PassBy && self.store.engine() == Engine::Postgres {
            for pick in picks {
                if store::passed_by(tx, pick, view).await? {
                    held.insert(pick);
                }
            }
        }
        for (start, granted) in starts.iter().zip(granted) {
            if let Granted::Refused { refusal: Refusal::NoIdleMachine, fitting, passed_by } = granted {
                *fitting = counts.get(&start.pick).copied().unwrap_or(0);
                *passed_by = held.contains(&start.pick);
            }
        }
        Ok(())
    }
}

/// What a command came to, with the machine right after it.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) answer: Answer,
    /// Of a choice: its session's machine.
    pub(super) pooled: Option<Pooled>,
    /// The database's clock, ms since the Unix epoch.
    pub(super) clock_ms: i64,
}

/// Every command but StartWork.
pub(super) struct ChangeWrite {
    pub(super) store: Store,
    pub(super) context: Context,
    pub(super) rules: Rules,
    pub(super) after: After,
}

impl HotWrite for ChangeWrite {
    type Call = Command;
    type Answer = Decided;
    /// Commands about one machine are folded one after the other.
    type Key = Infallible;

    const WHAT: &'static str = "commands about purchases";

    async fn commit_once(&self, calls: &[Command], _: bool) -> Result<Answers<Self>, StoreError> {
        let mut hot = self.store.begin_hot().await?;
        let tx = hot.tx();
        let mut view = store::load(tx, calls, self.context.now_ms()).await?;
        let mut writes = Writes::default();
        let mut ids = ContextIds(&self.context);
        let decided: Answers<Self> = calls
            .iter()
            .map(|command| {
                let answer = pool::fold(&mut view, command, &self.rules, &mut ids, &mut writes);
                let pooled = match command {
                    Command::Choose(choose) => {
                        view.sessions.get(&choose.session).and_then(|session| view.pool.get(&session.machine))
                    }
                    _ => None,
                };
                Ok(Decided { answer, pooled: pooled.cloned(), clock_ms: view.clock_ms })
            })
            .collect();
        if store::is_nothing(&writes) {
            hot.roll_back().await?;
        } else {
            store::write(tx, &view, &writes).await.map_err(again)?;
            hot.commit().await?;
            self.after.commit(&view, &writes);
        }
        Ok(decided)
    }
}
