//! Who gets in: enrolment, secrets, certificates; and rubbish, which names its field and leaves nothing behind.

use fleet_client::{credentials::Credentials, simulate::Blueprint};
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use vendfleet_proto::v1;
use vendfleet_tests::{
    checker::check,
    device::voice::{Refusal, Voice, refusal},
    fleet::{Engine, Fleet},
};

pub(crate) async fn a_lost_reply_to_enroll_kills_no_machine(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut operator = fleet.operator();
    let token = operator.claim_token("corner").await;
    let mut device = fleet.unboxed("corner", fleet.blueprint());
    device.machine.lose_answers(true);
    device.machine.enrol(&token).await.unwrap_err();
    assert!(!device.machine.is_enrolled().unwrap());
    let secret = device.store().pending().unwrap().unwrap().secret;

    device.machine.lose_answers(false);
    device.enrol(&token).await;
    assert_eq!(device.credentials().identity.secret, secret);
    device.power_on().await;
    device.ready_to_sell().await;
    assert_eq!(operator.credentials(&device.id()).await.len(), 1);

    // Somebody else with the same token gets nothing.
    let thief = fleet.unboxed("thief", fleet.blueprint());
    let refused = thief.machine.enrol(&token).await.unwrap_err();
    assert!(refused.to_string().contains("CLAIM_TOKEN_USED"), "{refused}");
    check(&fleet, &[device.chains().await]).await;
}

/// A channel that proves itself with the machine's certificate.
fn with_certificate(fleet: &Fleet, credentials: &Credentials) -> Channel {
    let certificate = credentials.identity.certificate.as_ref().expect("it asked for one");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(fleet.server.ca_pem()))
        .domain_name("localhost")
        .identity(Identity::from_pem(&certificate.certificate_pem, &certificate.key_pem));
    let address = format!("https://{}", fleet.server.grpc_addr());
    Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect_lazy()
}

pub(crate) async fn a_client_certificate_stands_for_the_secret(engine: Engine) {
    let fleet = Fleet::start_with(engine, |o| o.set("auth.credential_cache_ms", 0)).await;
    let mut operator = fleet.operator();
    let mut device = fleet.unboxed("corner", Blueprint { certificates: true, ..fleet.blueprint() });
    device.enrol(&operator.claim_token("corner").await).await;
    device.power_on().await;
    device.ready_to_sell().await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(1).await;

    let call = device.next_call(ready + 1, 512).await;
    let credentials = device.credentials();
    let mut voice = Voice::without_secret(with_certificate(&fleet, &credentials));
    assert_eq!(voice.sync(call.clone()).await.unwrap().durable_through, ready + 1);
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 1);

    // It stands and falls with its credential.
    let revoke = v1::RevokeCredentialRequest {
        credential_id: credentials.identity.credential_id,
        hard: true,
        ..Default::default()
    };
    operator.fleet.revoke_credential(revoke).await.unwrap();
    assert_eq!(refusal(&voice.sync(call).await.unwrap_err()).reason, "MACHINE_REVOKED");
}

pub(crate) async fn a_wrong_secret_opens_nothing(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(1).await;
    let call = device.next_call(ready + 1, 512).await;
    let known = device.credentials().identity;
    let other = fleet_client::credentials::Secret([7; 32]).to_base64url();
    let good = known.secret.to_base64url();
    let operator = fleet.server.token("operator", "somebody").await;

    let voice = Voice::without_secret(fleet.server.channel());
    for (header, code) in [
        (format!("Machine {}.{other}", known.credential_id), Code::Unauthenticated),
        (format!("Machine {}.{good}", uuid::Uuid::from_u128(7)), Code::Unauthenticated),
        (format!("Machine {}", known.credential_id), Code::Unauthenticated),
        (format!("Bearer {good}"), Code::Unauthenticated),
        ("Machine".to_owned(), Code::Unauthenticated),
        // A person is somebody, and no machine.
        (format!("Bearer {operator}"), Code::PermissionDenied),
    ] {
        let refused = voice.clone().saying(&header).sync(call.clone()).await.unwrap_err();
        assert_eq!(refusal(&refused).code, code, "{header}");
    }
    let refused = voice.clone().sync(call).await.unwrap_err();
    assert_eq!(refusal(&refused).code, Code::Unauthenticated);
    assert_eq!(fleet.operator().device(&device.id()).await.durable_through, ready);
}

