#![allow(clippy::unwrap_used)]
use super::{credential_id, currency, epoch, id, label};

#[test]
fn an_id_is_a_uuid_in_its_one_form() {
    let good = "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d";
    assert_eq!(id(good).unwrap(), good);
    assert_eq!(id(&good.to_uppercase()).unwrap(), good);
    for bad in ["", "machine-1", "01934c6e8f7a7c3e9d1b2f4a6c8e0b1d", "{01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d}"]
    {
        assert!(id(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_epoch_is_what_the_api_shows() {
    assert!(epoch("00112233445566778899aabbccddeeff").is_ok());
    for bad in ["", "00112233445566778899AABBCCDDEEFF", "00112233445566778899aabbccddeef", "zz"] {
        assert!(epoch(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_that_no_server_takes_are_not_sent() {
    assert!(credential_id("").is_err() && credential_id("a b").is_err() && credential_id("mc_7").is_ok());
    assert!(currency("eur").is_err() && currency("EURO").is_err() && currency("EUR").is_ok());
    assert!(label("Berlin").is_err() && label("").is_err() && label("berlin-2").is_ok());
}
