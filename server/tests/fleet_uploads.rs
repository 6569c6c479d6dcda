//! What operators are shown of what machines uploaded, and what they can do with what was set aside.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod fleet_support;

use fleet_support::{Device, Stage, fields, id, operator, reason, refused};
use server::domain::sync::{CredentialState, Standing};
use server::operations::fleet::reenroll_token;
use std::time::Duration;
use uuid::Uuid;
use vend_core::record::EpochReason;
use vendfleet_proto::v1::{self, fleet_service_server::FleetService as _};

on_both_engines! {
    a_machines_sales_are_listed_in_its_own_order_page_by_page,
    the_fleets_sales_are_listed_in_order_of_receipt,
    a_slot_shows_what_the_machine_says_beside_what_its_records_say,
    an_adopted_branch_counts_once_and_what_counted_before_is_a_dead_letter,
    a_discarded_branch_never_counts,
    what_a_draining_machine_sells_after_an_adoption_waits_for_one_of_its_own,
    a_dead_letter_that_can_be_read_after_all_counts_and_moves_its_slot,
    a_dead_letter_that_still_can_not_be_read_stays_open,
    totals_are_what_the_machine_says_and_what_counts_here,
    a_split_clone_is_two_machines_that_both_count,
    either_device_of_a_clone_can_be_the_one_that_leaves,
    a_device_first_heard_as_a_clone_can_leave_with_all_it_brought,
    a_machine_that_is_not_cloned_is_not_split,
    who_acknowledges_or_resolves_first_stays,
    rubbish_in_any_list_names_its_field,
}

async fn device(stage: &Stage) -> Device {
    let product = stage.product("COLA", 100).await;
    Device::new(&stage.machine("m").await, &product)
}

async fn adopt(stage: &Stage, branch_id: &str) -> v1::AdoptBranchResponse {
    let request =
        v1::AdoptBranchRequest { request_id: id(), branch_id: branch_id.to_owned(), note: "ours".to_owned() };
    stage.fleet.adopt_branch(operator(request)).await.unwrap().into_inner()
}

/// A journal that was copied: the copy and the original go different ways from here.
async fn forked(stage: &Stage) -> (Device, Device) {
    let mut original = device(stage).await;
    original.count(10);
    original.vend();
    original.sync(stage).await;
    let copy = original.clone();
    (original, copy)
}

