//! One call from its headers to the last byte of its answer that its connection took.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{OpenConnection, Place};

/// What a call, its task and every frame of its answer share. The place is given back when the last of them is gone: an
/// answer that waits in a buffer for its reader is still its caller's.
#[derive(Debug)]
pub struct OpenCall {
    connection: Arc<OpenConnection>,
    place: OnceLock<Place>,
    ends: OnceLock<StreamEnds>,
    /// Since the answer began, ms.
    began_ms: OnceLock<u64>,
    unread: AtomicUsize,
    /// When the connection last took bytes of it, ms.
    moved_ms: AtomicU64,
    /// Since when it should be over, ms; 0: it need not.
    over_ms: AtomicU64,
    task: Mutex<Task>,
    listed: AtomicBool,
}

#[derive(Debug, Default)]
struct Task {
    /// Whether the call has a task of its own that can be ended without its connection.
    runs: bool,
    cut: bool,
    waker: Option<Waker>,
}

/// When a stream has to end, whatever its reader does.
#[derive(Debug, Clone)]
pub struct StreamEnds {
    /// Since the context's start.
    pub at: Duration,
    /// The server drains.
    pub drain: CancellationToken,
    /// Its credential fell, or another stream took its place.
    pub fallen: Vec<CancellationToken>,
}

/// What the watch over connections finds about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to do.
    Fine,
    /// It has to be over and is not.
    Overdue,
    /// Its reader takes nothing.
    Stalled,
}

impl OpenCall {
    /// A call on this connection. It is counted there until it is dropped.
    pub fn new(connection: &Arc<OpenConnection>) -> Arc<Self> {
        connection.call_began();
        Arc::new(Self {
            connection: connection.clone(),
            place: OnceLock::new(),
            ends: OnceLock::new(),
            began_ms: OnceLock::new(),
            unread: AtomicUsize::new(0),
            moved_ms: AtomicU64::new(0),
            over_ms: AtomicU64::new(0),
            task: Mutex::default(),
            listed: AtomicBool::new(false),
        })
    }

    /// Holds a place until the answer is taken.
    pub fn hold(&self, place: Place) {
        let held = self.place.set(place);
        debug_assert!(held.is_ok(), "a call has one place");
    }

    /// The connection has shown who speaks on it.
    pub fn known(&self) {
        self.connection.known();
    }

    /// The answer is a stream that has to end then, whether somebody reads it or not.
    pub fn end_at(self: &Arc<Self>, ends: StreamEnds) {
        let _ = self.ends.set(ends);
        self.list();
    }

    /// A frame of the answer was made.
    pub fn made(self: &Arc<Self>, bytes: usize) {
        let now = self.connection.now_ms();
        let _ = self.began_ms.set(now);
        if self.unread.fetch_add(bytes, Ordering::AcqRel) == 0 {
            self.moved_ms.store(now, Ordering::Release);
        }
        if let Some(place) = self.place.get() {
            place.made(bytes);
        }
        self.list();
    }

    /// The connection took bytes of it, or let go of them.
    pub fn taken(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::AcqRel);
        self.moved_ms.store(self.connection.now_ms(), Ordering::Release);
        if let Some(place) = self.place.get() {
            place.taken(bytes);
        }
    }

    /// The call has a task of its own.
    pub fn task_runs(&self) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).runs = true;
    }

    /// The task waits. Answers whether it has to end instead.
    pub fn task_waits(&self, waker: &Waker) -> bool {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            task.waker = Some(waker.clone());
        }
        task.cut
    }

    /// The task is over; frames may still wait for the connection.
    pub fn task_ended(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        (task.runs, task.waker) = (false, None);
    }

    /// Ends the task, which resets its stream. Answers whether there is one.
    pub(super) fn cut(&self) -> bool {
        let waker = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !task.runs || task.cut {
                return false;
            }
            task.cut = true;
            task.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire) > 0
    }

    /// What is wrong with it now: overdue for `grace`, nothing taken for `no_progress`, or an answer of one message not
    /// taken within `longest`.
    pub(super) fn find(
        &self,
        now: Duration,
        no_progress: Duration,
        longest: Duration,
        grace: Duration,
    ) -> Finding {
        let now_ms = ms(now);
        let unread = self.unread.load(Ordering::Acquire);
        let over = self.ends.get().is_some_and(|ends| {
            now >= ends.at
                || ends.drain.is_cancelled()
                || ends.fallen.iter().any(CancellationToken::is_cancelled)
        });
        if over {
            // Read in time it ends by itself, with a reason.
            let since = match self.over_ms.load(Ordering::Relaxed) {
                0 => {
                    self.over_ms.store(now_ms.max(1), Ordering::Relaxed);
                    now_ms
                }
                since => since,
            };
            if now_ms.saturating_sub(since) >= ms(grace) {
                return Finding::Overdue;
            }
        }
        if unread == 0 {
            return Finding::Fine;
        }
        let still = now_ms.saturating_sub(self.moved_ms.load(Ordering::Acquire));
        let began = self.began_ms.get().copied().unwrap_or(now_ms);
        let too_long = self.ends.get().is_none() && now_ms.saturating_sub(began) >= ms(longest);
        if still >= ms(no_progress) || too_long { Finding::Stalled } else { Finding::Fine }
    }

    /// Streams are watched for as long as they are open, other answers while something of them waits.
    fn list(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.connection.watch(self);
        }
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.connection.call_ended();
    }
}
