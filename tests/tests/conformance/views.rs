//! What is written of a machine is what is loaded of it.

use crate::chain::{Chain, sync};
use crate::stage::{START_MS, Stage};
use server::domain::ids::{AlertId, CredentialId, MachineId};
use server::domain::sync::{
    AlertKind, AlertOver, AlertRaise, AssignmentCause, AssignmentRow, Branch, BranchKey, BranchReason,
    BranchState, ConfigFact, Disposition, EpochRow, EpochStatus, LastContact, Ledger, MachineStanding,
    MachineView, Seldom, SlotRow, Sold, SyncCall, Verdict, VerdictReason, Writes,
};
use std::collections::HashMap;
use uuid::Uuid;
use vend_core::counters::Totals;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};
use vend_core::money::Currency;
use vend_core::record::EpochReason;
use vend_core::time::ClockQuality;

/// Loads one call's machine, changes it, writes it.
async fn change(stage: &Stage, call: &SyncCall, with: impl FnOnce(&mut MachineView, &mut Writes)) {
    let mut tx = stage.store.begin_hot().await.unwrap();
    let mut views = tx.load_sync(std::slice::from_ref(call), false).await.unwrap();
    let mut writes = Writes::default();
    with(views.get_mut(&call.machine).unwrap(), &mut writes);
    tx.write_sync(&views, &writes).await.unwrap();
    tx.commit().await.unwrap();
}

async fn load(stage: &Stage, call: &SyncCall) -> MachineView {
    let mut tx = stage.store.begin_hot().await.unwrap();
    let mut views = tx.load_sync(std::slice::from_ref(call), false).await.unwrap();
    tx.roll_back().await.unwrap();
    views.remove(&call.machine).unwrap()
}

fn totals(from: u64) -> Totals {
    let minor = |n: u64| -i64::try_from(from + n).unwrap();
    Totals {
        vends: from,
        vends_minor: minor(1),
        cash_vends: from + 2,
        cash_vends_minor: minor(3),
        cashless_vends: from + 4,
        cashless_vends_minor: minor(5),
        remote_vends: from + 6,
        remote_vends_minor: minor(7),
        free_vends: from + 8,
        test_vends: from + 9,
        failed_vends: from + 10,
        unknown_vends: u64::MAX,
        cash_in_minor: i64::MIN,
        cash_out_minor: i64::MAX,
        cash_collected_minor: minor(14),
        cash_loaded_minor: minor(15),
        owed_minor: minor(16),
    }
}

fn full_epoch(epoch: Epoch, ordinal: u64, reason: EpochReason) -> EpochRow {
    EpochRow {
        epoch,
        ordinal,
        status: if ordinal == 1 { EpochStatus::Replaced } else { EpochStatus::Current },
        parent: Some(Epoch([7; 16])),
        parent_last_common: 3,
        parent_highest: 4,
        reason,
        accepted_through: 50,
        durable_through: 49,
        last_hash: Some([8; 32]),
        opening: Some(totals(1)),
        expected: Some(Ledger { currency: Currency::parse("EUR").unwrap(), totals: totals(100) }),
        diverged_seq: 9,
        opened_at_ms: 10,
        replaced_at_ms: 11,
        spoke_at_ms: 12,
        moved_to: Some(MachineId(Uuid::from_u128(13))),
    }
}

fn bare_epoch(epoch: Epoch, ordinal: u64, reason: EpochReason) -> EpochRow {
    let (parent, last_hash, opening, expected, moved_to) = (None, None, None, None, None);
    EpochRow { parent, last_hash, opening, expected, moved_to, ..full_epoch(epoch, ordinal, reason) }
}

