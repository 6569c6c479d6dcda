//! What one machine may have stored: above it the machine is told to wait, nothing of that call is stored, and nobody else
//! notices.

use vend_core::id::Epoch;
use vendfleet_proto::v1;
use vendfleet_tests::{
    device::voice::{Refusal, Voice, refusal},
    fleet::{Engine, Fleet},
};
use vendfleet_wire::{NO_HASH, record_hash};

/// A body of that kind that nothing can read.
const UNREADABLE: u32 = 4_000_000;

/// The journal of a machine that makes up what it likes.
struct Forger {
    voice: Voice,
    epoch: Epoch,
    next_seq: u64,
    last_hash: [u8; 32],
}

impl Forger {
    fn new(voice: &Voice, epoch: u8) -> Self {
        Self { voice: voice.clone(), epoch: Epoch([epoch; 16]), next_seq: 1, last_hash: NO_HASH }
    }

    /// One Sync with so many records of so many bytes each. What is refused is not written.
    async fn sync(&mut self, records: u64, bytes: usize, filler: u8) -> Result<v1::SyncResponse, Refusal> {
        let (first_seq, previous_hash) = (self.next_seq, self.last_hash);
        let (body, mut last_hash) = (vec![filler; bytes], previous_hash);
        let records = (first_seq..first_seq + records).map(|seq| {
            last_hash = record_hash(&self.epoch, seq, UNREADABLE, 1, &last_hash, &body);
            v1::Record {
                seq,
                kind: UNREADABLE,
                schema: 1,
                body: body.clone().into(),
                hash: last_hash.to_vec(),
            }
        });
        let records: Vec<_> = records.collect();
        let last_seq = first_seq - 1 + records.len() as u64;
        let call = v1::SyncRequest {
            epoch: self.epoch.0.to_vec(),
            oldest_seq: 1,
            last_seq,
            first_seq,
            previous_hash: previous_hash.to_vec(),
            records,
            now: Some(v1::Stamp { boot_id: vec![1; 16], uptime_ms: 1, ..Default::default() }),
            ..Default::default()
        };
        let answer = self.voice.sync(call).await.map_err(|status| refusal(&status))?;
        (self.next_seq, self.last_hash) = (last_seq + 1, last_hash);
        Ok(answer)
    }
}

/// The machine whose voice this is, beside one that sells.
async fn greedy(fleet: &Fleet) -> (String, Voice) {
    let device = fleet.enrolled("greedy").await;
    (device.id(), Voice::of(fleet.server.channel(), &device.credentials()))
}

async fn a_neighbour_is_unhurt(fleet: &Fleet) {
    let mut device = fleet.device("honest").await;
    device.sell(3).await;
    device.settle().await;
    assert_eq!(fleet.operator().transactions(&device.id()).await.len(), 3);
}

fn assert_budget(refused: &Refusal, limit: &str) {
    assert_eq!((refused.reason.as_str(), refused.said("limit")), ("MACHINE_BUDGET", limit), "{refused:?}");
    assert!(refused.retry_after.is_some_and(|after| !after.is_zero()), "{refused:?}");
}

pub(crate) async fn dead_letters_above_a_machines_budget_are_not_taken(engine: Engine) {
    let set = |name: &str| format!("sync.machine_dead_letter_bytes_{name}");
    let fleet =
        Fleet::start_with(engine, |options| options.set(&set("burst"), 300_000).set(&set("per_hour"), 1_000))
            .await;
    let (id, voice) = greedy(&fleet).await;
    let mut forger = Forger::new(&voice, 7);
    let taken = forger.sync(40, 4_000, b'x').await.unwrap();
    assert_eq!(taken.durable_through, 40);
    for _ in 0..20 {
        assert_budget(
            &forger.sync(40, 4_000, b'x').await.unwrap_err(),
            "sync.machine_dead_letter_bytes_per_hour",
        );
    }
    // What fits still does, from where it was.
    assert_eq!(forger.sync(1, 10, b'x').await.unwrap().durable_through, 41);
    let rows = fleet.rows().await;
    let letters: Vec<(i64,)> = rows.all("SELECT COUNT(*) FROM dead_letters").await;
    assert_eq!(letters, [(41,)], "nothing of a refused call was stored");
    assert_eq!(fleet.operator().alerts_of(&id, v1::AlertType::DeadLetter).await.len(), 1);
    a_neighbour_is_unhurt(&fleet).await;
}

pub(crate) async fn journals_above_a_machines_budget_are_not_opened(engine: Engine) {
    let fleet = Fleet::start_with(engine, |options| {
        options.set("sync.machine_epochs_burst", 5).set("sync.machine_epochs_per_hour", 1)
    })
    .await;
    let (id, voice) = greedy(&fleet).await;
    for epoch in 1..=5 {
        Forger::new(&voice, epoch).sync(1, 10, b'x').await.unwrap();
    }
    for epoch in 6..=30 {
        let refused = Forger::new(&voice, epoch).sync(1, 10, b'x').await.unwrap_err();
        assert_budget(&refused, "sync.machine_epochs_per_hour");
    }
    assert_eq!(fleet.operator().epochs(&id).await.len(), 5);
    // The one that is open goes on.
    let mut current = Forger::new(&voice, 5);
    current.sync(2, 10, b'x').await.unwrap();
    a_neighbour_is_unhurt(&fleet).await;
}

pub(crate) async fn forks_above_a_machines_room_for_branches_wait_for_an_operator(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let (id, voice) = greedy(&fleet).await;
    Forger::new(&voice, 7).sync(1, 10, 0).await.unwrap();
    for fork in 1..=32 {
        Forger::new(&voice, 7).sync(1, 10, fork).await.unwrap();
    }
    for fork in 33..=60 {
        assert_budget(&Forger::new(&voice, 7).sync(1, 10, fork).await.unwrap_err(), "open branches");
    }
    let mut operator = fleet.operator();
    let branches = operator.branches(&id).await;
    assert_eq!(branches.len(), 32);
    // Its own chain goes on, and so does a branch that is known.
    Forger::new(&voice, 7).sync(2, 10, 5).await.unwrap();
    let discard = v1::DiscardBranchRequest {
        request_id: vendfleet_tests::fleet::operator::request_id(),
        branch_id: branches[0].branch_id.clone(),
        note: "made up".to_owned(),
    };
    operator.fleet.discard_branch(discard).await.unwrap();
    Forger::new(&voice, 7).sync(1, 10, 61).await.unwrap();
    a_neighbour_is_unhurt(&fleet).await;
}

pub(crate) async fn a_long_backlog_of_an_honest_machine_is_no_greed(engine: Engine) {
    let fleet = Fleet::start(engine).await;
    let (_, voice) = greedy(&fleet).await;
    let mut forger = Forger::new(&voice, 7);
    for _ in 0..40 {
        forger.sync(512, 60, b'x').await.unwrap();
    }
    assert_eq!(forger.next_seq, 40 * 512 + 1);
}
