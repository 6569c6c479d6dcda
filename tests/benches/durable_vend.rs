//! `durable_vend`: from sufficient credit to a durable outcome, on the SQLite journal with a motor that takes no time,
//! against as many bytes and as many fdatasyncs on the same file system in the same run.
//!
//! `cargo bench -p vendfleet-tests --bench durable_vend`; the directory is made in `TMPDIR`.
#![allow(clippy::disallowed_methods, reason = "measuring is what the clock is for here")]
#![allow(clippy::unwrap_used, reason = "a bench that can't go on says where and stops")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
#![allow(unreachable_pub, reason = "the module is this bench's own")]

mod common;

use common::{Report, percentile};
use fleet_client::context::Context;
use fleet_client::device::{Device, Event, Parts, Power, SharedJournal};
use fleet_client::hardware::NoTerminal;
use fleet_client::hardware::sim::{Behaviour, SimHardware, Witness};
use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{
    Acknowledgement, Batch, Committed, EpochCursor, EpochOrder, Journal, Recovered, Result, Room, Verdict,
};
use fleet_client::simulate;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vend_core::config::Assignment;
use vend_core::id::Epoch;
use vend_core::machine::{Commit, Input, SlotUnits};
use vend_core::money::Pieces;
use vend_core::record::{Body, ParentEpoch};

const VENDS: u64 = 2_000;
/// Each side stops here even when it has fewer vends.
const MOST: Duration = Duration::from_secs(20);
/// Price 100 in the sample config.
const SLOT: u16 = 8;

fn main() {
    common::refuse_debug_build();
    println!("durable_vend: {VENDS} vends each, motor and coins take no time");
    for (name, coin) in [("exact money", 100), ("with change", 200)] {
        // The same disk, turn by turn: what else it does meets both.
        let vends = vend(coin);
        let bytes_per_commit = vends.bytes / vends.all_commits.max(1);
        let raw = raw(vends.commits_to_outcome, bytes_per_commit);
        let at = |share| (percentile(&vends.seconds, share) * 1e3, percentile(&raw, share) * 1e3);
        let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
        println!("  {name}: {} durable commits from sufficient credit to outcome", vends.commits_to_outcome);
        println!("              p50 ms   p90 ms   p99 ms");
        println!("    ours    {:>8.3} {:>8.3} {:>8.3}", p50.0, p90.0, p99.0);
        println!(
            "    raw     {:>8.3} {:>8.3} {:>8.3}  (write + fdatasync of the same bytes, as often)",
            p50.1, p90.1, p99.1
        );
        println!(
            "    ratio   {:>8.2} {:>8.2} {:>8.2}  (raw / ours)",
            p50.1 / p50.0,
            p90.1 / p90.0,
            p99.1 / p99.0
        );
        println!(
            "    written   {} bytes in {} commits per sale, all from the first coin to the change",
            vends.bytes / vends.count,
            vends.all_commits as f64 / vends.count as f64,
        );
        Report::of("durable_vend")
            .with("case", name)
            .with("vends", vends.count)
            .with("commits_to_outcome", vends.commits_to_outcome)
            .number("commits_per_sale", vends.all_commits as f64 / vends.count as f64)
            .with("bytes_per_sale", vends.bytes / vends.count)
            .number("ours_p50_ms", p50.0)
            .number("ours_p90_ms", p90.0)
            .number("ours_p99_ms", p99.0)
            .number("raw_p50_ms", p50.1)
            .number("raw_p90_ms", p90.1)
            .number("raw_p99_ms", p99.1)
            .number("ratio_p50", p50.1 / p50.0)
            .print();
    }
}

struct Vends {
    /// Sorted.
    seconds: Vec<f64>,
    commits_to_outcome: u64,
    all_commits: u64,
    bytes: u64,
    count: u64,
}