fn branch(call: &SyncCall, reason: BranchReason, state: BranchState, mark: u8) -> Branch {
    Branch {
        key: BranchKey { epoch: call.epoch, first_hash: [mark; 32] },
        first_seq: 5,
        root_hash: [2; 32],
        last_seq: 7,
        last_hash: [3; 32],
        reason,
        state,
        opened_at_ms: START_MS,
        credential: CredentialId(Uuid::from_u128(9)),
        sold: Sold { vends: 3, minor: 450, currency: Currency::parse("EUR").unwrap() },
    }
}

pub(crate) async fn a_view_reads_back_as_it_was_written(stage: &Stage) {
    let machines = stage.machines(2).await;
    let call = Chain::new(machines[0]).whole();
    let reasons = [EpochReason::New, EpochReason::Salvaged, EpochReason::Forked, EpochReason::TailLost];
    let mut written = None;
    change(stage, &call, |view, writes| {
        let machine = &mut view.machine;
        machine.standing = MachineStanding::Cloned;
        machine.current_epoch = Some(call.epoch);
        (machine.verdict_number, machine.verdicts_seen) = (9, 2);
        (machine.desired_number, machine.desired_config) = (4, Some(ConfigId([5; 16])));
        (machine.applied_number, machine.applied_config) = (3, Some(ConfigId([6; 16])));
        (machine.rejected_number, machine.commands_done_through) = (2, 8);
        machine.last_contact =
            Some(LastContact { boot: BootId([4; 16]), uptime_ms: 1 << 40, at_ms: START_MS });
        (machine.sync_count, machine.firmware) = (77, "1.2 \u{e9}".to_owned());
        machine.seldom = Seldom {
            command_number: 12,
            has_commands: true,
            out_of_service: true,
            clock_offset_ms: -5_000,
            clock: ClockQuality::Synced,
        };
        view.machine_dirty = true;
        for (n, reason) in (1_u8..).zip(reasons) {
            let row = if n % 2 == 0 {
                full_epoch(Epoch([n; 16]), n.into(), reason)
            } else {
                bare_epoch(Epoch([n; 16]), n.into(), reason)
            };
            view.epochs_dirty.insert(row.epoch);
            view.epochs.insert(row.epoch, row);
        }
        for (slot, is_full) in [(0, true), (u16::MAX, false)] {
            let row = SlotRow {
                slot,
                product: is_full.then_some(ProductId([1; 16])),
                derived: -3,
                derived_seq: 4,
                reported_product: is_full.then_some(ProductId([2; 16])),
                reported: is_full.then_some(u32::MAX),
                reported_seq: 5,
                faulted: is_full,
                epoch: call.epoch,
                agreed_seq: 6,
                drift_seq: 7,
                reserved: 8,
            };
            view.slots_dirty.insert(slot);
            view.slots.insert(slot, row);
        }
        let branches = [
            branch(&call, BranchReason::Fork, BranchState::Held, 1),
            branch(&call, BranchReason::Cloned, BranchState::Adopted, 2),
            branch(&call, BranchReason::Revoked, BranchState::Discarded, 3),
        ];
        for branch in branches {
            view.branches_dirty.insert(branch.key);
            view.branches.insert(branch.key, branch);
        }
        let dispositions = [Disposition::Applied, Disposition::DeadLetter, Disposition::Quarantined];
        for ((number, reason), disposition) in
            (3..).zip(VerdictReason::ALL).zip(dispositions.into_iter().cycle())
        {
            let verdict =
                Verdict { number, epoch: call.epoch, first_seq: 1, last_seq: 2, disposition, reason };
            view.verdicts.insert(number, verdict.clone());
            writes.verdicts.push((call.machine, verdict));
        }
        written = Some(view.clone());
    })
    .await;

    let (written, read) = (written.unwrap(), load(stage, &call).await);
    assert_eq!(read.machine, written.machine);
    assert_eq!(read.epochs, written.epochs);
    assert_eq!(read.slots, written.slots);
    assert_eq!(read.branches, written.branches);
    assert_eq!(read.verdicts, written.verdicts);
    assert!(!read.machine_dirty && read.epochs_dirty.is_empty() && read.slots_dirty.is_empty());

    change(stage, &call, |view, _| {
        let slot = view.slots.get_mut(&0).unwrap();
        (slot.derived, slot.reserved) = (2, 0);
        view.slots_dirty.insert(0);
    })
    .await;
    let slot = load(stage, &call).await.slots.remove(&0).unwrap();
    assert_eq!((slot.derived, slot.reserved), (2, 8), "what is reserved is not a Sync's to say");

    let other = load(stage, &Chain::new(machines[1]).whole()).await;
    assert!(other.epochs.is_empty() && other.slots.is_empty(), "another machine's rows are its own");
    assert_eq!(other.machine.standing, MachineStanding::Active);
    assert_eq!(other.machine.last_contact, None);
}

