//! The README's walk-throughs of an order and of a remote purchase work as pasted: its own lines, run by bash, against a real server.
//!
//! grpcurl is in no package registry, so a `grpcurl` of four flags stands in its place and makes the same calls with
//! `buf curl`: reflection, TLS, headers and JSON are real.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
#![allow(clippy::disallowed_methods, reason = "tests read the environment")]

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use vendfleet_tests::server::{BINARY_VARIABLE, ServerOptions, TestServer};

/// Names a `buf`; `./tests/run` sets it.
const BUF_VARIABLE: &str = "VENDFLEET_TEST_BUF";

/// Streams are left alone after so long, whatever the README says.
const STREAM_S: u32 = 3;

/// Longest that a walk-through may take, seconds: a line that waits for what never comes fails its test.
const PASTED_S: &str = "90";

const GRPCURL: &str = r#"#!/usr/bin/env bash
# What the README asks of grpcurl, said to buf curl. Each call's method and exit code go to calls.log.
flags=() limit=()
while [[ "$1" == -* ]]; do
  case "$1" in
    -cacert) flags+=(--cacert "$2") ;;
    -H) flags+=(-H "$2") ;;
    -d) flags+=(-d "$2") ;;
    -max-time) limit=(timeout "$STREAM_S") ;;
    *) echo "grpcurl: what is $1?" >&2; exit 2 ;;
  esac
  shift 2
done
[ "$1" = localhost:7443 ] || { echo "grpcurl: who is $1?" >&2; exit 2; }
status=0
"${limit[@]}" "$BUF" curl --protocol grpc "${flags[@]}" "https://$SERVER/$2" || status=$?
echo "${2##*/} $status" >>"$CALLS"
exit "$status"
"#;

fn buf() -> PathBuf {
    let named = env::var_os(BUF_VARIABLE).map(PathBuf::from);
    let on_path = || {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join("buf")).find(|file| file.is_file())
    };
    named.or_else(on_path).unwrap_or_else(|| {
        panic!("buf is missing: ./tests/run installs it, or set {BUF_VARIABLE} to one (npm: @bufbuild/buf)")
    })
}

/// The shell block under a heading.
fn block(heading: &str) -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme.split_once(heading).unwrap_or_else(|| panic!("no {heading}")).1;
    let block = section.split_once("```sh\n").expect("a shell block").1;
    block.split_once("```").expect("the block ends").0.to_owned()
}

/// A directory with `grpcurl` and `vendfleet` in it.
fn tools(dir: &Path) -> PathBuf {
    let tools = dir.join("tools");
    fs::create_dir(&tools).unwrap();
    let grpcurl = tools.join("grpcurl");
    fs::write(&grpcurl, GRPCURL).unwrap();
    fs::set_permissions(&grpcurl, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(vendfleet_tests::server::binary(), tools.join("vendfleet")).unwrap();
    tools
}

/// What pasting came to.
struct Pasted {
    calls: String,
    out: String,
    shown: String,
}

impl Pasted {
    /// Exit codes of a method's calls.
    fn of(&self, method: &str) -> Vec<String> {
        let codes = self.calls.lines().filter_map(|line| line.strip_prefix(method)?.strip_prefix(' '));
        codes.map(str::to_owned).collect()
    }
}

/// Runs the lines under a heading, as an operator's shell would.
async fn paste(heading: &str) -> Pasted {
    let server = TestServer::start(ServerOptions::embedded()).await;
    let dir = tempfile::tempdir().unwrap();
    symlink(server.data_dir(), dir.path().join("vendfleet-data")).unwrap();
    let tools = tools(dir.path());
    let path = env::var("PATH").unwrap();
    let calls = dir.path().join("calls.log");
    let mut pasted = Command::new("timeout");
    pasted
        .args([PASTED_S, "bash", "-c"])
        .arg(format!("{}\nwait\n", block(heading)))
        .current_dir(dir.path())
        .env("PATH", format!("{}:{path}", tools.display()))
        .env("VENDFLEET_SERVER__DATA_DIR", server.data_dir())
        .env("VENDCTL_TOKEN", server.token("operator", "me").await)
        .env("BUF", buf())
        .env("SERVER", format!("localhost:{}", server.grpc_addr().port()))
        .env("STREAM_S", STREAM_S.to_string())
        .env("CALLS", &calls)
        .env_remove(BINARY_VARIABLE);
    let output = tokio::task::spawn_blocking(move || pasted.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let shown = format!("{out}\n--- stderr\n{err}");
    let calls = fs::read_to_string(&calls).unwrap_or_default();
    Pasted { calls, out: out.into_owned(), shown }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_walk_through_works_as_pasted() {
    let pasted = paste("## An order, from the shell").await;
    let Pasted { calls, out, shown } = &pasted;
    let of = |method: &str| pasted.of(method);
    for (method, times) in [("ListProducts", 1), ("CreateOrder", 2), ("ListOrders", 1), ("GetOrder", 1)] {
        assert_eq!(of(method), vec!["0"; times], "{method}:\n{calls}\n{shown}");
    }
    // Ended by their time limit, as grpcurl would be.
    for stream in ["WatchOrders", "StreamEvents"] {
        assert_eq!(of(stream), ["124"], "{stream}:\n{calls}\n{shown}");
    }
    // buf shows the reason as base64; the message is readable.
    let cancelled = of("CancelOrder") == ["0"];
    assert!(cancelled || shown.contains("only a PENDING order can be cancelled"), "{calls}\n{shown}");
    assert_eq!(out.matches("\"alreadyExisted\": true").count(), 1, "{shown}");
    for said in
        ["ORDER_EVENT_TYPE_CREATED", "dev.vendfleet.order.created", "dev.vendfleet.inventory.stock_changed"]
    {
        assert!(out.contains(said), "{said}:\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_remote_purchase_walk_through_works_as_pasted() {
    let pasted = paste("## A remote purchase, from the shell").await;
    let Pasted { calls, out, shown } = &pasted;
    let once = ["CreateMachine", "ListProducts", "ChooseProduct", "ResetMachine"];
    for (method, times) in once.map(|method| (method, 1)).into_iter().chain([("StartWork", 3)]) {
        assert_eq!(pasted.of(method), vec!["0"; times], "{method}:\n{calls}\n{shown}");
    }
    for said in
        ["PURCHASE_STATE_DISPENSING", "SESSION_STATE_COMPLETED", "SESSION_STATE_RESET", "POOL_STATE_IDLE"]
    {
        assert!(out.contains(said), "{said}:\n{shown}");
    }
}
