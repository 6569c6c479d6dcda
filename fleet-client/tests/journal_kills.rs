//! The process is killed at any step of its writing, in the middle of a write too, and the system lives on. What a write
//! returned for is there, the rest is gone or there as a whole, and it costs no epoch: the machine goes on as if it had
//! been stopped.
//!
//! Linux names its start, and so can tell a kill from a power cut; elsewhere a kill may cost an epoch.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Acknowledgement, Journal, JournalError, Result};
use journal_common::{Names, boot, epoch, intent, names_in, outcome};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vendfleet_faultfs::FaultFs;

const SEEDS: [u64; 3] = [1, 2, 3];
const KILLS: u64 = 100;
/// Steps a process lives at most: some die in their first commits, others get through more than one generation of the log,
/// which is some 1,300 steps long.
const MOST_STEPS: [u64; 2] = [60, 3_000];
/// Once in so many lives the journal is closed, and the process dies in that, if at all.
const CLOSED_ONE_IN: u32 = 4;

/// One process and its journal. Once it is killed, nothing it does reaches the world.
struct Process {
    journal: SqliteJournal,
    medium: FaultFs,
    note: PathBuf,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let medium = FaultFs::register();
        let options = Options { vfs: Some(medium.name().into()), ..Options::default() };
        let journal = SqliteJournal::open(dir, &options, epoch(2)).unwrap();
        Self { journal, medium, note: dir.join("journal.told") }
    }

    /// What a call answers, if the process lives to hear it.
    fn call<T>(&mut self, call: impl FnOnce(&mut SqliteJournal) -> Result<T>) -> Result<T> {
        let answer = call(&mut self.journal);
        if self.medium.is_killed() { Err(JournalError::Io("killed".into())) } else { answer }
    }

    /// The same for a call that writes once. The note does not go through the medium: a dead process wrote none.
    fn write_once<T>(&mut self, call: impl FnOnce(&mut SqliteJournal) -> Result<T>) -> Result<T> {
        let note = std::fs::read(&self.note).unwrap();
        let answer = self.call(call);
        if self.medium.is_killed() {
            std::fs::write(&self.note, note).unwrap();
        }
        answer
    }

    fn sell(&mut self, sale: u64) -> Result<u64> {
        self.commit(2 * sale - 2)?;
        self.commit(2 * sale - 1)
    }

    /// The commits of a sale one by one: even ones are intents.
    fn commit(&mut self, number: u64) -> Result<u64> {
        let sale = number / 2 + 1;
        let commit = if number.is_multiple_of(2) { intent(sale) } else { outcome(sale) };
        Ok(self.write_once(|journal| journal.commit(&commit))?.last_seq)
    }
}

/// A new journal with its boot record.
fn new_journal() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { vfs: Some(FaultFs::register().name().into()), ..Options::default() };
    let mut journal = SqliteJournal::open(dir.path(), &options, epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    dir
}

/// What outlives the processes.
#[derive(Default)]
struct World {
    /// What the processes before found.
    found: Names,
    /// The last record that a commit returned for.
    told_through: u64,
    /// Sales whose outcome a commit returned for.
    sold: u64,
    /// The fact that was last returned for.
    fact: Option<u64>,
    /// Sales the server has.
    acknowledged: u64,
}

