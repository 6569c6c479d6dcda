//! Callers that wait for a machine: first come first served within a replica, up to a bound.
//!
//! While anybody waits, whoever comes stands behind them, also who would not wait, and who comes when as many wait as may:
//! these are looked for once, in their turn, and leave. So nobody is told that no machine is idle without a look, and nobody
//! overtakes. One task serves the queue in rounds: it asks for those in front first, in growing groups, and leaves out
//! everybody whose filter somebody before them has just found nothing for. A round begins when a machine is freed here or
//! somebody comes, or after a pause: other replicas free machines too, and leases end by themselves. Who gives up leaves.

use super::PoolSettings;
use super::committer::{Granted, StartWrite};
use super::line::{Known, Line, Waiter};
use super::refusal::{NoIdle, draining, no_idle};
use crate::context::Context;
use crate::domain::pool::{Pick, Start};
use crate::error::{ApiError, Reason};
use crate::operations::commit::{Coming, GroupCommit};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Those that wait are looked for in one lane, so that they stay in order.
const LANE: u64 = 0;
/// How many are asked for at first in a round; doubles while everybody gets a machine.
const FIRST_GROUP: usize = 8;
/// And at most.
const MOST_IN_GROUP: usize = 256;
/// Callers that stand in the queue for one look, at most; one more is refused with OVERLOADED before any work.
const MOST_PASSING_CALLERS: usize = 8_192;
/// That one may ask again after this, and up to twice as long.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

/// Asks for a machine, behind all that were asked for before; gives where the answer comes.
type Ask = Box<dyn Fn(Start) -> Result<Coming<StartWrite>, ApiError> + Send + Sync>;

/// Who waits.
pub(super) struct Queue {
    ask: Ask,
    context: Context,
    most: usize,
    poll: Duration,
    line: Mutex<Line>,
    wake: Notify,
}

/// A caller's place; leaves it when dropped.
struct Place<'q> {
    queue: &'q Queue,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.line().leave(self.number);
    }
}

impl Queue {
    pub(super) fn new(
        starts: GroupCommit<StartWrite>,
        context: Context,
        settings: &PoolSettings,
    ) -> Arc<Self> {
        let ask: Ask = Box::new(move |start| starts.enqueue(LANE, start));
        Self::asking(ask, context, settings)
    }

