#![allow(clippy::unwrap_used)]

use super::Gather;
use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

/// Answers so far, and how many there were at each look of the connection.
#[derive(Default)]
struct Seen {
    answered: usize,
    looks: Vec<usize>,
    connection: Option<Waker>,
}

const CALLS: usize = 3;

fn answer(seen: &Mutex<Seen>) {
    let mut seen = seen.lock().unwrap();
    seen.answered += 1;
    if let Some(connection) = &seen.connection {
        connection.wake_by_ref();
    }
}

#[test]
fn calls_that_are_ready_are_answered_before_the_connection_that_the_first_of_them_woke_writes() {
    // One worker: what it runs next is its own choice alone.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = seen.clone();
    let connection = async move {
        let looked = poll_fn(|cx| {
            let mut seen = shared.lock().unwrap();
            let answered = seen.answered;
            seen.looks.push(answered);
            if answered == 0 {
                // Only now: all of them are ready while this connection waits.
                let calls = shared.clone();
                tokio::spawn(async move {
                    for _ in 0..CALLS {
                        let call = calls.clone();
                        tokio::spawn(async move { answer(&call) });
                    }
                });
            }
            seen.connection = Some(cx.waker().clone());
            if answered == CALLS { Poll::Ready(()) } else { Poll::Pending }
        });
        Gather::new(pin!(looked)).await;
    };
    runtime.block_on(async { runtime.spawn(connection).await.unwrap() });
    assert_eq!(seen.lock().unwrap().looks, [0, CALLS]);
}
