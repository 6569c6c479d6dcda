//! The simulator does to its machines what it says. Time is virtual; the journals are real.

#![allow(clippy::unwrap_used)]

use super::story::{Story, Tally};
use super::{Blueprint, Bought, CutPoint, SimError, SimMachine, sample_config};
use crate::hardware::sim::Behaviour;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

async fn machine(dir: &Path, name: &str, seed: u64) -> SimMachine {
    let behaviour = Behaviour { motor_fails_one_in: 20, coin_jam_one_in: 30, ..Behaviour::default() };
    let blueprint = Arc::new(Blueprint { behaviour, ..Blueprint::default() });
    let mut machine = SimMachine::new(name, &dir.join(name), seed, blueprint);
    machine.power_on().await.unwrap();
    machine.load_config(1, sample_config(6)).await.unwrap();
    machine.restock().await.unwrap();
    machine
}

#[tokio::test(start_paused = true)]
async fn a_fleet_with_bad_luck_stays_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut machines = Vec::new();
    for seed in 0..4 {
        machines.push(machine(dir.path(), &format!("m{seed}"), seed).await);
    }
    let story = Story { seed: 42, lasts: Duration::from_secs(60), ..Story::default() };
    let tally = Arc::new(Tally::default());
    let (_, report) = story.happen(machines, tally).await;
    assert!(report.sound(), "{report:#?}");
    assert!(report.sold > 50 && report.power_cuts > 5 && report.outages > 5, "{report:#?}");
    assert_eq!(report.machines.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_machine_dies_where_it_is_told_to_and_boots_from_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(dir.path(), "m", 3).await;
    let epoch = machine.observe().unwrap().epoch;
    machine.cut_power_at(CutPoint::AfterMotor);
    let mut tries = 0;
    while machine.buy().await.unwrap() != Bought::PowerCut {
        tries += 1;
        assert!(tries < 50);
    }
    assert!(!machine.is_on());
    assert!(matches!(machine.observe(), Err(SimError::Off(_))));
    machine.power_on().await.unwrap();
    let report = machine.report().await.unwrap();
    assert_eq!(report.epochs.len(), 1);
    assert_eq!(machine.observe().unwrap().epoch, epoch);
    assert_eq!(report.lifetime["unknown_vends"], 1);
    assert_eq!((report.turns_unrecorded, report.driven_twice, report.money_conserved), (0, 0, true));
}

#[tokio::test(start_paused = true)]
async fn a_reflashed_machine_has_a_new_epoch_and_no_past() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(dir.path(), "m", 4).await;
    let before = machine.observe().unwrap();
    machine.reflash().await.unwrap();
    let after = machine.observe().unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.last_seq, after.assignment_number), (1, 0), "a boot record and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_clone_writes_the_same_epoch_with_another_hand() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = machine(dir.path(), "one", 5).await;
    let mut two = one.clone_into("two", &dir.path().join("two"), 6).await.unwrap();
    assert!(one.is_on() && !two.is_on());
    two.power_on().await.unwrap();
    let (a, b) = (one.observe().unwrap(), two.observe().unwrap());
    assert_eq!((a.epoch, a.assignment_number), (b.epoch, b.assignment_number));
    let hash = |r: super::report::MachineReport| r.epochs[0].last_hash.clone();
    assert_ne!(hash(one.report().await.unwrap()), hash(two.report().await.unwrap()), "their boots differ");
}