async fn a_machines_sales_are_listed_in_its_own_order_page_by_page(stage: Stage) {
    let mut device = device(&stage).await;
    let sold: Vec<String> = (0..5).map(|_| Uuid::from_bytes(device.vend().0).to_string()).collect();
    device.sync(&stage).await;
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListTransactionsRequest {
            page_size: 2,
            page_token: token,
            machine_id: device.machine.to_string(),
            outcome: v1::VendOutcome::Success.into(),
            ..v1::ListTransactionsRequest::default()
        };
        let page = stage.fleet.list_transactions(operator(list)).await.unwrap().into_inner();
        found.extend(page.transactions.into_iter().map(|t| t.transaction_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, sold);
    let get = v1::GetTransactionRequest {
        machine_id: device.machine.to_string(),
        transaction_id: sold[2].clone(),
        kind: 0,
    };
    let one = stage.fleet.get_transaction(operator(get)).await.unwrap().into_inner().transaction.unwrap();
    assert_eq!((one.seq, one.price_minor, one.cash_in_minor, one.slot), (4, 150, 200, 3));
    assert_eq!(one.epoch, device.epoch_hex());
    let get =
        v1::GetTransactionRequest { machine_id: device.machine.to_string(), transaction_id: id(), kind: 2 };
    assert_eq!(reason(&refused(stage.fleet.get_transaction(operator(get))).await), "TRANSACTION_NOT_FOUND");
    let none = v1::ListTransactionsRequest {
        machine_id: device.machine.to_string(),
        outcome: v1::VendOutcome::Failure.into(),
        ..v1::ListTransactionsRequest::default()
    };
    assert!(
        stage.fleet.list_transactions(operator(none)).await.unwrap().into_inner().transactions.is_empty()
    );
}

async fn the_fleets_sales_are_listed_in_order_of_receipt(stage: Stage) {
    let product = stage.product("COLA", 100).await;
    let mut one = Device::new(&stage.machine("one").await, &product);
    let mut two = Device::new(&stage.machine("two").await, &product);
    let mut sold = Vec::new();
    for _ in 0..3 {
        for device in [&mut one, &mut two] {
            sold.push(Uuid::from_bytes(device.vend().0).to_string());
            sold.push(Uuid::from_bytes(device.vend().0).to_string());
            device.sync(&stage).await;
        }
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListTransactionsRequest {
            page_size: 5,
            page_token: token,
            ..v1::ListTransactionsRequest::default()
        };
        let page = stage.fleet.list_transactions(operator(list)).await.unwrap().into_inner();
        found.extend(page.transactions.into_iter().map(|t| t.transaction_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, sold);
}

async fn a_slot_shows_what_the_machine_says_beside_what_its_records_say(stage: Stage) {
    let mut device = device(&stage).await;
    device.count(10);
    device.vend();
    let call = device.call_with_level(stage.deps.context.now_ms(), 7);
    device.accepted = stage.sync(call).await.accepted_through;
    let get = v1::GetMachineInventoryRequest { machine_id: device.machine.to_string() };
    let slots = stage.fleet.get_machine_inventory(operator(get)).await.unwrap().into_inner().slots;
    let slot = &slots[0];
    let (reported, derived) = (slot.reported.as_ref().unwrap(), slot.derived.as_ref().unwrap());
    assert_eq!((slot.slot, reported.units, derived.units, slot.reserved), (3, 7, 9, 0));
    assert_eq!(slot.drift.as_ref().unwrap().units, -2);
    let list = v1::ListInventoryDiscrepanciesRequest::default();
    let drifting = stage.fleet.list_inventory_discrepancies(operator(list)).await.unwrap().into_inner().slots;
    assert_eq!(drifting.len(), 1);
    assert!(drifting[0].drift.as_ref().unwrap().since_time_ms > 0);

    device.count(7);
    let call = device.call_with_level(stage.deps.context.now_ms(), 7);
    stage.sync(call).await;
    let list = v1::ListInventoryDiscrepanciesRequest::default();
    assert!(
        stage.fleet.list_inventory_discrepancies(operator(list)).await.unwrap().into_inner().slots.is_empty()
    );
}

async fn an_adopted_branch_counts_once_and_what_counted_before_is_a_dead_letter(stage: Stage) {
    let (mut original, mut copy) = forked(&stage).await;
    let shared = original.vend();
    original.sync(&stage).await;
    copy.vend();
    copy.vend_as(shared);
    assert!(copy.sync(&stage).await.open_epoch.is_some());
    let branches = stage.branches().await;
    let branch = &branches[0];
    assert_eq!((branch.first_seq, branch.records), (4, 2));
    let before = stage.transactions(&original.machine.to_string()).await.len();
    let request =
        v1::AdoptBranchRequest { request_id: id(), branch_id: branch.branch_id.clone(), note: String::new() };
    let first = stage.fleet.adopt_branch(operator(request.clone())).await.unwrap().into_inner();
    let second = stage.fleet.adopt_branch(operator(request)).await.unwrap().into_inner();
    assert_eq!(first, second);
    assert_eq!((first.applied_records, first.dead_lettered_records), (1, 1));
    let after = stage.transactions(&original.machine.to_string()).await;
    let ids: std::collections::HashSet<_> = after.iter().map(|t| &t.transaction_id).collect();
    assert_eq!(ids.len(), after.len());
    assert_eq!(after.len(), before + 1);
    let list = v1::ListDeadLettersRequest::default();
    let letters = stage.fleet.list_dead_letters(operator(list)).await.unwrap().into_inner().dead_letters;
    assert_eq!(letters[0].reason, "DUPLICATE_TRANSACTION");
    assert!(after.iter().all(|t| t.epoch == original.epoch_hex()), "shown under the epoch it was written in");
    let again =
        v1::AdoptBranchRequest { request_id: id(), branch_id: branch.branch_id.clone(), note: String::new() };
    assert_eq!(reason(&refused(stage.fleet.adopt_branch(operator(again))).await), "BRANCH_NOT_OPEN");
}

async fn a_discarded_branch_never_counts(stage: Stage) {
    let (mut original, mut copy) = forked(&stage).await;
    original.vend();
    original.sync(&stage).await;
    copy.vend();
    assert!(copy.sync(&stage).await.open_epoch.is_some());
    let branch = stage.branches().await.remove(0);
    let records = v1::ListQuarantinedRecordsRequest {
        branch_id: branch.branch_id.clone(),
        ..v1::ListQuarantinedRecordsRequest::default()
    };
    let records = stage.fleet.list_quarantined_records(operator(records)).await.unwrap().into_inner().records;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].record.as_ref().unwrap().hash, copy.records[3].hash);
    let before = stage.transactions(&original.machine.to_string()).await.len();
    let discard = |note: &str| v1::DiscardBranchRequest {
        request_id: id(),
        branch_id: branch.branch_id.clone(),
        note: note.to_owned(),
    };
    assert_eq!(fields(&refused(stage.fleet.discard_branch(operator(discard("")))).await), ["note"]);
    let gone = stage.fleet.discard_branch(operator(discard("a copy"))).await.unwrap().into_inner();
    let gone = gone.branch.unwrap();
    assert_eq!((gone.state, gone.ended_by.as_str()), (v1::BranchState::Discarded as i32, "olga"));
    assert_eq!(stage.transactions(&original.machine.to_string()).await.len(), before);
}

async fn what_a_draining_machine_sells_after_an_adoption_waits_for_one_of_its_own(stage: Stage) {
    let mut device = device(&stage).await;
    device.count(10);
    device.sync(&stage).await;
    let sell = async |device: &mut Device, units: u32| {
        for _ in 0..units {
            device.vend();
        }
        let mut call = device.call(stage.deps.context.now_ms());
        call.credential_state = CredentialState::UploadOnly;
        let answer = stage.sync(call).await;
        assert_eq!(
            answer.accepted_through,
            device.records.len() as u64,
            "acknowledged, so it must be somewhere"
        );
        device.accepted = answer.accepted_through;
    };
    let open = async || {
        let all = stage.branches().await;
        let open = all.into_iter().filter(|branch| branch.state() == v1::BranchState::Open);
        open.collect::<Vec<_>>()
    };
    let late = async || {
        let all = stage.alerts(v1::AlertType::RecordsAfterJudgement).await;
        all.into_iter().filter(|alert| alert.state() != v1::AlertState::Resolved).count()
    };
    sell(&mut device, 1).await;
    let first = open().await.remove(0);
    assert_eq!((adopt(&stage, &first.branch_id).await.applied_records, late().await), (1, 0));

    sell(&mut device, 1).await;
    sell(&mut device, 1).await;
    let second = open().await;
    assert_eq!((second.len(), second[0].first_seq, second[0].records, late().await), (1, 4, 2, 1));
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 1);
    assert_eq!((adopt(&stage, &second[0].branch_id).await.applied_records, late().await), (2, 0));
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 3);

    sell(&mut device, 1).await;
    let third = open().await;
    let discard = v1::DiscardBranchRequest {
        request_id: id(),
        branch_id: third[0].branch_id.clone(),
        note: "a test vend".to_owned(),
    };
    stage.fleet.discard_branch(operator(discard)).await.unwrap();
    sell(&mut device, 1).await;
    assert_eq!((open().await.len(), late().await), (1, 1), "nor does anything vanish behind a discarded one");
}

