//! What happens to alerts is told once, in the commit that does it.

use crate::chain::Chain;
use crate::stage::{START_MS, Stage};
use server::domain::fleet::{Alert, AlertChange, LOW_STOCK};
use server::domain::ids::{AlertId, MachineId};
use server::domain::sync::{AlertKind, AlertOver, AlertRaise, Writes};
use server::store::alerts::{self, NO_MACHINE, Raise};
use server::store::events::{self, AlertBody, Happening, KIND_ALERT, ORDER_SHARD, Origin, SYNC_SHARD};
use server::store::{End, StoreError, Tx};
use uuid::Uuid;
use vend_core::id::ProductId;

/// The events about alerts: shard, trace, what happened, and the alert as the event tells it.
async fn told(stage: &Stage) -> Vec<(i64, String, AlertChange, Alert)> {
    let sql =
        "SELECT kind, shard, trace_id, body, subject, machine_id, at_ms FROM events ORDER BY shard, position";
    let rows = stage.rows(sql).await;
    rows.iter()
        .filter_map(|row| {
            let mut c = row.columns();
            if c.int().unwrap() != KIND_ALERT {
                return None;
            }
            let (shard, trace) = (c.int().unwrap(), c.text().unwrap().to_owned());
            let body = c.opt_bytes().unwrap().unwrap().to_vec();
            let id = AlertId(c.uuid().unwrap());
            let (change, alert) = AlertBody::read(&body, id, c.opt_uuid().unwrap().map(MachineId)).unwrap();
            assert_eq!(c.int().unwrap(), change.at_ms(&alert));
            Some((shard, trace, change, alert))
        })
        .collect()
}

