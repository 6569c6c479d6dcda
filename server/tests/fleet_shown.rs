//! What operators are shown of a fleet's troubles: numbers to judge by, reasons, traces, and when it is over.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fleet_support::{Device, START_MS, Stage, id, operator};
use server::{
    auth::{Authenticator, Tokens},
    config::AuthConfig,
    data_dir::DataDir,
    domain::{sync::Standing, text::Text},
    operations::fleet::{Enrolled, NewEnrolment, enroll},
    telemetry::Trace,
};
use std::{sync::Arc, time::Duration};
use vend_core::record::EpochReason;
use vendfleet_proto::v1::{
    self, catalog_service_server::CatalogService as _, fleet_service_server::FleetService as _,
};

on_both_engines! {
    a_branch_shows_what_it_would_add_to_the_sales,
    a_gap_says_whether_the_past_was_never_known_or_is_no_longer_held_or_was_damaged,
    the_alert_about_a_clone_is_over_with_the_split,
    what_a_sync_sets_aside_carries_its_trace,
    what_a_call_raises_carries_its_trace,
    totals_name_their_currency,
    a_machine_without_a_standing_credential_is_not_shown_as_active,
    a_credentials_last_use_is_noted_to_the_minute,
    a_product_made_without_stock_or_threshold_raises_no_alert,
}

async fn device(stage: &Stage) -> Device {
    let product = stage.product("COLA", 100).await;
    Device::new(&stage.machine("m").await, &product)
}

async fn enrolled(stage: &Stage) -> Enrolled {
    let (token, _) = stage.claim("").await;
    let enrolment = NewEnrolment {
        claim_token: Text::parse(&token).unwrap(),
        secret: [1; 32],
        serial: Text::parse("S-1").unwrap(),
        model: Text::parse("VM-1").unwrap(),
        csr_der: None,
    };
    enroll(&stage.deps, enrolment).await.unwrap()
}

async fn gaps(stage: &Stage, reason: v1::GapReason) -> Vec<(u64, u64, v1::GapReason)> {
    let list = v1::ListGapsRequest { reason: reason.into(), ..v1::ListGapsRequest::default() };
    let gaps = stage.fleet.list_gaps(operator(list)).await.unwrap().into_inner().gaps;
    gaps.iter().map(|gap| (gap.first_seq, gap.last_seq, gap.reason())).collect()
}

async fn a_branch_shows_what_it_would_add_to_the_sales(stage: Stage) {
    let mut original = device(&stage).await;
    original.sync(&stage).await;
    let mut copy = original.clone();
    original.vend();
    original.sync(&stage).await;
    copy.count(5);
    copy.vend();
    copy.sync(&stage).await;
    let branch = stage.branches().await.remove(0);
    assert_eq!((branch.records, branch.vends, branch.vends_minor), (2, 1, 150));
    assert_eq!(branch.currency_code, "EUR");
    assert_eq!(branch.credential_id, uuid::Uuid::from_u128(9).to_string());

    // What comes later on the same branch is added to what it holds.
    copy.vend();
    copy.vend();
    copy.sync(&stage).await;
    let branch = stage.branches().await.remove(0);
    assert_eq!((branch.records, branch.vends, branch.vends_minor), (4, 3, 450));

    // A lost reply brings the same records again.
    copy.accepted = 1;
    copy.sync(&stage).await;
    assert_eq!(stage.branches().await.remove(0).vends, 3);
}

async fn a_gap_says_whether_the_past_was_never_known_or_is_no_longer_held_or_was_damaged(stage: Stage) {
    let mut device = device(&stage).await;
    device.vend();
    device.vend();
    let mut first = device.call(START_MS);
    (first.oldest_seq, first.first_seq, first.previous_hash) = (3, 3, device.records[1].hash);
    first.records.drain(..2);
    assert_eq!(stage.sync(first).await.durable_through, 3);

    for _ in 0..3 {
        device.vend();
    }
    let mut later = device.call(START_MS);
    (later.oldest_seq, later.first_seq, later.previous_hash) = (6, 6, device.records[4].hash);
    later.records.drain(..5);
    assert_eq!(stage.sync(later).await.durable_through, 6);

    // A later epoch whose beginning is gone is no unknown past: the machine was known.
    device.vend();
    device.open(7, EpochReason::Salvaged);
    device.vend();
    let mut salvaged = device.call(START_MS);
    (salvaged.oldest_seq, salvaged.first_seq, salvaged.previous_hash) = (2, 2, device.records[0].hash);
    salvaged.records.drain(..1);
    assert_eq!(stage.sync(salvaged).await.durable_through, 2);

    let (not_held, past, damaged) =
        (v1::GapReason::NotHeld, v1::GapReason::PastUnknown, v1::GapReason::Damaged);
    assert_eq!(gaps(&stage, past).await, [(1, 2, past)]);
    assert_eq!(gaps(&stage, damaged).await, [(7, 7, damaged)]);
    let mut held = gaps(&stage, not_held).await;
    held.sort_unstable_by_key(|gap| gap.0);
    assert_eq!(held, [(1, 1, not_held), (4, 5, not_held)]);
    assert_eq!(gaps(&stage, v1::GapReason::TailLost).await, []);
    assert_eq!(gaps(&stage, v1::GapReason::Unspecified).await.len(), 4);
}

