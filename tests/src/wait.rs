//! Waiting for something to become true.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Pause between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Long enough for anything that will happen at all on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `condition` gives a value, and gives it; panics, naming `what`, once `deadline` has passed.
/// The condition is looked at once more after the deadline, so a stalled machine alone fails nothing.
#[track_caller]
pub fn until<T, F, C>(what: &str, deadline: Duration, mut condition: C) -> impl Future<Output = T>
where
    F: Future<Output = Option<T>>,
    C: FnMut() -> F,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            let late = started.elapsed() > deadline;
            if let Some(value) = condition().await {
                return value;
            }
            assert!(!late, "{caller}: waited {deadline:?} for: {what}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Looks until `condition` holds; panics, naming `what`, once `deadline` has passed.
#[track_caller]
pub fn until_true<F, C>(what: &str, deadline: Duration, mut condition: C) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
    C: FnMut() -> F,
{
    until(what, deadline, move || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
}
