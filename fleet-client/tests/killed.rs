//! The binary, killed with SIGKILL again and again while it sells: what it said is in the journal, and what the motors did
//! is written down once. No server is needed: a machine sells without one.

#![allow(clippy::unwrap_used)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_fleet-client");
/// Times the machine is killed per seed.
const KILLS: u32 = 40;
/// Sales a customer queue holds; more than any run gets to before it is killed.
const SALES: u32 = 400;

/// Runs a machine until it has printed so many lines, kills it, and gives every whole line it printed.
fn run_and_kill(dir: &Path, seed: u64, after_lines: u32, rng: &mut ChaCha8Rng) -> Vec<Value> {
    let mut child = Command::new(BINARY)
        .args(["run", "--json", "--sample-config", "4", "--motor-fails-one-in", "9"])
        .arg("--seed")
        .arg(seed.to_string())
        .arg("--dir")
        .arg(dir.join("machine"))
        .arg("--motor-marks")
        .arg(dir.join("marks"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = String::from("refill\n");
    for sale in 0..SALES {
        let coin = [100, 200][rng.random_range(0..2_usize)];
        script.push_str(&format!("select {}\ncoin {coin}\ncoin 100\ncancel\n", rng.random_range(1..=4)));
        if sale % 10 == 9 {
            script.push_str("refill\n");
        }
    }
    let mut stdin = child.stdin.take().unwrap();
    // It ends with a broken pipe when the machine is killed.
    let typing = std::thread::spawn(move || stdin.write_all(script.as_bytes()).is_ok());

    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    loop {
        if !killed && said.len() >= usize::try_from(after_lines).unwrap() {
            child.kill().unwrap();
            killed = true;
        }
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            break;
        }
        // The last line may have been cut in the middle.
        if line.ends_with('\n') {
            said.push(serde_json::from_str(&line).unwrap());
        }
    }
    child.wait().unwrap();
    typing.join().unwrap();
    said
}

fn client(args: &[&str], dir: &Path) -> String {
    let out = Command::new(BINARY).args(args).arg("--dir").arg(dir.join("machine")).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn a_machine_killed_again_and_again(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Everything that was said to be recorded, by its name.
    let mut said = BTreeMap::new();
    for kill in 0..KILLS {
        let after_lines = if kill == 0 { 0 } else { rng.random_range(0..250) };
        for event in run_and_kill(dir.path(), seed + u64::from(kill), after_lines, &mut rng) {
            if event["event"] == "recorded" {
                let name = (event["epoch"].as_str().unwrap().to_owned(), event["seq"].as_u64().unwrap());
                let before = said.insert(name.clone(), event["record"].clone());
                assert!(before.is_none(), "seed {seed}: {name:?} was given to two records");
            }
        }
    }
    // The last boot settles what the last kill left open.
    let mut last = Command::new(BINARY)
        .args(["run", "--json", "--dir"])
        .arg(dir.path().join("machine"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(last.wait().unwrap().success());

    client(&["journal", "verify"], dir.path());
    let held: Vec<Value> = client(&["journal", "export"], dir.path())
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let epochs: BTreeSet<&str> = held.iter().map(|r| r["epoch"].as_str().unwrap()).collect();
    assert_eq!(epochs.len(), 1, "seed {seed}: a kill is no reason for a new epoch");
    for (seq, record) in (1_u64..).zip(&held) {
        assert_eq!(record["seq"], seq, "seed {seed}: contiguous, none twice");
    }
    for ((epoch, seq), record) in &said {
        let found = held.iter().find(|r| r["epoch"] == *epoch && r["seq"] == *seq);
        let found = found.unwrap_or_else(|| panic!("seed {seed}: {seq} was acknowledged and is lost"));
        assert_eq!(&found["record"], record, "seed {seed}: {seq} is what was acknowledged");
    }

    let marks = std::fs::read_to_string(dir.path().join("marks")).unwrap();
    let turns: Vec<&str> = marks.lines().map(|l| l.split_once(' ').unwrap().0).collect();
    let turned: BTreeSet<&str> = turns.iter().copied().collect();
    assert_eq!(turns.len(), turned.len(), "seed {seed}: no motor turns twice for one sale");
    let mut vends = BTreeMap::new();
    for record in held.iter().filter(|r| !r["record"]["vend"].is_null()) {
        let vend = &record["record"]["vend"];
        let sale = vend["transaction_id"].as_str().unwrap().replace('-', "");
        assert!(vends.insert(sale, vend["outcome"].clone()).is_none(), "seed {seed}: one record per sale");
    }
    for sale in &turned {
        assert!(vends.contains_key(*sale), "seed {seed}: sale {sale} turned a motor and is in no record");
    }
    for (sale, outcome) in &vends {
        assert!(
            outcome == "Unknown" || turned.contains(sale.as_str()),
            "seed {seed}: {sale} is {outcome}, nothing turned"
        );
    }
    let unknown = vends.values().filter(|outcome| *outcome == "Unknown").count();
    println!(
        "seed {seed}: {} sales, {} turns, {unknown} killed between intent and outcome",
        vends.len(),
        turned.len()
    );
    let inspected: Value = serde_json::from_str(&client(&["journal", "inspect"], dir.path())).unwrap();
    assert_eq!(inspected["books"]["balance"], true, "seed {seed}: {inspected}");
    assert!(turned.len() > 20, "seed {seed}: this sells too little to show anything: {}", turned.len());
}

#[test]
fn what_a_killed_machine_said_it_has_and_what_it_dispensed_it_wrote_down_once() {
    a_machine_killed_again_and_again(1);
}

#[test]
fn and_so_it_is_with_another_seed() {
    a_machine_killed_again_and_again(4_711);
}