type Spoil = (&'static str, fn(&mut v1::SyncRequest));

/// Each breaks one rule of the contract; the field that the answer must name.
const SYNC_RUBBISH: [Spoil; 31] = [
    ("epoch", |c| c.epoch.truncate(15)),
    ("epoch", |c| c.epoch.clear()),
    ("oldest_seq", |c| c.oldest_seq = 0),
    ("oldest_seq", |c| c.oldest_seq = c.last_seq + 2),
    ("oldest_seq", |c| c.oldest_seq = u64::MAX),
    ("last_seq", |c| c.last_seq = u64::MAX),
    ("accepted_through", |c| c.accepted_through = u64::MAX),
    ("first_seq", |c| c.first_seq = 0),
    ("first_seq", |c| c.first_seq = u64::MAX),
    ("first_seq", |c| c.first_seq = c.last_seq + 2),
    ("previous_hash", |c| c.previous_hash.truncate(31)),
    ("previous_hash", |c| {
        c.first_seq = 1;
        c.records.clear();
    }),
    ("records", |c| c.last_seq -= 1),
    ("records", |c| {
        let record = c.records[0].clone();
        c.records = (0..513).map(|n| v1::Record { seq: c.first_seq + n, ..record.clone() }).collect();
        c.last_seq = c.first_seq + 512;
    }),
    ("records", |c| {
        let record = v1::Record { body: vec![0; 4096].into(), ..c.records[0].clone() };
        c.records = (0..49).map(|n| v1::Record { seq: c.first_seq + n, ..record.clone() }).collect();
        c.last_seq = c.first_seq + 48;
    }),
    ("records[1].seq", |c| c.records[1].seq += 1),
    ("records[0].seq", |c| c.records[0].seq = 0),
    ("records[0].body", |c| c.records[0].body = vec![0; 4097].into()),
    ("records[1].hash", |c| c.records[1].hash.truncate(31)),
    ("parent.epoch", |c| c.parent = Some(v1::ParentEpoch { epoch: vec![1; 3], ..Default::default() })),
    ("parent.epoch", |c| c.parent = Some(v1::ParentEpoch { epoch: c.epoch.clone(), ..Default::default() })),
    ("parent.highest_seq", |c| {
        c.parent = Some(v1::ParentEpoch { epoch: vec![1; 16], highest_seq: u64::MAX, ..Default::default() });
    }),
    ("verdicts_seen_through", |c| c.verdicts_seen_through = u64::MAX),
    ("server_incarnation", |c| c.server_incarnation = "x".repeat(65)),
    ("now.boot_id", |c| c.now.as_mut().unwrap().boot_id = vec![1; 15]),
    ("now.boot_id", |c| c.now = None),
    ("slots.slots[1].slot", |c| {
        let slot = v1::ReportedSlot { slot: 1, product_id: vec![1; 16], ..Default::default() };
        c.slots = Some(v1::ReportedSlots { as_of_seq: 1, slots: vec![slot.clone(), slot] });
    }),
    ("slots.slots[0].product_id", |c| {
        let slot = v1::ReportedSlot { slot: 1, product_id: vec![1; 3], ..Default::default() };
        c.slots = Some(v1::ReportedSlots { as_of_seq: 1, slots: vec![slot] });
    }),
    ("applied_config.config_id", |c| {
        c.applied_config = Some(v1::AppliedConfig { config_id: vec![1; 15], ..Default::default() });
    }),
    ("firmware", |c| c.firmware = "f".repeat(65)),
    ("now.uptime_ms", |c| c.now.as_mut().unwrap().uptime_ms = u64::MAX),
];

pub(crate) async fn rubbish_in_a_sync_names_field_and_rule_and_stores_nothing(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut device = fleet.device("corner").await;
    let ready = device.now().last_seq;
    device.machine.go_offline();
    device.sell(3).await;
    let call = device.next_call(ready + 1, 512).await;
    let mut voice = Voice::of(fleet.server.channel(), &device.credentials());
    for (field, spoil) in SYNC_RUBBISH {
        let mut spoilt = call.clone();
        spoil(&mut spoilt);
        let refused = refusal(&voice.sync(spoilt).await.expect_err(field));
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{refused:?}"
        );
        let named = refused.fields.iter().find(|(name, _)| name == field);
        assert!(named.is_some_and(|(_, rule)| !rule.is_empty()), "{field}: {refused:?}");
    }
    for (spoilt, index) in [(0, 0), (2, 2)] {
        let mut call = call.clone();
        call.records[spoilt].hash[7] ^= 1;
        let status = voice.sync(call).await.unwrap_err();
        let Refusal { code, reason, .. } = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_HASH"));
        assert!(status.message().contains(&format!("{}", ready + 1 + index)), "{}", status.message());
    }
    // A record that was changed on the way, an earlier one that is another's, one of another epoch.
    let changes: [fn(&mut v1::SyncRequest); 3] =
        [|c| c.records[1].kind += 1, |c| c.previous_hash[0] ^= 1, |c| c.epoch[0] ^= 1];
    for change in changes {
        let mut changed = call.clone();
        change(&mut changed);
        assert_eq!(refusal(&voice.sync(changed).await.unwrap_err()).reason, "BAD_HASH");
    }
    assert_eq!(fleet.operator().device(&device.id()).await.durable_through, ready, "nothing was stored");
    let stored: Vec<(i64,)> = fleet.rows().await.all("SELECT count(*) FROM epochs").await;
    assert_eq!(stored[0].0, 1);
    assert_eq!(voice.sync(call).await.unwrap().durable_through, ready + 3, "and the true one is taken");
    assert_eq!(check(&fleet, &[device.chains().await]).await.sales, 3);
}

