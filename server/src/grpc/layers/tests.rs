#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::HeaderMap;

use super::deadline::requested;

#[test]
fn a_deadline_is_read_as_grpc_writes_it() {
    for (text, expected) in [
        ("1H", Some(Duration::from_secs(3_600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("150m", Some(Duration::from_millis(150))),
        ("99999999u", Some(Duration::from_micros(99_999_999))),
        ("1n", Some(Duration::from_nanos(1))),
        ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
        ("100000000m", None),
        ("-1m", None),
        ("m", None),
        ("", None),
        ("5", None),
        ("5x", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        assert_eq!(requested(&headers), expected, "{text:?}");
    }
    assert_eq!(requested(&HeaderMap::new()), None);
}

#[tokio::test]
async fn a_panic_becomes_an_internal_error_without_its_text() {
    let error = super::panic::caught(async { panic!("secret detail") }).await.map(|(): ()| ()).unwrap_err();
    let status = tonic::Status::from(error);
    assert_eq!(status.code(), tonic::Code::Internal);
    assert!(!status.message().contains("secret"));
    assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
}
