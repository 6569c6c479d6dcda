//! What is decided about the fleet.
#![allow(clippy::unwrap_used)]

use super::{
    ClaimToken, ClaimVerdict, Credential, CredentialState, LateEffect, LateFold, Progress, Revocation,
    RevokeRefusal, TotalsFold, Unsent, judge_claim, progress, revoke,
};
use crate::domain::ids::{CredentialId, MachineId};
use uuid::Uuid;
use vend_core::counters::{Totals, advance};
use vend_core::id::{ConfigId, Epoch, ProductId, TransactionId};
use vend_core::money::Currency;
use vend_core::record::{Audit, Body, Payment, Record, Refill, SlotCount, Vend, VendOutcome};
use vend_core::time::Stamp;

const COLA: ProductId = ProductId([1; 16]);
const WATER: ProductId = ProductId([2; 16]);

fn vend(product: ProductId) -> Body {
    Body::Vend(Vend {
        transaction: TransactionId([9; 16]),
        slot: 3,
        product,
        config: ConfigId([4; 16]),
        price_minor: 150,
        currency: Currency::parse("EUR").unwrap(),
        payment: Payment::Cash,
        outcome: VendOutcome::Success,
        cash_in_minor: 150,
        payout_intent_minor: 0,
        owed_minor: 0,
        command_number: 0,
    })
}

fn refill(product: ProductId, units: u32) -> Body {
    Body::Refill(Refill { slots: vec![SlotCount { slot: 3, product, units }], tubes_loaded: Vec::new() })
}

fn count(product: ProductId, units: u32) -> Body {
    let slots = vec![SlotCount { slot: 3, product, units }];
    Body::Audit(Audit { slots, tubes: Vec::new(), box_minor: 0, since_reset: Totals::default() })
}

fn late(late: &Body, later: &[Body]) -> Option<LateEffect> {
    let mut fold = LateFold::new(late);
    later.iter().for_each(|body| fold.walk(body));
    fold.finish().remove(&3)
}

#[test]
fn a_late_vend_takes_its_unit_unless_the_slot_was_counted_or_changed_since() {
    let taken = Some(LateEffect::Add { product: COLA, units: -1 });
    assert_eq!(late(&vend(COLA), &[]), taken);
    assert_eq!(late(&vend(COLA), &[vend(COLA), refill(COLA, 5)]), taken);
    assert_eq!(late(&vend(COLA), &[vend(COLA), count(COLA, 4)]), None);
    assert_eq!(late(&vend(COLA), &[refill(WATER, 8)]), None);
}

#[test]
fn a_late_count_sets_the_level_and_what_came_since_is_on_top() {
    assert_eq!(
        late(&count(COLA, 10), &[vend(COLA), vend(COLA), refill(COLA, 5)]),
        Some(LateEffect::Set { product: COLA, units: 13 })
    );
    assert_eq!(
        late(&count(COLA, 10), &[refill(WATER, 8)]),
        Some(LateEffect::Set { product: WATER, units: 8 })
    );
    assert_eq!(late(&count(COLA, 10), &[count(COLA, 2)]), None);
}

fn claim() -> ClaimToken {
    ClaimToken {
        id: Uuid::from_u128(1),
        token_hash: [0; 32],
        machine: None,
        serial: String::new(),
        name: String::new(),
        group: String::new(),
        created_by: String::new(),
        created_at_ms: 0,
        expires_at_ms: 100,
        used_at_ms: 0,
        credential: None,
        revoked_at_ms: 0,
    }
}

#[test]
fn a_used_token_repeats_its_answer_for_ever_and_only_to_its_own_secret() {
    let credential = CredentialId(Uuid::from_u128(2));
    let used = ClaimToken { used_at_ms: 50, credential: Some(credential), revoked_at_ms: 60, ..claim() };
    assert_eq!(judge_claim(&used, "", true, i64::MAX), ClaimVerdict::Repeat(credential));
    assert_eq!(judge_claim(&used, "", false, 51), ClaimVerdict::Used);
}

