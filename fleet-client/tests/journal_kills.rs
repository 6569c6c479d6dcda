//! The process is killed at any step of its writing, in the middle of a write too, and the system lives on. What a write
//! returned for is there, the rest is gone or there as a whole, and it costs no epoch: the machine goes on as if it had
//! been stopped.
//!
//! Linux names its start, and so can tell a kill from a power cut; elsewhere a kill may cost an epoch.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod journal_common;

use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::journal::{Acknowledgement, Journal, JournalError};
use journal_common::{Names, boot, epoch, intent, names_in, outcome};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use vendfleet_faultfs::FaultFs;

const SEEDS: [u64; 3] = [1, 2, 3];
const KILLS: u64 = 100;
/// Steps a process lives at most: some die while they open, others get through more than one generation of the log, which
/// is some 1,300 steps long.
const MOST_STEPS: [u64; 2] = [60, 3_000];

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

fn on(medium: &FaultFs) -> Options {
    Options { vfs: Some(medium.name().into()), ..Options::default() }
}

/// Sells until it is killed; what it is told on its way goes into `world`.
fn live(journal: &mut SqliteJournal, world: &mut World, rng: &mut ChaCha8Rng) -> JournalError {
    loop {
        if let Err(killed) = step(journal, world, rng) {
            return killed;
        }
    }
}

fn step(journal: &mut SqliteJournal, world: &mut World, rng: &mut ChaCha8Rng) -> Result<(), JournalError> {
    journal.commit(&intent(world.sold + 1))?;
    world.told_through = journal.commit(&outcome(world.sold + 1))?.last_seq;
    world.sold += 1;
    match rng.random_range(0..6) {
        0 => {
            let fact = world.fact.unwrap_or_default() + 1;
            journal.put_fact("fact", &fact.to_be_bytes())?;
            world.fact = Some(fact);
        }
        1 => {
            // Kept short, so that the log has more than the same few pages in it, and the test stays quick.
            world.acknowledged = world.sold.saturating_sub(10);
            journal.acknowledge(&Acknowledgement {
                epoch: epoch(1),
                accepted_through: world.acknowledged,
                durable_through: world.acknowledged,
                now_ms: 1_000,
                keep_days: 0,
                verdicts: vec![],
                facts: vec![],
            })?;
        }
        _ => {}
    }
    Ok(())
}

/// The next process finds everything, in the same epoch.
fn check(journal: &mut SqliteJournal, world: &mut World, what: &str) {
    let recovered = journal.recovered().clone();
    assert_eq!(recovered.salvage, None, "{what}: a kill is no damage");
    assert!(!recovered.opens_epoch, "{what}: a kill is no reason for a new epoch");
    let names = names_in(journal);
    for seq in world.acknowledged + 1..=world.told_through {
        let name = (epoch(1), seq);
        let hash = names.get(&name).unwrap_or_else(|| panic!("{what}: seq {seq} was told to be durable"));
        assert!(
            world.found.get(&name).is_none_or(|before| before == hash),
            "{what}: seq {seq} means two things"
        );
    }
    let sold = recovered.stored.durable.counters.lifetime.vends;
    assert!(sold == world.sold || sold == world.sold + 1, "{what}: {sold} sold, told {}", world.sold);
    assert_eq!(recovered.last_seq, sold + 1, "{what}: the boot record, and one for each sale");
    let fact = journal.fact("fact").unwrap().map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    let next = world.fact.map_or(1, |fact| fact + 1);
    assert!(fact == world.fact || fact == Some(next), "{what}: fact {fact:?}, told {:?}", world.fact);
    (world.sold, world.fact, world.told_through, world.found) = (sold, fact, recovered.last_seq, names);
    journal.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// Whether the files alone, as after a power cut, would have been taken for damaged.
fn is_in_doubt_after_a_power_cut(dir: &Path) -> bool {
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        if dir.join(name).exists() {
            std::fs::copy(dir.join(name), elsewhere.path().join(name)).unwrap();
        }
    }
    let journal = SqliteJournal::open(elsewhere.path(), &on(&FaultFs::register()), epoch(9)).unwrap();
    journal.recovered().salvage.is_some()
}