pub(crate) async fn a_machine_that_does_not_exist_is_left_out(stage: &Stage) {
    let known = stage.machines(1).await[0];
    let unknown = MachineId(Uuid::from_u128(99));
    let calls = [Chain::new(unknown).whole(), Chain::new(known).whole()];
    let answers = sync(&stage.store, &calls).await.unwrap();
    assert_eq!(answers.len(), 1, "the known machine is served");
    assert_eq!(stage.count("records").await, 1);
    assert_eq!(stage.count("machine_sync").await, 1, "nobody is made by speaking");
}

pub(crate) async fn an_echoed_verdict_is_gone(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut chain = Chain::new(machine);
    chain.garbage(b"?");
    chain.cash(vend_core::id::TransactionId([1; 16]));
    chain.garbage(b"??");
    let answer = sync(&stage.store, &[chain.whole()]).await.unwrap().remove(0);
    assert_eq!(answer.verdicts.iter().map(|v| v.number).collect::<Vec<_>>(), [1, 2]);

    let mut echo = chain.call(5, 4);
    echo.verdicts_seen_through = 1;
    let answer = sync(&stage.store, std::slice::from_ref(&echo)).await.unwrap().remove(0);
    assert_eq!(answer.verdicts.iter().map(|v| v.number).collect::<Vec<_>>(), [2], "repeated until echoed");
    assert_eq!(stage.count("verdicts").await, 1);

    echo.verdicts_seen_through = 2;
    let answer = sync(&stage.store, std::slice::from_ref(&echo)).await.unwrap().remove(0);
    assert_eq!(answer.verdicts, []);
    assert_eq!(stage.count("verdicts").await, 0);
}

pub(crate) async fn a_branch_keeps_what_an_operator_did_with_it(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::new(machine).whole();
    let held = branch(&call, BranchReason::Fork, BranchState::Held, 1);
    let put = |last_seq: u64| {
        let held = held.clone();
        move |view: &mut MachineView, _: &mut Writes| {
            view.branches_dirty.insert(held.key);
            view.branches.insert(held.key, Branch { last_seq, ..held });
        }
    };
    change(stage, &call, put(7)).await;
    stage.execute("UPDATE branches SET state = 2, ended_at_ms = 5, ended_by = 'op', note = 'seen'").await;
    change(stage, &call, put(9)).await;
    let read = load(stage, &call).await;
    let branch = &read.branches[&held.key];
    assert_eq!((branch.last_seq, branch.state), (9, BranchState::Adopted));
    assert_eq!(
        stage.number("SELECT COUNT(*) FROM branches WHERE ended_by = 'op' AND note = 'seen'").await,
        1
    );
    let elsewhere = load(stage, &Chain::new(machine).whole()).await;
    assert!(elsewhere.branches.is_empty(), "only branches of the epoch that the call names are loaded");
}

