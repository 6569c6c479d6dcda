//! What machines, claim tokens, credentials and configs promise.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use fleet_support::{Device, Stage, fields, id, machine_config, operator, reason, refused};
use server::domain::text::Text;
use server::operations::fleet::{Enrolled, NewEnrolment, enroll};
use std::time::Duration;
use vend_core::id::ConfigId;
use vendfleet_proto::v1::{self, fleet_service_server::FleetService as _};

on_both_engines! {
    every_bad_field_of_a_machine_is_named_at_once,
    a_serial_stands_for_one_machine,
    a_machine_carries_its_tags_and_is_found_by_them,
    a_claim_token_is_shown_once,
    the_same_token_and_secret_give_the_same_identity,
    another_secret_is_told_that_the_token_was_used,
    a_token_that_is_revoked_expired_or_for_another_serial_enrols_nobody,
    a_swapped_board_keeps_the_machine_and_drains_the_old_one,
    a_hard_revocation_must_confirm_what_it_cuts_off,
    a_drain_ends_by_itself,
    a_machine_with_a_standing_credential_is_not_archived,
    a_config_is_held_against_the_machines_rules_and_the_catalogue,
    assignment_numbers_only_rise_whatever_causes_the_change,
    a_group_gives_its_config_to_who_is_in_it_and_who_comes,
    what_later_issues_bring_says_so,
}

fn enrolment(token: &str, secret: u8, serial: &str) -> NewEnrolment {
    NewEnrolment {
        claim_token: Text::parse(token).unwrap(),
        secret: [secret; 32],
        serial: Text::parse(serial).unwrap(),
        model: Text::parse("VM-1").unwrap(),
        csr_der: None,
    }
}

async fn enrolled(stage: &Stage, token: &str, secret: u8) -> Enrolled {
    enroll(&stage.deps, enrolment(token, secret, "S-1")).await.unwrap()
}

async fn refusal(stage: &Stage, token: &str, secret: u8, serial: &str) -> &'static str {
    enroll(&stage.deps, enrolment(token, secret, serial)).await.unwrap_err().reason.name()
}

async fn credentials(stage: &Stage, machine_id: &str) -> Vec<v1::Credential> {
    let list = v1::ListCredentialsRequest {
        machine_id: machine_id.to_owned(),
        ..v1::ListCredentialsRequest::default()
    };
    stage.fleet.list_credentials(operator(list)).await.unwrap().into_inner().credentials
}

async fn assign(stage: &Stage, config: &v1::Config, machine_id: &str) -> v1::AssignConfigResponse {
    let request = v1::AssignConfigRequest {
        request_id: id(),
        config_id: config.config_id.clone(),
        machine_ids: vec![machine_id.to_owned()],
        ..v1::AssignConfigRequest::default()
    };
    stage.fleet.assign_config(operator(request)).await.unwrap().into_inner()
}

async fn every_bad_field_of_a_machine_is_named_at_once(stage: Stage) {
    let rubbish = v1::CreateMachineRequest {
        request_id: "1".to_owned(),
        kind: 7,
        name: String::new(),
        location: "x".repeat(257),
        group: "No Such".to_owned(),
        tags: vec!["Ä".to_owned()],
        serial: "x".repeat(65),
        virtual_delay_ms: 600_001,
    };
    let refusal = refused(stage.fleet.create_machine(operator(rubbish))).await;
    let expected =
        ["request_id", "kind", "name", "location", "group", "tags[0]", "serial", "virtual_delay_ms"];
    assert_eq!(fields(&refusal), expected);

    let mixed = v1::CreateMachineRequest {
        request_id: id(),
        kind: v1::MachineKind::Virtual.into(),
        name: "v".to_owned(),
        serial: "S".to_owned(),
        tags: vec!["a".to_owned(), "a".to_owned()],
        ..v1::CreateMachineRequest::default()
    };
    assert_eq!(fields(&refused(stage.fleet.create_machine(operator(mixed))).await), ["tags", "serial"]);
}