pub(crate) async fn a_batch_tells_of_alerts_that_begin_or_end_and_of_no_other(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::new(machine).whole();
    let raise = |key: &str, seq: u64| AlertRaise {
        id: AlertId(Uuid::now_v7()),
        machine,
        kind: AlertKind::MachineFault,
        key: key.to_owned(),
        epoch: Some(call.epoch),
        seq,
        detail: format!("jam at {seq}"),
        at_ms: START_MS + i64::try_from(seq).unwrap(),
        trace_id: format!("t-{seq}"),
    };
    let over = |key: &str| AlertOver {
        machine,
        kind: AlertKind::MachineFault,
        key: key.to_owned(),
        trace_id: "t-over".to_owned(),
    };
    let batch = |raised: Vec<AlertRaise>, ended: Vec<AlertOver>| {
        let call = &call;
        async move {
            let mut tx = stage.store.begin_hot().await.unwrap();
            let views = tx.load_sync(std::slice::from_ref(call), false).await.unwrap();
            let writes = Writes { alerts: raised, alerts_over: ended, ..Writes::default() };
            tx.write_sync(&views, &writes).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    batch(vec![raise("JAM:3", 5), raise("JAM:3", 6), raise("JAM:4", 6)], vec![over("JAM:9")]).await;
    batch(vec![raise("JAM:3", 7)], vec![]).await;
    batch(vec![], vec![over("JAM:3"), over("JAM:3")]).await;
    batch(vec![raise("JAM:3", 9)], vec![]).await;

    let told = told(stage).await;
    let short: Vec<_> = told
        .iter()
        .map(|(shard, trace, change, alert)| {
            (*shard, trace.as_str(), *change, alert.key.as_str(), alert.occurrences)
        })
        .collect();
    use AlertChange::{Raised, Resolved};
    assert_eq!(
        short,
        [
            (SYNC_SHARD, "t-5", Raised, "JAM:3", 2),
            (SYNC_SHARD, "t-6", Raised, "JAM:4", 1),
            (SYNC_SHARD, "t-over", Resolved, "JAM:3", 3),
            (SYNC_SHARD, "t-9", Raised, "JAM:3", 1),
        ],
        "being counted up is no event, nor is the end of what was not open"
    );
    let (_, _, _, first) = &told[0];
    assert_eq!((first.machine, first.epoch, first.seq), (Some(machine), Some(call.epoch), 5));
    assert_eq!(told[2].3.id, first.id);
    assert_eq!(
        stage.number("SELECT COUNT(*) FROM events").await,
        stage.number("SELECT COUNT(DISTINCT event_id) FROM events").await
    );
}

/// Each batch with a hundred causes that were never heard of before.
pub(crate) async fn causes_that_a_machine_makes_up_are_some_alerts_and_one_that_counts_the_rest(
    stage: &Stage,
) {
    let machines = stage.machines(2).await;
    let calls = [Chain::new(machines[0]).whole(), Chain::new(machines[1]).whole()];
    let raise = |of: usize, key: String| AlertRaise {
        id: AlertId(Uuid::now_v7()),
        machine: machines[of],
        kind: AlertKind::MachineFault,
        key,
        epoch: Some(calls[of].epoch),
        seq: 1,
        detail: "made up".to_owned(),
        at_ms: START_MS,
        trace_id: String::new(),
    };
    for batch in 0..3 {
        let mut alerts: Vec<_> = (0..100).map(|n| raise(0, format!("F{batch}-{n}"))).collect();
        alerts.push(raise(0, "F0-0".to_owned()));
        alerts.push(raise(1, "JAM".to_owned()));
        let mut tx = stage.store.begin_hot().await.unwrap();
        let views = tx.load_sync(&calls, false).await.unwrap();
        tx.write_sync(&views, &Writes { alerts, ..Writes::default() }).await.unwrap();
        tx.commit().await.unwrap();
    }
    let sql = "SELECT machine_id, alert_key, occurrences FROM alerts";
    let rows = stage.rows(sql).await;
    let shown: Vec<(MachineId, String, i64)> = rows
        .iter()
        .map(|row| {
            let mut c = row.columns();
            (MachineId(c.uuid().unwrap()), c.text().unwrap().to_owned(), c.int().unwrap())
        })
        .collect();
    let of = |machine: MachineId| shown.iter().filter(move |(of, ..)| *of == machine);
    assert_eq!(of(machines[0]).count(), 33);
    assert_eq!(of(machines[0]).map(|(_, _, occurrences)| occurrences).sum::<i64>(), 303, "none is lost");
    assert!(of(machines[0]).any(|(_, key, occurrences)| key == "F0-0" && *occurrences == 4));
    assert!(of(machines[0]).any(|(_, key, occurrences)| key == "more" && *occurrences == 300 - 32));
    assert_eq!(of(machines[1]).map(|(_, key, n)| (key.as_str(), *n)).collect::<Vec<_>>(), [("JAM", 3)]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(AlertId),
    End,
    Acknowledge(AlertId),
    Resolve(AlertId),
}

/// One change, with its event last.
async fn step(stage: &Stage, step: Step) {
    stage.store.run_tx("alert", step, |tx, step| Box::pin(change(tx, *step))).await.unwrap();
}

async fn change(tx: &mut Tx, step: Step) -> Result<End<()>, StoreError> {
    const KEY: &str = "product";
    let (change, alert) = match step {
        Step::Raise(id) => {
            let raise = Raise {
                id,
                machine: NO_MACHINE,
                kind: LOW_STOCK,
                key: KEY,
                detail: "3 units left",
                product: Some(ProductId([7; 16])),
                order: None,
                purchase: None,
                at_ms: START_MS,
                trace_id: "raised",
            };
            (AlertChange::Raised, alerts::raise(tx, &raise).await?)
        }
        Step::End => {
            (AlertChange::Resolved, alerts::end(tx, NO_MACHINE, LOW_STOCK, KEY, START_MS + 3).await?)
        }
        Step::Acknowledge(id) => {
            (AlertChange::Acknowledged, alerts::acknowledge(tx, id, "ann", START_MS + 1).await?)
        }
        Step::Resolve(id) => {
            (AlertChange::Resolved, alerts::resolve(tx, id, "bob", "seen", START_MS + 2).await?)
        }
    };
    let origin = Origin { trace_id: "call".to_owned(), traceparent: "00-parent".to_owned() };
    let happening = alert.map(|alert| Happening::alert(change, &alert, &origin)).transpose()?;
    events::write(tx, happening.as_slice()).await?;
    Ok(End::Commit(()))
}

pub(crate) async fn what_people_do_with_an_alert_is_told_once(stage: &Stage) {
    let (first, second) = (AlertId(Uuid::now_v7()), AlertId(Uuid::now_v7()));
    for next in [
        Step::Raise(first),
        Step::Raise(second),
        Step::Acknowledge(first),
        Step::Acknowledge(first),
        Step::Resolve(first),
        Step::Resolve(first),
        Step::Acknowledge(first),
        Step::End,
        Step::Raise(second),
        Step::End,
    ] {
        step(stage, next).await;
    }
    let told = told(stage).await;
    let short: Vec<_> = told.iter().map(|(_, _, change, alert)| (*change, alert.id)).collect();
    use AlertChange::{Acknowledged, Raised, Resolved};
    assert_eq!(
        short,
        [(Raised, first), (Acknowledged, first), (Resolved, first), (Raised, second), (Resolved, second)]
    );
    assert!(told.iter().all(|(shard, trace, ..)| *shard == ORDER_SHARD && trace == "call"));
    // Each event tells the alert as it was right after it; the last one of each, as it is.
    let mut session = stage.store.read().await.unwrap();
    for (at, id) in [(2, first), (4, second)] {
        assert_eq!(alerts::find(&mut session, id).await.unwrap().unwrap(), told[at].3);
    }
    assert_eq!((told[0].3.occurrences, told[2].3.occurrences), (1, 2));
    assert_eq!(told[2].3.acknowledged_by, "ann");
    assert_eq!((told[2].3.resolved_by.as_str(), told[2].3.note.as_str()), ("bob", "seen"));
}
