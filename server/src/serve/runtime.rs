//! The runtime that a server needs.

use tokio::runtime::Builder;

/// Polls between two looks into the queue that all threads share; tokio's own guess is 61. A look into an empty one is one load.
const SHARED_QUEUE_INTERVAL: u32 = 1;

/// A runtime of several threads, with time and I/O, that keeps calls in the order in which they came, more or less.
///
/// A thread's own queue holds 256 tasks; what is above that, and what other threads wake, goes into a queue that all share. A
/// thread looks into it rarely while it has something of its own to do, so of a crowd of thousands those whose tasks landed
/// there would wait for the others' next calls and the ones after.
#[must_use]
pub fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().global_queue_interval(SHARED_QUEUE_INTERVAL);
    builder
}
