//! The watch over open connections: who is silent, who does not read, and whose streams are overdue.
//!
//! It stands below the streams because nothing above sees such a peer: a body whose reader gives no window is not asked
//! for its next frame, so no end that it carries is ever reached.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    OpenCall,
    open_call::{Finding, ms},
};
use crate::{
    config::LimitsConfig,
    context::Context,
    metrics::{KindLabels, Metrics},
};

/// How often every connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a stream that is over may take for its last words, and an idle connection for its goodbye.
const GRACE: Duration = Duration::from_secs(2);
/// Above this share of `max_connections` strangers' connections are closed once they are [`CROWDED_AGE`] old.
const CROWDED_PERCENT: usize = 80;
/// See [`CROWDED_PERCENT`].
const CROWDED_AGE: Duration = Duration::from_secs(5);
/// Calls on a connection's list before those that are gone are looked for.
const LIST_BEFORE_TIDY: usize = 64;

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionBounds {
    write_timeout: Duration,
    send_timeout: Duration,
    idle: Duration,
    stranger_idle: Duration,
    crowded: usize,
}

impl ConnectionBounds {
    /// From the config.
    pub fn new(limits: &LimitsConfig) -> Self {
        Self {
            write_timeout: Duration::from_millis(limits.write_timeout_ms),
            send_timeout: Duration::from_millis(limits.send_timeout_ms),
            idle: Duration::from_millis(limits.idle_timeout_ms),
            stranger_idle: Duration::from_millis(limits.stranger_idle_timeout_ms),
            crowded: (limits.max_connections.saturating_mul(CROWDED_PERCENT) / 100).max(1),
        }
    }
}

/// Whether a socket takes what is written to it.
#[derive(Debug)]
pub struct SocketProgress {
    context: Context,
    /// Since when it takes nothing, ms; 0: it does.
    blocked_ms: AtomicU64,
}

impl SocketProgress {
    /// A socket that takes everything.
    pub fn new(context: Context) -> Arc<Self> {
        Arc::new(Self { context, blocked_ms: AtomicU64::new(0) })
    }

    /// The system's buffer is full.
    pub fn blocked(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_ms.store(ms(self.context.elapsed()).max(1), Ordering::Relaxed);
        }
    }

    /// Something was taken.
    pub fn moved(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) != 0 {
            self.blocked_ms.store(0, Ordering::Relaxed);
        }
    }

    fn blocked_for(&self, now: Duration) -> Duration {
        match self.blocked_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(ms(now).saturating_sub(since)),
        }
    }
}

/// Every open connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    context: Context,
    bounds: ConnectionBounds,
    open: Arc<Mutex<HashMap<u64, Weak<OpenConnection>>>>,
    next: Arc<AtomicU64>,
    metrics: Metrics,
}

/// One connection, on the list until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    id: u64,
    list: Connections,
    socket: Arc<SocketProgress>,
    opened: Duration,
    calls: AtomicUsize,
    idle_since_ms: AtomicU64,
    known: AtomicBool,
    watched: Mutex<Vec<Weak<OpenCall>>>,
    /// The call whose task is about to be made.
    arriving: Mutex<Option<Arc<OpenCall>>>,
    closing_ms: AtomicU64,
    close: CancellationToken,
    kill: CancellationToken,
}

/// Why a connection or a stream was cut, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// No call for too long.
    Idle,
    /// A stranger's, while there are too many connections.
    Crowded,
    /// The socket takes nothing.
    SocketStalled,
    /// An answer waits for a reader that takes nothing.
    Unread,
    /// A stream did not end when it had to.
    Overdue,
}

impl Cut {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::SocketStalled => "socket_stalled",
            Self::Unread => "unread",
            Self::Overdue => "overdue",
        }
    }
}

impl Connections {
    /// An empty list.
    pub fn new(bounds: ConnectionBounds, context: Context, metrics: Metrics) -> Self {
        Self { context, bounds, open: Arc::default(), next: Arc::default(), metrics }
    }

