//! Row by row.

use super::device::Device;
use super::world::World;
use crate::domain::sync::{
    AlertKind, AppliedConfig, BranchReason, BranchState, CredentialState, Disposition, EpochStatus,
    MachineStanding, Standing, VerdictReason,
};
use vend_core::counters::Totals;
use vend_core::id::ConfigId;
use vend_core::record::EpochReason;

fn sold(n: usize) -> Device {
    let mut device = Device::new(1);
    for _ in 0..n {
        device.vend();
    }
    device
}

#[test]
fn a_repeated_batch_gets_the_same_marks_and_nothing_twice() {
    let (mut world, device) = (World::new(), sold(5));
    let call = device.call(50, 1);
    let first = world.take(&call);
    let again = world.take(&call);
    assert_eq!((first.accepted_through, first.durable_through), (6, 6));
    assert_eq!((again.accepted_through, again.durable_through), (6, 6));
    assert_eq!(world.records.len(), 6);
}

#[test]
fn overlapping_batches_append_only_what_is_new() {
    let (mut world, mut device) = (World::new(), sold(5));
    world.sync(&mut device);
    device.vend();
    device.resend_from = Some(3);
    assert_eq!(world.sync(&mut device).accepted_through, 7);
    world.check(&device);
}

#[test]
fn a_gap_the_device_can_fill_is_asked_for_and_nothing_advances() {
    let (mut world, mut device) = (World::new(), sold(5));
    device.current().accepted = 3;
    let answer = world.take(&device.call(50, 1));
    assert_eq!((answer.accepted_through, answer.resend_from), (0, Some(1)));
    assert!(world.records.is_empty());
    device.hear(&answer);
    world.drain(&mut device);
    assert!(world.gaps.is_empty());
    world.check(&device);
}

#[test]
fn a_gap_nobody_can_fill_is_named_and_alerted_and_the_queue_goes_on() {
    let (mut world, mut device) = (World::new(), sold(9));
    device.current().pruned = 4;
    device.current().accepted = 4;
    world.drain(&mut device);
    assert_eq!(world.gaps.iter().map(|g| (g.first_seq, g.last_seq)).collect::<Vec<_>>(), [(1, 4)]);
    assert!(world.raised(AlertKind::RecordsMissing));
    world.check(&device);
}

#[test]
fn a_fork_keeps_what_was_applied_first_and_sets_the_other_branch_apart() {
    let (mut world, mut device) = (World::new(), sold(5));
    let mut image = device.clone();
    world.drain(&mut device);
    device.vend();
    world.drain(&mut device);
    image.diverge(99);
    image.vend();
    image.vend();
    let answer = world.sync(&mut image);
    assert_eq!(answer.open_epoch.map(|o| (o.last_common_seq, o.reason)), Some((6, EpochReason::Forked)));
    assert_eq!(answer.accepted_through, 8);
    assert_eq!(answer.verdicts[0].disposition, Disposition::Quarantined);
    assert_eq!(answer.verdicts[0].reason, VerdictReason::Fork);
    assert!(world.raised(AlertKind::JournalForked));
    assert_eq!(world.quarantined.len(), 2);
    world.drain(&mut image);
    assert_eq!(image.journals.len(), 2);
    world.check(&image);
    // The other one, still on the epoch that was replaced, makes it a clone.
    device.vend();
    let told = world.sync(&mut device);
    assert_eq!(told.standing, Standing::Cloned);
    assert_eq!(world.view.machine.standing, MachineStanding::Cloned);
    world.drain(&mut device);
    world.check(&device);
}

#[test]
fn a_repeated_forked_batch_is_the_same_branch() {
    let (mut world, mut device) = (World::new(), sold(3));
    let mut image = device.clone();
    device.vend();
    world.drain(&mut device);
    image.diverge(5);
    image.vend();
    let call = image.call(50, 1);
    let first = world.take(&call);
    let again = world.take(&call);
    assert_eq!(first.open_epoch, again.open_epoch);
    assert_eq!(world.view.branches.len(), 1);
}

#[test]
fn a_clone_is_told_nothing_and_everything_it_says_is_kept_apart() {
    let (mut world, mut device) = (World::new(), sold(3));
    world.drain(&mut device);
    let mut clone = device.clone();
    device.reflash();
    world.drain(&mut device);
    clone.diverge(4);
    clone.vend();
    world.view.machine.desired_number = 3;
    world.view.machine.desired_config = Some(ConfigId([1; 16]));
    for one in [&mut clone, &mut device] {
        one.vend();
        let answer = world.sync(one);
        assert_eq!((answer.standing, answer.config, answer.open_epoch), (Standing::Cloned, None, None));
        world.drain(one);
        world.check(one);
    }
    assert!(world.view.branches.values().all(|b| b.reason == BranchReason::Cloned));
    assert!(world.raised(AlertKind::MachineCloned));
}

