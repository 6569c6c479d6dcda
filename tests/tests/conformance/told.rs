//! A Sync that hands a dispense command out, or brings a machine's word on one, does to the purchase and its machine what
//! `domain::pool` says, in every state a purchase can be in.

use crate::chain::{Chain, settings, sync};
use crate::stage::{START_MS, Stage};
use server::domain::ids::{MachineId, PurchaseId};
use server::domain::pool::{NEVER, Pooled, Purchase, PurchaseState, Standing, hand_out, hear};
use server::store::{clock, pool};
use uuid::Uuid;
use vend_core::id::TransactionId;

/// Of purchases.
const STATES: i64 = 8;
/// The boot that [`Chain`] speaks in.
const BOOT: [u8; 16] = [1; 16];
const PENDING: i64 = 1;
const HANDED_OUT: i64 = 2;

struct Case {
    machine: MachineId,
    purchase: PurchaseId,
    chain: Chain,
}

/// The n-th machine, with a purchase in this state and its command, number 1. `held`: the machine is still kept by it.
async fn case(stage: &Stage, n: usize, state: i64, held: bool, command: i64, boot: [u8; 16]) -> Case {
    let machine = MachineId(Uuid::from_u128(n as u128));
    let chain = Chain::of(machine, 2);
    sync(&stage.store, &[chain.whole()]).await.unwrap();
    let (purchase, other) = (PurchaseId(Uuid::now_v7()), PurchaseId(Uuid::now_v7()));
    let ids: [&[u8]; 5] = [machine.as_bytes(), purchase.as_bytes(), &[2; 32], &chain.epoch.0, &boot];
    let sql = "INSERT INTO purchases (machine_id, purchase_id, session_id, product_id, kind, customer_id, currency, price_minor, \
               mode, payment, state, holds_unit, holds_machine, work, due_at_ms, fence, command_number, caller, request_id, \
               fingerprint, created_at_ms, updated_at_ms) VALUES ($1, $2, $2, $1, 2, 'anna', 'EUR', 100, 2, 2, $4, TRUE, \
               TRUE, 3, 77, 5, 1, 'kiosk', $2, $3, 1, 1)";
    stage.put(sql, &ids[..3], &[state]).await;
    let sql = "INSERT INTO commands (machine_id, purchase_id, epoch, boot_id, number, state, kind, product_id, currency, \
               created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, 1, $5, 1, $1, 'EUR', 1, $6)";
    stage.put(sql, &[ids[0], ids[1], ids[3], ids[4]], &[command, NEVER]).await;
    let sql = "INSERT INTO pool (machine_id, kind, state, purchase_id, free_at_ms, fence) VALUES ($1, 2, 3, $2, $3, 9)";
    let keeper = if held { purchase } else { other };
    stage.put(sql, &[ids[0], keeper.as_bytes()], &[NEVER]).await;
    let sql = "UPDATE machine_sync SET has_commands = TRUE, command_number = 1 WHERE machine_id = $1";
    stage.put(sql, &ids[..1], &[]).await;
    Case { machine, purchase, chain }
}

async fn now(stage: &Stage, case: &Case) -> (Purchase, Pooled) {
    let mut reading = stage.store.read().await.unwrap();
    let purchase = pool::find_purchase(&mut reading, case.purchase).await.unwrap().unwrap();
    (purchase, pool::of_machines(&mut reading, &[case.machine]).await.unwrap().remove(0))
}

async fn clock_ms(stage: &Stage) -> i64 {
    clock::clock_ms(&mut stage.store.read().await.unwrap(), START_MS).await.unwrap()
}

pub(crate) async fn a_hand_out_does_to_a_purchase_what_the_domain_says(stage: &Stage) {
    let cases: Vec<(i64, bool)> = (1..=STATES).flat_map(|state| [(state, true), (state, false)]).collect();
    stage.machines(cases.len() as u64).await;
    let mut travelled = Vec::new();
    for (n, (state, held)) in (1..).zip(cases) {
        let case = case(stage, n, state, held, PENDING, BOOT).await;
        let (mut purchase, mut pooled) = now(stage, &case).await;
        let earliest = clock_ms(stage).await;
        let answer = sync(&stage.store, &[case.chain.whole()]).await.unwrap().remove(0);
        let latest = clock_ms(stage).await;
        let (is, stands) = now(stage, &case).await;
        if let [command] = answer.commands.as_slice() {
            assert_eq!(command.purchase(), Some(case.purchase));
            travelled.push((state, held));
            let look_again_in_ms = settings().doubt_after_ms;
            if is.due_at_ms != purchase.due_at_ms {
                let clock_ms = is.due_at_ms - look_again_in_ms;
                assert!((earliest..=latest).contains(&clock_ms), "by the database's clock: {is:?}");
                hand_out(&mut purchase, &mut pooled, look_again_in_ms, clock_ms, START_MS);
            } else {
                hand_out(&mut purchase, &mut pooled, look_again_in_ms, latest, START_MS);
            }
        }
        assert_eq!((is, stands), (purchase, pooled), "state {state}, held {held}");
    }
    // Nobody waits for the others.
    assert_eq!(travelled, [(3, true), (3, false), (4, true), (4, false)]);
    let doubted = stage.number("SELECT COUNT(*) FROM purchases WHERE state = 4 AND fence = 6").await;
    assert_eq!(doubted, 2, "handing out is what puts a purchase in doubt, and raises its fence");
}

pub(crate) async fn a_machines_word_does_to_a_purchase_what_the_domain_says(stage: &Stage) {
    // A vend, and a boot that shows that the command was never carried out.
    let cases: Vec<(i64, bool)> = (1..=STATES).flat_map(|state| [(state, true), (state, false)]).collect();
    stage.machines(cases.len() as u64).await;
    for (n, (state, vended)) in (1..).zip(cases) {
        let boot = if vended { BOOT } else { [2; 16] };
        let mut case = case(stage, n, state, true, HANDED_OUT, boot).await;
        let (mut purchase, pooled) = now(stage, &case).await;
        if vended {
            case.chain.vend(TransactionId(*case.purchase.as_bytes()), 1);
        }
        sync(&stage.store, &[case.chain.whole()]).await.unwrap();
        let (is, stands) = now(stage, &case).await;
        hear(&mut purchase, START_MS);
        assert_eq!((&is, stands), (&purchase, pooled), "state {state}, vended {vended}");
        assert!(is.heard);
    }
    let sql = "SELECT COUNT(*) FROM purchases WHERE fence = 5 AND due_at_ms = 77 AND work = 3";
    assert_eq!(stage.number(sql).await, 4, "money that is being settled is settled first");
}

/// As the statements above have them.
#[test]
fn the_states_are_those_of_the_domain() {
    assert!((1..=STATES).all(|state| PurchaseState::from_number(state).is_some()));
    assert_eq!(PurchaseState::from_number(STATES + 1), None);
    assert_eq!(Standing::Processing as i64, 3);
}
