//! Forgetting sessions and commands that are over: what is theirs goes with them, what something unfinished refers to stays,
//! and what was forgotten still adds up.

use crate::chain::{Chain, sync};
use crate::stage::{START_MS, Stage};
use server::domain::ids::{MachineId, PurchaseId, SessionId};
use server::store::{Store, pool};
use tokio::task::JoinSet;
use uuid::Uuid;
use vend_core::id::{ProductId, TransactionId};

const DAY_MS: i64 = 86_400_000;
/// Everything before is old.
const BEFORE_MS: i64 = START_MS + 100 * DAY_MS;
const COLA: ProductId = ProductId([7; 16]);

fn machine(n: u128) -> MachineId {
    MachineId(Uuid::from_u128(n))
}

/// The n-th session, begun a second after the one before it; its purchase has the same number.
fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(((u128::try_from(START_MS).unwrap() + n * 1_000) << 80) | n))
}

fn purchase(n: u128) -> PurchaseId {
    PurchaseId(Uuid::from_u128(session(n).0.as_u128() | 1 << 60))
}

/// Real machines 1 to `count` in the pool.
async fn hall(stage: &Stage, count: u64) {
    for id in stage.machines(count).await {
        let sql = "INSERT INTO pool (machine_id, kind, state, free_at_ms) VALUES ($1, 2, 1, 0)";
        stage.put(sql, &[id.as_bytes()], &[]).await;
    }
}

/// A session of machine 1 whose purchase completed with a dispense command that was carried out, all of it long ago.
async fn bought(stage: &Stage, n: u128) {
    let (session, machine, purchase) = (session(n), machine(1), purchase(n));
    let ids: [&[u8]; 3] = [session.as_bytes(), machine.as_bytes(), purchase.as_bytes()];
    let (ended_ms, fingerprint) = (START_MS + DAY_MS, [1; 32]);
    let sql = "INSERT INTO sessions (session_id, machine_id, purchase_id, customer_id, state, lease_until_ms, caller, \
               request_id, fingerprint, created_at_ms, ended_at_ms) \
               VALUES ($1, $2, $3, 'anna', 3, 0, 'kiosk', $1, $4, $5, $6)";
    stage.put(sql, &[ids[0], ids[1], ids[2], &fingerprint], &[START_MS, ended_ms]).await;
    let number = i64::try_from(n).unwrap();
    let sql = "INSERT INTO purchases (session_id, machine_id, purchase_id, product_id, kind, customer_id, currency, \
               price_minor, mode, payment, state, holds_unit, holds_machine, work, due_at_ms, caller, request_id, \
               fingerprint, created_at_ms, updated_at_ms, ended_at_ms, command_number) VALUES ($1, $2, $3, $4, 2, 'anna', \
               'EUR', 100, 1, 1, 7, FALSE, FALSE, 0, 0, 'kiosk', $1, $5, $6, $6, $7, $8)";
    let with_product: [&[u8]; 4] = [ids[0], ids[1], ids[2], &COLA.0];
    let with_both: [&[u8]; 5] = [ids[0], ids[1], ids[2], &COLA.0, &fingerprint];
    stage.put(sql, &with_both, &[START_MS, ended_ms, number]).await;
    let sql = "INSERT INTO commands (epoch, machine_id, purchase_id, product_id, number, state, kind, currency, created_at_ms, \
               expires_at_ms, ended_at_ms) VALUES ($1, $2, $3, $4, $7, 3, 1, 'EUR', $5, $5, $6)";
    stage.put(sql, &with_product, &[START_MS, ended_ms, number]).await;
    let sql = "INSERT INTO purchase_dead_letters (dead_letter_id, purchase_id, state, reason, detail, created_at_ms) \
               VALUES ($1, $2, 3, 'GATEWAY_TIMEOUT', '', $3)";
    stage.put(sql, &[ids[0], ids[2]], &[START_MS]).await;
    let sql = "INSERT INTO alerts (machine_id, alert_id, purchase_id, kind, alert_key, detail, created_at_ms, last_at_ms, \
               resolved_at_ms) VALUES ($1, $2, $3, 'LATE_VEND', 'x', '', $4, $4, $4)";
    stage.put(sql, &[ids[1], ids[0], ids[2]], &[START_MS]).await;
}

/// Sweeps to the end; gives how many sessions went in each step.
async fn sweep(store: &Store, rows: u32) -> Vec<u64> {
    let (mut steps, mut at) = (Vec::new(), None);
    loop {
        let step = store.forget_sessions(BEFORE_MS, rows, at).await.unwrap();
        steps.push(step.count);
        match step.next {
            Some(next) => at = Some(next),
            None => return steps,
        }
    }
}

async fn counts(stage: &Stage) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, table) in
        counts.iter_mut().zip(["sessions", "purchases", "commands", "purchase_dead_letters"])
    {
        *count = stage.count(table).await;
    }
    counts
}