async fn a_serial_stands_for_one_machine(stage: Stage) {
    let new = |serial: &str| v1::CreateMachineRequest {
        request_id: id(),
        kind: v1::MachineKind::Real.into(),
        name: "m".to_owned(),
        serial: serial.to_owned(),
        ..v1::CreateMachineRequest::default()
    };
    let first = stage.fleet.create_machine(operator(new("S-1"))).await.unwrap().into_inner().machine.unwrap();
    let taken = refused(stage.fleet.create_machine(operator(new("S-1")))).await;
    assert_eq!(reason(&taken), "SERIAL_EXISTS");
    let archive = v1::ArchiveMachineRequest { machine_id: first.machine_id };
    stage.fleet.archive_machine(operator(archive)).await.unwrap();
    stage.fleet.create_machine(operator(new("S-1"))).await.unwrap();
}

async fn a_machine_carries_its_tags_and_is_found_by_them(stage: Stage) {
    for (name, tags) in [("one", ["north", "cold"]), ("two", ["north", "warm"])] {
        let new = v1::CreateMachineRequest {
            request_id: id(),
            kind: v1::MachineKind::Real.into(),
            name: name.to_owned(),
            tags: tags.map(str::to_owned).to_vec(),
            ..v1::CreateMachineRequest::default()
        };
        stage.fleet.create_machine(operator(new)).await.unwrap();
    }
    let list = v1::ListMachinesRequest {
        tags: vec!["north".to_owned(), "cold".to_owned()],
        ..v1::ListMachinesRequest::default()
    };
    let found = stage.fleet.list_machines(operator(list)).await.unwrap().into_inner().machines;
    assert_eq!(found.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["one"]);
    assert_eq!(found[0].tags, ["cold", "north"]);
}

async fn a_claim_token_is_shown_once(stage: Stage) {
    let new = v1::CreateClaimTokenRequest { request_id: id(), ..v1::CreateClaimTokenRequest::default() };
    let first = stage.fleet.create_claim_token(operator(new.clone())).await.unwrap().into_inner();
    let second = stage.fleet.create_claim_token(operator(new)).await.unwrap().into_inner();
    assert!(!first.claim_token.is_empty() && second.claim_token.is_empty());
    assert_eq!(first.info, second.info);
    let rubbish = v1::CreateClaimTokenRequest {
        request_id: id(),
        machine_id: id(),
        name: "n".to_owned(),
        group: "g".to_owned(),
        ttl_ms: -1,
        ..v1::CreateClaimTokenRequest::default()
    };
    let refusal = refused(stage.fleet.create_claim_token(operator(rubbish))).await;
    assert_eq!(fields(&refusal), ["ttl_ms", "name", "group"]);
}

async fn the_same_token_and_secret_give_the_same_identity(stage: Stage) {
    let (token, _) = stage.claim("").await;
    let first = enrolled(&stage, &token, 1).await;
    stage.clock.advance(Duration::from_secs(86_400 * 365));
    let second = enrolled(&stage, &token, 1).await;
    assert_eq!((first.machine, first.credential), (second.machine, second.credential));
    let machine = stage.get_machine(&first.machine.to_string()).await;
    assert_eq!((machine.serial.as_str(), machine.name.as_str()), ("S-1", "S-1"));
    assert_eq!(credentials(&stage, &machine.machine_id).await.len(), 1);
}

async fn another_secret_is_told_that_the_token_was_used(stage: Stage) {
    let (token, _) = stage.claim("").await;
    enrolled(&stage, &token, 1).await;
    assert_eq!(refusal(&stage, &token, 2, "S-1").await, "CLAIM_TOKEN_USED");
}

