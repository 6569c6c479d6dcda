#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    config::AuthConfig,
    context::{Context, ManualClock},
    data_dir::DataDir,
    error::{ApiError, Reason},
};

const NOW_MS: i64 = 1_800_000_000_000;

struct Bench {
    _dir: tempfile::TempDir,
    data: DataDir,
    clock: ManualClock,
    context: Context,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path().join("data")).unwrap();
        let (context, clock) = Context::manual(NOW_MS, 3);
        Self { _dir: dir, data, clock, context }
    }

    fn tokens(&self) -> Tokens {
        Tokens::open(&AuthConfig::default(), self.context.clone(), &self.data).unwrap()
    }

    /// Claims as a good token has them, signed with the real key after `change`.
    fn forged(&self, change: impl FnOnce(&mut Value, &mut Header)) -> String {
        let good = self.tokens().issue(&operator(), 60).unwrap();
        let mut header = jsonwebtoken::decode_header(&good).unwrap();
        let mut claims =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(good.split('.').nth(1).unwrap()).unwrap())
                .unwrap();
        change(&mut claims, &mut header);
        let pem = self.data.read("keys/token-ed25519.pem").unwrap().unwrap();
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_pem(&pem).unwrap()).unwrap()
    }
}

fn operator() -> Person {
    Person { subject: "ada".to_owned(), role: Role::Operator, scopes: vec![Scope::OrdersOnBehalf] }
}

#[test]
fn a_token_names_who_it_was_made_for() {
    let bench = Bench::new();
    let token = bench.tokens().issue(&operator(), 60).unwrap();
    assert_eq!(bench.tokens().verify(&token).unwrap(), operator(), "the key outlives the process");
}

#[test]
fn a_token_ends_at_exp_plus_leeway() {
    let bench = Bench::new();
    let token = bench.tokens().issue(&operator(), 60).unwrap();
    bench.clock.advance(Duration::from_secs(89));
    bench.tokens().verify(&token).unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.tokens().verify(&token).unwrap_err().reason, Reason::TokenExpired);
}

#[test]
fn a_remembered_token_is_refused_once_its_time_is_over_or_not_yet_come_again() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let token = tokens.issue(&operator(), 60).unwrap();
    for _ in 0..3 {
        assert_eq!(tokens.verify(&token).unwrap(), operator());
    }
    assert_eq!(tokens.kept(), 1);
    bench.clock.set(NOW_MS - 31_000);
    assert_eq!(tokens.verify(&token).unwrap_err().message, "the token is not valid yet");
    bench.clock.set(NOW_MS + 89_000);
    tokens.verify(&token).unwrap();
    bench.clock.set(NOW_MS + 90_000);
    assert_eq!(tokens.verify(&token).unwrap_err().reason, Reason::TokenExpired);
    assert_eq!(tokens.kept(), 0, "what is over is not kept");
}

#[test]
fn a_tampered_copy_of_a_remembered_token_is_refused() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let token = tokens.issue(&operator(), 60).unwrap();
    tokens.verify(&token).unwrap();
    for at in (0..token.len()).step_by(9) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert!(tokens.verify(&tampered).is_err(), "byte {at}");
    }
    for tampered in [format!("{token}="), format!("{token}A"), token[1..].to_owned()] {
        assert!(tokens.verify(&tampered).is_err(), "{tampered}");
    }
    assert_eq!(tokens.kept(), 1, "only good tokens are remembered");
}

#[test]
fn no_more_tokens_are_remembered_than_the_bound() {
    let bench = Bench::new();
    let config = AuthConfig { token_cache_entries: 4, ..AuthConfig::default() };
    let tokens = Tokens::open(&config, bench.context.clone(), &bench.data).unwrap();
    for number in 0..20 {
        let person = Person { subject: format!("customer-{number}"), ..operator() };
        let token = tokens.issue(&person, 60).unwrap();
        assert_eq!(tokens.verify(&token).unwrap(), person);
        assert_eq!(tokens.verify(&token).unwrap(), person);
        assert!(tokens.kept() <= 4);
    }
}

#[test]
fn a_token_without_a_required_claim_is_refused() {
    let bench = Bench::new();
    bench.tokens().verify(&bench.forged(|_, _| {})).unwrap();
    for claim in ["aud", "iss", "exp", "sub", "role"] {
        let token = bench.forged(|claims, _| {
            claims.as_object_mut().unwrap().remove(claim);
        });
        assert_eq!(bench.tokens().verify(&token).unwrap_err().reason, Reason::Unauthenticated, "{claim}");
    }
}

