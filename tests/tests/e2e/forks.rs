//! Same name, other hash; a replaced epoch that speaks again; a split that heals it.

use fleet_client::transport::Standing;
use vend_core::record::EpochReason;
use vendfleet_proto::v1::{AlertType, BranchReason, BranchState, EpochReason as SaidReason, UploadStanding};
use vendfleet_tests::{
    checker::check,
    device::{Device, voice::Voice},
    fleet::{Engine, Fleet},
};

pub(crate) async fn a_journal_restored_from_an_old_image_forks_and_goes_on(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let image = fleet.place("image");
    device.save_journal(&image).await;
    let common = device.now().last_seq - 1;
    device.settle().await;
    device.sell(3).await;
    device.settle().await;
    let applied = fleet.operator().device(&device.id()).await.durable_through;

    device.restore_journal(&image).await;
    device.machine.go_offline();
    device.power_on().await;
    device.sell(2).await;
    let forked = device.epoch();
    let last = device.now().last_seq;
    device.machine.go_online();
    device.settle_in_another_epoch(&forked).await;
    device.sell(1).await;
    device.settle().await;

    let mut operator = fleet.operator();
    let branches = operator.branches(&device.id()).await;
    let seen: Vec<_> = branches.iter().map(|b| (b.first_seq, b.last_seq, b.reason(), b.state())).collect();
    assert_eq!(seen, [(common + 1, last, BranchReason::Fork, BranchState::Open)]);
    assert_eq!(operator.vends_apart(&branches[0]).await, 2);
    assert_eq!(operator.alerts_of(&device.id(), AlertType::Fork).await.len(), 1);
    let epochs = operator.epochs(&device.id()).await;
    assert_eq!((epochs[1].reason(), epochs[1].parent_last_common_seq), (SaidReason::Forked, common));
    assert_eq!(epochs[0].durable_through, applied, "what was applied first stays");

    let chains = device.chains().await;
    let parent = chains.epochs[0].parent.unwrap();
    assert_eq!((parent.last_common_seq, parent.reason), (common, EpochReason::Forked));
    assert_eq!(check(&fleet, &[chains]).await.sales, 4, "three that counted first and one since");
}

pub(crate) async fn a_branch_that_an_operator_adopts_counts(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let image = fleet.place("image");
    device.save_journal(&image).await;
    device.settle().await;
    device.sell(1).await;
    device.settle().await;
    device.restore_journal(&image).await;
    device.machine.go_offline();
    device.power_on().await;
    device.sell(2).await;
    let forked = device.epoch();
    device.machine.go_online();
    device.settle_in_another_epoch(&forked).await;

    let mut operator = fleet.operator();
    assert_eq!(operator.transactions(&device.id()).await.len(), 1);
    let branch = operator.branches(&device.id()).await.remove(0);
    let adopt = vendfleet_proto::v1::AdoptBranchRequest {
        request_id: vendfleet_tests::fleet::operator::request_id(),
        branch_id: branch.branch_id,
        note: "both boards sold".to_owned(),
    };
    let adopted = operator.fleet.adopt_branch(adopt.clone()).await.unwrap().into_inner();
    let again = operator.fleet.adopt_branch(adopt).await.unwrap().into_inner();
    assert_eq!(adopted, again, "the same request adopts once");
    assert_eq!(adopted.dead_lettered_records, 0);
    assert_eq!(operator.transactions(&device.id()).await.len(), 3);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 3);
}

pub(crate) async fn a_lost_tail_opens_a_new_epoch_and_changes_nothing_else(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let image = fleet.place("image");
    device.save_journal(&image).await;
    device.settle().await;
    let applied = device.now().last_seq;

    // Before its boot has written anything: the journal is a shorter one, and the same as far as it goes.
    device.restore_journal(&image).await;
    let call = device.next_call(u64::MAX, 1).await;
    let (last, shorter) = (call.last_seq, hex::encode(&call.epoch));
    let answer = Voice::of(fleet.server.channel(), &device.credentials()).sync(call).await.unwrap();
    let order = answer.open_epoch.unwrap();
    assert_eq!((order.last_common_seq, order.reason()), (last, SaidReason::TailLost));
    let status = fleet.operator().device(&device.id()).await;
    assert_eq!((status.durable_through, status.standing()), (applied, UploadStanding::Active));

    // Booted, it has another record under a name the server knows, and still loses none.
    device.power_on().await;
    device.settle_in_another_epoch(&shorter).await;
    device.sell(1).await;
    device.settle().await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);
}

