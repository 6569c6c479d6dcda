//! Bodies that can't be decoded or break a rule, transactions that count already, counters that disagree.

use prost::Message as _;
use vend_core::counters;
use vendfleet_proto::v1::{self, AlertType, DeadLetterState};
use vendfleet_tests::{
    checker::{check, examine},
    device::{Device, pen::Pen},
    fleet::{Engine, Fleet},
};
use vendfleet_wire::{decode, encode};

const VEND: u32 = 2;

/// Writes into the machine's journal with another firmware's hand.
async fn write(device: &mut Device, with: impl FnOnce(&mut Pen) + Send + 'static) {
    device.power_off().await;
    let dir = device.machine.dir().to_owned();
    tokio::task::spawn_blocking(move || with(&mut Pen::open(&dir))).await.unwrap();
}

pub(crate) async fn a_bad_record_spoils_nothing_but_itself(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.machine.go_offline();
    device.sell(2).await;
    let sold = device.now().last_seq;
    write(&mut device, |pen| {
        let vend = pen.last_body(VEND);
        pen.write(VEND, 1, &[0xff; 40]);
        pen.write(999, 1, b"from a firmware yet to come");
        pen.write(VEND, 77, &vend);
        let mut broken = v1::RecordBody::decode(&vend[..]).unwrap();
        let Some(v1::record_body::Body::Vend(body)) = &mut broken.body else { panic!("a vend") };
        body.price_minor = -5;
        pen.write(VEND, 1, &broken.encode_to_vec());
        let Some(v1::record_body::Body::Vend(body)) = &mut broken.body else { panic!("a vend") };
        (body.price_minor, body.command_number) = (5, u64::MAX);
        pen.write(VEND, 1, &broken.encode_to_vec());
        let mut twice = decode(VEND, 1, &vend).unwrap();
        let mut totals = twice.lifetime_after.unwrap();
        counters::apply(&mut totals, &twice.body);
        twice.lifetime_after = Some(totals);
        pen.write(VEND, 1, &encode(&twice).body);
    })
    .await;
    device.machine.go_online();
    device.power_on().await;
    device.sell(1).await;
    device.settle().await;

    let mut operator = fleet.operator();
    let letters = operator.dead_letters(&device.id()).await;
    let mut seen: Vec<_> = letters
        .iter()
        .map(|letter| match &letter.subject {
            Some(v1::dead_letter::Subject::Record(dead)) => {
                (dead.record.as_ref().unwrap().seq - sold, letter.reason.as_str())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    seen.sort_unstable();
    let expected = [
        (1, "BODY_UNREADABLE"),
        (2, "KIND_UNKNOWN"),
        (3, "SCHEMA_UNKNOWN"),
        (4, "RULE_BROKEN"),
        (5, "RULE_BROKEN"),
        (6, "DUPLICATE_TRANSACTION"),
    ];
    assert_eq!(seen, expected);
    assert!(letters.iter().all(|l| l.state() == DeadLetterState::Open && !l.detail.is_empty()));
    let alerts = operator.alerts_of(&device.id(), AlertType::DeadLetter).await;
    assert!(!alerts.is_empty());
    assert_eq!(operator.transactions(&device.id()).await.len(), 3);

    // The device knows, and the server has heard that it does.
    device.sync().await;
    let untold: Vec<(i64,)> = fleet.rows().await.all("SELECT number FROM verdicts").await;
    assert!(untold.is_empty());
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 3);

    // Tried again, each stays what it is and says so.
    for letter in letters {
        let tried = operator.redrive(&letter.dead_letter_id).await;
        assert_eq!((tried.redrives, tried.state(), tried.reason), (1, DeadLetterState::Open, letter.reason));
    }
}

pub(crate) async fn what_a_newer_server_can_read_counts_once_redriven(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.sell(3).await;
    device.settle().await;
    // As a server left it that could not read the last sale.
    let machine = uuid::Uuid::parse_str(&device.id()).unwrap();
    let rows = fleet.rows().await;
    for sql in [
        "UPDATE records SET disposition = 2, transaction_id = NULL WHERE machine_id = $1 AND kind = 2 \
         AND seq = (SELECT MAX(seq) FROM records r WHERE r.machine_id = $1)",
        "INSERT INTO dead_letters (machine_id, epoch, seq, dead_letter_id, reason, detail, created_at_ms) \
         SELECT machine_id, epoch, seq, epoch, 'RULE_BROKEN', 'as an older server saw it', received_at_ms FROM records \
         WHERE machine_id = $1 AND disposition = 2",
        "UPDATE slots SET derived = derived + 1 WHERE machine_id = $1 AND slot = 1",
    ] {
        rows.execute(sql, machine.as_bytes()).await;
    }
    let mut operator = fleet.operator();
    let id = device.id();
    assert_eq!(operator.transactions(&id).await.len(), 2);
    let letter = operator.dead_letters(&id).await.remove(0);

    let done = operator.redrive(&letter.dead_letter_id).await;
    assert_eq!(done.state(), DeadLetterState::Done);
    assert_eq!(operator.transactions(&id).await.len(), 3);
    device.sync().await;
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 3);
}

pub(crate) async fn counters_that_disagree_name_the_first_record_where_they_part(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    device.machine.go_offline();
    device.sell(2).await;
    let sold = device.now().last_seq;
    write(&mut device, |pen| {
        let mut vend = decode(VEND, 1, &pen.last_body(VEND)).unwrap();
        let vend_core::record::Body::Vend(body) = &mut vend.body else { panic!("a vend") };
        body.transaction.0[15] ^= 1;
        vend.lifetime_after.as_mut().unwrap().vends += 40;
        pen.write(VEND, 1, &encode(&vend).body);
    })
    .await;
    device.machine.go_online();
    device.power_on().await;
    device.sell(1).await;
    device.settle().await;

    let mut operator = fleet.operator();
    let alerts = operator.alerts_of(&device.id(), AlertType::CountersDisagree).await;
    assert_eq!(
        alerts.iter().map(|a| (a.epoch.clone(), a.seq)).collect::<Vec<_>>(),
        [(device.epoch(), sold + 1)]
    );
    let parted = operator.totals(&device.id()).await.disagreement.unwrap();
    assert_eq!((parted.epoch, parted.seq), (device.epoch(), sold + 1));

    // The checker sees it too: a check that could not fail would be none.
    let chains = [device.chains().await];
    let (_, breaches) = examine(&fleet.rows().await, &mut operator, &chains).await;
    assert!(breaches.iter().any(|b| b.starts_with(&format!("record {} of epoch", sold + 1))), "{breaches:?}");
}
