//! Callers that wait for a machine: first come first served within a replica, up to a bound.
//!
//! While anybody waits, whoever comes stands behind them, also who would not wait. One task serves the queue in rounds: it
//! asks for those in front first, in growing groups, and leaves out everybody whose filter somebody before them has just
//! found nothing for. A round begins when a machine is freed here or somebody comes, or after a pause: other replicas free
//! machines too, and leases end by themselves. Who gives up leaves.

use super::PoolSettings;
use super::committer::{Granted, StartWrite, lane_of_start};
use super::refusal::{NoIdle, no_idle};
use crate::context::Context;
use crate::domain::pool::{Pick, Start};
use crate::error::{ApiError, Reason};
use crate::operations::commit::GroupCommit;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How many are asked for at first in a round; doubles while everybody gets a machine.
const FIRST_GROUP: usize = 8;
/// And at most.
const MOST_IN_GROUP: usize = 256;

/// Who waits.
pub(super) struct Queue {
    starts: GroupCommit<StartWrite>,
    context: Context,
    most: usize,
    poll: Duration,
    line: Mutex<Line>,
    wake: Notify,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiter>,
    /// All that wait, those included that are being asked for just now.
    count: usize,
    next_number: u64,
    is_served: bool,
}

struct Waiter {
    /// Rises with every comer.
    number: u64,
    start: Start,
    /// Is told so when the first look at it finds nothing.
    once: bool,
    /// Its time was over while it was being asked for.
    over: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Granted, ApiError>>,
}

/// A caller's place; leaves it when dropped.
struct Place<'q> {
    queue: &'q Queue,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.number);
    }
}

impl Queue {
    pub(super) fn new(
        starts: GroupCommit<StartWrite>,
        context: Context,
        settings: &PoolSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            starts,
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
        self.line().count
    }

    /// Waits behind whoever waits. Zero: until it was looked at once.
    pub(super) async fn wait(self: &Arc<Self>, start: Start, wait: Duration) -> Result<Granted, ApiError> {
        let over = Arc::new(AtomicBool::new(false));
        let (number, mut answer) = self.enter(start, wait.is_zero(), &over)?;
        let place = Place { queue: self, number };
        let ended = || ApiError::unavailable("nobody serves those who wait for a machine");
        if !wait.is_zero() {
            tokio::select! {
                answered = &mut answer => return answered.unwrap_or_else(|_| Err(ended())),
                () = tokio::time::sleep(wait) => {}
            }
            over.store(true, Ordering::SeqCst);
            if place.queue.leave(number) {
                return Err(no_idle(NoIdle::WaitOver, 0, &self.context));
            }
        }
        // Being asked for just now: that answer counts.
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        self: &Arc<Self>,
        start: Start,
        once: bool,
        over: &Arc<AtomicBool>,
    ) -> Result<(u64, oneshot::Receiver<Result<Granted, ApiError>>), ApiError> {
        let (reply, answer) = oneshot::channel();
        let mut line = self.line();
        if line.count >= self.most {
            return Err(no_idle(NoIdle::QueueFull, 0, &self.context));
        }
        let number = line.next_number;
        line.next_number = line.next_number.wrapping_add(1);
        line.count += 1;
        line.waiting.push_back(Waiter { number, start, once, over: Arc::clone(over), reply });
        if !std::mem::replace(&mut line.is_served, true) {
            tokio::spawn(Arc::clone(self).serve());
        }
        drop(line);
        self.wake();
        Ok((number, answer))
    }

    /// Tells whether it was still waiting.
    fn leave(&self, number: u64) -> bool {
        let mut line = self.line();
        let Some(at) = line.waiting.iter().position(|waiter| waiter.number == number) else { return false };
        line.waiting.remove(at);
        line.count = line.count.saturating_sub(1);
        true
    }

    /// Until nobody waits.
    async fn serve(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(self.poll, self.wake.notified()).await;
            let waiting = std::mem::take(&mut self.line().waiting);
            let began = waiting.len();
            let mut left = self.round(waiting).await;
            left.sort_unstable_by_key(|waiter| waiter.number);
            let mut line = self.line();
            line.count = line.count.saturating_sub(began - left.len());
            for waiter in left.into_iter().rev() {
                if waiter.over.load(Ordering::SeqCst) {
                    line.count = line.count.saturating_sub(1);
                    let _ = waiter.reply.send(Err(no_idle(NoIdle::WaitOver, 0, &self.context)));
                } else {
                    line.waiting.push_front(waiter);
                }
            }
            if line.count == 0 {
                line.is_served = false;
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
            left.extend(self.ask(group, &mut nothing).await);
            size = if nothing.len() == before { (size * 2).min(MOST_IN_GROUP) } else { FIRST_GROUP };
        }
        left
    }

    /// Asks for a group at once, in its order; gives those who go on waiting.
    async fn ask(&self, group: Vec<Waiter>, nothing: &mut HashMap<Pick, u64>) -> Vec<Waiter> {
        let mut asked = Vec::with_capacity(group.len());
        for waiter in group {
            let start = Start { at_ms: self.context.now_ms(), ..waiter.start.clone() };
            asked.push((self.starts.enqueue(lane_of_start(&start), start), waiter));
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
                Err(error) if error.reason == Reason::Overloaded && !waiter.once => left.push(waiter),
                answer => {
                    let _ = waiter.reply.send(answer);
                }
            }
        }
        left
    }

    /// Nothing is idle for it: who would not wait is told, who waits goes on.
    fn refuse(&self, waiter: Waiter, fitting: u64) -> Option<Waiter> {
        if waiter.once {
            let _ = waiter.reply.send(Err(no_idle(NoIdle::AtOnce, fitting, &self.context)));
            return None;
        }
        Some(waiter)
    }
}

fn answer_is_none_idle(answer: &Result<Granted, ApiError>) -> bool {
    answer.as_ref().is_ok_and(Granted::is_none_idle)
}
