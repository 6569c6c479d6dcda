#![allow(clippy::unwrap_used)]
use super::Cli;
use crate::settings::DEFAULT_SERVER;
use crate::{Context, Exit, Variables, run};
use clap::CommandFactory as _;

const ID: &str = "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d";
const EPOCH: &str = "00112233445566778899aabbccddeeff";

/// What a command line says when nobody listens.
async fn ran(line: &[&str]) -> (Exit, String, String) {
    let context =
        Context::with(Variables { server: Some("http://127.0.0.1:1".into()), ..Variables::default() });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(&context, ["vendctl"].iter().chain(line), &mut out, &mut err).await;
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn help_documents_the_exit_codes_and_the_default() {
    let (exit, out, err) = ran(&["--help"]).await;
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    for said in ["Exit codes:", "4  no credential", "VENDCTL_TOKEN", DEFAULT_SERVER] {
        assert!(out.contains(said), "{said}\n{out}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_sent() {
    let bad: &[&[&str]] = &[
        &[],
        &["machine", "get", "machine-1"],
        &["machine", "update", ID],
        &["machine", "update", ID, "--etag", "e"],
        &["machine", "update", ID, "--group", ""],
        &["machine", "update", ID, "--group", "berlin", "--no-group"],
        &["machine", "update", ID, "--tag", "indoor", "--no-tags"],
        &["machine", "update", ID, "--delay-ms", "600001"],
        &["machine", "update", ID, "--name", "Lobby", "--request-id", ID],
        &["claim", "create", "--machine", ID, "--name", "x"],
        &["credential", "revoke", "c", "--drain", "7d", "--hard"],
        &["credential", "revoke", "c", "--confirm-unsent", "3"],
        &["config", "assign", ID],
        &["config", "assign", ID, "--machine", ID, "--group", "berlin"],
        &["config", "create", "--file", "/nowhere.json", "--name", "x"],
        &["split", ID, "--epoch", "ABC", "--name", "x"],
        &["product", "update", ID],
        &["product", "update", ID, "--price-minor", "100"],
        &["product", "stock", ID, "5", "--reason", "because"],
        &["order", "create"],
        &["order", "create", "COLA"],
        &["order", "create", "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d=0"],
        &["order", "create", "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1d=10001"],
        &["order", "create", ID, "--key", "k", "--request-id", ID],
        &["order", "list", "--status", "any"],
        &["session", "get"],
        &["session", "get", "--session", ID, "--machine", ID],
        &["session", "reset", "--machine", ID],
        &["session", "reset", "--session", ID],
        &["purchase", "resolve", ID, "--note", "seen"],
        &["purchase", "resolve", ID, "--dispensed", "--not-dispensed", "--note", "seen"],
        &["purchase", "resolve", ID, "--dispensed"],
        &["event", "stream", "--oldest", "--cursor", "c"],
        &["event", "stream", "--count", "0"],
        &["alerts", "list", "--type", "nonsense"],
        &["machine", "list", "--limit", "0"],
        &["transactions", "--from", "yesterday"],
        &["quarantine", "discard", ID],
    ];
    for line in bad {
        let (exit, out, err) = ran(line).await;
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{line:?}: {err}");
        assert!(!err.is_empty(), "{line:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so_by_every_command() {
    let good: &[&[&str]] = &[
        &["status"],
        &["machine", "create", "Lobby", "--group", "berlin", "--tag", "indoor", "--serial", "S1"],
        &["machine", "list", "--pool", "in-doubt", "--kind", "any"],
        &["machine", "get", ID],
        &["machine", "update", ID, "--name", "Lobby", "--no-group", "--tag", "indoor", "--tag", "ground"],
        &["machine", "update", ID, "--etag", "e", "--no-tags", "--serial", "", "--request-id", ID],
        &["machine", "archive", ID],
        &["claim", "create", "--machine", ID, "--ttl", "36h"],
        &["claim", "list", "--state", "open"],
        &["claim", "revoke", ID],
        &["credential", "list", "--machine", ID],
        &["credential", "revoke", "c1", "--hard", "--confirm-unsent", "3"],
        &["config", "list"],
        &["config", "get", ID],
        &["config", "assign", ID, "--machine", ID, "--machine", ID],
        &["config", "assign", ID, "--group", "berlin", "--start", "2026-12-01T04:00:00Z"],
        &["config", "status", "--progress", "rejected"],
        &["command", "send", ID, "out-of-service", "--reason", "cleaning"],
        &["command", "list"],
        &["product", "list", "--low-stock"],
        &["product", "get", ID],
        &["product", "create", "COLA", "Cola", "--price-minor", "250", "--currency", "EUR"],
        &["product", "update", ID, "--etag", "e", "--price-minor", "100", "--currency", "EUR"],
        &["product", "stock", ID, "-3", "--reason", "write-off"],
        &["product", "archive", ID],
        &[
            "order",
            "list",
            "--status",
            "pending",
            "--status",
            "processing",
            "--unsettled",
            "--customer",
            "ann",
        ],
        &["order", "get", ID],
        &["order", "create", ID, "01934c6e-8f7a-7c3e-9d1b-2f4a6c8e0b1e=3", "--key", "basket 7"],
        &["order", "create", ID, "--request-id", ID],
        &["order", "cancel", ID, "--customer", "ann"],
        &["order", "watch", "--order", ID, "--count", "1"],
        &["session", "get", "--session", ID],
        &["session", "get", "--machine", ID],
        &["session", "reset", "--machine", ID, "--session", ID, "--note", "the customer left"],
        &["purchase", "resolve", ID, "--dispensed", "--note", "seen on the camera"],
        &["purchase", "resolve", ID, "--not-dispensed", "--note", "the customer called", "--request-id", ID],
        &["event", "stream", "--oldest", "--category", "order", "--category", "inventory"],
        &["event", "stream", "--cursor", "c", "--product", ID],
        &["dead-letters", "list", "--kind", "order", "--order", ID],
        &["transactions", "--machine", ID, "--outcome", "unknown"],
        &["inventory", ID],
        &["drift"],
        &["totals", ID],
        &["epochs", ID],
        &["gaps", "--reason", "tail-lost"],
        &["quarantine", "list", "--state", "open", "--reason", "cloned"],
        &["quarantine", "records", ID],
        &["quarantine", "adopt", ID],
        &["quarantine", "discard", ID, "--note", "test data"],
        &["split", ID, "--epoch", EPOCH, "--name", "twin"],
        &["dead-letters", "list", "--state", "any"],
        &["dead-letters", "show", ID],
        &["dead-letters", "redrive", ID],
        &["alerts", "list", "--type", "fork", "--severity", "critical"],
        &["alerts", "ack", ID],
        &["alerts", "resolve", ID, "--note", "done"],
        &["server", "info"],
    ];
    for line in good {
        let (exit, out, err) = ran(&[line, &["--attempts", "1"][..]].concat()).await;
        assert_eq!((exit, out.as_str()), (Exit::Unavailable, ""), "{line:?}: {err}");
        assert!(err.contains("UNAVAILABLE") && err.contains("refused"), "{line:?}: {err}");
    }
}

#[tokio::test]
async fn a_config_file_is_checked_before_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let path = path.to_str().unwrap();
    std::fs::write(path, "{\"currency_code\": \"EUR\",\n \"slot\": []}").unwrap();
    let (exit, _, err) = ran(&["config", "create", "-f", path, "--name", "x"]).await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("'slot'") && err.contains("line 2"), "{err}");

    std::fs::write(path, "{\"currency_code\": \"EUR\", \"slots\": []}").unwrap();
    let (exit, _, err) = ran(&["config", "create", "-f", path, "--name", "x", "--attempts", "1"]).await;
    assert_eq!(exit, Exit::Unavailable, "{err}");
    assert!(err.contains("--request-id"), "{err}");
}

#[tokio::test]
async fn an_error_for_a_program_is_one_object() {
    let (_, _, err) = ran(&["--json", "server", "info", "--attempts", "1"]).await;
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(error["error"]["reason"], "UNAVAILABLE");
}
