//! A caller that asks again, with the same key, until it knows.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use vendfleet_tests::{orders::caller::Caller, refusal::refusal, wait::PATIENCE};

/// What a caller without patience for the server's own suggestion waits.
const PAUSE: Duration = Duration::from_millis(20);

/// What insisting came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Insisted {
    /// Orders there are.
    pub(crate) orders: usize,
    /// Times no server said anything.
    pub(crate) lost: u32,
    /// Times a server said that it can't tell, and when to ask again.
    pub(crate) unavailable: u32,
}

impl Insisted {
    pub(crate) fn and(self, more: Self) -> Self {
        Self {
            orders: self.orders + more.orders,
            lost: self.lost + more.lost,
            unavailable: self.unavailable + more.unavailable,
        }
    }
}

/// Asks until there is an order or a refusal that stands. Panics on any answer that a server, a database or a connection
/// that comes and goes does not explain.
pub(crate) async fn insists(caller: &Caller, key: &str, lines: &[(&str, u32)]) -> Insisted {
    let started = Instant::now();
    let mut met = Insisted::default();
    loop {
        match caller.create(key, lines).await {
            Ok((order, _)) => {
                assert_eq!(order.idempotency_key, key);
                return Insisted { orders: 1, ..met };
            }
            Err(status) if lost(&status) => met.lost += 1,
            Err(status) => {
                let refused = refusal(&status);
                match (refused.code, refused.reason.as_str()) {
                    (Code::FailedPrecondition, "INSUFFICIENT_STOCK") => return met,
                    (Code::Unavailable, "UNAVAILABLE") | (Code::Aborted, "LOCK_CONFLICT") => {
                        assert!(refused.retry_after.is_some(), "{refused:?}");
                        met.unavailable += 1;
                    }
                    _ => panic!("a wrong answer: {status:?}"),
                }
            }
        }
        assert!(started.elapsed() < PATIENCE * 2, "{key}: no answer that stands");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The connection was lost, or there is nobody to connect to: no server said anything.
fn lost(status: &Status) -> bool {
    let silent = status.get_error_details().error_info().is_none();
    silent && matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}