const FORGOTTEN: &str = "SELECT CAST(COALESCE(SUM(completed), 0) AS BIGINT) FROM forgotten_purchases";

pub(crate) async fn a_session_that_is_over_goes_with_all_that_is_its_own(stage: &Stage) {
    hall(stage, 1).await;
    for n in 1..=4 {
        bought(stage, n).await;
    }
    // One failed, and one never bought anything.
    stage.execute("UPDATE purchases SET state = 8 WHERE command_number = 2").await;
    stage.put("DELETE FROM purchases WHERE purchase_id = $1", &[purchase(3).as_bytes()], &[]).await;
    let none = "UPDATE sessions SET purchase_id = NULL, state = 5 WHERE session_id = $1";
    stage.put(none, &[session(3).as_bytes()], &[]).await;
    stage.execute("DELETE FROM commands WHERE number = 3").await;
    let mut reading = stage.store.read().await.unwrap();
    assert!(pool::find_session(&mut reading, session(1)).await.unwrap().is_some());
    drop(reading);

    assert_eq!(sweep(&stage.store, 1_000).await, [4]);
    // The third one's letter has no purchase: it is nobody's.
    assert_eq!(counts(stage).await, [0, 0, 0, 1]);
    assert_eq!(stage.number(FORGOTTEN).await, 2, "completed ones are counted");
    assert_eq!(stage.count("alerts").await, 4, "alerts stay");
    bought(stage, 5).await;
    assert_eq!(sweep(&stage.store, 1_000).await, [1]);
    assert_eq!((stage.number(FORGOTTEN).await, stage.count("forgotten_purchases").await), (3, 1));
    let mut reading = stage.store.read().await.unwrap();
    assert_eq!(pool::find_session(&mut reading, session(5)).await.unwrap(), None);
    assert_eq!(pool::find_purchase(&mut reading, purchase(5)).await.unwrap(), None);
}

/// What keeps a session, and what ends that.
const HOLDS: [(&str, &str); 19] = [
    ("UPDATE commands SET state = 1", "UPDATE commands SET state = 5"),
    ("UPDATE commands SET state = 2", "UPDATE commands SET state = 4"),
    ("UPDATE commands SET state = 6", "UPDATE commands SET state = 3"),
    ("UPDATE purchase_dead_letters SET state = 1", "UPDATE purchase_dead_letters SET state = 3"),
    ("UPDATE purchase_dead_letters SET state = 2", "UPDATE purchase_dead_letters SET state = 3"),
    ("UPDATE alerts SET resolved_at_ms = 0", "UPDATE alerts SET resolved_at_ms = 5"),
    ("UPDATE purchases SET state = 1", "UPDATE purchases SET state = 7"),
    ("UPDATE purchases SET state = 2", "UPDATE purchases SET state = 7"),
    ("UPDATE purchases SET state = 3", "UPDATE purchases SET state = 8"),
    ("UPDATE purchases SET state = 4", "UPDATE purchases SET state = 7"),
    ("UPDATE purchases SET state = 5", "UPDATE purchases SET state = 7"),
    ("UPDATE purchases SET state = 6", "UPDATE purchases SET state = 8"),
    ("UPDATE purchases SET heard = TRUE", "UPDATE purchases SET heard = FALSE"),
    ("UPDATE purchases SET work = 2", "UPDATE purchases SET work = 0"),
    // Until it was over for long enough too: a later end is another's word.
    ("UPDATE purchases SET ended_at_ms = 1758640000000", "UPDATE purchases SET ended_at_ms = 1758639999999"),
    ("UPDATE sessions SET ended_at_ms = 1758640000000", "UPDATE sessions SET ended_at_ms = 1758639999999"),
    ("UPDATE sessions SET ended_at_ms = 0", "UPDATE sessions SET ended_at_ms = 5"),
    ("UPDATE pool SET session_id = (SELECT session_id FROM sessions)", "UPDATE pool SET session_id = NULL"),
    (
        "UPDATE pool SET purchase_id = (SELECT purchase_id FROM purchases)",
        "UPDATE pool SET purchase_id = NULL",
    ),
];

pub(crate) async fn what_something_unfinished_refers_to_stays(stage: &Stage) {
    assert_eq!(BEFORE_MS, 1_758_640_000_000, "as the statements have it");
    hall(stage, 1).await;
    for (n, (hold, end)) in (1..).zip(HOLDS) {
        bought(stage, n).await;
        assert!(stage.execute(hold).await >= 1, "{hold}");
        assert_eq!(sweep(&stage.store, 1_000).await, [0], "{hold}");
        assert_eq!(counts(stage).await, [1; 4], "{hold}");
        stage.execute(end).await;
        assert_eq!(sweep(&stage.store, 1_000).await, [1], "{end}");
        assert_eq!(counts(stage).await, [0; 4], "{end}");
        stage.execute("DELETE FROM alerts").await;
    }
}