/// Sets a vend aside as the fold of an older server would have: stored raw, not counted.
async fn set_aside(stage: &Stage, device: &mut Device) -> v1::DeadLetter {
    device.sync(stage).await;
    device.vend();
    let seq = device.records.len();
    let bad = server::domain::sync::BadBody {
        reason: server::domain::sync::VerdictReason::SchemaUnknown,
        detail: "schema: must be 1".to_owned(),
    };
    device.records[seq - 1].meaning = Err(bad);
    device.sync(stage).await;
    let list = v1::ListDeadLettersRequest::default();
    stage.fleet.list_dead_letters(operator(list)).await.unwrap().into_inner().dead_letters.remove(0)
}

async fn a_dead_letter_that_can_be_read_after_all_counts_and_moves_its_slot(stage: Stage) {
    let mut device = device(&stage).await;
    device.count(10);
    let letter = set_aside(&stage, &mut device).await;
    device.vend();
    device.sync(&stage).await;
    assert_eq!((letter.reason.as_str(), letter.state), ("SCHEMA_UNKNOWN", v1::DeadLetterState::Open as i32));
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 1);
    let redrive = |request_id: String| v1::RedriveDeadLetterRequest {
        request_id,
        dead_letter_id: letter.dead_letter_id.clone(),
    };
    let done = stage.fleet.redrive_dead_letter(operator(redrive(id()))).await.unwrap().into_inner();
    assert_eq!(done.dead_letter.unwrap().state, v1::DeadLetterState::Done as i32);
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 2);
    let get = v1::GetMachineInventoryRequest { machine_id: device.machine.to_string() };
    let slots = stage.fleet.get_machine_inventory(operator(get)).await.unwrap().into_inner().slots;
    assert_eq!(slots[0].derived.as_ref().unwrap().units, 8);
    let answer = device.sync(&stage).await;
    let told = answer.verdicts.last().unwrap();
    assert_eq!(told.reason.as_str(), "ADOPTED");
    let again = refused(stage.fleet.redrive_dead_letter(operator(redrive(id())))).await;
    assert_eq!(reason(&again), "DEAD_LETTER_NOT_OPEN");
}