#[test]
fn a_late_duplicate_of_a_replaced_epoch_is_no_clone() {
    let (mut world, mut device) = (World::new(), sold(3));
    let duplicate = device.call(50, world.now_ms);
    world.drain(&mut device);
    device.salvage(4);
    world.drain(&mut device);
    let answer = world.take(&duplicate);
    assert_eq!((answer.standing, answer.accepted_through), (Standing::Active, 4));
    assert_eq!(world.view.machine.standing, MachineStanding::Active);
    let mut late = duplicate;
    late.received_at_ms = world.now_ms + 120_000;
    assert_eq!(world.take(&late).standing, Standing::Cloned);
}

#[test]
fn a_lost_tail_opens_a_new_epoch_and_loses_nothing() {
    let (mut world, mut device) = (World::new(), sold(5));
    let mut image = device.clone();
    world.drain(&mut image);
    for _ in 0..3 {
        device.vend();
    }
    world.drain(&mut device);
    let answer = world.sync(&mut image);
    assert_eq!(answer.open_epoch.map(|o| (o.last_common_seq, o.reason)), Some((6, EpochReason::TailLost)));
    image.vend();
    world.drain(&mut image);
    assert!(world.raised(AlertKind::TailLost));
    assert!(world.gaps.is_empty());
    world.check(&image);
}

#[test]
fn a_lost_journal_opens_an_epoch_and_the_step_in_counters_is_shown() {
    let (mut world, mut device) = (World::new(), sold(5));
    world.drain(&mut device);
    device.reflash();
    device.vend();
    world.drain(&mut device);
    assert!(world.raised(AlertKind::RecordsMissing) && world.raised(AlertKind::CountersStepped));
    let statuses = world.view.epochs.values().map(|e| (e.ordinal, e.status));
    assert!(statuses.into_iter().any(|s| s == (2, EpochStatus::Current)));
    world.check(&device);
}

#[test]
fn what_a_salvage_could_not_read_is_a_named_gap() {
    let (mut world, mut device) = (World::new(), sold(3));
    world.drain(&mut device);
    for _ in 0..6 {
        device.vend();
    }
    device.salvage(7);
    world.drain(&mut device);
    assert_eq!(world.gaps.iter().map(|g| (g.first_seq, g.last_seq)).collect::<Vec<_>>(), [(8, 10)]);
    world.check(&device);
}

#[test]
fn an_older_backup_is_healed_by_what_devices_still_hold() {
    let (mut world, mut device) = (World::new(), sold(3));
    world.drain(&mut device);
    let backup = (world.view.clone(), world.records.clone());
    for _ in 0..4 {
        device.vend();
    }
    world.drain(&mut device);
    (world.view, world.records) = backup;
    let mut call = device.call(50, 1);
    call.same_incarnation = false;
    let answer = world.take(&call);
    assert_eq!(answer.resend_from, Some(5));
    assert!(!world.raised(AlertKind::ServerBehindDevice));
    device.hear(&answer);
    world.drain(&mut device);
    assert_eq!(world.records.len(), 8);
    world.check(&device);
}

#[test]
fn one_device_ahead_of_the_server_is_healed_alone_with_an_alert() {
    let (mut world, mut device) = (World::new(), sold(3));
    world.drain(&mut device);
    let lost = (world.view.clone(), world.records.clone());
    device.vend();
    world.drain(&mut device);
    (world.view, world.records) = lost;
    world.drain(&mut device);
    assert!(world.raised(AlertKind::ServerBehindDevice));
    world.check(&device);
}

#[test]
fn a_body_that_cannot_be_read_spoils_nothing_but_itself() {
    let (mut world, mut device) = (World::new(), sold(1));
    device.append_raw(2, 1, &[0xff, 0xff, 0xff]);
    device.append_raw(999, 1, b"future");
    device.vend();
    let answer = world.sync(&mut device);
    assert_eq!(answer.accepted_through, 5);
    let verdicts: Vec<_> = answer.verdicts.iter().map(|v| (v.first_seq, v.last_seq, v.disposition)).collect();
    assert_eq!(verdicts, [(3, 4, Disposition::DeadLetter)]);
    assert!(!world.raised(AlertKind::CountersDiverged), "a dead letter explains the step in counters");
    assert!(world.sync(&mut device).verdicts.is_empty(), "an echoed verdict is not repeated");
    world.check(&device);
}

#[test]
fn a_verdict_is_repeated_until_it_is_echoed() {
    let (mut world, mut device) = (World::new(), sold(1));
    device.append_raw(2, 1, &[0xff]);
    let call = device.call(50, 1);
    let first = world.take(&call).verdicts;
    assert_eq!(first, world.take(&call).verdicts);
    assert_eq!(first.len(), 1);
}

#[test]
fn a_transaction_counts_once_whatever_names_it_travels_under() {
    let (mut world, mut device) = (World::new(), sold(0));
    let transaction = device.vend();
    world.drain(&mut device);
    device.salvage(1);
    device.vend_as(transaction);
    world.drain(&mut device);
    let counting = world.records.values().filter(|r| r.transaction == Some(transaction)).count();
    assert_eq!(counting, 1);
    world.check(&device);
}