impl World {
    fn step(&mut self, process: &mut Process, rng: &mut ChaCha8Rng) -> Result<()> {
        self.told_through = process.sell(self.sold + 1)?;
        self.sold += 1;
        match rng.random_range(0..6) {
            0 => {
                let fact = self.fact.unwrap_or_default() + 1;
                process.write_once(|journal| journal.put_fact("fact", &fact.to_be_bytes()))?;
                self.fact = Some(fact);
            }
            1 => {
                // Kept short, so that the log has more than the same few pages in it, and the test stays quick.
                self.acknowledged = self.sold.saturating_sub(10);
                let acknowledgement = Acknowledgement {
                    epoch: epoch(1),
                    accepted_through: self.acknowledged,
                    durable_through: self.acknowledged,
                    now_ms: 1_000,
                    keep_days: 0,
                    verdicts: vec![],
                    facts: vec![],
                };
                process.call(|journal| journal.acknowledge(&acknowledgement))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The next process finds everything, in the same epoch.
    fn check(&mut self, journal: &mut SqliteJournal, what: &str) {
        let recovered = journal.recovered().clone();
        assert_eq!(recovered.salvage, None, "{what}: a kill is no damage");
        assert!(!recovered.opens_epoch, "{what}: a kill is no reason for a new epoch");
        let names = names_in(journal);
        for seq in self.acknowledged + 1..=self.told_through {
            let name = (epoch(1), seq);
            let hash = names.get(&name).unwrap_or_else(|| panic!("{what}: seq {seq} was told to be durable"));
            let before = self.found.get(&name);
            assert!(before.is_none_or(|before| before == hash), "{what}: seq {seq} means two things");
        }
        let sold = recovered.stored.durable.counters.lifetime.vends;
        assert!(sold == self.sold || sold == self.sold + 1, "{what}: {sold} sold, told {}", self.sold);
        assert_eq!(recovered.last_seq, sold + 1, "{what}: the boot record, and one for each sale");
        let fact = journal.fact("fact").unwrap().map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        let next = self.fact.map_or(1, |fact| fact + 1);
        assert!(fact == self.fact || fact == Some(next), "{what}: fact {fact:?}, told {:?}", self.fact);
        (self.sold, self.fact, self.told_through, self.found) = (sold, fact, recovered.last_seq, names);
        journal.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    }
}

/// Whether the files alone, as after a power cut, are taken for damaged.
fn is_in_doubt_after_a_power_cut(dir: &Path) -> bool {
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        if dir.join(name).exists() {
            std::fs::copy(dir.join(name), elsewhere.path().join(name)).unwrap();
        }
    }
    is_salvaged(elsewhere.path())
}

fn is_salvaged(dir: &Path) -> bool {
    Process::start(dir).journal.recovered().salvage.is_some()
}

#[test]
fn a_kill_at_any_step_costs_neither_a_record_nor_an_epoch() {
    let mut in_doubt = 0;
    for seed in SEEDS {
        let dir = new_journal();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::default();
        for kill in 0..KILLS {
            let mut process = Process::start(dir.path());
            world.check(&mut process.journal, &format!("seed {seed}, kill {kill}"));
            let most = MOST_STEPS[rng.random_range(0..MOST_STEPS.len())];
            let steps = rng.random_range(0..most);
            if rng.random_ratio(1, CLOSED_ONE_IN) {
                for _ in 0..steps / 10 {
                    world.step(&mut process, &mut rng).unwrap();
                }
                process.medium.kill_after(rng.random_range(0..60), rng.random());
            } else {
                process.medium.kill_after(steps, rng.random());
                while world.step(&mut process, &mut rng).is_ok() {}
            }
            drop(process);
            in_doubt += u32::from(is_in_doubt_after_a_power_cut(dir.path()));
        }
        let mut process = Process::start(dir.path());
        world.check(&mut process.journal, &format!("seed {seed}, the end"));
    }
    assert!(in_doubt > 20, "only {in_doubt} of the kills left what looks like damage: nothing is shown here");
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("journal.db-wal")
}

/// The log's generation.
fn salts(dir: &Path) -> Vec<u8> {
    std::fs::read(log_of(dir)).unwrap()[16..24].to_vec()
}

/// A journal in which so many commits were made.
fn with_commits(commits: u64) -> (TempDir, Process) {
    let dir = new_journal();
    let mut process = Process::start(dir.path());
    for number in 0..commits {
        process.commit(number).unwrap();
    }
    (dir, process)
}

/// Commits before the one with which the log begins anew.
fn commits_until_the_log_begins_anew() -> u64 {
    let (dir, mut process) = with_commits(1);
    let first = salts(dir.path());
    (1..).find(|number| process.commit(*number).is_ok_and(|_| salts(dir.path()) != first)).unwrap()
}

#[test]
fn a_kill_while_the_log_begins_anew_costs_nothing() {
    let commits = commits_until_the_log_begins_anew();
    let records = commits / 2 + 1;
    let mut in_doubt = 0;
    // A header, a sync, two frames, a sync, and the end of the commit before them.
    for steps in 0..10 {
        for in_a_write in [false, true] {
            let (dir, mut process) = with_commits(commits);
            process.medium.kill_after(steps, in_a_write);
            process.commit(commits).ok();
            drop(process);
            in_doubt += u32::from(is_in_doubt_after_a_power_cut(dir.path()));
            let recovered = Process::start(dir.path()).journal.recovered().clone();
            assert_eq!(recovered.salvage, None, "{steps} steps");
            assert!(!recovered.opens_epoch && recovered.last_seq >= records, "{steps} steps: {recovered:?}");
        }
    }
    assert!(in_doubt > 2, "{in_doubt}: none of these kills is one that matters");
}

/// The first commit of the new log is hit: what the log had before it began anew does not vouch for it.
#[test]
fn a_hit_on_the_only_commit_of_a_log_is_damage_though_the_process_was_only_killed() {
    let (dir, process) = with_commits(commits_until_the_log_begins_anew() + 1);
    process.medium.kill_after(0, false);
    drop(process);
    let mut bytes = std::fs::read(log_of(dir.path())).unwrap();
    bytes[32 + 24 + 100] ^= 1;
    std::fs::write(log_of(dir.path()), bytes).unwrap();
    assert!(is_salvaged(dir.path()));
}

/// Its record can't be read any more, and the head written beside it can: it says that there was one.
#[test]
fn a_told_record_that_was_hit_is_counted_as_lost() {
    let (dir, process) = with_commits(40);
    process.medium.kill_after(0, false);
    drop(process);
    let mut bytes = std::fs::read(log_of(dir.path())).unwrap();
    let id = journal_common::transaction(20).0;
    let at = bytes.windows(id.len()).rposition(|window| window == id).unwrap();
    bytes[at] ^= 1;
    std::fs::write(log_of(dir.path()), bytes).unwrap();
    let recovered = Process::start(dir.path()).journal.recovered().clone();
    let (report, parent) = (recovered.salvage.unwrap(), recovered.parent.unwrap());
    assert_eq!((parent.last_common_seq, parent.highest_seq, report.lost), (20, 21, 1), "{report:?}");
}

/// Sectors that come back as nothing but zeros look like the end of the log. The note knows better.
#[test]
fn a_last_commit_whose_header_is_wiped_out_is_missed() {
    let (dir, process) = with_commits(40);
    process.medium.kill_after(0, false);
    drop(process);
    let mut bytes = std::fs::read(log_of(dir.path())).unwrap();
    let last_frame = bytes.len() - (24 + 2048);
    bytes[last_frame..last_frame + 24].fill(0);
    std::fs::write(log_of(dir.path()), bytes).unwrap();
    assert!(!is_in_doubt_after_a_power_cut(dir.path()));
    assert!(is_salvaged(dir.path()));
}

/// A journal killed in the middle of a frame over a log that had begun anew: it ends in what does not check.
fn torn() -> TempDir {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    loop {
        let (dir, mut world) = (new_journal(), World::default());
        let mut process = Process::start(dir.path());
        process.medium.kill_after(rng.random_range(1_500..2_000), false);
        while world.step(&mut process, &mut rng).is_ok() {}
        drop(process);
        if is_in_doubt_after_a_power_cut(dir.path()) {
            return dir;
        }
    }
}

/// All room is taken when it starts again: what the kill left must go all the same, or the machine stands still.
#[test]
fn what_a_kill_left_goes_without_any_room() {
    let dir = torn();
    let mut process = Process::start(dir.path());
    process.medium.fill();
    let next = process.journal.recovered().last_seq;
    process.sell(next).unwrap();
    process.medium.kill_after(0, false);
    drop(process);
    assert!(!is_in_doubt_after_a_power_cut(dir.path()));
    assert!(!is_salvaged(dir.path()));
}

#[test]
fn a_note_from_before_the_system_started_says_nothing() {
    let dir = torn();
    let path = dir.path().join("journal.told");
    let bytes = std::fs::read(&path).unwrap();
    let (body, _) = bytes.split_at(bytes.len() - 32);
    // Sealed as the journal seals it.
    let note = |start: u8| {
        let mut body = body.to_vec();
        body[0] = start;
        let sealed = [b"vendfleet.journal.seal.v1".as_slice(), &(-1_i64).to_be_bytes(), &body].concat();
        body.extend_from_slice(&vendfleet_wire::sha256(&sealed));
        body
    };
    assert_eq!(note(bytes[0]), bytes, "this test seals as the journal does");
    std::fs::write(&path, note(if bytes[0] == b'0' { b'1' } else { b'0' })).unwrap();
    assert!(is_salvaged(dir.path()));
}

#[test]
fn a_damaged_note_vouches_for_nothing() {
    let torn = torn();
    let log = std::fs::read(log_of(torn.path())).unwrap();
    let file = std::fs::read(torn.path().join("journal.db")).unwrap();
    let note = std::fs::read(torn.path().join("journal.told")).unwrap();
    let open = |note: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal.db"), &file).unwrap();
        std::fs::write(log_of(dir.path()), &log).unwrap();
        std::fs::write(dir.path().join("journal.told"), note).unwrap();
        is_salvaged(dir.path())
    };
    assert!(!open(&note), "whole, it does");
    for at in 0..note.len() {
        let mut hit = note.clone();
        hit[at] ^= 1;
        assert!(open(&hit), "byte {at}");
    }
    assert!(open(&note[..note.len() - 1]) && open(&[]));
}

/// On `/dev/full` every write fails: the note there goes, and the next one is written into a file of its own.
#[test]
fn a_note_that_can_not_be_written_is_removed_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("journal.told");
    std::os::unix::fs::symlink("/dev/full", &note).unwrap();
    let options = Options { vfs: Some(FaultFs::register().name().into()), ..Options::default() };
    let mut journal = SqliteJournal::open(dir.path(), &options, epoch(1)).unwrap();
    assert!(!note.exists(), "an old note must not stay");
    journal.commit(&boot(None, 0)).unwrap();
    assert!(note.symlink_metadata().unwrap().is_file());
}

#[test]
fn a_note_that_can_neither_be_written_nor_removed_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("journal.told")).unwrap();
    let options = Options { vfs: Some(FaultFs::register().name().into()), ..Options::default() };
    let mut journal = SqliteJournal::open(dir.path(), &options, epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    drop(journal);
    assert!(!is_salvaged(dir.path()));
}