#[test]
fn a_token_serves_its_own_serial_until_its_time_is_over() {
    let bound = ClaimToken { serial: "S".to_owned(), ..claim() };
    assert_eq!(judge_claim(&bound, "S", false, 99), ClaimVerdict::Enrol);
    assert_eq!(judge_claim(&bound, "T", false, 99), ClaimVerdict::WrongSerial);
    assert_eq!(judge_claim(&bound, "S", false, 100), ClaimVerdict::Expired);
    let revoked = ClaimToken { revoked_at_ms: 10, ..claim() };
    assert_eq!(judge_claim(&revoked, "", false, 11), ClaimVerdict::Revoked);
}

fn credential() -> Credential {
    Credential {
        id: CredentialId(Uuid::from_u128(2)),
        machine: MachineId(Uuid::from_u128(3)),
        secret_hash: [0; 32],
        stored_state: CredentialState::Active,
        claim_token: Uuid::from_u128(1),
        certificate_sha256: None,
        certificate_der: Vec::new(),
        certificate_expires_ms: 0,
        serial: String::new(),
        created_at_ms: 0,
        last_used_ms: 0,
        revoked_at_ms: 0,
        drain_until_ms: 0,
        unsent_at_revoke: None,
    }
}

#[test]
fn a_drain_is_given_once_and_a_hard_end_cuts_it_short() {
    let draining = revoke(&credential(), Revocation::Drain { drain_ms: 100 }, None, 10).unwrap();
    assert_eq!(
        (draining.state(109), draining.state(110)),
        (CredentialState::UploadOnly, CredentialState::Revoked)
    );
    let again = revoke(&draining, Revocation::Drain { drain_ms: 900 }, None, 50).unwrap();
    assert_eq!(again, draining);
    let hard = revoke(&draining, Revocation::Hard { confirm_unsent: None }, None, 50).unwrap();
    assert_eq!((hard.state(50), hard.revoked_at_ms), (CredentialState::Revoked, 10));
}

#[test]
fn a_hard_end_needs_the_present_number_of_unsent_records() {
    let unsent = Unsent { epoch: Epoch([1; 16]), last_seq: 9, received_through: 4 };
    for confirm_unsent in [None, Some(4)] {
        let how = Revocation::Hard { confirm_unsent };
        assert_eq!(revoke(&credential(), how, Some(unsent), 1), Err(RevokeRefusal::Unsent(unsent)));
    }
    let how = Revocation::Hard { confirm_unsent: Some(5) };
    assert_eq!(revoke(&credential(), how, Some(unsent), 1).unwrap().unsent_at_revoke, Some(unsent));
}

#[test]
fn progress_is_about_the_desired_number_alone() {
    assert_eq!(progress(0, 3, 0), Progress::None);
    assert_eq!(progress(4, 3, 3), Progress::Pending);
    assert_eq!(progress(4, 4, 3), Progress::Applied);
    assert_eq!(progress(4, 3, 4), Progress::Rejected);
}

/// Records with the totals an honest machine would write.
fn sold(count: usize) -> Vec<Record> {
    let (mut currency, mut totals) = (Currency::NONE, Totals::default());
    (0..count)
        .map(|_| {
            let body = vend(COLA);
            advance(&mut currency, &mut totals, &body);
            Record { stamp: Stamp::default(), lifetime_after: Some(totals), body }
        })
        .collect()
}

#[test]
fn what_is_reported_is_what_counts_plus_what_is_missing() {
    let records = sold(5);
    let mut fold = TotalsFold::default();
    fold.walk(Epoch([1; 16]), 1, &records[0], true);
    // Seqs 2 and 3 are in a gap.
    fold.walk(Epoch([1; 16]), 4, &records[3], true);
    fold.walk(Epoch([1; 16]), 5, &records[4], false);
    let totals = fold.finish();
    assert_eq!((totals.reported.vends, totals.counted.vends, totals.missing.vends), (5, 3, 2));
    assert_eq!(totals.missing.vends_minor, 300);
    assert_eq!((totals.as_of, totals.disagreement), (Some((Epoch([1; 16]), 5)), None));
}

#[test]
fn the_first_record_that_parts_is_named_with_its_first_field() {
    let mut records = sold(3);
    records[1].lifetime_after.as_mut().unwrap().cash_in_minor += 1;
    let mut fold = TotalsFold::default();
    for (seq, record) in (1..).zip(&records) {
        fold.walk(Epoch([1; 16]), seq, record, false);
    }
    let parted = fold.finish().disagreement.unwrap();
    assert_eq!((parted.seq, parted.field, parted.reported, parted.counted), (2, "cash_in_minor", 301, 300));
}
