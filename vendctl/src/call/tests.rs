#![allow(clippy::unwrap_used)]
use super::{Found, MAX_WAIT, Session, wait_before_next};
use crate::cli::parse;
use crate::context::{Context, Variables};
use crate::failure::{Failure, Refusal};
use crate::settings::Settings;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const SECOND: Duration = Duration::from_secs(1);

fn context() -> Context {
    Context::with(Variables::default())
}

fn session(context: &Context, limit: usize) -> Session<'_> {
    let cli = parse(["vendctl", "--server", "http://localhost:1", "--attempts", "3", "status"]).unwrap();
    let settings = Settings::new(&cli.global, context).unwrap();
    Session::new(&settings, context, limit, None).unwrap()
}

fn busy(code: Code, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("OVERLOADED", "vendfleet.dev", []);
    if let Some(delay) = retry_after {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, "busy", details)
}

/// What a call that fails with each of `statuses` in turn and then succeeds ends with, and how often it was made.
async fn outcome(statuses: Vec<Status>) -> (Result<u32, Failure>, usize) {
    let context = context();
    let left = RefCell::new(statuses);
    let made = Cell::new(0);
    let answer = session(&context, 10)
        .fleet((), async |_, _| {
            made.set(made.get() + 1);
            let next = { left.borrow_mut().pop() };
            next.map_or(Ok(Response::new(7)), Err)
        })
        .await;
    (answer, made.get())
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again() {
    for code in [Code::Unavailable, Code::Aborted, Code::ResourceExhausted] {
        let (answer, made) = outcome(vec![busy(code, Some(SECOND)); 2]).await;
        assert_eq!((answer.unwrap(), made), (7, 3), "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end() {
    let (answer, made) = outcome(vec![busy(Code::Unavailable, Some(SECOND)); 50]).await;
    assert!(matches!(answer, Err(Failure::Call(_))));
    assert_eq!(made, 3);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_repeated() {
    for code in [Code::NotFound, Code::Aborted, Code::ResourceExhausted, Code::Internal] {
        let (answer, made) = outcome(vec![busy(code, None)]).await;
        assert!(answer.is_err());
        assert_eq!(made, 1, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_keeps_its_request_id_over_its_attempts_and_tells_it() {
    let context = context();
    let session = session(&context, 10);
    let seen = RefCell::new(Vec::new());
    let failure = session
        .fleet_write(session.request_id(), async |_, request| {
            seen.borrow_mut().push(request.into_inner());
            Err::<Response<()>, _>(busy(Code::Unavailable, Some(SECOND)))
        })
        .await
        .unwrap_err();
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|id| *id == session.request_id()), "{seen:?}");
    let Failure::Call(refusal) = failure else { panic!("{failure}") };
    assert_eq!(refusal.request_id, Some(session.request_id()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up() {
    let context = context();
    let failure = session(&context, 10)
        .fleet((), async |_, _| std::future::pending::<Result<Response<()>, Status>>().await)
        .await
        .unwrap_err();
    let Failure::Call(refusal) = failure else { panic!("{failure}") };
    assert_eq!(refusal.code, Code::DeadlineExceeded);
}

#[test]
fn a_wait_is_never_shorter_than_the_server_asked_for() {
    let refusal = Refusal::new(&busy(Code::ResourceExhausted, Some(SECOND)));
    assert_eq!(wait_before_next(&refusal, 1, 0.0), Some(SECOND));
    assert!(wait_before_next(&refusal, 1, 0.99).unwrap() <= 2 * SECOND);
}

#[test]
fn a_wait_too_long_for_a_person_is_told_instead() {
    let refusal = Refusal::new(&busy(Code::ResourceExhausted, Some(MAX_WAIT + SECOND)));
    assert_eq!(wait_before_next(&refusal, 1, 0.5), None);
}

#[test]
fn waits_for_a_server_that_is_gone_grow_to_a_bound() {
    let refusal = Refusal::new(&Status::unavailable("connection refused"));
    let ceiling = |attempt| wait_before_next(&refusal, attempt, 1.0).unwrap();
    assert_eq!(ceiling(2), 2 * ceiling(1));
    assert_eq!(ceiling(20), MAX_WAIT);
    assert_eq!(ceiling(200), MAX_WAIT);
}

/// A list of `0..length`, followed in pages of at most four.
async fn followed(limit: usize, length: usize) -> Found<usize> {
    let context = context();
    let fetch = async |size: i32, token: String| {
        let start: usize = if token.is_empty() { 0 } else { token.parse().unwrap() };
        let end = (start + usize::try_from(size).unwrap()).min(length);
        let next = if end < length { end.to_string() } else { String::new() };
        Ok(((start..end).collect(), next))
    };
    session(&context, limit).pages(4, fetch).await.unwrap()
}

#[tokio::test]
async fn pages_are_followed_to_the_end_or_to_the_limit() {
    for (limit, length) in [(10, 0), (10, 3), (10, 10), (9, 10), (4, 5), (1, 5)] {
        let found = followed(limit, length).await;
        assert_eq!(found.items, (0..length.min(limit)).collect::<Vec<_>>(), "{limit} of {length}");
        assert_eq!(found.more, length > limit, "{limit} of {length}");
    }
}

#[tokio::test]
async fn a_cursor_that_stands_still_is_not_followed_for_ever() {
    let context = context();
    let fetch = async |_, _| Ok((Vec::<u8>::new(), "same".to_owned()));
    let ended = session(&context, 10).pages(4, fetch).await;
    assert!(matches!(ended, Err(Failure::Contract(_))));
}
