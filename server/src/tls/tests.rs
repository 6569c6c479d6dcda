#![allow(clippy::unwrap_used)]

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use uuid::Uuid;

use super::{ca::inspect, *};
use crate::{context::Context, data_dir::DataDir};

fn bench() -> (tempfile::TempDir, DataDir, Context, crate::context::ManualClock) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path().join("data")).unwrap();
    let (context, clock) = Context::manual(1_800_000_000_000, 5);
    (dir, data, context, clock)
}

fn csr(common_name: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[test]
fn a_machine_certificate_says_what_we_say_and_not_what_the_request_says() {
    let (_dir, data, context, _clock) = bench();
    let authority = Authority::open(&data, context).unwrap();
    let (machine, credential) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (der, ends_ms) = authority.sign_machine_csr(&csr("operator"), machine, credential).unwrap();
    assert_eq!(ends_ms, 1_800_000_000_000 + 3_650 * 86_400_000);
    let identity = certificate_identity(&der).unwrap();
    assert_eq!((identity.machine_id, identity.credential_id), (machine, credential));
    let pem = rustls_pki_types::CertificateDer::from(der.clone());
    assert!(!String::from_utf8_lossy(&pem).contains("evil.example"));
    assert!(!String::from_utf8_lossy(&pem).contains("operator"));
}

#[test]
fn a_request_that_proves_no_key_is_refused_with_the_field() {
    let (_dir, data, context, _clock) = bench();
    let authority = Authority::open(&data, context).unwrap();
    let mut forged = csr("x");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for bad in [forged, vec![0; 10], vec![0; 5_000], Vec::new()] {
        let error = authority.sign_machine_csr(&bad, Uuid::nil(), Uuid::nil()).unwrap_err();
        assert!(error.to_string().contains("csr_der"), "{error}");
    }
}

#[test]
fn the_authority_outlives_the_process_and_its_keys_are_private() {
    let (_dir, data, context, _clock) = bench();
    let first = Authority::open(&data, context.clone()).unwrap();
    assert!(first.ensure_server(&[]).unwrap());
    assert_eq!(Authority::open(&data, context).unwrap().ca_pem(), first.ca_pem());
    let mode = |name: &str| std::fs::metadata(data.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("tls/ca.key"), 0o600);
    assert_eq!(mode("tls/server.key"), 0o600);
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("tls"), 0o700);
}

#[test]
fn the_server_certificate_is_renewed_before_its_end_and_for_new_names() {
    let (_dir, data, context, clock) = bench();
    let authority = Authority::open(&data, context).unwrap();
    let sans = ["fleet.example".to_owned(), "10.0.0.7".to_owned()];
    assert!(authority.ensure_server(&[]).unwrap());
    assert!(!authority.ensure_server(&[]).unwrap());
    assert!(authority.ensure_server(&sans).unwrap(), "a name is missing");
    let pem = String::from_utf8(data.read("tls/server.pem").unwrap().unwrap()).unwrap();
    let names = inspect(&pem).unwrap().names;
    for name in ["localhost", "127.0.0.1", "::1", "fleet.example", "10.0.0.7"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let days = u64::try_from(SERVER_DAYS - RENEW_BEFORE_DAYS).unwrap();
    clock.advance(Duration::from_secs((days - 1) * 86_400));
    assert!(!authority.ensure_server(&sans).unwrap());
    clock.advance(Duration::from_secs(2 * 86_400));
    assert!(authority.ensure_server(&sans).unwrap());
}

#[test]
fn one_process_holds_the_data_directory() {
    let (_dir, data, _context, _clock) = bench();
    let lock = data.lock().unwrap();
    let error = data.lock().unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(lock);
    data.lock().unwrap();
}
