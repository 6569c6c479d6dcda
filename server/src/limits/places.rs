//! Places for calls, Syncs and streams: so many per class of callers and so many per caller, and how much of the answers
//! made for a caller it may leave unread.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;

use super::{Buckets, Quota};
use crate::{
    config::LimitsConfig,
    context::Context,
    metrics::{ClassLabels, Metrics, PlaceLabels},
};

/// What a caller is, for the bounds. No class can take what is set aside for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nobody that is known; told apart by network.
    Stranger,
    /// A machine, by its credential.
    Machine,
    /// An operator, a viewer, a customer.
    Person,
    /// Another server, which speaks for thousands.
    Service,
}

/// What the place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// A unary call.
    Call,
    /// A Sync.
    Sync,
    /// A stream.
    Stream,
}

impl Class {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::Machine => "machine",
            Self::Person => "person",
            Self::Service => "service",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl PlaceKind {
    fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Sync => "sync",
            Self::Stream => "stream",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The class has all its places taken, or too much is unread in all.
    Full,
    /// This caller has all that one may have; the config key of the bound, and the bound.
    Caller {
        /// The key.
        limit: &'static str,
        /// The bound.
        most: usize,
        /// After how long it is worth another try, when that is known.
        retry_after: Option<Duration>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Most of the class.
    class: usize,
    /// Most of one caller of it.
    caller: usize,
    /// The key of `caller`.
    key: &'static str,
}

const NONE: Bound = Bound { class: 0, caller: 0, key: "" };

/// More streams of a machine than it may have, for as long as the older ones take to end.
const ENDING_STREAMS: usize = 6;

/// See the module. One per server.
#[derive(Debug)]
pub struct Places {
    context: Context,
    bounds: [[Bound; 4]; 3],
    /// Most calls of everybody known, together.
    max_calls: usize,
    bytes: [(usize, &'static str); 4],
    max_bytes: usize,
    unread: AtomicUsize,
    stranger_bytes: Quota,
    state: Mutex<State>,
    metrics: Metrics,
    /// The gauge of each kind and class.
    shown: [[Gauge; 4]; 3],
}

#[derive(Debug)]
struct State {
    open: [[usize; 4]; 3],
    callers: HashMap<Arc<str>, Held>,
    /// What strangers were sent, by network.
    sent: Buckets<String>,
}

#[derive(Debug, Default)]
struct Held {
    open: [usize; 3],
    unread: Arc<AtomicUsize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    kind: PlaceKind,
    class: Class,
    caller: Arc<str>,
    unread: Arc<AtomicUsize>,
}

impl Places {
    /// Bounds from the config.
    pub fn new(limits: &LimitsConfig, context: Context, metrics: Metrics) -> Arc<Self> {
        let bound = |class, caller, key| Bound { class, caller, key };
        let max_calls = limits.max_calls_in_flight;
        // What is left is for the other classes.
        let most_calls = max_calls - max_calls / 4;
        let others = limits.stranger_streams + limits.person_streams + limits.service_streams;
        let calls = [
            bound(limits.stranger_calls, limits.stranger_calls_per_ip, "limits.stranger_calls_per_ip"),
            bound(most_calls, limits.calls_per_caller, "limits.calls_per_caller"),
            bound(most_calls, limits.calls_per_caller, "limits.calls_per_caller"),
            bound(most_calls, limits.service_calls_per_caller, "limits.service_calls_per_caller"),
        ];
        let syncs = bound(limits.max_syncs_in_flight, limits.syncs_per_machine, "limits.syncs_per_machine");
        let streams = [
            bound(limits.stranger_streams, limits.stranger_streams_per_ip, "limits.stranger_streams_per_ip"),
            bound(
                limits.max_open_streams.saturating_sub(others),
                limits.watches_per_machine + ENDING_STREAMS,
                "limits.watches_per_machine",
            ),
            bound(
                limits.person_streams,
                limits.person_streams_per_caller,
                "limits.person_streams_per_caller",
            ),
            bound(
                limits.service_streams,
                limits.service_streams_per_caller,
                "limits.service_streams_per_caller",
            ),
        ];
        let shown = [PlaceKind::Call, PlaceKind::Sync, PlaceKind::Stream].map(|kind| {
            [Class::Stranger, Class::Machine, Class::Person, Class::Service].map(|class| {
                let labels = PlaceLabels { kind: kind.name(), class: class.name() };
                metrics.places.get_or_create(&labels).clone()
            })
        });
        let each = (limits.response_bytes_per_caller, "limits.response_bytes_per_caller");
        Arc::new(Self {
            context,
            bounds: [calls, [NONE, syncs, NONE, NONE], streams],
            max_calls,
            bytes: [
                (limits.stranger_response_bytes_per_ip, "limits.stranger_response_bytes_per_ip"),
                each,
                each,
                (limits.service_response_bytes_per_caller, "limits.service_response_bytes_per_caller"),
            ],
            max_bytes: limits.response_bytes_in_flight,
            unread: AtomicUsize::new(0),
            stranger_bytes: Quota::per_second(
                limits.stranger_bytes_per_s.into(),
                limits.stranger_bytes_burst.into(),
            ),
            state: Mutex::new(State {
                open: [[0; 4]; 3],
                callers: HashMap::new(),
                sent: Buckets::new(limits.rate_callers),
            }),
            metrics,
            shown,
        })
    }

    /// A place for this caller, or why there is none. Nothing was done yet.
    pub fn take(places: &Arc<Self>, kind: PlaceKind, class: Class, caller: &str) -> Result<Place, Refusal> {
        let taken = places.try_take(kind, class, caller);
        match taken {
            Ok((caller, unread)) => {
                let (kind_name, class_name) = (kind.name(), class.name());
                places
                    .metrics
                    .places
                    .get_or_create(&PlaceLabels { kind: kind_name, class: class_name })
                    .inc();
                places.gauge(kind).inc();
                Ok(Place { places: places.clone(), kind, class, caller, unread })
            }
            Err(refusal) => {
                let cause = match &refusal {
                    Refusal::Full => kind.name(),
                    Refusal::Caller { limit, .. } => limit,
                };
                places.metrics.refused.get_or_create(&ClassLabels { class: class.name(), cause }).inc();
                Err(refusal)
            }
        }
    }

    fn try_take(
        &self,
        kind: PlaceKind,
        class: Class,
        caller: &str,
    ) -> Result<(Arc<str>, Arc<AtomicUsize>), Refusal> {
        let bound = self.bounds[kind.index()][class.index()];
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if class == Class::Stranger
            && let Some(wait) = state.sent.wait(caller, &self.stranger_bytes, self.context.elapsed())
        {
            return Err(self.sent_too_much(wait));
        }
        let known = state.callers.get_key_value(caller);
        let unread = known.map_or(0, |(_, held)| held.unread.load(Ordering::Relaxed));
        let (most_bytes, bytes_key) = self.bytes[class.index()];
        if unread > most_bytes {
            return Err(Refusal::Caller { limit: bytes_key, most: most_bytes, retry_after: None });
        }
        // Too much is unread in all: those who read are served.
        if unread > 0 && self.unread.load(Ordering::Relaxed) > self.max_bytes {
            return Err(Refusal::Full);
        }
        if known.is_some_and(|(_, held)| held.open[kind.index()] >= bound.caller) || bound.caller == 0 {
            return Err(Refusal::Caller { limit: bound.key, most: bound.caller, retry_after: None });
        }
        let open = &state.open[kind.index()];
        let calls_of_known = || open.iter().sum::<usize>() - open[Class::Stranger.index()];
        let all_full =
            kind == PlaceKind::Call && class != Class::Stranger && calls_of_known() >= self.max_calls;
        if open[class.index()] >= bound.class || all_full {
            return Err(Refusal::Full);
        }
        let name = known.map_or_else(|| Arc::from(caller), |(name, _)| name.clone());
        state.open[kind.index()][class.index()] += 1;
        let held = state.callers.entry(name.clone()).or_default();
        held.open[kind.index()] += 1;
        Ok((name, held.unread.clone()))
    }

    /// Whether this stranger was sent so much that it has to wait, and how long.
    pub fn stranger_waits(&self, caller: &str) -> Option<Refusal> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = state.sent.wait(caller, &self.stranger_bytes, self.context.elapsed())?;
        Some(self.sent_too_much(wait))
    }

    fn sent_too_much(&self, wait: Duration) -> Refusal {
        let most = usize::try_from(self.stranger_bytes.limit).unwrap_or(usize::MAX);
        Refusal::Caller { limit: "limits.stranger_bytes_per_s", most, retry_after: Some(wait) }
    }

    fn gauge(&self, kind: PlaceKind) -> &Gauge {
        match kind {
            PlaceKind::Call | PlaceKind::Sync => &self.metrics.calls_in_flight,
            PlaceKind::Stream => &self.metrics.open_streams,
        }
    }

    /// Bytes of answers made and not yet taken by those they are for.
    pub fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// Places taken of that kind by that class.
    pub fn taken(&self, kind: PlaceKind, class: Class) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open[kind.index()][class.index()]
    }
}

impl Place {
    /// The class of whom it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whose it is.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The places it is one of.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    pub(super) fn made(&self, bytes: usize) {
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        self.places.unread.fetch_add(bytes, Ordering::Relaxed);
        self.places.metrics.unread_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        if self.class == Class::Stranger {
            let now = self.places.context.elapsed();
            let mut state = self.places.state.lock().unwrap_or_else(PoisonError::into_inner);
            let units = u64::try_from(bytes).unwrap_or(u64::MAX);
            state.sent.charge(&*self.caller, &self.places.stranger_bytes, units, now);
        }
    }

    pub(super) fn taken(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.places.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.places.metrics.unread_bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (kind, class) = (self.kind.index(), self.class.index());
        self.places.shown[kind][class].dec();
        self.places.gauge(self.kind).dec();
        let mut state = self.places.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open[kind][class] -= 1;
        if let Some(held) = state.callers.get_mut(&*self.caller) {
            held.open[kind] -= 1;
            if held.open == [0; 3] {
                state.callers.remove(&*self.caller);
            }
        }
    }
}