fn vend(coin: i64) -> Vends {
    let folder = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let commits = Arc::new(AtomicU64::new(0));
    let mut device = boot(folder.path(), &commits);
    let (mut seconds, mut to_outcome) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let (mut all_commits, mut bytes, mut count) = (0, 0, 0);
    while count < VENDS && began.elapsed() < MOST {
        if count % 16 == 0 {
            restock(&mut device);
        }
        let (commits_before, bytes_before) = (commits.load(Ordering::Relaxed), bytes_written());
        device.handle(Input::Select { slot: SLOT }, &mut |_| {}).unwrap();
        let (started, from) = (Instant::now(), commits.load(Ordering::Relaxed));
        let mut outcome = None;
        device
            .handle(Input::InsertMoney { denomination: coin }, &mut |event| {
                if let Event::Committed { records, .. } = &event
                    && records.iter().any(|record| matches!(record.body, Body::Vend(_)))
                {
                    outcome = Some((started.elapsed(), commits.load(Ordering::Relaxed) - from));
                }
            })
            .unwrap();
        let (took, commits_taken) = outcome.expect("the coin was enough: something was sold");
        seconds.push(took.as_secs_f64());
        to_outcome.push(commits_taken);
        all_commits += commits.load(Ordering::Relaxed) - commits_before;
        bytes += bytes_written() - bytes_before;
        count += 1;
    }
    seconds.sort_by(f64::total_cmp);
    let commits_to_outcome = to_outcome[0];
    assert!(
        to_outcome.iter().all(|c| *c == commits_to_outcome),
        "every vend takes the same number of commits"
    );
    Vends { seconds, commits_to_outcome, all_commits, bytes, count }
}

fn boot(dir: &Path, commits: &Arc<AtomicU64>) -> Device {
    let context = Context::seeded(1);
    let inner = SqliteJournal::open(dir, &Options::default(), Epoch([1; 16])).unwrap();
    let parts = Parts {
        context,
        journal: SharedJournal::new(Counting { inner, commits: commits.clone() }),
        hardware: Box::new(SimHardware::new(Behaviour::default(), 1, Witness::default())),
        terminal: Box::new(NoTerminal),
        firmware: "bench/1.0".to_owned(),
        power: Power::steady(),
    };
    let mut device = Device::boot(parts, &mut |_| {}).unwrap();
    let config = simulate::sample_config(8);
    let (_, sha256) = vendfleet_wire::config::encode(&config);
    let offered = Input::ConfigOffered(Assignment { number: 1, sha256, config });
    device.handle(offered, &mut |_| {}).unwrap();
    device
}

/// Full again: 20 units, change for 20 sales, an empty box.
fn restock(device: &mut Device) {
    let audit = Input::Audit {
        slots: vec![SlotUnits { slot: SLOT, units: 20 }],
        tubes: Some(vec![Pieces { denomination: 100, count: 30 }]),
        box_minor: Some(0),
    };
    device.handle(audit, &mut |_| {}).unwrap();
}

/// What this process caused to be written to files, bytes.
fn bytes_written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.trim().parse().unwrap()
}

/// Sorted seconds of as many writes and fdatasyncs as a vend has commits, over a log that stays as large as the
/// journal's own.
fn raw(commits: u64, bytes: u64) -> Vec<f64> {
    let folder = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let file = File::options().create_new(true).write(true).open(folder.path().join("raw")).unwrap();
    let size = 1024 * 1024;
    file.write_all_at(&vec![0; usize::try_from(size).unwrap()], 0).unwrap();
    file.sync_all().unwrap();
    let content = vec![0xa5; usize::try_from(bytes).unwrap()];
    let (mut seconds, mut at) = (Vec::new(), 0);
    let began = Instant::now();
    while (seconds.len() as u64) < VENDS && began.elapsed() < MOST {
        let started = Instant::now();
        for _ in 0..commits {
            if at + bytes > size {
                at = 0;
            }
            file.write_all_at(&content, at).unwrap();
            file.sync_data().unwrap();
            at += bytes;
        }
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// The real journal, its durable commits counted.
struct Counting {
    inner: SqliteJournal,
    commits: Arc<AtomicU64>,
}

impl Journal for Counting {
    fn recovered(&self) -> &Recovered {
        self.inner.recovered()
    }

    fn commit(&mut self, commit: &Commit) -> Result<Committed> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(commit)
    }

    fn cursor(&mut self) -> Result<Option<EpochCursor>> {
        self.inner.cursor()
    }

    fn batch(&mut self, epoch: Epoch, from_seq: u64, max_records: usize, max_bytes: usize) -> Result<Batch> {
        self.inner.batch(epoch, from_seq, max_records, max_bytes)
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<()> {
        self.inner.acknowledge(acknowledgement)
    }

    fn open_epoch(&mut self, order: &EpochOrder, fresh: Epoch) -> Result<Option<ParentEpoch>> {
        self.inner.open_epoch(order, fresh)
    }

    fn verdicts_seen_through(&mut self) -> Result<u64> {
        self.inner.verdicts_seen_through()
    }

    fn verdicts(&mut self) -> Result<Vec<Verdict>> {
        self.inner.verdicts()
    }

    fn fact(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.inner.fact(key)
    }

    fn put_fact(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.inner.put_fact(key, value)
    }

    fn room(&mut self) -> Room {
        self.inner.room()
    }
}
