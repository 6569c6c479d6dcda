//! When a machine that says nothing is told of, and when not.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use fleet_support::{Device, Stage, id, operator};
use server::domain::text::Text;
use server::operations::fleet::{Enrolled, NewEnrolment, enroll};
use server::operations::silence::{Looked, Silence};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vendfleet_proto::v1::{self, fleet_service_server::FleetService as _};

const MINUTE: Duration = Duration::from_secs(60);
const AFTER_MS: i64 = 3_600_000;

on_both_engines! {
    a_machine_that_says_nothing_is_told_of_once_and_its_next_sync_ends_it,
    a_machine_that_was_enrolled_and_never_heard_is_silent_and_one_that_never_was_is_not,
    after_an_outage_every_machine_has_the_whole_time_to_come_back,
    a_silence_that_a_person_resolved_is_not_told_of_again_and_the_next_one_is,
    a_revoked_machine_is_not_silent_any_more,
    one_replica_looks_at_a_time_and_hands_on_what_it_knows,
}

/// A server that looks every half minute.
struct Looking<'s> {
    stage: &'s Stage,
    silence: Silence,
}

impl<'s> Looking<'s> {
    fn new(stage: &'s Stage) -> Self {
        Self { stage, silence: Silence::new(&stage.deps, AFTER_MS) }
    }

    async fn look(&mut self) -> Option<Looked> {
        self.silence.look(&self.stage.deps, &CancellationToken::new()).await.unwrap()
    }

    async fn stop(&mut self) {
        self.silence.release(&self.stage.deps).await.unwrap();
    }

    /// So many minutes of looks; gives how often it was told of somebody, and that it was over.
    async fn minutes(&mut self, minutes: u32) -> (u64, u64) {
        let mut told = (0, 0);
        for _ in 0..minutes * 2 {
            self.stage.clock.advance(MINUTE / 2);
            let looked = self.look().await.unwrap();
            told = (told.0 + looked.raised, told.1 + looked.ended);
        }
        told
    }
}

async fn enrolled(stage: &Stage, machine: &v1::Machine) -> Enrolled {
    let (token, _) = stage.claim(&machine.machine_id).await;
    let new = NewEnrolment {
        claim_token: Text::parse(&token).unwrap(),
        secret: [7; 32],
        serial: Text::parse("S-1").unwrap(),
        model: Text::parse("VM-1").unwrap(),
        csr_der: None,
    };
    enroll(&stage.deps, new).await.unwrap()
}

async fn device(stage: &Stage) -> Device {
    let product = stage.product("COLA", 100).await;
    let machine = stage.machine("m").await;
    enrolled(stage, &machine).await;
    Device::new(&machine, &product)
}

async fn open(stage: &Stage) -> Vec<v1::Alert> {
    let all = stage.alerts(v1::AlertType::MachineSilent).await;
    all.into_iter().filter(|alert| alert.state() != v1::AlertState::Resolved).collect()
}

async fn a_machine_that_says_nothing_is_told_of_once_and_its_next_sync_ends_it(stage: Stage) {
    let mut device = device(&stage).await;
    let mut looking = Looking::new(&stage);
    looking.look().await;
    assert_eq!(looking.minutes(30).await, (0, 0));
    device.sync(&stage).await;
    assert_eq!(looking.minutes(60).await, (0, 0));
    assert_eq!(looking.minutes(120).await, (1, 0));
    let alerts = open(&stage).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].machine_id, device.machine.to_string());
    assert_eq!((alerts[0].severity(), alerts[0].occurrences), (v1::AlertSeverity::Warning, 1));
    assert_eq!(alerts[0].message, "not heard for 3630 s (sync.silent_after_ms is 3600000)");

    device.vend();
    device.sync(&stage).await;
    assert_eq!(open(&stage).await, []);
    assert_eq!(looking.minutes(30).await, (0, 0));
    assert_eq!(looking.minutes(31).await, (1, 0), "the next silence is another alert");
    assert_eq!(stage.alerts(v1::AlertType::MachineSilent).await.len(), 2);
}