pub(crate) async fn an_open_alert_is_counted_up_and_one_that_is_over_is_raised_anew(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::new(machine).whole();
    let raise = |seq: u64| AlertRaise {
        id: AlertId(Uuid::now_v7()),
        machine,
        kind: AlertKind::MachineFault,
        key: "JAM:3".to_owned(),
        epoch: Some(call.epoch),
        seq,
        detail: format!("jam at {seq}"),
        at_ms: START_MS + i64::try_from(seq).unwrap(),
        trace_id: format!("t-{seq}"),
    };
    let open = "SELECT occurrences, seq, last_at_ms FROM alerts WHERE resolved_at_ms = 0";
    let read = |row: &server::store::Row| {
        let mut c = row.columns();
        (c.int().unwrap(), c.int().unwrap(), c.int().unwrap() - START_MS)
    };

    change(stage, &call, |_, writes| writes.alerts = vec![raise(5), raise(6)]).await;
    change(stage, &call, |_, writes| writes.alerts = vec![raise(7)]).await;
    let rows = stage.rows(open).await;
    assert_eq!(
        rows.iter().map(read).collect::<Vec<_>>(),
        [(3, 5, 7)],
        "one cause is one alert, from its first record"
    );

    let over = AlertOver {
        machine,
        kind: AlertKind::MachineFault,
        key: "JAM:3".to_owned(),
        trace_id: "t-8".to_owned(),
    };
    change(stage, &call, |_, writes| writes.alerts_over = vec![over.clone()]).await;
    assert!(stage.rows(open).await.is_empty());
    change(stage, &call, |_, writes| writes.alerts = vec![raise(9)]).await;
    assert_eq!(stage.rows(open).await.iter().map(read).collect::<Vec<_>>(), [(1, 9, 9)]);
    assert_eq!(stage.count("alerts").await, 2, "the one that is over stays to be read");
}

pub(crate) async fn an_assignment_knows_what_the_machine_did_with_it(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let call = Chain::new(machine).whole();
    let fact = |number, applied, refusals: &str, at_ms| ConfigFact {
        machine,
        number,
        applied,
        refusals: refusals.to_owned(),
        at_ms,
    };
    change(stage, &call, |_, writes| {
        for (number, cause) in [(1, AssignmentCause::Publish), (2, AssignmentCause::Reissue)] {
            writes.assignments.push(AssignmentRow {
                machine,
                number,
                config: ConfigId([1; 16]),
                cause,
                at_ms: 1,
            });
        }
        writes.config_facts =
            vec![fact(1, true, "", 10), fact(1, false, "slots: ROLLED_BACK", 11), fact(9, true, "", 12)];
    })
    .await;
    let rows = stage
        .rows("SELECT number, applied_at_ms, refused_at_ms, refusals FROM assignments ORDER BY number")
        .await;
    let rows: Vec<(i64, i64, i64, String)> = rows
        .iter()
        .map(|row| {
            let mut c = row.columns();
            (c.int().unwrap(), c.int().unwrap(), c.int().unwrap(), c.text().unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        rows,
        [(1, 10, 11, "slots: ROLLED_BACK".to_owned()), (2, 0, 0, String::new())],
        "facts in order; one about an assignment nobody knows changes nothing"
    );
}

pub(crate) async fn the_machine_row_remembers_what_the_device_said_it_holds(stage: &Stage) {
    let machines = stage.machines(2).await;
    let chains: HashMap<MachineId, Chain> = machines.iter().map(|id| (*id, Chain::of(*id, 10))).collect();
    let calls: Vec<SyncCall> = machines.iter().map(|id| chains[id].call(1, 4)).collect();
    sync(&stage.store, &calls).await.unwrap();
    for row in stage.rows("SELECT machine_id, spoke_epoch, spoke_last_seq FROM machine_sync").await {
        let mut c = row.columns();
        let chain = &chains[&MachineId(c.uuid().unwrap())];
        assert_eq!(Epoch(c.array().unwrap()), chain.epoch);
        assert_eq!(c.int().unwrap(), 10, "also what is not uploaded yet: an operator who revokes must know");
    }
}