async fn a_token_that_is_revoked_expired_or_for_another_serial_enrols_nobody(stage: Stage) {
    assert_eq!(refusal(&stage, "no such token", 1, "S-1").await, "CLAIM_TOKEN_INVALID");
    let (revoked, info) = stage.claim("").await;
    let revoke = v1::RevokeClaimTokenRequest { claim_token_id: info.claim_token_id };
    stage.fleet.revoke_claim_token(operator(revoke)).await.unwrap();
    assert_eq!(refusal(&stage, &revoked, 1, "S-1").await, "CLAIM_TOKEN_INVALID");

    let bound = v1::CreateClaimTokenRequest {
        request_id: id(),
        serial: "S-2".to_owned(),
        ttl_ms: 60_000,
        ..v1::CreateClaimTokenRequest::default()
    };
    let bound = stage.fleet.create_claim_token(operator(bound)).await.unwrap().into_inner().claim_token;
    assert_eq!(refusal(&stage, &bound, 1, "S-1").await, "SERIAL_MISMATCH");
    stage.clock.advance(Duration::from_millis(60_000));
    assert_eq!(refusal(&stage, &bound, 1, "S-2").await, "CLAIM_TOKEN_EXPIRED");
}

async fn a_swapped_board_keeps_the_machine_and_drains_the_old_one(stage: Stage) {
    let (token, _) = stage.claim("").await;
    let first = enrolled(&stage, &token, 1).await;
    let (token, _) = stage.claim(&first.machine.to_string()).await;
    let second = enroll(&stage.deps, enrolment(&token, 2, "S-9")).await.unwrap();
    assert_eq!(second.machine, first.machine);
    let states: Vec<_> = credentials(&stage, &first.machine.to_string()).await;
    let state = |id: &str| states.iter().find(|c| c.credential_id == id).unwrap().state;
    assert_eq!(state(&first.credential.to_string()), v1::CredentialState::UploadOnly as i32);
    assert_eq!(state(&second.credential.to_string()), v1::CredentialState::Active as i32);
}

async fn a_hard_revocation_must_confirm_what_it_cuts_off(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let (token, _) = stage.claim("").await;
    let identity = enrolled(&stage, &token, 1).await;
    let machine = stage.get_machine(&identity.machine.to_string()).await;
    let mut device = Device::new(&machine, &product);
    device.sync(&stage).await;
    for _ in 0..3 {
        device.vend();
    }
    let mut call = device.call(stage.deps.context.now_ms());
    call.records.truncate(1);
    stage.sync(call).await;

    let hard = |confirm_unsent| v1::RevokeCredentialRequest {
        credential_id: identity.credential.to_string(),
        hard: true,
        confirm_unsent,
        ..v1::RevokeCredentialRequest::default()
    };
    for confirm in [None, Some(7)] {
        let refusal = refused(stage.fleet.revoke_credential(operator(hard(confirm)))).await;
        let info = tonic_types::StatusExt::get_details_error_info(&refusal).unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["unsent_records"].as_str()), ("UNSENT_RECORDS", "2"));
    }
    let gone = stage.fleet.revoke_credential(operator(hard(Some(2)))).await.unwrap().into_inner();
    let gone = gone.credential.unwrap();
    assert_eq!((gone.state, gone.unsent_records), (v1::CredentialState::Revoked as i32, 2));
    assert_eq!(stage.alerts(v1::AlertType::RevokedUnsent).await.len(), 1);

    let rubbish = v1::RevokeCredentialRequest {
        credential_id: "x".to_owned(),
        hard: true,
        drain_ms: 1,
        ..v1::RevokeCredentialRequest::default()
    };
    let refusal = refused(stage.fleet.revoke_credential(operator(rubbish))).await;
    assert_eq!(fields(&refusal), ["credential_id", "drain_ms"]);
}

