#![allow(clippy::unwrap_used)]
use super::{NAMES, descriptor, read_json, word, words, write_json};
use vendfleet_proto::v1::{Alert, Machine, MachineConfig, MachineKind, PoolState, Product};

fn json(message: &impl super::Contract) -> serde_json::Value {
    let mut bytes = Vec::new();
    write_json(message, &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn every_shown_message_is_one_of_the_contract() {
    for name in NAMES {
        assert_eq!(descriptor(name).name(), *name);
    }
}

#[test]
fn integers_stay_integers_and_every_field_is_there() {
    let product = Product { stock: i64::MAX, ..Product::default() };
    let json = json(&product);
    assert_eq!(json["stock"], i64::MAX);
    assert_eq!(json["low_stock_threshold"], 0);
    assert_eq!(json["archived"], false);
}

#[test]
fn enums_are_said_in_the_contracts_own_words() {
    let machine = Machine { kind: MachineKind::Real.into(), ..Machine::default() };
    assert_eq!(json(&machine)["kind"], "MACHINE_KIND_REAL");
    assert_eq!(word("PoolState", PoolState::InDoubt.into()), "in-doubt");
    assert_eq!(word("PoolState", 0), "-");
}

#[test]
fn a_value_of_a_later_contract_shows_as_its_number() {
    assert_eq!(word("AlertType", 4711), "4711");
    assert_eq!(json(&Alert { r#type: 4711, ..Alert::default() })["type"], 4711);
}

#[test]
fn words_leave_out_unspecified() {
    let known = words("MachineKind");
    assert_eq!(known, [("virtual".to_owned(), 1), ("real".to_owned(), 2)]);
}

#[test]
fn a_config_is_read_as_it_is_written() {
    let config =
        MachineConfig { currency_code: "EUR".into(), selection_timeout_ms: 5_000, ..Default::default() };
    let mut bytes = Vec::new();
    write_json(&config, &mut bytes).unwrap();
    assert_eq!(read_json::<MachineConfig>(std::str::from_utf8(&bytes).unwrap()).unwrap(), config);
}

#[test]
fn a_misspelt_field_is_refused_with_its_name_and_place() {
    let error = read_json::<MachineConfig>("{\"currency_code\": \"EUR\",\n \"slotz\": []}").unwrap_err();
    assert!(error.contains("slotz") && error.contains("line 2"), "{error}");
}

#[test]
fn text_after_the_message_is_refused() {
    assert!(read_json::<MachineConfig>("{} {}").is_err());
}
