//! Records: kept as received, counted once.

use crate::chain::{Chain, sync, sync_checked};
use crate::stage::Stage;
use server::domain::fleet::{dead_letter_id, gap_id};
use server::domain::ids::MachineId;
use server::domain::sync::SyncCall;
use server::store::StoreError;
use vend_core::id::TransactionId;

pub(crate) async fn records_are_kept_byte_for_byte(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut chain = Chain::of(machine, 2);
    chain.garbage(&[]);
    chain.garbage(&[0; 4096]);
    let every_byte: Vec<u8> = (0..=255).collect();
    chain.garbage(&every_byte);
    sync(&stage.store, &[chain.whole()]).await.unwrap();

    let rows = stage.rows("SELECT epoch, seq, kind, schema_no, body, hash FROM records ORDER BY seq").await;
    assert_eq!(rows.len(), chain.records.len());
    for (row, record) in rows.iter().zip(&chain.records) {
        let mut c = row.columns();
        assert_eq!(c.array::<16>().unwrap(), chain.epoch.0);
        assert_eq!(c.number::<u64>().unwrap(), record.seq);
        assert_eq!(c.number::<u32>().unwrap(), record.kind);
        assert_eq!(c.number::<u32>().unwrap(), record.schema);
        assert_eq!(c.bytes().unwrap(), record.body.as_ref());
        assert_eq!(c.array::<32>().unwrap(), record.hash);
    }
}

pub(crate) async fn a_large_batch_is_written_whole(stage: &Stage) {
    let machines = stage.machines(37).await;
    // Sizes around every chunk boundary.
    let chains: Vec<Chain> = machines
        .iter()
        .zip([1, 2, 3, 63, 64, 65, 100, 129].iter().cycle())
        .map(|(m, n)| Chain::of(*m, *n))
        .collect();
    let calls: Vec<SyncCall> = chains.iter().map(Chain::whole).collect();
    let answers = sync(&stage.store, &calls).await.unwrap();
    for (answer, chain) in answers.iter().zip(&chains) {
        assert_eq!(answer.durable_through, chain.last_seq());
    }
    let total: usize = chains.iter().map(|c| c.records.len()).sum();
    assert_eq!(stage.count("records").await, i64::try_from(total).unwrap());
    assert_eq!(stage.count("events").await, 37);

    // The same batch again, every hash held against what is stored.
    let again = sync(&stage.store, &calls).await.unwrap();
    for (answer, chain) in again.iter().zip(&chains) {
        assert_eq!((answer.durable_through, answer.open_epoch), (chain.last_seq(), None));
    }
    assert_eq!(stage.count("records").await, i64::try_from(total).unwrap());
}

pub(crate) async fn a_transaction_counts_once_and_its_batch_leaves_nothing(stage: &Stage) {
    let machines = stage.machines(2).await;
    let mut chain = Chain::new(machines[0]);
    chain.cash(TransactionId([1; 16]));
    sync(&stage.store, &[chain.whole()]).await.unwrap();

    chain.cash(TransactionId([2; 16]));
    chain.cash(TransactionId([1; 16]));
    let innocent = Chain::of(machines[1], 3);
    let calls = [chain.call(3, 4), innocent.whole()];
    let error = sync(&stage.store, &calls).await.unwrap_err();
    assert!(matches!(error, StoreError::UniqueCounted), "{error:?}");
    assert_eq!(stage.count("records").await, 2, "nothing of the batch is kept");
    assert_eq!(stage.count("events").await, 1);
    assert_eq!(stage.number("SELECT CAST(SUM(sync_count) AS BIGINT) FROM machine_sync").await, 1);

    let answers = sync_checked(&stage.store, &calls, true).await.unwrap();
    assert_eq!(answers[0].durable_through, 4, "told beforehand, the fold dead-letters it and goes on");
    assert_eq!(stage.count("records").await, 7);
    assert_eq!(stage.count("dead_letters").await, 1);
    let counted = stage.number("SELECT COUNT(*) FROM records WHERE transaction_id IS NOT NULL").await;
    assert_eq!(counted, 4, "1, 2 and the two of the other machine");

    let mut other = Chain::new(machines[1]);
    other.cash(TransactionId([1; 16]));
    sync(&stage.store, &[other.whole()])
        .await
        .expect("another machine's transaction of that name is another one");
}

