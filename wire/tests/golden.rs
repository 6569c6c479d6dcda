//! Bytes that devices in the field have written. A vector never changes: if a test here fails, the codec is wrong, not the
//! vector. A record kind without a vector gets one written, and the test fails until it has been looked at and committed.
#![allow(clippy::unwrap_used)]

mod samples;

use samples::samples;
use serde_json::{Value, json};
use std::path::PathBuf;
use vend_core::id::Epoch;
use vendfleet_wire::{decode, encode, record_hash};

const EPOCH: Epoch = Epoch([0xe0; 16]);
const PREVIOUS: [u8; 32] = [0x5a; 32];

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"))
}

#[test]
fn every_kind_encodes_to_and_decodes_from_its_golden_bytes() {
    let mut missing = Vec::new();
    for (name, record) in samples() {
        let encoded = encode(&record);
        let kind = encoded.kind as u32;
        let now = json!({
            "kind": kind,
            "schema": encoded.schema,
            "seq": 7,
            "epoch": hex::encode(EPOCH.0),
            "previous_hash": hex::encode(PREVIOUS),
            "body": hex::encode(&encoded.body),
            "hash": hex::encode(record_hash(&EPOCH, 7, kind, encoded.schema, &PREVIOUS, &encoded.body)),
        });
        let path = vector(name);
        let Ok(text) = std::fs::read_to_string(&path) else {
            std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
            missing.push(name);
            continue;
        };
        let golden: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(now, golden, "{name}");
        let body = hex::decode(golden["body"].as_str().unwrap()).unwrap();
        assert_eq!(decode(kind, 1, &body).unwrap(), record, "{name}");
    }
    assert!(missing.is_empty(), "vectors written, look at them and commit: {missing:?}");
}

#[test]
fn the_samples_have_every_kind() {
    let kinds: std::collections::BTreeSet<u32> =
        samples().iter().map(|(_, r)| r.body.kind() as u32).collect();
    let known: Vec<u32> = (0..1000).filter(|n| vendfleet_wire::kind_from_number(*n).is_some()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), known);
}

/// Spelled out by hand from record.proto, with no code of ours in it but SHA-256.
#[test]
fn the_hash_covers_tag_epoch_seq_kind_schema_previous_and_body() {
    let mut text = b"vendfleet.record.v1".to_vec();
    text.extend([0xe0; 16]);
    text.extend([0, 0, 0, 0, 0, 0, 1, 2]);
    text.extend([0, 0, 0, 2]);
    text.extend([0, 0, 0, 1]);
    text.extend([0x5a; 32]);
    text.extend(b"body");
    assert_eq!(record_hash(&EPOCH, 258, 2, 1, &PREVIOUS, b"body"), vendfleet_wire::sha256(&text));
    // And one from outside: sha256sum of "abc".
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(vendfleet_wire::sha256(b"abc")), abc);
}
