#![allow(clippy::unwrap_used)]
use super::Settings;
use crate::cli::{Cli, parse};
use crate::context::{Context, Variables};
use crate::failure::Failure;
use std::fs;
use std::path::PathBuf;

fn settings(arguments: &[&str], variables: Variables) -> Result<Settings, Failure> {
    let line = ["vendctl"].into_iter().chain(arguments.iter().copied()).chain(["status"]);
    let cli: Cli = parse(line).unwrap();
    Settings::new(&cli.global, &Context::with(variables))
}

fn wrong(arguments: &[&str], variables: Variables) -> String {
    match settings(arguments, variables) {
        Err(Failure::Usage(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{arguments:?} passed"),
    }
}

fn profile(dir: &tempfile::TempDir, text: &str) -> Option<PathBuf> {
    let path = dir.path().join("config.toml");
    fs::write(&path, text).unwrap();
    Some(path)
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_profile() {
    let dir = tempfile::tempdir().unwrap();
    let config = profile(&dir, "server = \"https://profile:1\"");
    let with = |server: Option<&str>| Variables {
        server: server.map(ToOwned::to_owned),
        config: config.clone(),
        ..Variables::default()
    };
    let host = |arguments: &[&str], variables| {
        settings(arguments, variables).unwrap().server.host().unwrap().to_owned()
    };
    assert_eq!(host(&[], Variables::default()), "localhost");
    assert_eq!(host(&[], with(None)), "profile");
    assert_eq!(host(&[], with(Some("env:1"))), "env");
    assert_eq!(host(&["--server", "flag:1"], with(Some("env:1"))), "flag");
}

#[test]
fn a_misspelt_key_of_the_profile_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = profile(&dir, "sever = \"https://profile:1\"");
    let text = wrong(&[], Variables { config, ..Variables::default() });
    assert!(text.contains("sever"), "{text}");
}

#[test]
fn a_host_without_a_scheme_is_spoken_to_over_tls() {
    let server = settings(&["--server", "fleet.example:7443"], Variables::default()).unwrap().server;
    assert_eq!(server.scheme_str(), Some("https"));
}

#[test]
fn a_token_never_crosses_the_network_readable() {
    let token = || Variables { token: Some("abc".into()), ..Variables::default() };
    assert!(wrong(&["--server", "http://fleet.example:7443"], token()).contains("readable"));
    for here in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://fleet.example:1"] {
        assert!(settings(&["--server", here], token()).is_ok(), "{here}");
    }
}

#[test]
fn a_token_file_may_end_with_a_line_end_and_hold_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let flag = path.to_str().unwrap();
    fs::write(&path, "abc.def\n").unwrap();
    let value = settings(&["--token-file", flag], Variables::default()).unwrap().authorization.unwrap();
    assert_eq!(value.to_str().unwrap(), "Bearer abc.def");
    fs::write(&path, "two\nlines\n").unwrap();
    assert!(wrong(&["--token-file", flag], Variables::default()).contains("one line"));
    fs::write(&path, "\n").unwrap();
    assert!(wrong(&["--token-file", flag], Variables::default()).contains("one line"));
}

#[test]
fn a_server_that_is_no_address_is_refused_with_the_rule() {
    for bad in ["ftp://fleet:1", "https://fleet:1/api", "not an address"] {
        assert!(wrong(&["--server", bad], Variables::default()).contains("--server"), "{bad}");
    }
}

#[test]
fn a_ca_file_that_is_missing_is_named() {
    let text = wrong(&["--ca", "/nowhere/ca.pem"], Variables::default());
    assert!(text.contains("/nowhere/ca.pem"), "{text}");
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    fs::write(&path, "-----BEGIN PRIVATE KEY-----").unwrap();
    let text = wrong(&["--ca", path.to_str().unwrap()], Variables::default());
    assert!(text.contains("holds no PEM certificate"), "{text}");
}