pub(crate) async fn what_counts_already_is_loaded_when_asked_for(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut chain = Chain::new(machine);
    chain.cash(TransactionId([1; 16]));
    sync(&stage.store, &[chain.whole()]).await.unwrap();
    chain.cash(TransactionId([1; 16]));
    chain.cash(TransactionId([2; 16]));
    let call = chain.call(3, 4);
    for (check, known) in [(false, 0), (true, 1)] {
        let mut tx = stage.store.begin_hot().await.unwrap();
        let views = tx.load_sync(std::slice::from_ref(&call), check).await.unwrap();
        assert_eq!(views[&machine].counted.len(), known);
        assert!(!check || views[&machine].counted.contains(&(TransactionId([1; 16]), call.records[0].kind)));
        tx.roll_back().await.unwrap();
    }
}

pub(crate) async fn the_hashes_that_an_overlap_needs_are_loaded(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let chain = Chain::of(machine, 20);
    sync(&stage.store, &[chain.whole()]).await.unwrap();

    // The same journal until 12, then another story.
    let mut fork = chain.clone();
    fork.records.truncate(12);
    for n in 0..5 {
        fork.cash(TransactionId([100 + n; 16]));
    }
    let answer = sync(&stage.store, &[fork.call(10, 17)]).await.unwrap().remove(0);
    assert_eq!(answer.open_epoch.map(|o| o.last_common_seq), Some(12), "{answer:?}");
    assert_eq!(stage.count("quarantined_records").await, 5);

    // The branch again and a step further: known, so continued, not branched once more.
    fork.cash(TransactionId([110; 16]));
    let mut tx = stage.store.begin_hot().await.unwrap();
    let call = fork.call(14, 18);
    let views = tx.load_sync(std::slice::from_ref(&call), false).await.unwrap();
    let view = &views[&machine];
    assert!((13..=17).all(|seq| view.branch_hashes.values().any(|hash| *hash == fork.hash_at(seq))));
    assert!((13..=18).all(|seq| view.main_hashes.get(&(chain.epoch, seq)) == Some(&chain.hash_at(seq))));
    assert!(!view.main_hashes.contains_key(&(chain.epoch, 1)), "no more than is needed");
    tx.roll_back().await.unwrap();
    let answer = sync(&stage.store, &[call]).await.unwrap().remove(0);
    assert_eq!(answer.durable_through, 18);
    assert_eq!((stage.count("branches").await, stage.count("quarantined_records").await), (1, 6));
}

pub(crate) async fn dead_letters_and_gaps_have_the_ids_that_can_be_derived(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut chain = Chain::of(machine, 9);
    chain.garbage(b"?");
    let mut call = chain.call(5, 10);
    call.oldest_seq = 5;
    sync(&stage.store, &[call]).await.unwrap();

    let at = crate::stage::START_MS;
    let row = stage.rows("SELECT dead_letter_id, machine_id, seq, reason FROM dead_letters").await.remove(0);
    let mut c = row.columns();
    assert_eq!(c.uuid().unwrap(), dead_letter_id(machine, chain.epoch, 10, at));
    assert_eq!((MachineId(c.uuid().unwrap()), c.int().unwrap()), (machine, 10));
    assert_eq!(c.text().unwrap(), "BODY_UNREADABLE");
    let row = stage.rows("SELECT gap_id, first_seq, last_seq FROM gaps").await.remove(0);
    let mut c = row.columns();
    assert_eq!(c.uuid().unwrap(), gap_id(machine, chain.epoch, 1, at));
    assert_eq!((c.int().unwrap(), c.int().unwrap()), (1, 4));
}

pub(crate) async fn a_number_beyond_63_bits_is_refused_and_nothing_is_written(stage: &Stage) {
    let machine = stage.machines(1).await[0];
    let mut call = Chain::of(machine, 2).whole();
    call.verdicts_seen_through = 1 << 63;
    let error = sync(&stage.store, &[call]).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error:?}");
    assert_eq!(stage.count("records").await, 0);
    sync(&stage.store, &[Chain::of(machine, 2).whole()]).await.expect("the machine is not stuck");
}