    /// Puts a connection on the list.
    pub fn open(&self, socket: Arc<SocketProgress>) -> Arc<OpenConnection> {
        let (id, opened) = (self.next.fetch_add(1, Ordering::Relaxed), self.context.elapsed());
        let connection = Arc::new(OpenConnection {
            id,
            list: self.clone(),
            socket,
            opened,
            calls: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(ms(opened)),
            known: AtomicBool::new(false),
            watched: Mutex::default(),
            arriving: Mutex::default(),
            closing_ms: AtomicU64::new(0),
            close: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        self.lock().insert(id, Arc::downgrade(&connection));
        connection
    }

    /// Looks at every connection, again and again, until cancelled. From `drain` on nobody is waited for.
    pub async fn keep_watch(self, drain: CancellationToken, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(drain.is_cancelled()),
            }
        }
    }

    fn look(&self, draining: bool) {
        let now = self.context.elapsed();
        let open: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        let crowded = open.len() >= self.bounds.crowded;
        for connection in open {
            connection.look(now, &self.bounds, crowded, draining);
        }
    }

    fn cut(&self, why: Cut) {
        self.metrics.connections_cut.get_or_create(&KindLabels { kind: why.name() }).inc();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<OpenConnection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// Cancelled when it should say goodbye: nothing was asked on it for too long.
    pub fn close(&self) -> &CancellationToken {
        &self.close
    }

    /// Cancelled when it has to be dropped as it is.
    pub fn kill(&self) -> &CancellationToken {
        &self.kill
    }

    /// Leaves a call for the executor, which makes its task next.
    pub fn arrives(&self, call: Arc<OpenCall>) {
        *self.arriving.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    /// The call that was left.
    pub fn arrived(&self) -> Option<Arc<OpenCall>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Somebody with a good credential speaks on it.
    pub fn known(&self) {
        if !self.known.load(Ordering::Relaxed) {
            self.known.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        ms(self.list.context.elapsed())
    }

    pub(super) fn call_began(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn call_ended(&self) {
        self.idle_since_ms.store(self.now_ms(), Ordering::Release);
        self.calls.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn watch(&self, call: &Arc<OpenCall>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= LIST_BEFORE_TIDY && watched.len() == watched.capacity() {
            watched.retain(|call| call.strong_count() > 0);
        }
        watched.push(Arc::downgrade(call));
    }

    fn look(&self, now: Duration, bounds: &ConnectionBounds, crowded: bool, draining: bool) {
        let no_progress = if draining { GRACE.min(bounds.write_timeout) } else { bounds.write_timeout };
        if self.socket.blocked_for(now) >= no_progress {
            return self.end(Cut::SocketStalled);
        }
        if self.look_at_calls(now, no_progress, bounds.send_timeout) {
            return self.end(Cut::Unread);
        }
        let known = self.known.load(Ordering::Relaxed);
        if crowded && !known && now.saturating_sub(self.opened) >= CROWDED_AGE {
            return self.end(Cut::Crowded);
        }
        if self.calls.load(Ordering::Acquire) > 0 {
            return;
        }
        let idle = now.saturating_sub(Duration::from_millis(self.idle_since_ms.load(Ordering::Acquire)));
        let most = if known { bounds.idle } else { bounds.stranger_idle };
        if idle < if draining { most.min(GRACE) } else { most } {
            return;
        }
        match self.closing_ms.load(Ordering::Relaxed) {
            0 => {
                self.closing_ms.store(ms(now).max(1), Ordering::Relaxed);
                self.list.cut(Cut::Idle);
                self.close.cancel();
            }
            since if ms(now).saturating_sub(since) >= ms(GRACE) => self.kill.cancel(),
            _ => {}
        }
    }

    /// Ends the tasks of streams that are overdue or not read. Answers whether only the end of the connection helps.
    fn look_at_calls(&self, now: Duration, no_progress: Duration, longest: Duration) -> bool {
        let watched: Vec<_> = {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|call| call.strong_count() > 0);
            watched.iter().filter_map(Weak::upgrade).collect()
        };
        let mut hopeless = false;
        for call in watched {
            let why = match call.find(now, no_progress, longest, GRACE) {
                Finding::Fine => continue,
                Finding::Overdue => Cut::Overdue,
                Finding::Stalled => Cut::Unread,
            };
            if call.cut() {
                self.list.metrics.streams_cut.get_or_create(&KindLabels { kind: why.name() }).inc();
            } else {
                // Its task is over, or was ended at the last look: what is left of it lies in the connection.
                hopeless |= call.is_unread();
            }
        }
        hopeless
    }

    fn end(&self, why: Cut) {
        if !self.kill.is_cancelled() {
            self.list.cut(why);
            self.kill.cancel();
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}