type SpoilEnroll = (&'static str, fn(&mut v1::EnrollRequest));

const ENROLL_RUBBISH: [SpoilEnroll; 9] = [
    ("claim_token", |c| c.claim_token.clear()),
    ("claim_token", |c| c.claim_token = "t".repeat(4_000)),
    ("device_secret", |c| c.device_secret.clear()),
    ("device_secret", |c| c.device_secret = vec![1; 33]),
    ("serial", |c| c.serial = "s".repeat(65)),
    ("model", |c| c.model = "m".repeat(65)),
    ("firmware", |c| c.firmware = "f".repeat(65)),
    ("csr_der", |c| c.csr_der = vec![0x30; 4_097]),
    ("csr_der", |c| c.csr_der = b"no certificate request".to_vec()),
];

pub(crate) async fn rubbish_in_an_enroll_names_field_and_rule_and_uses_no_token_up(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let mut operator = fleet.operator();
    let good = v1::EnrollRequest {
        claim_token: operator.claim_token("corner").await,
        device_secret: vec![9; 32],
        serial: "A-1".to_owned(),
        model: "snack".to_owned(),
        ..Default::default()
    };
    let mut voice = Voice::without_secret(fleet.server.channel());
    for (field, spoil) in ENROLL_RUBBISH {
        let mut spoilt = good.clone();
        spoil(&mut spoilt);
        let refused = refusal(&voice.enroll(spoilt).await.expect_err(field));
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{field}"
        );
        let named = refused.fields.iter().find(|(name, _)| name == field);
        assert!(named.is_some_and(|(_, rule)| !rule.is_empty()), "{field}: {refused:?}");
    }
    let unknown = v1::EnrollRequest { claim_token: "no-such-token".to_owned(), ..good.clone() };
    let refused = refusal(&voice.enroll(unknown).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "CLAIM_TOKEN_INVALID"));
    let bound =
        operator.claim(v1::CreateClaimTokenRequest { serial: "B-2".to_owned(), ..Default::default() }).await;
    let stranger = v1::EnrollRequest { claim_token: bound, ..good.clone() };
    assert_eq!(refusal(&voice.enroll(stranger).await.unwrap_err()).reason, "SERIAL_MISMATCH");

    let machines: Vec<(i64,)> = fleet.rows().await.all("SELECT count(*) FROM machines").await;
    assert_eq!(machines[0].0, 0);
    let first = voice.enroll(good.clone()).await.unwrap();
    let again = voice.enroll(good).await.unwrap();
    assert_eq!((first.machine_id, first.credential_id), (again.machine_id, again.credential_id));
}