async fn a_dead_letter_that_still_can_not_be_read_stays_open(stage: Stage) {
    let mut device = device(&stage).await;
    device.append_raw(2, 1, b"rubbish");
    device.vend();
    device.sync(&stage).await;
    let list = v1::ListDeadLettersRequest::default();
    let letter =
        stage.fleet.list_dead_letters(operator(list)).await.unwrap().into_inner().dead_letters.remove(0);
    let redrive =
        v1::RedriveDeadLetterRequest { request_id: id(), dead_letter_id: letter.dead_letter_id.clone() };
    let same = stage.fleet.redrive_dead_letter(operator(redrive)).await.unwrap().into_inner();
    let same = same.dead_letter.unwrap();
    assert_eq!((same.state, same.redrives), (v1::DeadLetterState::Open as i32, 1));
    assert_eq!(stage.transactions(&device.machine.to_string()).await.len(), 1, "the queue went on");
}

async fn totals_are_what_the_machine_says_and_what_counts_here(stage: Stage) {
    let mut device = device(&stage).await;
    for _ in 0..3 {
        device.vend();
    }
    let letter = set_aside(&stage, &mut device).await;
    device.vend();
    device.sync(&stage).await;
    let get = || v1::GetMachineTotalsRequest { machine_id: device.machine.to_string() };
    let totals = stage.fleet.get_machine_totals(operator(get())).await.unwrap().into_inner();
    let (reported, counted, missing) =
        (totals.reported.unwrap(), totals.counted.unwrap(), totals.missing.unwrap());
    assert_eq!((reported.vends, counted.vends, missing.vends), (5, 4, 1));
    assert!(totals.disagreement.is_none());
    let redrive = v1::RedriveDeadLetterRequest { request_id: id(), dead_letter_id: letter.dead_letter_id };
    stage.fleet.redrive_dead_letter(operator(redrive)).await.unwrap();
    let totals = stage.fleet.get_machine_totals(operator(get())).await.unwrap().into_inner();
    assert_eq!(totals.reported, totals.counted);
    assert_eq!(totals.as_of_seq, 6);
}