async fn a_machine_that_was_enrolled_and_never_heard_is_silent_and_one_that_never_was_is_not(stage: Stage) {
    stage.machine("in its box").await;
    let virtual_one = v1::CreateMachineRequest {
        request_id: id(),
        kind: v1::MachineKind::Virtual.into(),
        name: "v".to_owned(),
        ..v1::CreateMachineRequest::default()
    };
    stage.fleet.create_machine(operator(virtual_one)).await.unwrap();
    let mut looking = Looking::new(&stage);
    looking.look().await;
    assert_eq!(looking.minutes(200).await, (0, 0));

    let machine = stage.machine("m").await;
    enrolled(&stage, &machine).await;
    assert_eq!(looking.minutes(60).await, (0, 0));
    assert_eq!(looking.minutes(1).await, (1, 0));
    let alerts = open(&stage).await;
    assert_eq!(alerts[0].machine_id, machine.machine_id);
    assert_eq!(alerts[0].message, "enrolled, and never heard since (sync.silent_after_ms is 3600000)");
}

async fn after_an_outage_every_machine_has_the_whole_time_to_come_back(stage: Stage) {
    let mut device = device(&stage).await;
    device.sync(&stage).await;
    let mut looking = Looking::new(&stage);
    looking.look().await;
    looking.minutes(5).await;
    looking.stop().await;

    stage.clock.advance(MINUTE * 600);
    let mut restarted = Looking::new(&stage);
    assert_eq!(restarted.look().await, Some(Looked::default()));
    assert_eq!(restarted.minutes(59).await, (0, 0));
    assert_eq!(restarted.minutes(2).await, (1, 0));

    device.sync(&stage).await;
    restarted.minutes(50).await;
    restarted.stop().await;
    // A quick restart puts nothing off.
    stage.clock.advance(MINUTE * 10);
    let mut again = Looking::new(&stage);
    assert_eq!(again.look().await, Some(Looked::default()));
    assert_eq!(again.minutes(1).await, (1, 0));
}

async fn a_silence_that_a_person_resolved_is_not_told_of_again_and_the_next_one_is(stage: Stage) {
    let mut device = device(&stage).await;
    device.sync(&stage).await;
    let mut looking = Looking::new(&stage);
    looking.look().await;
    assert_eq!(looking.minutes(61).await, (1, 0));
    let resolve = v1::ResolveAlertRequest {
        alert_id: open(&stage).await[0].alert_id.clone(),
        note: "stands in the workshop".to_owned(),
    };
    stage.fleet.resolve_alert(operator(resolve)).await.unwrap();
    assert_eq!(looking.minutes(100).await, (0, 0));
    device.sync(&stage).await;
    assert_eq!(looking.minutes(61).await, (1, 0));
}

async fn a_revoked_machine_is_not_silent_any_more(stage: Stage) {
    let mut looking = Looking::new(&stage);
    looking.look().await;
    let machine = stage.machine("m").await;
    let credential = enrolled(&stage, &machine).await.credential;
    assert_eq!(looking.minutes(61).await, (1, 0));
    let revoke = v1::RevokeCredentialRequest {
        credential_id: credential.to_string(),
        ..v1::RevokeCredentialRequest::default()
    };
    stage.fleet.revoke_credential(operator(revoke)).await.unwrap();
    assert_eq!(looking.minutes(100).await, (0, 1));
    assert_eq!(open(&stage).await, []);
}

async fn one_replica_looks_at_a_time_and_hands_on_what_it_knows(stage: Stage) {
    let mut device = device(&stage).await;
    device.sync(&stage).await;
    let (mut first, mut second) = (Looking::new(&stage), Looking::new(&stage));
    first.look().await;
    assert_eq!(second.look().await, None);
    first.minutes(50).await;
    assert_eq!(second.look().await, None);
    first.stop().await;
    assert_eq!(second.minutes(9).await, (0, 0));
    assert_eq!(first.look().await, None);
    assert_eq!(second.minutes(2).await, (1, 0), "what was listened through before it took over counts");
}