#[test]
fn counters_that_disagree_name_the_first_record_where_they_part() {
    let (mut world, mut device) = (World::new(), sold(3));
    device.totals = Totals { vends: 40, ..device.totals };
    device.vend();
    device.vend();
    world.drain(&mut device);
    let epoch = world.view.epochs.values().next().unwrap();
    assert_eq!(epoch.diverged_seq, 5);
    assert_eq!(world.alerts.iter().filter(|k| **k == AlertKind::CountersDiverged).count(), 1);
}

#[test]
fn an_upload_only_credential_fills_the_quarantine_and_moves_nothing() {
    let (mut world, mut device) = (World::new(), sold(3));
    world.drain(&mut device);
    device.vend();
    device.vend();
    let mut call = device.call(50, 1);
    call.credential_state = CredentialState::UploadOnly;
    let answer = world.take(&call);
    assert_eq!((answer.standing, answer.accepted_through), (Standing::Draining, 6));
    assert_eq!((world.records.len(), world.quarantined.len()), (4, 2));
    assert_eq!(world.take(&call).accepted_through, 6);
}

#[test]
fn what_comes_behind_a_judged_branch_waits_in_a_branch_of_its_own_and_is_told() {
    for judged in [BranchState::Adopted, BranchState::Discarded] {
        let (mut world, mut device) = (World::new(), sold(3));
        world.drain(&mut device);
        world.view.upload_only = true;
        device.vend();
        world.drain(&mut device);
        assert!(!world.raised(AlertKind::RecordsAfterJudgement));
        world.judge(judged);
        for open in 1..=2 {
            device.vend();
            device.vend();
            world.drain(&mut device);
            world.check(&device);
            let held: Vec<_> =
                world.view.branches.values().filter(|branch| branch.state == BranchState::Held).collect();
            let (first, last) = (held[0].first_seq, held[0].last_seq);
            // The first two open it, the next two go on in it.
            assert_eq!((held.len(), first, last), (1, 6, 5 + 2 * open), "{judged:?}");
            let told = world.alerts.iter().filter(|kind| **kind == AlertKind::RecordsAfterJudgement);
            assert_eq!(told.count(), 1);
        }
    }
}

#[test]
fn a_swapped_board_whose_credential_was_looked_up_too_early_is_no_clone() {
    let (mut world, mut old) = (World::new(), sold(3));
    world.drain(&mut old);
    let mut new = old.clone();
    old.vend();
    new.reflash();
    world.drain(&mut new);
    let mut call = old.call(50, 1);
    call.credential_state = CredentialState::Active;
    world.view.upload_only = true;
    assert_eq!(world.take(&call).standing, Standing::Draining);
    world.view.upload_only = false;
    assert_eq!(world.view.machine.standing, MachineStanding::Active);
    assert_eq!(world.quarantined.len(), 1);
}

#[test]
fn a_machine_that_knows_a_higher_assignment_makes_the_server_go_above_it() {
    let (mut world, mut device) = (World::new(), sold(1));
    world.view.machine.desired_number = 2;
    world.view.machine.desired_config = Some(ConfigId([8; 16]));
    let mut call = device.call(50, 1);
    call.applied =
        Some(AppliedConfig { as_of_seq: 2, number: 5, config: Some(ConfigId([9; 16])), rejected_number: 0 });
    let answer = world.take(&call);
    assert_eq!(answer.config.map(|c| (c.number, c.config)), Some((6, ConfigId([8; 16]))));
    device.hear(&answer);
}

#[test]
fn a_machine_that_knows_another_config_under_the_same_number_is_given_a_higher_one() {
    let (mut world, device) = (World::new(), sold(1));
    world.view.machine.desired_number = 1;
    world.view.machine.desired_config = Some(ConfigId([8; 16]));
    let mut call = device.call(50, 1);
    let known =
        |config| Some(AppliedConfig { as_of_seq: 2, number: 1, config: Some(config), rejected_number: 0 });
    call.applied = known(ConfigId([9; 16]));
    assert_eq!(world.take(&call).config.map(|c| (c.number, c.config)), Some((2, ConfigId([8; 16]))));

    let (mut world, device) = (World::new(), sold(1));
    world.view.machine.desired_number = 1;
    world.view.machine.desired_config = Some(ConfigId([8; 16]));
    let mut call = device.call(50, 1);
    call.applied = known(ConfigId([8; 16]));
    assert_eq!(world.take(&call).config, None);
}

#[test]
fn a_fault_is_an_alert_until_it_is_cleared() {
    let (mut world, mut device) = (World::new(), sold(0));
    device.fault("MOTOR_JAM", false);
    world.drain(&mut device);
    assert!(world.raised(AlertKind::MachineFault));
}
