//! Random histories: whatever happens to devices and link, nothing acknowledged is lost and nothing counts twice.

use super::device::Device;
use super::world::World;
use crate::domain::sync::BranchState;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Vend(u8),
    Sync,
    LoseReply,
    Duplicate,
    Garbage,
    Prune,
    KeepImage,
    BackToImage,
    Salvage(u8),
    Reflash,
    BackupServer,
    RestoreServer,
    Revoke,
    Adopt,
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6u8).prop_map(Step::Vend),
        8 => Just(Step::Sync),
        2 => Just(Step::LoseReply),
        2 => Just(Step::Duplicate),
        1 => Just(Step::Garbage),
        1 => Just(Step::Prune),
        1 => Just(Step::KeepImage),
        1 => Just(Step::BackToImage),
        1 => (0..8u8).prop_map(Step::Salvage),
        1 => Just(Step::Reflash),
        1 => Just(Step::BackupServer),
        1 => Just(Step::RestoreServer),
        1 => Just(Step::Revoke),
        1 => Just(Step::Adopt),
        1 => Just(Step::Discard),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_counts_twice(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut device = Device::new(1);
        let mut image = device.clone();
        let mut backup = (world.view.clone(), world.records.clone(), world.quarantined.clone(), world.gaps.clone());
        let mut judged = world.judged.clone();
        let mut salt = 1_000;
        for step in steps {
            match step {
                Step::Vend(n) => for _ in 0..n { device.vend(); },
                Step::Sync => { world.sync(&mut device); }
                Step::LoseReply => { world.take(&device.call(3, world.now_ms)); }
                Step::Duplicate => {
                    let call = device.call(4, world.now_ms);
                    world.take(&call);
                    let answer = world.take(&call);
                    device.hear(&answer);
                }
                Step::Garbage => device.append_raw(2, 1, &[0xff]),
                Step::Prune => {
                    let accepted = device.current().accepted;
                    device.current().pruned = accepted;
                }
                Step::KeepImage => image = device.clone(),
                Step::BackToImage => {
                    salt += 1;
                    device = image.clone();
                    device.diverge(salt);
                }
                Step::Salvage(back) => {
                    let readable = device.last_seq().saturating_sub(u64::from(back)).max(device.current().pruned);
                    device.salvage(readable);
                }
                Step::Reflash => device.reflash(),
                Step::BackupServer => {
                    backup = (world.view.clone(), world.records.clone(), world.quarantined.clone(), world.gaps.clone());
                    judged = world.judged.clone();
                }
                // Its credential is upload-only from now on: what it sells goes into quarantine.
                Step::Revoke => world.view.upload_only = true,
                Step::Adopt => world.judge(BranchState::Adopted),
                Step::Discard => world.judge(BranchState::Discarded),
                Step::RestoreServer => {
                    (world.view, world.records, world.quarantined, world.gaps) = backup.clone();
                    world.judged = judged.clone();
                    // What a restore forgets, devices bring again: only what they are told afterwards is promised.
                    for journal in &mut device.journals { journal.accepted = 0; }
                    for journal in &mut image.journals { journal.accepted = 0; }
                }
            }
            world.check(&device);
        }
        world.drain(&mut device);
        world.check(&device);
    }
}