async fn a_drain_ends_by_itself(stage: Stage) {
    let (token, _) = stage.claim("").await;
    let identity = enrolled(&stage, &token, 1).await;
    let drain = v1::RevokeCredentialRequest {
        credential_id: identity.credential.to_string(),
        drain_ms: 1_000,
        ..v1::RevokeCredentialRequest::default()
    };
    let draining = stage.fleet.revoke_credential(operator(drain)).await.unwrap().into_inner();
    assert_eq!(draining.credential.unwrap().state, v1::CredentialState::UploadOnly as i32);
    stage.clock.advance(Duration::from_millis(1_000));
    let after = credentials(&stage, &identity.machine.to_string()).await;
    assert_eq!(after[0].state, v1::CredentialState::Revoked as i32);
}

async fn a_machine_with_a_standing_credential_is_not_archived(stage: Stage) {
    let (token, _) = stage.claim("").await;
    let identity = enrolled(&stage, &token, 1).await;
    let archive = v1::ArchiveMachineRequest { machine_id: identity.machine.to_string() };
    assert_eq!(
        reason(&refused(stage.fleet.archive_machine(operator(archive.clone()))).await),
        "MACHINE_IN_USE"
    );
    let hard = v1::RevokeCredentialRequest {
        credential_id: identity.credential.to_string(),
        hard: true,
        ..v1::RevokeCredentialRequest::default()
    };
    stage.fleet.revoke_credential(operator(hard)).await.unwrap();
    let gone = stage.fleet.archive_machine(operator(archive)).await.unwrap().into_inner();
    assert!(gone.machine.unwrap().archived);
}

async fn a_config_is_held_against_the_machines_rules_and_the_catalogue(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let mut bad = machine_config(&product, -1);
    bad.slots[0].par_level = 99;
    bad.products.push(v1::ConfigProduct { product_id: id(), name: "ghost".to_owned() });
    let create = |config| v1::CreateConfigRequest {
        request_id: id(),
        name: "c".to_owned(),
        note: String::new(),
        config,
    };
    let refusal = refused(stage.fleet.create_config(operator(create(Some(bad))))).await;
    let expected =
        ["config.slots[0].price_minor", "config.slots[0].par_level", "config.products[1].product_id"];
    assert_eq!(fields(&refusal), expected);
    assert_eq!(fields(&refused(stage.fleet.create_config(operator(create(None)))).await), ["config"]);

    let kept = stage.config(&product, 150).await;
    assert_eq!(kept.config.as_ref().unwrap().config_id, kept.config_id);
    let get = v1::GetConfigRequest { config_id: kept.config_id.clone() };
    assert_eq!(stage.fleet.get_config(operator(get)).await.unwrap().into_inner().config.unwrap(), kept);
    let archive = v1::ArchiveProductRequest { product_id: product.product_id.clone() };
    v1::catalog_service_server::CatalogService::archive_product(&stage.catalog, operator(archive))
        .await
        .unwrap();
    let late = refused(stage.fleet.create_config(operator(create(Some(machine_config(&product, 1)))))).await;
    assert_eq!(fields(&late), ["config.products[0].product_id"]);
}

async fn assignment_numbers_only_rise_whatever_causes_the_change(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let machine = stage.machine("m").await;
    let (cheap, dear) = (stage.config(&product, 150).await, stage.config(&product, 200).await);
    assert_eq!(assign(&stage, &cheap, &machine.machine_id).await.statuses[0].desired_number, 1);
    assert_eq!(assign(&stage, &dear, &machine.machine_id).await.statuses[0].desired_number, 2);

    // The device knows a number the server lost.
    let mut device = Device::new(&machine, &product);
    let applied = server::domain::sync::AppliedConfig {
        as_of_seq: 0,
        number: 9,
        config: Some(ConfigId(cheap.config_id.parse::<uuid::Uuid>().unwrap().into_bytes())),
        rejected_number: 0,
    };
    let call =
        server::domain::sync::SyncCall { applied: Some(applied), ..device.call(stage.deps.context.now_ms()) };
    let answer = stage.sync(call).await;
    device.accepted = answer.accepted_through;
    let reissued = stage.get_machine(&machine.machine_id).await.device.unwrap().config.unwrap();
    assert!(reissued.desired_number > 9);
    let next = assign(&stage, &cheap, &machine.machine_id).await;
    assert_eq!(next.statuses[0].desired_number, reissued.desired_number + 1);
    assert_eq!(answer.config.unwrap().number, reissued.desired_number);
}