async fn a_split_clone_is_two_machines_that_both_count(stage: Stage) {
    let (mut original, mut copy) = forked(&stage).await;
    original.vend();
    original.sync(&stage).await;
    copy.vend();
    let answer = copy.sync(&stage).await;
    copy.open(answer.open_epoch.unwrap().last_common_seq, EpochReason::Forked);
    copy.vend();
    copy.sync(&stage).await;
    stage.clock.advance(Duration::from_secs(600));
    original.vend();
    original.vend();
    assert_eq!(original.sync(&stage).await.standing, Standing::Cloned);
    copy.vend();
    assert_eq!(copy.sync(&stage).await.standing, Standing::Cloned);
    let machine_id = original.machine.to_string();
    let counted_while_cloned = stage.transactions(&machine_id).await.len();
    assert_eq!(counted_while_cloned, 3);

    let epochs = stage.epochs(&machine_id).await;
    for device in [&original, &copy] {
        assert_eq!(epochs[&device.epoch_hex()].state, v1::EpochState::Rival as i32);
    }
    let branch = stage.branches().await.into_iter().find(|b| b.reason == v1::BranchReason::Cloned as i32);
    let adopt_now = v1::AdoptBranchRequest {
        request_id: id(),
        branch_id: branch.unwrap().branch_id,
        note: String::new(),
    };
    assert_eq!(reason(&refused(stage.fleet.adopt_branch(operator(adopt_now))).await), "MACHINE_CLONED");

    let split = |epoch: String| v1::SplitMachineRequest {
        request_id: id(),
        machine_id: machine_id.clone(),
        epoch,
        name: "the copy".to_owned(),
    };
    let wrong = refused(stage.fleet.split_machine(operator(split("00".repeat(16))))).await;
    assert_eq!(reason(&wrong), "MACHINE_NOT_CLONED");
    let request = split(copy.epoch_hex());
    let done = stage.fleet.split_machine(operator(request.clone())).await.unwrap().into_inner();
    let again = stage.fleet.split_machine(operator(request)).await.unwrap().into_inner();
    assert_eq!(done, again);
    let (new, kept) = (done.new_machine.unwrap(), done.kept_machine.unwrap());
    let device_of = |machine: &v1::Machine| machine.device.clone().unwrap();
    assert_eq!(device_of(&kept).standing, v1::UploadStanding::Active as i32);
    assert_eq!(device_of(&kept).epoch, original.epoch_hex());
    assert_eq!(device_of(&kept).durable_through, original.accepted);
    assert_eq!(device_of(&new).epoch, copy.epoch_hex());
    assert_eq!(device_of(&new).durable_through, copy.accepted);

    // Counted once each: what was applied before the clone showed stays where it was counted.
    assert_eq!(stage.transactions(&machine_id).await.len(), 5);
    assert_eq!(stage.transactions(&new.machine_id).await.len(), 1);

    // The copy is told who it is now, enrols, and goes on where it was.
    let told = stage.sync(copy.call(stage.deps.context.now_ms())).await;
    let new_id = told.reenroll_as.unwrap();
    assert_eq!(new_id.to_string(), new.machine_id);
    let token = reenroll_token(&stage.deps.key, new_id, copy.epoch);
    let enrolment = server::operations::fleet::NewEnrolment {
        claim_token: server::domain::text::Text::parse(&token).unwrap(),
        secret: [8; 32],
        serial: server::domain::text::Text::parse("").unwrap(),
        model: server::domain::text::Text::parse("").unwrap(),
        csr_der: None,
    };
    let identity = server::operations::fleet::enroll(&stage.deps, enrolment).await.unwrap();
    assert_eq!(identity.machine, new_id);
    copy.machine = new_id;
    copy.vend();
    let answer = copy.sync(&stage).await;
    assert_eq!((answer.standing, answer.durable_through), (Standing::Active, copy.records.len() as u64));
    original.vend();
    let answer = original.sync(&stage).await;
    assert_eq!((answer.standing, answer.durable_through), (Standing::Active, original.records.len() as u64));
    assert_eq!(stage.transactions(&machine_id).await.len(), 6);
    assert_eq!(stage.transactions(&new.machine_id).await.len(), 2);

    // The fork's own branch waits for an operator still, and counts when adopted.
    let fork = stage.branches().await.into_iter().find(|b| b.state == v1::BranchState::Open as i32).unwrap();
    assert_eq!(fork.reason, v1::BranchReason::Fork as i32);
    assert_eq!(adopt(&stage, &fork.branch_id).await.applied_records, 1);
}