    fn asking(ask: Ask, context: Context, settings: &PoolSettings) -> Arc<Self> {
        Arc::new(Self {
            ask,
            context,
            most: settings.max_waiting_callers,
            poll: settings.wait_poll,
            line: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// A machine may be free.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn count(&self) -> usize {
        self.line().count()
    }

    /// Who waits is told at once that this server drains, and so is who comes to wait.
    pub(super) fn close(&self) {
        let waiting = self.line().close();
        for waiter in waiting {
            let _ = waiter.reply.send(Err(draining(&self.context)));
        }
        self.wake();
    }

    /// Waits behind whoever waits. Zero: until it was looked at once. `fitting`: machines that match its filter, if it has
    /// been looked for.
    pub(super) async fn wait(
        self: &Arc<Self>,
        start: Start,
        wait: Duration,
        fitting: Option<u64>,
    ) -> Result<Granted, ApiError> {
        let known = Arc::new(Known::new(fitting));
        let (number, mut answer) = self.enter(start, wait, &known)?;
        let _place = Place { queue: self, number };
        let ended = || ApiError::unavailable("who served those that wait for a machine ended");
        if !wait.is_zero() {
            tokio::select! {
                answered = &mut answer => return answered.unwrap_or_else(|_| Err(ended())),
                () = tokio::time::sleep(wait) => {}
            }
            known.end();
            if let Some(fitting) = known.fitting()
                && self.line().leave(number)
            {
                return Err(no_idle(NoIdle::WaitOver, fitting, &self.context));
            }
        }
        // Asked for just now, or not yet looked for at all: that answer counts.
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        self: &Arc<Self>,
        start: Start,
        wait: Duration,
        known: &Arc<Known>,
    ) -> Result<(u64, oneshot::Receiver<Result<Granted, ApiError>>), ApiError> {
        let (reply, answer) = oneshot::channel();
        let mut line = self.line();
        if line.is_closed() {
            return Err(draining(&self.context));
        }
        let once = if wait.is_zero() {
            Some(NoIdle::AtOnce)
        } else {
            (line.patient() >= self.most).then_some(NoIdle::QueueFull)
        };
        if once.is_some() && line.passing() >= MOST_PASSING_CALLERS {
            let text = "too many callers ask for a machine; try again later";
            let again = OVERLOADED_RETRY + self.context.jitter(OVERLOADED_RETRY);
            return Err(ApiError::new(Reason::Overloaded, text).retry_after(again));
        }
        let (number, is_first) = line.enter(start, once, Arc::clone(known), reply);
        if is_first {
            tokio::spawn(Arc::clone(self).keep_serving());
        }
        drop(line);
        self.wake();
        Ok((number, answer))
    }

    /// A panic is the end of those who were being asked for, whose replies are dropped with it, and of nobody else.
    async fn keep_serving(self: Arc<Self>) {
        while let Err(cause) = tokio::spawn(Arc::clone(&self).serve()).await {
            if !cause.is_panic() {
                return;
            }
            tracing::error!(%cause, "serving those who wait for a machine begins again");
            self.line().forget_asked();
        }
    }

    /// Until nobody waits.
    async fn serve(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(self.poll, self.wake.notified()).await;
            let waiting = self.line().ask_for_all();
            let left = self.round(waiting).await;
            let mut line = self.line();
            for waiter in line.put_back(left) {
                let _ = waiter.reply.send(Err(draining(&self.context)));
            }
            for waiter in line.those_over() {
                let fitting = waiter.known.fitting().unwrap_or(0);
                let _ = waiter.reply.send(Err(no_idle(NoIdle::WaitOver, fitting, &self.context)));
            }
            if line.is_left() {
                return;
            }
        }
    }

    /// Looks once on behalf of everybody; gives those who go on waiting.
    async fn round(&self, mut waiting: VecDeque<Waiter>) -> Vec<Waiter> {
        let mut left = Vec::new();
        // Filters that nothing is idle for, with how many machines match them.
        let mut nothing: HashMap<Pick, u64> = HashMap::new();
        let mut size = FIRST_GROUP;
        while !waiting.is_empty() {
            let mut group = Vec::with_capacity(size);
            while group.len() < size
                && let Some(waiter) = waiting.pop_front()
            {
                match nothing.get(&waiter.start.pick) {
                    _ if waiter.reply.is_closed() => {}
                    Some(fitting) => left.extend(self.refuse(waiter, *fitting)),
                    None => group.push(waiter),
                }
            }
            let before = nothing.len();
            left.extend(self.ask_for(group, &mut nothing).await);
            size = if nothing.len() == before { (size * 2).min(MOST_IN_GROUP) } else { FIRST_GROUP };
        }
        left
    }

    /// Asks for a group at once, in its order; gives those who go on waiting.
    async fn ask_for(&self, group: Vec<Waiter>, nothing: &mut HashMap<Pick, u64>) -> Vec<Waiter> {
        let mut asked = Vec::with_capacity(group.len());
        for waiter in group {
            let start = Start { at_ms: self.context.now_ms(), ..waiter.start.clone() };
            asked.push(((self.ask)(start), waiter));
        }
        let mut left = Vec::new();
        for (answer, waiter) in asked {
            let answer = match answer {
                Ok(answer) => {
                    answer.await.unwrap_or_else(|_| Err(ApiError::unavailable("the committer's lane ended")))
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(Granted::Refused { fitting, .. }) if answer_is_none_idle(&answer) => {
                    nothing.insert(waiter.start.pick.clone(), fitting);
                    left.extend(self.refuse(waiter, fitting));
                }
                // It waits; the server is busy for now.
                Err(error)
                    if error.reason == Reason::Overloaded
                        && waiter.once.is_none()
                        && !waiter.known.is_over() =>
                {
                    left.push(waiter);
                }
                answer => {
                    let _ = waiter.reply.send(answer);
                }
            }
        }
        left
    }

    /// Nothing is idle for it: who is looked for once is told, who waits goes on.
    fn refuse(&self, waiter: Waiter, fitting: u64) -> Option<Waiter> {
        if let Some(why) = waiter.once {
            let _ = waiter.reply.send(Err(no_idle(why, fitting, &self.context)));
            return None;
        }
        waiter.known.looked(fitting);
        Some(waiter)
    }
}

fn answer_is_none_idle(answer: &Result<Granted, ApiError>) -> bool {
    answer.as_ref().is_ok_and(Granted::is_none_idle)
}

#[cfg(test)]
mod tests;