#[test]
fn a_token_for_someone_else_or_another_time_is_refused() {
    let bench = Bench::new();
    for (claim, value, reason) in [
        ("aud", json!("elsewhere"), Reason::Unauthenticated),
        ("iss", json!("elsewhere"), Reason::Unauthenticated),
        ("sub", json!(""), Reason::Unauthenticated),
        ("role", json!("root"), Reason::Unauthenticated),
        ("nbf", json!(NOW_MS / 1000 + 31), Reason::TokenExpired),
        ("exp", json!(NOW_MS / 1000 - 30), Reason::TokenExpired),
    ] {
        let token = bench.forged(|claims, _| claims[claim] = value);
        assert_eq!(bench.tokens().verify(&token).unwrap_err().reason, reason, "{claim}");
    }
}

#[test]
fn a_token_under_another_key_or_algorithm_is_refused() {
    let bench = Bench::new();
    let good = bench.tokens().issue(&operator(), 60).unwrap();
    let mut parts = good.split('.');
    let (header, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();

    let with_header = |alg: &str, signature: &str| {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    for token in [with_header("none", ""), with_header("none", signature), with_header("ES256", signature)] {
        assert_eq!(bench.tokens().verify(&token).unwrap_err().reason, Reason::Unauthenticated, "{token}");
    }

    // The classic confusion: a MAC keyed with the public key, which everybody may know.
    let pem = bench.data.read("keys/token-ed25519.pem").unwrap().unwrap();
    let pair = rcgen::KeyPair::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
    let mut hs256 = Header::new(Algorithm::HS256);
    hs256.kid = Some(header["kid"].as_str().unwrap().to_owned());
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let key = EncodingKey::from_secret(rcgen::PublicKeyData::der_bytes(&pair));
    let confused = jsonwebtoken::encode(&hs256, &claims, &key).unwrap();
    assert_eq!(bench.tokens().verify(&confused).unwrap_err().reason, Reason::Unauthenticated);

    let other = Bench::new().tokens().issue(&operator(), 60).unwrap();
    assert_eq!(
        bench.tokens().verify(&other).unwrap_err().reason,
        Reason::Unauthenticated,
        "another deployment's"
    );
    assert_eq!(bench.tokens().verify("nonsense").unwrap_err().reason, Reason::Unauthenticated);
}

#[derive(Default)]
struct OneCredential {
    record: Mutex<Option<CredentialRecord>>,
    lookups: Mutex<u32>,
}

impl CredentialSource for OneCredential {
    fn find_credential(&self, id: Uuid) -> BoxFuture<'_, Result<Option<CredentialRecord>, ApiError>> {
        *self.lookups.lock().unwrap() += 1;
        let record = self.record.lock().unwrap().clone().filter(|record| record.credential_id == id);
        Box::pin(async move { Ok(record) })
    }
}

fn machine_bench() -> (Bench, Arc<OneCredential>, Authenticator, String) {
    let bench = Bench::new();
    let key = SecretKey::new([9; 32]);
    let record = CredentialRecord {
        credential_id: Uuid::from_u128(7),
        machine_id: Uuid::from_u128(70),
        secret_hash: key.hash(&[5; 32]),
        state: CredentialState::Active,
        last_used_ms: 0,
    };
    let source = Arc::new(OneCredential { record: Mutex::new(Some(record)), ..OneCredential::default() });
    let auth = Authenticator::new(
        &AuthConfig::default(),
        bench.context.clone(),
        bench.tokens(),
        key,
        source.clone(),
    );
    let header = format!("Machine {}.{}", Uuid::from_u128(7), URL_SAFE_NO_PAD.encode([5; 32]));
    (bench, source, auth, header)
}

#[tokio::test]
async fn a_machine_is_known_by_its_secret_and_looked_up_once_in_a_while() {
    let (bench, source, auth, header) = machine_bench();
    for _ in 0..10 {
        let caller = auth.authenticate(Some(header.as_bytes()), None).await.unwrap();
        assert_eq!(caller.machine().unwrap().machine_id, Uuid::from_u128(70));
    }
    assert_eq!(*source.lookups.lock().unwrap(), 1);
    bench.clock.advance(Duration::from_secs(2));
    auth.authenticate(Some(header.as_bytes()), None).await.unwrap();
    assert_eq!(*source.lookups.lock().unwrap(), 2);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_credential_read_the_same() {
    let (_bench, _source, auth, _header) = machine_bench();
    let mut texts = Vec::new();
    for header in [
        format!("Machine {}.{}", Uuid::from_u128(7), URL_SAFE_NO_PAD.encode([6; 32])),
        format!("Machine {}.{}", Uuid::from_u128(8), URL_SAFE_NO_PAD.encode([5; 32])),
        format!("Machine {}.{}", Uuid::from_u128(7), URL_SAFE_NO_PAD.encode([5; 31])),
        format!("Machine {}.", Uuid::from_u128(7)),
        "Machine nonsense".to_owned(),
    ] {
        let error = auth.authenticate(Some(header.as_bytes()), None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unauthenticated, "{header}");
        texts.push(error.message);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
    for header in ["Basic YTpi", "Machine", "\u{ff}"] {
        assert!(auth.authenticate(Some(header.as_bytes()), None).await.is_err(), "{header}");
    }
}

#[tokio::test]
async fn a_revocation_acts_within_the_cache_time_and_at_once_when_told() {
    let (bench, source, auth, header) = machine_bench();
    auth.authenticate(Some(header.as_bytes()), None).await.unwrap();
    source.record.lock().unwrap().as_mut().unwrap().state = CredentialState::Revoked;
    auth.forget(Uuid::from_u128(7));
    let error = auth.authenticate(Some(header.as_bytes()), None).await.unwrap_err();
    assert_eq!(error.reason, Reason::MachineRevoked);

    source.record.lock().unwrap().as_mut().unwrap().state =
        CredentialState::UploadOnly { drain_until_ms: NOW_MS + 10_000 };
    bench.clock.advance(Duration::from_secs(5));
    let caller = auth.authenticate(Some(header.as_bytes()), None).await.unwrap();
    assert_eq!(caller.machine().unwrap().standing, Standing::UploadOnly { drain_until_ms: NOW_MS + 10_000 });
    assert!(calls::find("/vendfleet.v1.MachineSyncService/Sync").unwrap().authorise(&caller).is_ok());
    assert!(calls::find("/vendfleet.v1.CatalogService/GetProduct").unwrap().authorise(&caller).is_err());
    bench.clock.advance(Duration::from_secs(5));
    let error = auth.authenticate(Some(header.as_bytes()), None).await.unwrap_err();
    assert_eq!(error.reason, Reason::MachineRevoked, "the drain is over");
}

#[tokio::test]
async fn a_certificate_is_as_good_as_its_credential() {
    let (bench, source, auth, header) = machine_bench();
    let certificate =
        CertificateIdentity { machine_id: Uuid::from_u128(70), credential_id: Uuid::from_u128(7) };
    assert!(auth.authenticate(None, Some(certificate)).await.unwrap().machine().is_some());
    let stranger = CertificateIdentity { machine_id: Uuid::from_u128(71), ..certificate };
    assert!(auth.authenticate(None, Some(stranger)).await.is_err());
    assert!(auth.authenticate(Some(header.as_bytes()), Some(stranger)).await.is_err());
    source.record.lock().unwrap().as_mut().unwrap().state = CredentialState::Revoked;
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(auth.authenticate(None, Some(certificate)).await.unwrap_err().reason, Reason::MachineRevoked);
}

#[test]
fn every_call_of_the_contract_is_in_the_table_and_nothing_else_is() {
    let set = prost_types::FileDescriptorSet::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut contract = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "vendfleet.v1") {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/vendfleet.v1.{}/{}", service.name(), method.name());
                let call = calls::find(&path).unwrap_or_else(|| panic!("{path} is not in the table"));
                assert_eq!(call.streams, method.server_streaming(), "{path}");
                contract.push(path);
            }
        }
    }
    for call in calls::CALLS.iter().filter(|call| call.path.starts_with("/vendfleet")) {
        assert!(contract.iter().any(|path| path == call.path), "{} is not in the contract", call.path);
    }
    assert!(contract.len() > 50);
}

#[test]
fn only_enroll_health_and_reflection_are_open_to_strangers() {
    let open: Vec<_> = calls::CALLS
        .iter()
        .filter(|call| call.authorise(&Caller::Anonymous).is_ok())
        .map(|call| call.path)
        .collect();
    assert_eq!(
        open,
        [
            "/vendfleet.v1.MachineSyncService/Enroll",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ]
    );
}

#[test]
fn a_viewer_and_a_customer_change_nothing_in_the_fleet() {
    for role in [Role::Viewer, Role::Customer] {
        let caller = Caller::Person(Person { role, ..operator() });
        for call in calls::CALLS {
            let name = call.path.rsplit('/').next().unwrap();
            let reads = ["Get", "List"].iter().any(|verb| name.starts_with(verb));
            let fleet = call.path.contains("Fleet")
                || call.path.contains("Catalog")
                || call.path.contains("Orchestrator");
            assert!(!fleet || reads || call.authorise(&caller).is_err(), "{} for {}", call.path, role.name());
        }
    }
}
