#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use super::*;
use crate::domain::ids::{MachineId, SessionId};
use crate::domain::pool::{Refusal, Session, SessionState};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(30);

/// Machines by group, and who has asked for one, in order.
#[derive(Default)]
struct Hall {
    idle: Mutex<HashMap<String, usize>>,
    asked: Mutex<Vec<String>>,
    panics: AtomicUsize,
    /// Answers of these are kept back.
    held: Mutex<Vec<oneshot::Sender<Result<Granted, ApiError>>>>,
    holds: AtomicUsize,
}

impl Hall {
    fn free(&self, group: &str) {
        *self.idle.lock().unwrap().entry(group.to_owned()).or_default() += 1;
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn ask(&self, start: &Start) -> Coming<StartWrite> {
        let take = |counter: &AtomicUsize| {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        assert!(!take(&self.panics), "this round panics");
        let (reply, answer) = oneshot::channel();
        if take(&self.holds) {
            self.held.lock().unwrap().push(reply);
            return answer;
        }
        self.asked.lock().unwrap().push(start.customer.clone());
        let mut idle = self.idle.lock().unwrap();
        let group = start.pick.group.clone().unwrap_or_default();
        let taken = match idle.get_mut(&group) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let _ = reply.send(Ok(if taken { session(start) } else { nothing() }));
        answer
    }
}

fn nothing() -> Granted {
    Granted::Refused { refusal: Refusal::NoIdleMachine, fitting: 3, passed_by: false }
}

fn session(start: &Start) -> Granted {
    let session = Session {
        id: start.session,
        machine: MachineId(Uuid::nil()),
        customer: start.customer.clone(),
        state: SessionState::ChooseProduct,
        lease_until_ms: 1,
        purchase: None,
        caller: start.caller.clone(),
        request_id: start.request_id,
        fingerprint: start.fingerprint,
        created_at_ms: 1,
        ended_at_ms: 0,
        trace_id: String::new(),
    };
    Granted::Session { session, already: false, pooled: None }
}

fn queue(hall: &Arc<Hall>, most: usize) -> Arc<Queue> {
    let settings = PoolSettings { max_waiting_callers: most, ..PoolSettings::default() };
    let (context, _) = Context::manual(1_000, 1);
    let hall = Arc::clone(hall);
    Queue::asking(Box::new(move |start| Ok(hall.ask(&start))), context, &settings)
}

fn wants(customer: &str, group: &str) -> Start {
    Start {
        session: SessionId(Uuid::nil()),
        customer: customer.to_owned(),
        pick: Pick { group: Some(group.to_owned()), ..Pick::default() },
        caller: "kiosk".to_owned(),
        request_id: Uuid::nil(),
        fingerprint: [1; 32],
        at_ms: 1,
        trace_id: String::new(),
    }
}

type Told = Result<Granted, ApiError>;

/// A caller, once it has been looked for and waits.
async fn waiting(queue: &Arc<Queue>, start: Start) -> JoinHandle<Told> {
    let before = queue.count();
    let caller = coming(queue, start, LONG);
    until(|| queue.count() > before && queue.line().is_at_rest()).await;
    caller
}

fn coming(queue: &Arc<Queue>, start: Start, wait: Duration) -> JoinHandle<Told> {
    let queue = Arc::clone(queue);
    tokio::spawn(async move { queue.wait(start, wait, None).await })
}

/// Time stands still unless everybody waits for it.
async fn until(met: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if met() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the condition is never met");
}

fn has(told: Told) -> String {
    match told {
        Ok(Granted::Session { session, .. }) => session.customer,
        other => panic!("{other:?}"),
    }
}

fn refused(told: Told) -> (Reason, String, String) {
    let error = told.unwrap_err();
    assert!(error.retry_after.is_some(), "{error:?}");
    let value = |key: &str| {
        error
            .metadata
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    };
    (error.reason, value("cause"), value("fitting"))
}

fn none_idle(cause: &str) -> (Reason, String, String) {
    (Reason::NoIdleMachine, cause.to_owned(), "3".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_still_looks_once_and_nobody_overtakes() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 2);
    let ann = waiting(&queue, wants("ann", "south")).await;
    let bob = waiting(&queue, wants("bob", "south")).await;
    hall.asked();
    assert_eq!(refused(coming(&queue, wants("cid", "south"), LONG).await.unwrap()), none_idle("QUEUE_FULL"));
    // Whatever stands idle for somebody else's filter is found.
    hall.free("north");
    assert_eq!(has(coming(&queue, wants("dan", "north"), LONG).await.unwrap()), "dan");
    hall.free("north");
    assert_eq!(has(coming(&queue, wants("eve", "north"), Duration::ZERO).await.unwrap()), "eve");
    // And what those in front wait for is theirs.
    hall.asked();
    hall.free("south");
    assert_eq!(refused(coming(&queue, wants("fay", "south"), LONG).await.unwrap()), none_idle("QUEUE_FULL"));
    assert_eq!(has(ann.await.unwrap()), "ann");
    assert!(hall.asked().starts_with(&["ann".to_owned()]));
    hall.free("south");
    queue.wake();
    assert_eq!(has(bob.await.unwrap()), "bob");
}

#[tokio::test(start_paused = true)]
async fn whose_time_is_over_hears_how_many_match() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 8);
    let told = queue.wait(wants("ann", "south"), Duration::from_millis(700), None).await;
    assert_eq!(refused(told), none_idle("WAIT_OVER"));
    let told = queue.wait(wants("ann", "south"), Duration::ZERO, None).await;
    assert_eq!(refused(told), none_idle("ALL_BUSY"));
    until(|| queue.count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn whose_time_is_over_before_its_turn_is_looked_for_all_the_same() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 8);
    hall.holds.store(1, Ordering::SeqCst);
    let ann = coming(&queue, wants("ann", "south"), LONG);
    until(|| !hall.held.lock().unwrap().is_empty()).await;
    hall.free("north");
    let bob = coming(&queue, wants("bob", "north"), Duration::from_millis(1));
    let cid = coming(&queue, wants("cid", "south"), Duration::from_millis(1));
    until(|| queue.count() == 3).await;
    tokio::time::advance(Duration::from_millis(5)).await;
    tokio::task::yield_now().await;
    assert!(!bob.is_finished() && !cid.is_finished(), "nobody has looked for them");
    let held = hall.held.lock().unwrap().pop().unwrap();
    held.send(Ok(nothing())).unwrap();
    assert_eq!(has(bob.await.unwrap()), "bob");
    assert_eq!(refused(cid.await.unwrap()), none_idle("WAIT_OVER"));
    assert!(!ann.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_whoever_waits_and_whoever_comes() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 8);
    let ann = waiting(&queue, wants("ann", "south")).await;
    hall.holds.store(1, Ordering::SeqCst);
    let bob = coming(&queue, wants("bob", "north"), LONG);
    // One of the two is being asked for, and its answer does not come yet.
    until(|| !hall.held.lock().unwrap().is_empty()).await;
    let dan = coming(&queue, wants("dan", "east"), LONG);
    until(|| queue.count() == 3).await;
    let began = tokio::time::Instant::now();
    queue.close();
    let unavailable = (Reason::Unavailable, String::new(), String::new());
    assert_eq!(refused(dan.await.unwrap()), unavailable);
    let held = hall.held.lock().unwrap().pop().unwrap();
    held.send(Ok(nothing())).unwrap();
    assert_eq!(refused(ann.await.unwrap()), unavailable);
    assert_eq!(refused(bob.await.unwrap()), unavailable);
    assert_eq!(refused(queue.wait(wants("cid", "south"), LONG, None).await), unavailable);
    assert_eq!((began.elapsed(), queue.count()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_round_and_not_the_service() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 8);
    hall.panics.store(1, Ordering::SeqCst);
    let lost = coming(&queue, wants("ann", "south"), LONG).await.unwrap();
    assert_eq!(lost.unwrap_err().reason, Reason::Unavailable);
    hall.free("south");
    assert_eq!(has(coming(&queue, wants("bob", "south"), LONG).await.unwrap()), "bob");
    until(|| queue.count() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_room() {
    let hall = Arc::new(Hall::default());
    let queue = queue(&hall, 1);
    let ann = waiting(&queue, wants("ann", "south")).await;
    ann.abort();
    until(|| queue.count() == 0).await;
    let _bob = waiting(&queue, wants("bob", "south")).await;
    let all: BTreeSet<String> = hall.asked().into_iter().collect();
    assert_eq!(all, BTreeSet::from(["ann".to_owned(), "bob".to_owned()]));
}
