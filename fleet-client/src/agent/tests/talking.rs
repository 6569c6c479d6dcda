//! The whole machine, real journal included, talking to a server that misbehaves. Time is virtual.

use super::fake::{Fault, Machine, sell, settled, until};
use crate::agent::AgentError;
use crate::credentials::CredentialStore;
use crate::journal::{EpochOrder, Verdict};
use crate::transport::OfferedConfig;
use crate::unit::UnitError;
use std::time::Duration;
use vend_core::record::EpochReason;

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_or_comes_twice_each_record_arrives_once() {
    let mut machine = Machine::new();
    machine.publish(1);
    machine.server.with(|s| {
        s.script.extend([
            Fault::LoseRequest,
            Fault::LoseReply,
            Fault::Twice,
            Fault::LoseReply,
            Fault::LoseReply,
            Fault::None,
            Fault::LoseRequest,
            Fault::Twice,
        ]);
    });
    let unit = machine.boot().await;
    for _ in 0..5 {
        sell(&unit).await;
    }
    settled(&unit).await;
    let now = unit.snapshot();
    assert_eq!(machine.server.seqs(now.epoch), (1..=now.last_seq).collect::<Vec<_>>());
    assert_eq!(now.durable.counters.lifetime.vends, 5);
    assert_eq!(machine.server.with(|s| s.most_in_flight), 1, "one Sync in flight");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_goes_up_in_bounded_batches() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    machine.server.with(|s| s.script.extend([Fault::LoseRequest; 4]));
    for _ in 0..10 {
        sell(&unit).await;
    }
    unit.stop().await;
    machine.limits.batch_records = 3;
    machine.server.with(|s| {
        s.calls.clear();
        s.script.clear();
    });
    let unit = machine.boot().await;
    settled(&unit).await;
    let now = unit.snapshot();
    assert_eq!(machine.server.seqs(now.epoch), (1..=now.last_seq).collect::<Vec<_>>());
    let sizes: Vec<usize> = machine.server.with(|s| s.calls.iter().map(|c| c.records.len()).collect());
    assert!(sizes.len() >= 4 && sizes.iter().all(|&n| n <= 3), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_went_back_gets_again_what_it_lost() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    for _ in 0..4 {
        sell(&unit).await;
    }
    settled(&unit).await;
    machine.server.with(|s| s.script.push_back(Fault::Restore(2)));
    unit.sync_now();
    until(&unit, |u| u.status().marks.is_some_and(|m| m.accepted_through == 2)).await;
    settled(&unit).await;
    let now = unit.snapshot();
    assert_eq!(machine.server.seqs(now.epoch), (1..=now.last_seq).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_ordered_epoch_names_its_parent_in_its_first_record_and_in_every_call() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    let old = unit.snapshot();
    let order = EpochOrder { epoch: old.epoch, last_common_seq: 2, reason: EpochReason::Forked };
    machine.server.with(|s| s.open_epoch = Some(order));
    unit.sync_now();
    until(&unit, |u| u.snapshot().epoch != old.epoch).await;
    sell(&unit).await;
    settled(&unit).await;
    let new = unit.snapshot().epoch;
    machine.server.with(|s| {
        let of_new: Vec<_> = s.calls.iter().filter(|c| c.epoch == new).collect();
        assert!(!of_new.is_empty());
        for call in of_new {
            let parent = call.parent.expect("set in every call of an epoch that follows another");
            assert_eq!(
                (parent.epoch, parent.last_common_seq, parent.highest_seq),
                (old.epoch, 2, old.last_seq)
            );
        }
        let first = &s.chains[&new][0];
        let boot = vendfleet_wire::decode(first.kind, first.schema, &first.body).unwrap();
        assert!(matches!(boot.body, vend_core::record::Body::Boot(b) if b.parent.is_some()));
    });
    // The same order again is about an epoch that is past.
    machine.server.with(|s| s.open_epoch = Some(order));
    unit.sync_now();
    sell(&unit).await;
    settled(&unit).await;
    assert_eq!(unit.snapshot().epoch, new);
}

#[tokio::test(start_paused = true)]
async fn verdicts_are_echoed_once_they_are_stored_and_a_restart_forgets_none() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    let epoch = unit.snapshot().epoch;
    let verdict = |number| Verdict {
        number,
        epoch,
        first_seq: 1,
        last_seq: 1,
        disposition: 2,
        reason: "BODY_UNREADABLE".to_owned(),
    };
    machine.server.with(|s| {
        s.verdicts = vec![verdict(1), verdict(2)];
        s.script.push_back(Fault::LoseReply);
    });
    unit.sync_now();
    until(&unit, |u| u.status().failed == 1).await;
    unit.sync_now();
    sell(&unit).await;
    settled(&unit).await;
    unit.stop().await;
    let unit = machine.boot().await;
    settled(&unit).await;
    machine.server.with(|s| {
        assert_eq!(s.calls.last().unwrap().verdicts_seen_through, 2);
        assert!(s.verdicts.is_empty(), "the server stops repeating");
        assert_eq!(
            s.calls.last().unwrap().server_incarnation,
            "life-1",
            "the incarnation survives a restart too"
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_must_enrol_anew_keeps_its_journal_and_loses_no_reply() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    let epoch = unit.snapshot().epoch;
    machine.server.with(|s| {
        s.reenroll = Some("another-token".to_owned());
        s.lose_enrol_replies = 3;
    });
    unit.sync_now();
    until(&unit, |u| u.status().machine_id == "machine-of-another-token").await;
    sell(&unit).await;
    settled(&unit).await;
    machine.server.with(|s| {
        assert_eq!(s.enrolments.len(), 4);
        assert!(s.enrolments.iter().all(|e| e.claim_token == "another-token"));
        assert!(s.enrolments.iter().all(|e| e.secret == s.enrolments[0].secret), "the same secret each time");
        assert_ne!(s.enrolments[0].secret, [7; 32], "and a new one");
        let stored = CredentialStore::new(machine.dir.path()).credentials().unwrap().unwrap();
        assert_eq!(Some(&stored.identity), s.speaking_as.as_ref());
    });
    assert_eq!(unit.snapshot().epoch, epoch);
}

#[tokio::test(start_paused = true)]
async fn a_config_whose_hash_does_not_fit_never_reaches_the_machine() {
    let mut machine = Machine::new();
    let (bytes, _) = vendfleet_wire::config::encode(&crate::simulate::sample_config(4));
    machine.server.with(|s| s.config = Some(OfferedConfig { number: 5, sha256: vec![9; 32], bytes }));
    let unit = machine.boot().await;
    until(&unit, |u| u.status().configs_refused > 0).await;
    assert_eq!(unit.snapshot().durable.applied_number, 0);
    machine.publish(6);
    unit.sync_now();
    until(&unit, |u| u.snapshot().durable.applied_number == 6).await;
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_is_left_alone_as_long_as_it_asked() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    machine.server.with(|s| s.script.push_back(Fault::Overloaded(Duration::from_secs(120))));
    let before = tokio::time::Instant::now();
    unit.sync_now();
    until(&unit, |u| u.status().failed == 1).await;
    sell(&unit).await;
    settled(&unit).await;
    assert!(before.elapsed() >= Duration::from_secs(120), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hint_brings_a_price_change_long_before_the_next_sync_is_due() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    machine.publish(2);
    let before = tokio::time::Instant::now();
    machine.server.hint.send_modify(|n| *n += 1);
    until(&unit, |u| u.snapshot().durable.applied_number == 2).await;
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sale_is_on_the_server_seconds_later() {
    let mut machine = Machine::new();
    machine.publish(1);
    let unit = machine.boot().await;
    sell(&unit).await;
    settled(&unit).await;
    let before = tokio::time::Instant::now();
    sell(&unit).await;
    settled(&unit).await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ends_by_itself_is_noticed_while_the_device_runs_on() {
    let mut machine = Machine::new();
    std::fs::remove_file(machine.dir.path().join("credentials.json")).unwrap();
    let mut unit = machine.boot().await;
    let ended = tokio::time::timeout(Duration::from_secs(60), unit.ended()).await;
    assert!(matches!(ended, Ok(UnitError::Agent(AgentError::NotEnrolled))), "{ended:?}");
}