/// Two devices with one journal, both of which have sold and been heard.
pub(crate) async fn cloned(fleet: &Fleet) -> (Device, Device) {
    let mut original = fleet.device("corner").await;
    original.sell(1).await;
    original.settle().await;
    let mut clone = fleet.clone_of(&mut original, "twin").await;
    original.settle().await;
    clone.machine.go_offline();
    clone.power_on().await;
    for device in [&mut original, &mut clone] {
        device.sell(2).await;
    }
    original.settle().await;
    // The second to speak is a fork, and opens a new epoch...
    let shared = clone.epoch();
    clone.machine.go_online();
    clone.settle_in_another_epoch(&shared).await;
    assert_eq!(clone.now().sync.standing, Standing::Active);
    // ... and then the first one, in the epoch that was replaced, can only be another device.
    original.sell(1).await;
    original
        .sync_until("the clone to be noticed", |o| o.sync.standing == Standing::Cloned && o.sync.all_accepted)
        .await;
    clone.sell(1).await;
    clone
        .sync_until("the clone to be noticed", |o| o.sync.standing == Standing::Cloned && o.sync.all_accepted)
        .await;
    (original, clone)
}

pub(crate) async fn clones_are_told_nothing_and_what_they_say_is_kept_apart(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let (mut original, mut clone) = cloned(&fleet).await;
    let mut operator = fleet.operator();
    let id = original.id();
    assert_eq!(operator.device(&id).await.standing(), UploadStanding::Cloned);
    assert_eq!(operator.alerts_of(&id, AlertType::MachineCloned).await.len(), 1);
    let counted = operator.transactions(&id).await.len();

    let epochs = (original.epoch(), clone.epoch());
    operator.publish_prices(&[500, 500, 500]).await;
    for device in [&mut original, &mut clone] {
        let price = device.price();
        device.sell(1).await;
        device.sync_until("all to be taken", |o| o.sync.marks.unwrap().durable_through >= o.last_seq).await;
        device.sync().await;
        assert_eq!(device.price(), price, "no config reaches a clone");
    }
    assert_eq!((original.epoch(), clone.epoch()), epochs, "nobody opens another epoch");
    assert_eq!(operator.transactions(&id).await.len(), counted, "nothing more is counted");
    assert!(operator.branches(&id).await.iter().any(|b| b.reason() == BranchReason::Cloned));
    check(&fleet, &[original.chains().await, clone.chains().await]).await;
}

pub(crate) async fn a_split_heals_both_clones(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let (mut original, mut clone) = cloned(&fleet).await;
    let mut operator = fleet.operator();
    let old = original.id();
    operator.publish_prices(&[170, 170, 170]).await;
    let new = operator.split(&old, &clone.epoch(), "the twin").await;
    assert_ne!(new, old);

    for device in [&mut original, &mut clone] {
        device.sync_until("the new prices", |o| o.prices.iter().all(|(_, price)| *price == 170)).await;
        device.sell(1).await;
        device.settle().await;
        assert_eq!(device.now().sync.standing, Standing::Active);
    }
    assert_eq!((original.id(), clone.id()), (old.clone(), new.clone()));
    assert_eq!(operator.device(&old).await.standing(), UploadStanding::Active);
    let sold = |transactions: &[vendfleet_proto::v1::Transaction]| transactions.len();
    let (kept, left) = (operator.transactions(&old).await, operator.transactions(&new).await);
    let mut apart = 0;
    for branch in operator.branches(&old).await.into_iter().filter(|b| b.state() == BranchState::Open) {
        apart += operator.vends_apart(&branch).await;
    }
    // 1 before the copy, 2 + 1 + 1 of the original, 2 (a fork: quarantined) + 1 + 1 of the clone.
    assert_eq!((sold(&kept), sold(&left), apart), (5, 2, 2), "{kept:#?}\n{left:#?}");
    check(&fleet, &[original.chains().await, clone.chains().await]).await;
}
