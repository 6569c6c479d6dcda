//! Every rule of record.proto that bytes can break, and that no bytes whatever make the decoder panic.
#![allow(clippy::unwrap_used)]

mod samples;

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use prost::Message;
use samples::{config, samples, totals};
use vend_core::config::Assignment;
use vend_core::id::{ConfigId, Epoch, ProductId, TransactionId};
use vend_core::machine::{
    CashlessStage, Configs, Durable, OpenCashless, PayoutIntent, Probation, SlotLevel, VendIntent,
};
use vend_core::money::Pieces;
use vend_core::record::{Body, Payment, Record, SlotCount, VendOutcome};
use vendfleet_proto::v1;
use vendfleet_proto::v1::record_body::Body as P;
use vendfleet_wire::{BodyError, Link, NO_HASH, decode, encode, record_hash, verify_chain};

type Rule = (&'static str, fn(&mut v1::RecordBody), &'static str, &'static str);

macro_rules! change {
    ($member:ident, $body:ident, $change:expr) => {
        |message| {
            if let Some(P::$member($body)) = &mut message.body {
                $change;
            }
        }
    };
}

const RULES: &[Rule] = &[
    ("boot", |m| m.stamp = None, "stamp", "must be set"),
    ("boot", |m| m.stamp.as_mut().unwrap().boot_id = vec![1; 15], "stamp.boot_id", "must be 16 bytes"),
    (
        "boot",
        |m| m.stamp.as_mut().unwrap().clock_quality = 9,
        "stamp.clock_quality",
        "must be a known ClockQuality",
    ),
    ("boot", |m| m.body = None, "body", "must have one member set"),
    (
        "boot",
        |m| m.body = Some(P::Fault(v1::FaultBody { code: "X".into(), ..Default::default() })),
        "body",
        "must be the member that kind names",
    ),
    ("boot", |m| m.lifetime_after = None, "lifetime_after", "must be set on this kind"),
    ("boot", change!(Boot, b, b.firmware = "x".repeat(65)), "boot.firmware", "must be at most 64 bytes"),
    ("boot", change!(Boot, b, b.boot_count = 0), "boot.boot_count", "must be at least 1"),
    (
        "boot_with_parent",
        change!(Boot, b, b.parent.as_mut().unwrap().epoch.clear()),
        "boot.parent.epoch",
        "must be 16 bytes",
    ),
    (
        "boot_with_parent",
        change!(Boot, b, b.parent.as_mut().unwrap().highest_seq = 1 << 62),
        "boot.parent.highest_seq",
        "must be below 2^62",
    ),
    (
        "boot_with_parent",
        change!(Boot, b, b.parent.as_mut().unwrap().reason = 0),
        "boot.parent.reason",
        "must be a known EpochReason",
    ),
    ("vend_cash", change!(Vend, v, v.transaction_id.push(0)), "vend.transaction_id", "must be 16 bytes"),
    ("vend_cash", change!(Vend, v, v.product_id.clear()), "vend.product_id", "must be 16 bytes"),
    ("vend_cash", change!(Vend, v, v.config_id.clear()), "vend.config_id", "must be 16 bytes"),
    ("vend_cash", change!(Vend, v, v.slot = 65_536), "vend.slot", "must be at most 65535"),
    ("vend_cash", change!(Vend, v, v.command_number = 1 << 62), "vend.command_number", "must be below 2^62"),
    ("vend_cash", change!(Vend, v, v.price_minor = -1), "vend.price_minor", "must not be negative"),
    ("vend_cash", change!(Vend, v, v.cash_in_minor = -1), "vend.cash_in_minor", "must not be negative"),
    (
        "vend_cash",
        change!(Vend, v, v.payout_intent_minor = -1),
        "vend.payout_intent_minor",
        "must not be negative",
    ),
    ("vend_cash", change!(Vend, v, v.owed_minor = i64::MIN), "vend.owed_minor", "must not be negative"),
    (
        "vend_cash",
        change!(Vend, v, v.currency_code = "eur".into()),
        "vend.currency_code",
        "must be three upper-case letters",
    ),
    ("vend_cash", change!(Vend, v, v.payment = 0), "vend.payment", "must be a known PaymentMethod"),
    (
        "vend_cash",
        change!(Vend, v, v.payment = 4),
        "vend.price_minor",
        "must be zero with PAYMENT_METHOD_FREE",
    ),
    (
        "vend_cash",
        change!(Vend, v, v.offline = true),
        "vend.offline",
        "must be set only with PAYMENT_METHOD_CASHLESS",
    ),
    (
        "vend_cash",
        change!(Vend, v, v.payment_reference = "T".into()),
        "vend.payment_reference",
        "must be set only with PAYMENT_METHOD_CASHLESS",
    ),
    (
        "vend_cashless_failed",
        change!(Vend, v, v.payment_reference = "x".repeat(65)),
        "vend.payment_reference",
        "must be at most 64 bytes",
    ),
    ("vend_cash", change!(Vend, v, v.outcome = 4), "vend.outcome", "must be a known VendOutcome"),
    (
        "vend_cash",
        change!(Vend, v, v.unknown_policy = 1),
        "vend.unknown_policy",
        "must be set only with VEND_OUTCOME_UNKNOWN",
    ),
    (
        "vend_unknown",
        change!(Vend, v, v.unknown_policy = 4),
        "vend.unknown_policy",
        "must be a known UnknownPolicy",
    ),
    ("settlement", change!(Settlement, s, s.what = 0), "settlement.what", "must be a known SettlementKind"),
    (
        "settlement",
        change!(Settlement, s, s.settlement_id.clear()),
        "settlement.settlement_id",
        "must be 16 bytes",
    ),
    (
        "settlement",
        change!(Settlement, s, s.vend_transaction_id.clear()),
        "settlement.vend_transaction_id",
        "must be 16 bytes",
    ),
    (
        "settlement",
        change!(Settlement, s, s.amount_minor = -1),
        "settlement.amount_minor",
        "must not be negative",
    ),
    (
        "cash_in",
        change!(CashIn, c, c.inserted_minor = 19),
        "cash_in.amount_minor",
        "must be at most inserted_minor",
    ),
    ("cash_in", change!(CashIn, c, c.amount_minor = -1), "cash_in.amount_minor", "must not be negative"),
    ("refill", change!(Refill, r, r.slots[1].slot = 1), "refill.slots[1].slot", "must appear once"),
    ("refill", change!(Refill, r, r.slots[1].slot = 70_000), "refill.slots[1].slot", "must be at most 65535"),
    (
        "refill",
        change!(Refill, r, r.slots[0].product_id.clear()),
        "refill.slots[0].product_id",
        "must be 16 bytes",
    ),
    (
        "refill",
        change!(Refill, r, r.slots = vec![v1::SlotCount::default(); 257]),
        "refill.slots",
        "must have at most 256 items",
    ),
    (
        "refill",
        change!(Refill, r, r.tubes_loaded[1].denomination_minor = 10),
        "refill.tubes_loaded[1].denomination_minor",
        "must appear once",
    ),
    (
        "refill",
        change!(Refill, r, r.tubes_loaded[0].denomination_minor = 0),
        "refill.tubes_loaded[0].denomination_minor",
        "must be above zero",
    ),
    (
        "refill",
        change!(Refill, r, r.tubes_loaded = vec![v1::Pieces::default(); 33]),
        "refill.tubes_loaded",
        "must have at most 32 items",
    ),
    ("audit", change!(Audit, a, a.box_minor = -1), "audit.box_minor", "must not be negative"),
    ("audit", change!(Audit, a, a.since_reset = None), "audit.since_reset", "must be set"),
    (
        "cash_collected",
        change!(CashCollected, c, c.tubes_minor = -1),
        "cash_collected.tubes_minor",
        "must not be negative",
    ),
    (
        "cash_collected",
        change!(CashCollected, c, c.since_reset = None),
        "cash_collected.since_reset",
        "must be set",
    ),
    (
        "fault",
        change!(Fault, f, f.code = "motor jam".into()),
        "fault.code",
        "must be UPPER_SNAKE and at most 64 bytes",
    ),
    ("fault", change!(Fault, f, f.slot = Some(65_536)), "fault.slot", "must be at most 65535"),
    ("fault", change!(Fault, f, f.detail = "x".repeat(257)), "fault.detail", "must be at most 256 bytes"),
    (
        "config_verdict",
        change!(ConfigVerdict, c, c.assignment_number = u64::MAX),
        "config_verdict.assignment_number",
        "must be below 2^62",
    ),
    (
        "config_verdict",
        change!(ConfigVerdict, c, c.outcome = 0),
        "config_verdict.outcome",
        "must be a known ConfigOutcome",
    ),
    (
        "config_verdict",
        change!(ConfigVerdict, c, c.outcome = 1),
        "config_verdict.refusals",
        "must be empty with CONFIG_OUTCOME_APPLIED",
    ),
    (
        "config_verdict",
        change!(ConfigVerdict, c, c.refusals[0].field = "x".repeat(129)),
        "config_verdict.refusals[0].field",
        "must be at most 128 bytes",
    ),
    (
        "config_verdict",
        change!(ConfigVerdict, c, c.refusals = vec![v1::ConfigRefusal::default(); 65]),
        "config_verdict.refusals",
        "must have at most 64 items",
    ),
    (
        "command_result",
        change!(CommandResult, c, c.number = 1 << 62),
        "command_result.number",
        "must be below 2^62",
    ),
    (
        "command_result",
        change!(CommandResult, c, c.reason = "no".into()),
        "command_result.reason",
        "must be UPPER_SNAKE and at most 64 bytes",
    ),
];

#[test]
fn each_broken_rule_is_named_with_its_field() {
    let samples: std::collections::BTreeMap<_, _> = samples().into_iter().collect();
    for (sample, breaking, field, rule) in RULES {
        let encoded = encode(&samples[sample]);
        let mut message = v1::RecordBody::decode(encoded.body.as_slice()).unwrap();
        breaking(&mut message);
        let error = decode(encoded.kind as u32, 1, &message.encode_to_vec()).unwrap_err();
        assert_eq!((error.field.as_ref(), error.rule.as_ref()), (*field, *rule), "{sample}");
    }
}

#[test]
fn what_is_around_the_body_is_checked_too() {
    let (_, record) = samples().remove(0);
    let body = encode(&record).body;
    let broke = |result: Result<Record, BodyError>| result.unwrap_err().to_string();
    assert_eq!(broke(decode(11, 1, &body)), "kind: must be a known RecordKind");
    assert_eq!(broke(decode(1, 2, &body)), "schema: must be 1");
    assert_eq!(broke(decode(1, 1, &[0; 4097])), "body: must be at most 4096 bytes");
    assert_eq!(broke(decode(1, 1, b"\xff\xff")), "body: must be a serialised RecordBody");
    assert_eq!(broke(decode(1, 1, b"")), "stamp: must be set");
}

/// A newer device may say more than this build knows; what it does know still counts.
#[test]
fn unknown_fields_are_passed_over() {
    let (_, record) = samples().remove(0);
    let mut body = encode(&record).body;
    body.extend([0xfa, 0x3f, 2, b'h', b'i']); // field 1023, two bytes
    assert_eq!(decode(1, 1, &body).unwrap(), record);
}

#[test]
fn a_chain_breaks_where_it_was_touched() {
    let epoch = Epoch([1; 16]);
    let mut previous = NO_HASH;
    let mut records = Vec::new();
    for (seq, (_, record)) in (1u64..).zip(samples()) {
        let encoded = encode(&record);
        previous = record_hash(&epoch, seq, encoded.kind as u32, 1, &previous, &encoded.body);
        records.push((seq, encoded.kind as u32, encoded.body, previous));
    }
    let verify = |records: &[(u64, u32, Vec<u8>, [u8; 32])]| {
        let link = |r: &'_ (u64, u32, Vec<u8>, [u8; 32])| (r.0, r.1, r.2.clone(), r.3);
        let owned: Vec<_> = records.iter().map(link).collect();
        let links = owned.iter().map(|(seq, kind, body, hash)| Link {
            seq: *seq,
            kind: *kind,
            schema: 1,
            body,
            hash,
        });
        verify_chain(&epoch, 1, &NO_HASH, links)
    };
    assert_eq!(verify(&records), Ok(previous));
    let mut touched = records.clone();
    touched[4].2[0] ^= 1;
    assert_eq!(verify(&touched).unwrap_err().index, 4);
    let mut skipped = records.clone();
    skipped.remove(2);
    assert_eq!((verify(&skipped).unwrap_err().index, verify(&skipped).unwrap_err().seq), (2, 4));
    let mut short = records;
    let links =
        short.iter_mut().map(|r| Link { seq: r.0, kind: r.1, schema: 1, body: &r.2, hash: &r.3[..31] });
    assert_eq!(verify_chain(&epoch, 1, &NO_HASH, links).unwrap_err().index, 0);
}

#[test]
fn state_and_configs_come_back_as_they_were() {
    let mut state = Durable { boot_count: 7, last_contact_wall_ms: Some(0), ..Durable::default() };
    assert_eq!(
        vendfleet_wire::state::decode_state(&vendfleet_wire::state::encode_state(&state)).unwrap(),
        state
    );
    state.counters.currency = samples::eur();
    (state.counters.lifetime, state.counters.since_reset) = (totals(5), totals(1));
    state.slots =
        vec![SlotLevel { slot: 3, product: ProductId([1; 16]), units: 4, failures: 255, faulted: true }];
    state.tubes = vec![Pieces { denomination: 10, count: 4 }];
    state.credit = vec![Pieces { denomination: 200, count: 1 }];
    (state.box_minor, state.kept_minor, state.adjusted_minor) = (5, 6, -7);
    state.intent = Some(VendIntent {
        transaction: TransactionId([5; 16]),
        slot: 3,
        product: ProductId([1; 16]),
        config: ConfigId([2; 16]),
        price_minor: 150,
        currency: samples::eur(),
        payment: Payment::Cashless { reference: "R".into(), offline: true },
        command_number: 3,
    });
    state.payout = Some(PayoutIntent { transaction: TransactionId([6; 16]), coins: state.tubes.clone() });
    state.cashless = vec![OpenCashless {
        transaction: TransactionId([5; 16]),
        amount_minor: 150,
        reference: "R".into(),
        offline: true,
        stage: CashlessStage::Capturing,
    }];
    (state.out_of_service, state.applied_number, state.rejected_number) = (true, 8, 9);
    state.applied_config = Some(ConfigId([2; 16]));
    state.probation = Some(Probation { failed_vends: 1, short_boots: 2 });
    state.commands_through = 10;
    assert_eq!(
        vendfleet_wire::state::decode_state(&vendfleet_wire::state::encode_state(&state)).unwrap(),
        state
    );

    let assignment = |number| Some(Assignment { number, sha256: [3; 32], config: config() });
    let configs = Configs { current: assignment(1), last_known_good: None, pending: assignment(2) };
    let bytes = vendfleet_wire::state::encode_configs(&configs);
    assert_eq!(vendfleet_wire::state::decode_configs(&bytes).unwrap(), configs);
    assert_eq!(vendfleet_wire::state::decode_configs(b"").unwrap(), Configs::default());
}

#[test]
fn a_config_comes_back_as_it_was_and_hashes_over_its_bytes() {
    let (bytes, hash) = vendfleet_wire::config::encode(&config());
    assert_eq!(hash, vendfleet_wire::sha256(&bytes));
    assert_eq!(vendfleet_wire::config::decode(&bytes).unwrap(), config());
    let mut message = vendfleet_wire::config::to_proto(&config());
    message.selection_timeout_ms = 0;
    assert_eq!(vendfleet_wire::config::from_proto(&message).unwrap().selection_timeout_ms, 30_000);
    message.slots[0].product_id = "not-a-uuid".into();
    let error = vendfleet_wire::config::from_proto(&message).unwrap_err();
    assert_eq!(error.to_string(), "slots[0].product_id: must be a UUID");
}

fn vend() -> impl Strategy<Value = Record> {
    let amounts = (0..i64::MAX, 0..i64::MAX, 0..i64::MAX, 0..i64::MAX);
    (any::<[u8; 16]>(), any::<u16>(), amounts, 0..1_u64 << 62, ".{0,16}", any::<bool>()).prop_map(
        |(id, slot, (price, cash_in, payout, owed), number, reference, offline)| {
            let mut v = samples::vend(Payment::Cashless { reference, offline }, VendOutcome::Success);
            (v.transaction, v.slot, v.command_number) = (TransactionId(id), slot, number);
            (v.price_minor, v.cash_in_minor, v.payout_intent_minor, v.owed_minor) =
                (price, cash_in, payout, owed);
            let (_, record) = samples().remove(2);
            Record { body: Body::Vend(v), ..record }
        },
    )
}

fn refill() -> impl Strategy<Value = Record> {
    prop::collection::btree_map(any::<u16>(), (any::<[u8; 16]>(), any::<u32>()), 0..100).prop_map(|slots| {
        let slot = |(slot, (product, units))| SlotCount { slot, product: ProductId(product), units };
        let (_, mut record) = samples().remove(7);
        if let Body::Refill(refill) = &mut record.body {
            refill.slots = slots.into_iter().map(slot).collect();
        }
        record
    })
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(vend in vend(), refill in refill()) {
        for record in [vend, refill] {
            let encoded = encode(&record);
            prop_assert_eq!(decode(encoded.kind as u32, encoded.schema, &encoded.body).unwrap(), record);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(kind in 0u32..12, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(kind, 1, &bytes);
        let _ = vendfleet_wire::config::decode(&bytes);
        let _ = vendfleet_wire::state::decode_state(&bytes);
        let _ = vendfleet_wire::state::decode_configs(&bytes);
    }

    /// Nearly right bytes get further in than noise does; what still decodes is the same when encoded again.
    #[test]
    fn touched_bytes_decode_to_something_that_encodes_again(
        sample in 0usize..13, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (_, record) = samples().swap_remove(sample);
        let encoded = encode(&record);
        let mut body = encoded.body;
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(read) = decode(encoded.kind as u32, 1, &body) {
            let again = encode(&read);
            prop_assert!(again.body.len() <= vendfleet_wire::MAX_BODY_BYTES);
            prop_assert_eq!(decode(again.kind as u32, 1, &again.body).unwrap(), read);
        }
    }
}