async fn split(stage: &Stage, machine_id: &str, epoch: String) -> v1::SplitMachineResponse {
    let request = v1::SplitMachineRequest {
        request_id: id(),
        machine_id: machine_id.to_owned(),
        epoch,
        name: "leaves".to_owned(),
    };
    stage.fleet.split_machine(operator(request)).await.unwrap().into_inner()
}

async fn either_device_of_a_clone_can_be_the_one_that_leaves(stage: Stage) {
    let (mut original, mut copy) = forked(&stage).await;
    original.vend();
    original.sync(&stage).await;
    copy.vend();
    let answer = copy.sync(&stage).await;
    copy.open(answer.open_epoch.unwrap().last_common_seq, EpochReason::Forked);
    copy.sync(&stage).await;
    stage.clock.advance(Duration::from_secs(600));
    original.vend();
    assert_eq!(original.sync(&stage).await.standing, Standing::Cloned);
    copy.vend();
    copy.sync(&stage).await;

    let machine_id = original.machine.to_string();
    let done = split(&stage, &machine_id, original.epoch_hex()).await;
    let (new, kept) = (done.new_machine.unwrap(), done.kept_machine.unwrap());
    assert_eq!(kept.device.unwrap().epoch, copy.epoch_hex());
    assert_eq!(new.device.unwrap().durable_through, original.accepted);
    // Two before the copy, one before the clone showed; one each since.
    assert_eq!(stage.transactions(&machine_id).await.len(), 3);
    assert_eq!(stage.transactions(&new.machine_id).await.len(), 1);
    let told = stage.sync(original.call(stage.deps.context.now_ms())).await;
    original.machine = told.reenroll_as.unwrap();
    original.vend();
    assert_eq!(original.sync(&stage).await.durable_through, original.records.len() as u64);
    let left = &stage.epochs(&new.machine_id).await[&original.epoch_hex()];
    assert_eq!(left.applied_records + left.parent_last_common_seq, left.durable_through);
}

async fn a_device_first_heard_as_a_clone_can_leave_with_all_it_brought(stage: Stage) {
    let (mut original, mut copy) = forked(&stage).await;
    // Both were told to begin anew, and both name the same parent.
    original.open(3, EpochReason::TailLost);
    original.vend();
    original.sync(&stage).await;
    copy.open(3, EpochReason::TailLost);
    copy.vend();
    copy.vend();
    assert_eq!(copy.sync(&stage).await.standing, Standing::Cloned);
    let machine_id = original.machine.to_string();
    let done = split(&stage, &machine_id, copy.epoch_hex()).await;
    let new = done.new_machine.unwrap();
    assert_eq!(new.device.unwrap().durable_through, copy.records.len() as u64);
    assert_eq!(stage.transactions(&new.machine_id).await.len(), 2);
    assert_eq!(stage.transactions(&machine_id).await.len(), 2);
    assert_eq!(done.open_branches, 0);
}

