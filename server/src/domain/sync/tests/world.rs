//! A store in memory that keeps the promises the fold relies on, and the checker of section 8.

use super::device::{Device, Journal, machine};
use crate::domain::ids::Ids;
use crate::domain::sync::{
    AlertKind, Answer, BranchKey, BranchState, Disposition, GapRow, Hash, MachineRow, MachineStanding,
    MachineView, QuarantineRow, RecordRow, Seldom, Settings, SyncCall, Writes, fold, hashes_needed,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;
use vend_core::id::{Epoch, TransactionId};

pub(super) struct World {
    pub(super) view: MachineView,
    pub(super) records: BTreeMap<(Epoch, u64), RecordRow>,
    pub(super) quarantined: BTreeMap<(BranchKey, u64), QuarantineRow>,
    pub(super) gaps: Vec<GapRow>,
    /// Records set apart that a person adopted or discarded.
    pub(super) judged: HashSet<(BranchKey, u64)>,
    pub(super) alerts: Vec<AlertKind>,
    pub(super) now_ms: i64,
    /// How far the database's clock is ahead of the server's.
    pub(super) clock_ahead_ms: i64,
    /// About commands, of the last call.
    pub(super) writes: Writes,
    ids: Counting,
}

struct Counting(u128);

impl Ids for Counting {
    fn uuid_v7(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

pub(super) const SETTINGS: Settings =
    Settings { base_interval_ms: 60_000, stale_call_grace_ms: 60_000, doubt_after_ms: 5_000 };

impl World {
    pub(super) fn new() -> Self {
        Self {
            view: MachineView {
                is_heard: true,
                ..MachineView::of(MachineRow {
                    machine: machine(),
                    standing: MachineStanding::Active,
                    current_epoch: None,
                    verdict_number: 0,
                    verdicts_seen: 0,
                    desired_number: 0,
                    desired_config: None,
                    applied_number: 0,
                    applied_config: None,
                    rejected_number: 0,
                    commands_done_through: 0,
                    last_contact: None,
                    sync_count: 0,
                    firmware: String::new(),
                    seldom: Seldom::default(),
                })
            },
            records: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            gaps: Vec::new(),
            judged: HashSet::new(),
            alerts: Vec::new(),
            now_ms: 1_000_000,
            clock_ahead_ms: 0,
            writes: Writes::default(),
            ids: Counting(0),
        }
    }

    /// Folds a call as the store would have it folded, twice when a transaction id counts already.
    pub(super) fn take(&mut self, call: &SyncCall) -> Answer {
        self.now_ms += 1_000;
        self.view.clock_ms = self.now_ms + self.clock_ahead_ms;
        self.view.main_hashes.clear();
        self.view.branch_hashes.clear();
        self.view.counted.clear();
        if let Some(range) = hashes_needed(&self.view, call) {
            assert!(range.end() - range.start() <= 512, "unbounded look at hashes");
            let hashes = self.records.range((call.epoch, *range.start())..=(call.epoch, *range.end()));
            self.view.main_hashes = hashes.map(|(&name, row)| (name, row.hash)).collect::<HashMap<_, Hash>>();
            let apart = self
                .quarantined
                .iter()
                .filter(|((key, seq), _)| key.epoch == call.epoch && range.contains(seq));
            self.view.branch_hashes = apart.map(|(&name, row)| (name, row.hash)).collect();
        }
        let before = self.view.clone();
        let (mut answer, mut writes) = self.fold(call);
        let counted = self.counted();
        if writes.records.iter().any(|r| r.transaction.is_some_and(|t| counted.contains(&(t, r.kind)))) {
            self.view = before;
            self.view.counted = counted;
            (answer, writes) = self.fold(call);
        }
        self.writes = Writes {
            renumbered: std::mem::take(&mut writes.renumbered),
            handed_out: std::mem::take(&mut writes.handed_out),
            heard: std::mem::take(&mut writes.heard),
            ..Writes::default()
        };
        for row in writes.records {
            assert!(self.records.insert((row.epoch, row.seq), row).is_none(), "a record was applied twice");
        }
        for row in writes.quarantined {
            assert!(
                self.quarantined.insert((row.branch, row.seq), row).is_none(),
                "a record was set apart twice"
            );
        }
        self.gaps.extend(writes.gaps);
        self.alerts.extend(writes.alerts.iter().map(|a| a.kind));
        answer
    }

    fn fold(&mut self, call: &SyncCall) -> (Answer, Writes) {
        let mut writes = Writes::default();
        let answer = fold(&mut self.view, call, &SETTINGS, &mut self.ids, &mut writes);
        (answer, writes)
    }

    fn counted(&self) -> HashSet<(TransactionId, u32)> {
        self.records.values().filter_map(|r| Some((r.transaction?, r.kind))).collect()
    }

    /// One whole call of a device, its reply heard.
    pub(super) fn sync(&mut self, device: &mut Device) -> Answer {
        let call = device.call(50, self.now_ms);
        let answer = self.take(&call);
        device.hear(&answer);
        answer
    }

    /// Syncs until the device has nothing left to say; panics when that never happens.
    pub(super) fn drain(&mut self, device: &mut Device) {
        for _ in 0..200 {
            let answer = self.sync(device);
            let done = device.journals.iter().all(|j| j.accepted >= j.records.len() as u64);
            if done && answer.resend_from.is_none() && answer.open_epoch.is_none() {
                return;
            }
        }
        panic!("the device never got everything acknowledged");
    }

    /// A person judges the branches that are open: all that is in them, and nothing that comes later.
    pub(super) fn judge(&mut self, state: BranchState) {
        for branch in self.view.branches.values_mut().filter(|branch| branch.state == BranchState::Held) {
            branch.state = state;
            let rows = self.quarantined.keys().filter(|(key, _)| *key == branch.key);
            self.judged.extend(rows.copied());
        }
    }

    pub(super) fn raised(&self, kind: AlertKind) -> bool {
        self.alerts.contains(&kind)
    }

    /// Where a record of a journal is: main chain, quarantine or a named gap.
    pub(super) fn holds(&self, journal: &Journal, seq: u64) -> bool {
        let hash = journal.hash_at(seq);
        let applied = self.records.get(&(journal.epoch, seq)).is_some_and(|row| row.hash == hash);
        let apart = self.quarantined.values().any(|row| row.seq == seq && row.hash == hash);
        let gap =
            self.gaps.iter().any(|g| g.epoch == journal.epoch && (g.first_seq..=g.last_seq).contains(&seq));
        applied || apart || gap
    }

    /// Section 8, rules 1 and 2, for what a device still holds and was told is durable.
    pub(super) fn check(&self, device: &Device) {
        for journal in &device.journals {
            for seq in journal.pruned + 1..=journal.accepted.min(journal.records.len() as u64) {
                assert!(self.holds(journal, seq), "record {seq} was acknowledged and is nowhere");
            }
        }
        let mut counted = HashSet::new();
        for row in self.records.values().filter(|r| r.disposition == Disposition::Applied) {
            if let Some(transaction) = row.transaction {
                assert!(counted.insert((transaction, row.kind)), "a transaction counts twice");
            }
        }
        // By the operator's own lists: what is stored apart waits in an open branch, or was judged.
        for (key, seq) in self.quarantined.keys() {
            let waits = self.view.branches.get(key).is_some_and(|branch| {
                branch.state == BranchState::Held && (branch.first_seq..=branch.last_seq).contains(seq)
            });
            assert!(
                waits || self.judged.contains(&(*key, *seq)),
                "record {seq} is set apart, and nobody can judge it"
            );
        }
        for epoch in self.view.epochs.values() {
            for seq in 1..=epoch.durable_through {
                let applied = self.records.contains_key(&(epoch.epoch, seq));
                let gaps = self
                    .gaps
                    .iter()
                    .filter(|g| g.epoch == epoch.epoch && (g.first_seq..=g.last_seq).contains(&seq));
                assert_eq!(usize::from(applied) + gaps.count(), 1, "seq {seq} is not there exactly once");
            }
        }
    }
}