async fn a_group_gives_its_config_to_who_is_in_it_and_who_comes(stage: Stage) {
    let product = stage.product("COLA", 1).await;
    let config = stage.config(&product, 150).await;
    let in_group = |name: &str| v1::CreateMachineRequest {
        request_id: id(),
        kind: v1::MachineKind::Real.into(),
        name: name.to_owned(),
        group: "north".to_owned(),
        ..v1::CreateMachineRequest::default()
    };
    let here =
        stage.fleet.create_machine(operator(in_group("here"))).await.unwrap().into_inner().machine.unwrap();
    let request = v1::AssignConfigRequest {
        request_id: id(),
        config_id: config.config_id.clone(),
        group: "north".to_owned(),
        ..v1::AssignConfigRequest::default()
    };
    let done = stage.fleet.assign_config(operator(request.clone())).await.unwrap().into_inner();
    assert_eq!((done.machines, done.statuses[0].machine_id.as_str()), (1, here.machine_id.as_str()));
    let again = stage.fleet.assign_config(operator(request)).await.unwrap().into_inner();
    assert_eq!(again.machines, 1);
    assert_eq!(again.statuses[0].desired_number, 1, "a repeat assigns nothing");

    let later = stage.fleet.create_machine(operator(in_group("later"))).await.unwrap().into_inner().machine;
    let later = later.unwrap().device.unwrap().config.unwrap();
    assert_eq!(later.desired_config_id, config.config_id);

    let outside = stage.machine("outside").await;
    assert_eq!(outside.device.as_ref().unwrap().config.as_ref().unwrap().desired_number, 0);
    let moves = v1::UpdateMachineRequest {
        request_id: id(),
        machine_id: outside.machine_id.clone(),
        etag: outside.etag,
        group: Some("north".to_owned()),
        ..v1::UpdateMachineRequest::default()
    };
    let moved = stage.fleet.update_machine(operator(moves)).await.unwrap().into_inner().machine.unwrap();
    let moved = moved.device.unwrap().config.unwrap();
    assert_eq!(moved.desired_config_id, config.config_id);
    assert_eq!(moved.desired_cause, v1::AssignmentCause::GroupMove as i32);

    let groups =
        stage.fleet.list_machine_groups(operator(v1::ListMachineGroupsRequest::default())).await.unwrap();
    let groups = groups.into_inner().groups;
    assert_eq!((groups.len(), groups[0].machines, &groups[0].config_id), (1, 3, &config.config_id));
    let pending = v1::ListConfigStatusesRequest {
        progress: v1::ConfigProgress::Pending.into(),
        ..v1::ListConfigStatusesRequest::default()
    };
    let pending = stage.fleet.list_config_statuses(operator(pending)).await.unwrap().into_inner();
    assert_eq!(pending.statuses.len(), 3);

    let both = v1::AssignConfigRequest {
        request_id: id(),
        config_id: config.config_id,
        machine_ids: vec![id()],
        group: "north".to_owned(),
        start_time_ms: -1,
    };
    let refusal = refused(stage.fleet.assign_config(operator(both))).await;
    assert_eq!(fields(&refusal), ["machine_ids", "start_time_ms"]);
}

async fn what_later_issues_bring_says_so(stage: Stage) {
    let refusal = refused(stage.fleet.create_rollout(operator(v1::CreateRolloutRequest::default()))).await;
    assert_eq!(reason(&refusal), "UNIMPLEMENTED");
    let nobody = tonic::Request::new(v1::CreateMachineRequest::default());
    assert_eq!(reason(&refused(stage.fleet.create_machine(nobody)).await), "UNAUTHENTICATED");
}
