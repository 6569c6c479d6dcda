//! A caller that asks again, with the same key, until it knows.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use vendfleet_tests::{orders::caller::Caller, refusal::refusal, wait::PATIENCE};

/// What a caller without patience for the server's own suggestion waits.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an order or a refusal that stands; gives whether there is an order. Panics on any answer that a
/// server, a database or a connection that comes and goes does not explain.
pub(crate) async fn insists(caller: &Caller, key: &str, lines: &[(&str, u32)]) -> bool {
    let started = Instant::now();
    loop {
        match caller.create(key, lines).await {
            Ok((order, _)) => {
                assert_eq!(order.idempotency_key, key);
                return true;
            }
            Err(status) if lost(&status) => {}
            Err(status) => {
                let refused = refusal(&status);
                match refused.reason.as_str() {
                    "INSUFFICIENT_STOCK" => return false,
                    "UNAVAILABLE" | "LOCK_CONFLICT" => {
                        assert!(refused.retry_after.is_some(), "{refused:?}");
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
