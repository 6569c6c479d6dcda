//! Whatever is lost on the way, a machine has one identity and knows its secret.

#![allow(clippy::unwrap_used)]

use super::{About, EnrolError, enrol};
use crate::agent::tests::fake::{Fake, about, endpoint};
use crate::context::Context;
use crate::credentials::CredentialStore;
use std::os::unix::fs::PermissionsExt;

struct Device {
    dir: tempfile::TempDir,
    server: Fake,
    boots: u64,
}

impl Device {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: Fake::new(), boots: 0 }
    }

    fn store(&self) -> CredentialStore {
        CredentialStore::new(self.dir.path())
    }

    /// As after a power cut: nothing in memory, other randomness.
    async fn enrol(&mut self, token: &str, about: &About) -> Result<String, EnrolError> {
        self.boots += 1;
        let context = Context::seeded(self.boots);
        let done = enrol(&self.store(), &self.server, &context, endpoint(), token, about).await?;
        Ok(done.identity.machine_id)
    }
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_secret() {
    let mut device = Device::new();
    device.server.with(|s| s.lose_enrol_replies = 2);
    for _ in 0..2 {
        assert!(matches!(device.enrol("token", &about()).await, Err(EnrolError::Call(_))));
        assert!(device.store().credentials().unwrap().is_none());
    }
    assert_eq!(device.enrol("token", &about()).await.unwrap(), "machine-of-token");
    device.server.with(|s| {
        assert_eq!(s.enrolments.len(), 3);
        assert!(s.enrolments.iter().all(|e| e.secret == s.enrolments[0].secret));
        let known = device.store().credentials().unwrap().unwrap();
        assert_eq!(known.identity.secret.0, s.enrolments[0].secret);
    });
    assert!(device.store().pending().unwrap().is_none(), "nothing is under way any more");
}

#[tokio::test]
async fn the_secret_is_on_the_medium_before_the_server_hears_it() {
    let mut device = Device::new();
    let store = device.store();
    device.server.with(|s| {
        s.on_enroll = Some(Box::new(move |call| {
            assert_eq!(store.pending().unwrap().unwrap().secret.0, call.secret);
        }));
    });
    device.enrol("token", &about()).await.unwrap();
}

#[tokio::test]
async fn another_token_begins_with_another_secret() {
    let mut device = Device::new();
    device.server.with(|s| s.lose_enrol_replies = 1);
    device.enrol("first", &about()).await.unwrap_err();
    device.enrol("second", &about()).await.unwrap();
    device.server.with(|s| assert_ne!(s.enrolments[0].secret, s.enrolments[1].secret));
}

#[tokio::test]
async fn an_enrolled_machine_is_not_enrolled_again_by_accident() {
    let mut device = Device::new();
    device.enrol("token", &about()).await.unwrap();
    assert!(matches!(device.enrol("other", &about()).await, Err(EnrolError::AlreadyEnrolled(_))));
    assert_eq!(device.server.with(|s| s.enrolments.len()), 1);
}

#[tokio::test]
async fn nobody_else_can_read_the_secret() {
    let mut device = Device::new();
    device.server.with(|s| s.lose_enrol_replies = 1);
    let mode =
        |name: &str| std::fs::metadata(device.dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    let server = device.server.clone();
    let store = device.store();
    let context = Context::seeded(1);
    enrol(&store, &server, &context, endpoint(), "token", &about()).await.unwrap_err();
    assert_eq!(mode("enrolment.json"), 0o600);
    enrol(&store, &server, &context, endpoint(), "token", &about()).await.unwrap();
    assert_eq!(mode("credentials.json"), 0o600);
    device.boots += 1;
    let known = format!("{:?}", store.credentials().unwrap());
    assert!(known.contains("Secret(..)"), "nor does a log show it: {known}");
}

#[tokio::test]
async fn a_certificate_request_is_signed_by_the_key_that_stays() {
    let mut device = Device::new();
    device.server.with(|s| s.lose_enrol_replies = 1);
    let about = About { certificate: true, ..about() };
    device.enrol("token", &about).await.unwrap_err();
    let key = device.store().pending().unwrap().unwrap().key_pem.unwrap();
    device.enrol("token", &about).await.unwrap();
    device.server.with(|s| {
        for call in &s.enrolments {
            let request = call.csr_der.as_slice().into();
            let request = rcgen::CertificateSigningRequestParams::from_der(&request).unwrap();
            let ours = rcgen::KeyPair::from_pem(&key).unwrap();
            assert_eq!(
                rcgen::PublicKeyData::subject_public_key_info(&request.public_key),
                rcgen::PublicKeyData::subject_public_key_info(&ours),
            );
        }
    });
}