async fn a_machine_that_is_not_cloned_is_not_split(stage: Stage) {
    let mut device = device(&stage).await;
    device.sync(&stage).await;
    let split = v1::SplitMachineRequest {
        request_id: id(),
        machine_id: device.machine.to_string(),
        epoch: device.epoch_hex(),
        name: "n".to_owned(),
    };
    assert_eq!(reason(&refused(stage.fleet.split_machine(operator(split))).await), "MACHINE_NOT_CLONED");
    let rubbish = v1::SplitMachineRequest {
        request_id: String::new(),
        machine_id: String::new(),
        epoch: "XYZ".to_owned(),
        name: String::new(),
    };
    let refusal = refused(stage.fleet.split_machine(operator(rubbish))).await;
    assert_eq!(fields(&refusal), ["request_id", "machine_id", "epoch", "name"]);
}

async fn who_acknowledges_or_resolves_first_stays(stage: Stage) {
    let mut device = device(&stage).await;
    device.credential_state = CredentialState::Active;
    device.append_raw(2, 1, b"rubbish");
    device.sync(&stage).await;
    let alert = stage.alerts(v1::AlertType::DeadLetter).await.remove(0);
    assert_eq!(alert.severity, v1::AlertSeverity::Critical as i32);
    let acknowledge = v1::AcknowledgeAlertRequest { alert_id: alert.alert_id.clone() };
    let on_it = stage.fleet.acknowledge_alert(operator(acknowledge.clone())).await.unwrap().into_inner();
    assert_eq!(on_it.alert.unwrap().acknowledged_by, "olga");
    let resolve =
        |note: &str| v1::ResolveAlertRequest { alert_id: alert.alert_id.clone(), note: note.to_owned() };
    stage.fleet.resolve_alert(operator(resolve("fixed"))).await.unwrap();
    let over =
        stage.fleet.resolve_alert(operator(resolve("again"))).await.unwrap().into_inner().alert.unwrap();
    assert_eq!((over.note.as_str(), over.state), ("fixed", v1::AlertState::Resolved as i32));
    let late = refused(stage.fleet.acknowledge_alert(operator(acknowledge))).await;
    assert_eq!(reason(&late), "ALERT_RESOLVED");
    let info = stage.fleet.get_server_info(operator(v1::GetServerInfoRequest {})).await.unwrap().into_inner();
    assert_eq!(info.schema_version, server::store::SCHEMA_VERSION);
}

async fn rubbish_in_any_list_names_its_field(stage: Stage) {
    let rubbish = v1::ListTransactionsRequest {
        page_size: -1,
        machine_id: "m".to_owned(),
        kind: 99,
        product_id: "p".to_owned(),
        outcome: 99,
        received_from_ms: -1,
        received_before_ms: -2,
        ..v1::ListTransactionsRequest::default()
    };
    let refusal = refused(stage.fleet.list_transactions(operator(rubbish))).await;
    assert_eq!(fields(&refusal).len(), 8, "{:?}", fields(&refusal));
    let rubbish = v1::ListAlertsRequest {
        state: 99,
        r#type: 99,
        severity: 99,
        machine_id: "m".to_owned(),
        product_id: "p".to_owned(),
        page_size: 501,
        ..v1::ListAlertsRequest::default()
    };
    let refusal = refused(stage.fleet.list_alerts(operator(rubbish))).await;
    let expected = ["state", "type", "severity", "machine_id", "product_id", "page_size"];
    assert_eq!(fields(&refusal), expected);
    let rubbish =
        v1::ListGapsRequest { machine_id: "m".to_owned(), reason: 99, ..v1::ListGapsRequest::default() };
    assert_eq!(fields(&refused(stage.fleet.list_gaps(operator(rubbish))).await), ["machine_id", "reason"]);
    let rubbish = v1::ListQuarantineBranchesRequest {
        machine_id: "m".to_owned(),
        state: 99,
        reason: 99,
        ..v1::ListQuarantineBranchesRequest::default()
    };
    let refusal = refused(stage.fleet.list_quarantine_branches(operator(rubbish))).await;
    assert_eq!(fields(&refusal), ["machine_id", "state", "reason"]);
    let empty = v1::ListEpochsRequest::default();
    assert_eq!(fields(&refused(stage.fleet.list_epochs(operator(empty))).await), ["machine_id"]);
}
