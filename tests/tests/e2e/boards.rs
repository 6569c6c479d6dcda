//! The whole journal lost, the board swapped, the credential revoked.

use fleet_client::transport::{FailureKind, Standing};
use tonic::Code;
use vendfleet_proto::v1::{self, AlertType, BranchReason, CredentialState, UploadStanding};
use vendfleet_tests::{
    checker::check,
    device::voice::{Voice, refusal},
    fleet::{Engine, Fleet},
};

pub(crate) async fn a_lost_journal_opens_an_epoch_and_shows_the_step(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.sell(3).await;
    device.settle().await;
    let before = device.epoch();

    device.machine.reflash().await.unwrap();
    device.ready_to_sell().await;
    assert_ne!(device.epoch(), before);
    device.sell(2).await;
    device.settle().await;

    let mut operator = fleet.operator();
    let epochs = operator.epochs(&device.id()).await;
    assert_eq!(epochs.len(), 2);
    assert_eq!((epochs[1].epoch.clone(), epochs[1].parent_epoch.clone()), (device.epoch(), before));
    assert_eq!(operator.transactions(&device.id()).await.len(), 5, "what the lost journal had told stays");
    assert_eq!(
        operator.alerts_of(&device.id(), AlertType::Gap).await.len(),
        1,
        "nobody knows what was unsent"
    );
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 5);
}

pub(crate) async fn a_swapped_board_is_the_same_machine_and_the_old_one_only_uploads(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut old = fleet.device("corner").await;
    old.sell(2).await;
    old.settle().await;
    old.machine.go_offline();
    old.sell(3).await;

    let mut operator = fleet.operator();
    let id = old.id();
    let mut new = fleet.unboxed("spare", fleet.blueprint());
    new.enrol(&operator.swap_token(&id).await).await;
    assert_eq!(new.id(), id);
    new.power_on().await;
    new.ready_to_sell().await;
    new.sell(1).await;
    new.settle().await;

    old.machine.go_online();
    old.sync_until("the old board's sales to be taken", |o| {
        o.sync.all_accepted && o.sync.standing == Standing::Draining
    })
    .await;
    let branches = operator.branches(&id).await;
    assert_eq!(
        branches.iter().map(v1::QuarantineBranch::reason).collect::<Vec<_>>(),
        [BranchReason::Draining]
    );
    assert_eq!(operator.vends_apart(&branches[0]).await, 3);
    let mut states: Vec<_> = operator.credentials(&id).await.iter().map(v1::Credential::state).collect();
    states.sort_unstable();
    assert_eq!(states, [CredentialState::Active, CredentialState::UploadOnly]);

    // The old board's upload has not made a clone of the new one.
    operator.publish_prices(&[90, 90, 90]).await;
    new.sync_until("the new prices", |o| o.prices.iter().all(|(_, price)| *price == 90)).await;
    old.sync().await;
    assert_ne!(old.price(), 90, "nothing is told to a board that may only upload");
    new.sell(1).await;
    new.settle().await;
    assert_eq!(operator.device(&id).await.standing(), UploadStanding::Active);
    assert_eq!(operator.transactions(&id).await.len(), 4);
    check(&fleet, &[old.chains().await, new.chains().await]).await;
}

fn revoke(credential_id: String) -> v1::RevokeCredentialRequest {
    v1::RevokeCredentialRequest { credential_id, ..Default::default() }
}

pub(crate) async fn a_revoked_machine_drains_into_quarantine_and_is_then_refused(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("auth.credential_cache_ms", 0)).await;
    let mut device = fleet.device("corner").await;
    device.machine.go_offline();
    device.sell(2).await;
    let mut operator = fleet.operator();
    let (id, credential) = (device.id(), device.credentials().identity.credential_id);

    let drain = v1::RevokeCredentialRequest { drain_ms: 600_000, ..revoke(credential.clone()) };
    let drained = operator.fleet.revoke_credential(drain).await.unwrap().into_inner().credential.unwrap();
    assert_eq!(drained.state(), CredentialState::UploadOnly);
    device.machine.go_online();
    device
        .sync_until("the last sales to be taken", |o| {
            o.sync.all_accepted && o.sync.standing == Standing::Draining
        })
        .await;
    assert!(operator.transactions(&id).await.is_empty());
    let branch = operator.branches(&id).await.remove(0);
    assert_eq!((branch.reason(), operator.vends_apart(&branch).await), (BranchReason::Draining, 2));

    let hard = v1::RevokeCredentialRequest { hard: true, ..revoke(credential) };
    operator.fleet.revoke_credential(hard).await.unwrap();
    device.sell(1).await;
    device.sync_until("the refusal", |o| o.sync.last_error.is_some()).await;
    let error = device.now().sync.last_error.unwrap();
    assert_eq!((error.kind, error.reason.as_str()), (FailureKind::Revoked, "MACHINE_REVOKED"));
    // It keeps what it has.
    let chains = device.chains().await;
    assert_eq!(chains.epochs[0].records.len() as u64, chains.epochs[0].last_seq);
}

pub(crate) async fn a_hard_revocation_names_what_is_known_unsent(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("auth.credential_cache_ms", 0)).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(5).await;
    // The server hears of five and gets two.
    let call = device.next_call(ready + 1, 2).await;
    let mut voice = Voice::of(fleet.server.channel(), &device.credentials());
    assert_eq!(voice.sync(call.clone()).await.unwrap().durable_through, ready + 2);

    let mut operator = fleet.operator();
    let credential = device.credentials().identity.credential_id;
    let hard = v1::RevokeCredentialRequest { hard: true, ..revoke(credential) };
    let refused = operator.fleet.revoke_credential(hard.clone()).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "UNSENT_RECORDS");
    assert!(refused.message().contains('3'), "{}", refused.message());
    voice.sync(call.clone()).await.unwrap();

    let confirmed = v1::RevokeCredentialRequest { confirm_unsent: Some(3), ..hard };
    let ended = operator.fleet.revoke_credential(confirmed).await.unwrap().into_inner().credential.unwrap();
    assert_eq!((ended.state(), ended.unsent_records), (CredentialState::Revoked, 3));
    let refused = refusal(&voice.sync(call).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "MACHINE_REVOKED"));
    assert_eq!(operator.alerts_of(&device.id(), AlertType::RevokedUnsent).await.len(), 1);
}