async fn the_alert_about_a_clone_is_over_with_the_split(stage: Stage) {
    let mut original = device(&stage).await;
    original.sync(&stage).await;
    let mut copy = original.clone();
    original.open(1, EpochReason::TailLost);
    original.sync(&stage).await;
    copy.open(1, EpochReason::TailLost);
    assert_eq!(copy.sync(&stage).await.standing, Standing::Cloned);
    let raised = stage.alerts(v1::AlertType::MachineCloned).await;
    assert_eq!(raised[0].state(), v1::AlertState::Open);

    let split = v1::SplitMachineRequest {
        request_id: id(),
        machine_id: original.machine.to_string(),
        epoch: copy.epoch_hex(),
        name: "leaves".to_owned(),
    };
    stage.fleet.split_machine(operator(split)).await.unwrap();
    let over = stage.alerts(v1::AlertType::MachineCloned).await;
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].state(), over[0].resolved_by.as_str()), (v1::AlertState::Resolved, "split"));
}

async fn what_a_sync_sets_aside_carries_its_trace(stage: Stage) {
    let mut device = device(&stage).await;
    device.append_raw(2, 1, b"rubbish");
    let mut call = device.call(START_MS);
    call.trace_id = "trace-7".to_owned();
    stage.sync(call).await;
    let list = v1::ListDeadLettersRequest::default();
    let letters = stage.fleet.list_dead_letters(operator(list)).await.unwrap().into_inner().dead_letters;
    assert_eq!(letters[0].trace_id, "trace-7");
    assert_eq!(stage.alerts(v1::AlertType::DeadLetter).await[0].trace_id, "trace-7");
}

async fn what_a_call_raises_carries_its_trace(stage: Stage) {
    let product = stage.product("COLA", 3).await;
    let take = v1::AdjustStockRequest {
        request_id: id(),
        product_id: product.product_id,
        delta: -3,
        reason: v1::StockAdjustmentReason::Received.into(),
        note: String::new(),
    };
    let trace = Trace::take(Some("trace-8"), None, &stage.deps.context);
    trace.scope(stage.catalog.adjust_stock(operator(take))).await.unwrap();
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await[0].trace_id, "trace-8");
}

async fn totals_name_their_currency(stage: Stage) {
    let mut device = device(&stage).await;
    device.sync(&stage).await;
    let get = || v1::GetMachineTotalsRequest { machine_id: device.machine.to_string() };
    let before = stage.fleet.get_machine_totals(operator(get())).await.unwrap().into_inner();
    assert_eq!(before.currency_code, "");
    let mut device = device.clone();
    device.vend();
    device.sync(&stage).await;
    let after = stage.fleet.get_machine_totals(operator(get())).await.unwrap().into_inner();
    assert_eq!((after.currency_code.as_str(), after.counted.unwrap().vends_minor), ("EUR", 150));
}

async fn a_machine_without_a_standing_credential_is_not_shown_as_active(stage: Stage) {
    let identity = enrolled(&stage).await;
    let machine_id = identity.machine.to_string();
    let product = stage.product("COLA", 1).await;
    let standing = async || stage.get_machine(&machine_id).await.device.unwrap().standing();
    let mut device = Device::new(&stage.get_machine(&machine_id).await, &product);
    assert_eq!(standing().await, v1::UploadStanding::Unspecified);
    device.sync(&stage).await;
    assert_eq!(standing().await, v1::UploadStanding::Active);
    let revoke = v1::RevokeCredentialRequest {
        credential_id: identity.credential.to_string(),
        drain_ms: 60_000,
        ..v1::RevokeCredentialRequest::default()
    };
    stage.fleet.revoke_credential(operator(revoke)).await.unwrap();
    assert_eq!(standing().await, v1::UploadStanding::Draining);
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(standing().await, v1::UploadStanding::Revoked, "a drain ends by itself");
}

async fn a_credentials_last_use_is_noted_to_the_minute(stage: Stage) {
    let identity = enrolled(&stage).await;
    let folder = tempfile::tempdir().unwrap();
    let (config, context) = (AuthConfig::default(), stage.deps.context.clone());
    let tokens = Tokens::open(&config, context.clone(), &DataDir::open(folder.path()).unwrap()).unwrap();
    let source = Arc::new(stage.deps.store.clone());
    let edge = Authenticator::new(&config, context, tokens, stage.deps.key.clone(), source);
    let header =
        |secret: u8| format!("Machine {}.{}", identity.credential, URL_SAFE_NO_PAD.encode([secret; 32]));
    let noted = async || {
        edge.note_uses().await.unwrap();
        let list = v1::ListCredentialsRequest::default();
        let listed = stage.fleet.list_credentials(operator(list)).await.unwrap().into_inner();
        listed.credentials[0].last_use_time_ms
    };
    edge.authenticate(Some(header(2).as_bytes()), None).await.unwrap_err();
    assert_eq!(noted().await, 0, "a wrong secret is no use");
    for (after_s, expected_s) in [(0, 0), (30, 0), (30, 60), (59, 60), (600, 719)] {
        stage.clock.advance(Duration::from_secs(after_s));
        edge.authenticate(Some(header(1).as_bytes()), None).await.unwrap();
        assert_eq!(noted().await, START_MS + expected_s * 1_000);
    }
}

async fn a_product_made_without_stock_or_threshold_raises_no_alert(stage: Stage) {
    let product = stage.product("COLA", 0).await;
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await, []);
    let adjust = |delta| v1::AdjustStockRequest {
        request_id: id(),
        product_id: product.product_id.clone(),
        delta,
        reason: v1::StockAdjustmentReason::Received.into(),
        note: String::new(),
    };
    stage.catalog.adjust_stock(operator(adjust(5))).await.unwrap();
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await, []);
    stage.catalog.adjust_stock(operator(adjust(-5))).await.unwrap();
    assert_eq!(stage.alerts(v1::AlertType::LowStock).await.len(), 1);
}