#[test]
fn a_kill_at_any_step_costs_neither_a_record_nor_an_epoch() {
    let mut in_doubt = 0;
    for seed in SEEDS {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::default();
        let mut journal = SqliteJournal::open(dir.path(), &on(&FaultFs::register()), epoch(1)).unwrap();
        journal.commit(&boot(None, 0)).unwrap();
        drop(journal);
        for kill in 0..KILLS {
            let what = format!("seed {seed}, kill {kill}");
            let medium = FaultFs::register();
            let most = MOST_STEPS[rng.random_range(0..MOST_STEPS.len())];
            medium.kill_after(rng.random_range(0..most), rng.random_range(0..4096));
            // It may die before it is open.
            match SqliteJournal::open(dir.path(), &on(&medium), epoch(2)) {
                Ok(mut journal) => {
                    check(&mut journal, &mut world, &what);
                    let error = live(&mut journal, &mut world, &mut rng);
                    assert!(matches!(error, JournalError::Io(_)), "{what}: {error}");
                }
                Err(error) => assert!(matches!(error, JournalError::Io(_)), "{what}: {error}"),
            }
            assert!(medium.is_killed(), "{what}");
            in_doubt += u32::from(is_in_doubt_after_a_power_cut(dir.path()));
        }
        let mut journal = SqliteJournal::open(dir.path(), &on(&FaultFs::register()), epoch(2)).unwrap();
        check(&mut journal, &mut world, &format!("seed {seed}, the end"));
    }
    assert!(in_doubt > 20, "only {in_doubt} of the kills left what looks like damage: nothing is shown here");
}

/// A journal killed over a log that had begun anew, in the middle of a frame: it ends in what does not check. The note of
/// how far it was told goes beside it.
fn torn() -> tempfile::TempDir {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    loop {
        let (dir, medium) = (tempfile::tempdir().unwrap(), FaultFs::register());
        let mut journal = SqliteJournal::open(dir.path(), &on(&medium), epoch(1)).unwrap();
        journal.commit(&boot(None, 0)).unwrap();
        medium.kill_after(rng.random_range(1_500..2_000), 0);
        live(&mut journal, &mut World::default(), &mut rng);
        drop(journal);
        if is_in_doubt_after_a_power_cut(dir.path()) {
            return dir;
        }
    }
}

fn is_salvaged(dir: &Path) -> bool {
    SqliteJournal::open(dir, &on(&FaultFs::register()), epoch(2)).unwrap().recovered().salvage.is_some()
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
fn a_kill_before_the_note_is_written_leaves_a_sound_journal() {
    let (dir, medium) = (tempfile::tempdir().unwrap(), FaultFs::register());
    let mut journal = SqliteJournal::open(dir.path(), &on(&medium), epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    let path = dir.path().join("journal.told");
    let before = std::fs::read(&path).unwrap();
    journal.commit(&outcome(1)).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, before).unwrap();
    medium.kill_after(0, 0);
    drop(journal);
    let journal = SqliteJournal::open(dir.path(), &on(&FaultFs::register()), epoch(2)).unwrap();
    assert_eq!((&journal.recovered().salvage, journal.recovered().last_seq), (&None, 2));
    assert!(!journal.recovered().opens_epoch);
}

#[test]
fn a_note_that_can_not_be_kept_stops_nobody_and_no_old_one_stays() {
    // A directory in the note's place can neither be written nor removed.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("journal.told")).unwrap();
    let mut journal = SqliteJournal::open(dir.path(), &on(&FaultFs::register()), epoch(1)).unwrap();
    journal.commit(&boot(None, 0)).unwrap();
    drop(journal);
    assert!(!is_salvaged(dir.path()));

    // Torn, and the note gone: as after a power cut.
    let dir = torn();
    std::fs::remove_file(dir.path().join("journal.told")).unwrap();
    assert!(is_salvaged(dir.path()));
}