pub(crate) async fn sessions_go_oldest_first_in_bounded_steps_and_around_what_stays(stage: &Stage) {
    hall(stage, 1).await;
    for n in 1..=23 {
        bought(stage, n).await;
    }
    // The oldest ones stay, and keep nobody else.
    stage.execute("UPDATE commands SET state = 6 WHERE number <= 6").await;
    let first = stage.store.forget_sessions(BEFORE_MS, 20, None).await.unwrap();
    assert_eq!((first.count, first.next), (0, Some(session(5))));
    let second = stage.store.forget_sessions(BEFORE_MS, 20, first.next).await.unwrap();
    assert_eq!((second.count, second.next), (4, Some(session(10))));
    assert_eq!(stage.number("SELECT MIN(number) FROM commands WHERE state = 3").await, 11, "oldest first");
    assert_eq!(sweep(&stage.store, 20).await, [0, 4, 5, 4]);
    assert_eq!(counts(stage).await, [6; 4]);
    // Ids that are younger than what is old are not looked at.
    assert_eq!(stage.store.forget_sessions(START_MS, 1_000, None).await.unwrap().next, None);
    stage.execute("UPDATE commands SET state = 3").await;
    // Fewer rows than belong to one session: one at a time.
    assert_eq!(sweep(&stage.store, 1).await, [1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(stage.number(FORGOTTEN).await, 23);
}

pub(crate) async fn sweeps_at_once_forget_and_count_each_once(stage: &Stage) {
    hall(stage, 1).await;
    for n in 1..=40 {
        bought(stage, n).await;
    }
    let mut sweeps = JoinSet::new();
    for _ in 0..4 {
        let store = stage.store.clone();
        sweeps.spawn(async move { sweep(&store, 24).await.iter().sum::<u64>() });
    }
    assert_eq!(sweeps.join_all().await.iter().sum::<u64>(), 40);
    assert_eq!((counts(stage).await, stage.number(FORGOTTEN).await), ([0; 4], 40));
}

pub(crate) async fn commands_of_operators_go_when_they_are_over_and_old(stage: &Stage) {
    hall(stage, 2).await;
    bought(stage, 1).await;
    for (n, (state, created_ms, ended_ms)) in (10..).zip([
        (3, START_MS, START_MS + 1),
        (4, START_MS, START_MS + 1),
        (5, START_MS + 1, START_MS + 1),
        // Open, or over for less long.
        (1, START_MS, 0),
        (2, START_MS, 0),
        (6, START_MS, 0),
        (3, START_MS, BEFORE_MS),
        (3, BEFORE_MS, BEFORE_MS),
    ]) {
        let sql = "INSERT INTO commands (machine_id, epoch, number, state, kind, created_at_ms, expires_at_ms, ended_at_ms) \
                   VALUES ($1, $1, $2, $3, 3, $4, $4, $5)";
        stage.put(sql, &[machine(2).as_bytes()], &[n, state, created_ms, ended_ms]).await;
    }
    let (mut gone, mut at) = (Vec::new(), None);
    loop {
        let step = stage.store.forget_commands(BEFORE_MS, 3, at).await.unwrap();
        gone.push(step.count);
        at = step.next;
        if at.is_none() {
            break;
        }
    }
    assert_eq!((gone.iter().sum::<u64>(), gone.len()), (3, 3), "{gone:?}");
    let kept = stage.rows("SELECT number FROM commands ORDER BY number").await;
    let kept: Vec<i64> = kept.iter().map(|row| row.columns().int().unwrap()).collect();
    assert_eq!(kept, [1, 13, 14, 15, 16, 17], "and a purchase's goes with its purchase");
}

pub(crate) async fn a_late_vend_of_a_forgotten_purchase_is_a_sale(stage: &Stage) {
    hall(stage, 1).await;
    bought(stage, 1).await;
    let mut chain = Chain::of(machine(1), 2);
    sync(&stage.store, &[chain.whole()]).await.unwrap();
    assert_eq!(sweep(&stage.store, 1_000).await, [1]);
    chain.vend(TransactionId(*purchase(1).as_bytes()), 1);
    let answer = sync(&stage.store, &[chain.whole()]).await.unwrap().remove(0);
    assert_eq!((answer.durable_through, answer.commands.len()), (3, 0));
    assert_eq!(answer.verdicts.len(), 0, "nothing is wrong with it");
    let sold = "SELECT COUNT(*) FROM records WHERE kind = 2 AND transaction_id IS NOT NULL";
    assert_eq!(stage.number(sold).await, 1);
    assert_eq!(counts(stage).await, [0; 4]);
    let free = "SELECT COUNT(*) FROM pool WHERE state = 1 AND free_at_ms = 0 AND usage_count = 0";
    assert_eq!(stage.number(free).await, 1, "its machine is as it was");
}
