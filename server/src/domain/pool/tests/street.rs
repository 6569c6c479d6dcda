//! Real machines in memory: the commands a store would keep, devices that carry them out or don't, and workers that report
//! what is so.

use super::world::World;
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::payment::Trouble;
use crate::domain::pool::{
    Command, JobDone, LATE_VEND, Mode, Purchase, PurchaseState, Resolution, Resolve, Said, SessionState,
    Standing, Work, hand_out, hear, redrive,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Units in the one slot of each machine.
const UNITS: i64 = 3;
const DOUBT_AFTER_MS: i64 = 6_000;

/// A numbered dispense command, as the server and the device know it.
#[derive(Clone, Debug)]
struct Numbered {
    purchase: PurchaseId,
    /// It was in no answer and never will be.
    expired: bool,
    handed_out: bool,
    /// An answer with it has reached the device.
    arrived: bool,
    /// In the device's journal.
    journalled: Option<Said>,
    /// The server has its word.
    known: Option<Said>,
}

pub(super) struct Street {
    pub(super) world: World,
    commands: BTreeMap<(MachineId, u64), Numbered>,
    sessions: Vec<(SessionId, MachineId)>,
    claims: Vec<(Purchase, Option<Said>)>,
    reserved: HashMap<MachineId, i64>,
    fences: HashMap<MachineId, i64>,
    claimed: HashMap<PurchaseId, i64>,
    ended: HashMap<PurchaseId, PurchaseState>,
    /// Purchases of which a person was told that their machine tells another story.
    late: HashSet<PurchaseId>,
    /// Purchases that an operator said were dispensed.
    said_dispensed: HashSet<PurchaseId>,
    requests: u128,
}

fn pick<T: Clone>(all: impl IntoIterator<Item = T>, at: usize) -> Option<T> {
    let all: Vec<T> = all.into_iter().collect();
    if all.is_empty() { None } else { all.get(at % all.len()).cloned() }
}

/// What a gateway, or nobody, says when this work is done.
fn done(work: Work, kind: u8) -> JobDone {
    let unknown = JobDone::Unknown { trouble: Trouble::Timeout, detail: String::new(), again_in_ms: 500 };
    match (work, kind % 4) {
        (Work::Authorise, 0 | 1) => JobDone::Authorised("pay".to_owned()),
        (Work::Authorise, 2) => JobDone::Declined(String::new()),
        (Work::Capture, 0..3) => JobDone::Captured(String::new()),
        (Work::Void, 0) => JobDone::Voided,
        (Work::Void, 1) => JobDone::Refunded,
        (Work::Void, 2) => JobDone::Declined(String::new()),
        (Work::Authorise | Work::Capture | Work::Void, _) => unknown,
        (Work::Dispense | Work::None, _) => JobDone::Elapsed,
    }
}

impl Street {
    pub(super) fn new(machines: u128) -> Self {
        Self {
            world: World::real_machines(machines, UNITS),
            commands: BTreeMap::new(),
            sessions: Vec::new(),
            claims: Vec::new(),
            reserved: HashMap::new(),
            fences: HashMap::new(),
            claimed: HashMap::new(),
            ended: HashMap::new(),
            late: HashSet::new(),
            said_dispensed: HashSet::new(),
            requests: 0,
        }
    }

    fn request(&mut self) -> u128 {
        self.requests += 1;
        self.requests
    }

    pub(super) fn start(&mut self) {
        let request = self.request();
        let started = self.world.started(request);
        self.sessions.extend(started);
        self.keep();
    }

    pub(super) fn choose(&mut self, at: usize, pays: bool) {
        let request = self.request();
        let Some((session, _)) = pick(self.sessions.iter().copied(), at) else { return };
        self.world.choose(session, if pays { Mode::Gateway } else { Mode::None }, request);
        self.keep();
    }

    pub(super) fn reset(&mut self, at: usize) {
        let Some((session, machine)) = pick(self.sessions.iter().copied(), at) else { return };
        self.world.reset(machine, session);
        self.keep();
    }

    fn purchases(&self) -> Vec<PurchaseId> {
        let mut all: Vec<PurchaseId> = self.world.view.purchases.keys().copied().collect();
        all.sort();
        all
    }

    pub(super) fn claim(&mut self, at: usize) {
        let Some(id) = pick(self.purchases(), at) else { return };
        let Some(claimed) = self.world.claim(id) else { return };
        let said = self.commands.get(&(claimed.machine, claimed.command_number));
        let said = said.and_then(|command| command.known.clone());
        self.claims.push((claimed, said));
        self.keep();
    }

    /// A worker that claimed some time ago, maybe long overtaken, hands over what came of it.
    pub(super) fn report(&mut self, at: usize, kind: u8) {
        let Some((claimed, said)) = pick(self.claims.iter().cloned(), at) else { return };
        let done = match (claimed.work, said) {
            (Work::Dispense, Some(said)) => JobDone::Said(said),
            (work, _) => done(work, kind),
        };
        self.world.report(&claimed, done);
        self.keep();
    }

    pub(super) fn resolve(&mut self, at: usize, resolution: Resolution) {
        let Some(purchase) = pick(self.purchases(), at) else { return };
        let doubted = self.world.purchase(purchase).state == PurchaseState::InDoubt;
        let (at_ms, note) = (self.world.view.clock_ms, "looked".to_owned());
        let resolve = Resolve {
            purchase,
            resolution,
            note,
            at_ms,
            trace_id: String::new(),
            traceparent: String::new(),
        };
        self.world.tell(&Command::Resolve(resolve));
        if doubted && resolution == Resolution::Dispensed {
            self.said_dispensed.insert(purchase);
        }
        self.keep();
    }

    pub(super) fn redrive(&mut self, at: usize) {
        let Some(id) = pick(self.purchases(), at) else { return };
        let at_ms = self.world.view.clock_ms;
        redrive(&mut self.world.view, id, at_ms, &mut self.world.writes);
        self.keep();
    }

    fn command(&self, at: usize) -> Option<(MachineId, u64)> {
        pick(self.commands.keys().copied(), at)
    }

    /// A Sync answer: what waits and is wanted is handed out, what was handed out travels again. `arrives`: it is not lost.
    pub(super) fn answer(&mut self, at: usize, arrives: bool) {
        let Some(key) = self.command(at) else { return };
        let Some(command) = self.commands.get_mut(&key) else { return };
        let view = &mut self.world.view;
        let clock_ms = view.clock_ms;
        let found = view.purchases.get_mut(&command.purchase).zip(view.pool.get_mut(&key.0));
        let Some((purchase, pooled)) = found else { return };
        let open = matches!(purchase.state, PurchaseState::Dispensing | PurchaseState::InDoubt);
        let wanted = open && purchase.holds_machine;
        if command.expired || command.known.is_some() || (!command.handed_out && !wanted) {
            return;
        }
        if !command.handed_out {
            command.handed_out = true;
            hand_out(purchase, pooled, DOUBT_AFTER_MS, clock_ms, clock_ms);
        }
        if arrives && wanted {
            command.arrived = true;
        } else if arrives && !command.arrived && command.journalled.is_none() {
            // As one that has expired: the device writes that it never began.
            command.journalled = Some(Said::Refused("EXPIRED".to_owned()));
        }
    }

    /// The device does what it was told, or writes why not; once.
    pub(super) fn carry_out(&mut self, at: usize, kind: u8) {
        let Some(key) = self.command(at) else { return };
        let Some(command) = self.commands.get_mut(&key) else { return };
        if !command.arrived || command.journalled.is_some() {
            return;
        }
        command.journalled = Some(match kind % 6 {
            0 | 1 => Said::Vended,
            2 => Said::Failed("JAM".to_owned()),
            3 => Said::Refused("SLOT_EMPTY".to_owned()),
            4 => Said::Refused("MACHINE_BUSY".to_owned()),
            _ => Said::Unknown,
        });
    }

    /// The machine restarts and shows its whole journal: what it had not carried out it never will. What never travelled ends
    /// in that very Sync.
    pub(super) fn restart(&mut self, at: usize) {
        let Some((machine, _)) = self.command(at) else { return };
        let at_ms = self.world.view.clock_ms;
        let of_machine = self.commands.range_mut((machine, 0)..=(machine, u64::MAX));
        for command in of_machine.map(|(_, command)| command).filter(|command| !command.expired) {
            if command.journalled.is_some() || command.known.is_some() {
                continue;
            }
            if command.handed_out {
                command.journalled = Some(Said::Changed);
            } else if let Some(purchase) = self.world.view.purchases.get_mut(&command.purchase) {
                command.known = Some(Said::Changed);
                hear(purchase, at_ms);
            }
        }
    }

    /// A Sync that brings the device's word. The first one stands.
    pub(super) fn sync(&mut self, at: usize) {
        let Some(key) = self.command(at) else { return };
        let Some(command) = self.commands.get_mut(&key) else { return };
        if command.known.is_some() || command.journalled.is_none() {
            return;
        }
        command.known.clone_from(&command.journalled);
        let at_ms = self.world.view.clock_ms;
        if let Some(purchase) = self.world.view.purchases.get_mut(&command.purchase) {
            hear(purchase, at_ms);
        }
    }

    /// What a store would make of the last writes.
    fn keep(&mut self) {
        let writes = std::mem::take(&mut self.world.writes);
        for ((machine, _), units) in writes.reserved {
            *self.reserved.entry(machine).or_default() += units;
        }
        for new in writes.commands {
            let numbered = Numbered {
                purchase: new.purchase,
                expired: false,
                handed_out: false,
                arrived: false,
                journalled: None,
                known: None,
            };
            let last = self.commands.range((new.machine, 0)..=(new.machine, u64::MAX)).next_back();
            assert!(last.is_none_or(|((_, number), _)| *number < new.number), "numbers only rise");
            self.commands.insert((new.machine, new.number), numbered);
        }
        for key in writes.expired {
            let command = self.commands.get_mut(&key).expect("a command that was given");
            assert!(!command.handed_out, "what may have been heard is never taken back");
            command.expired = true;
        }
        for alert in writes.alerts.into_iter().filter(|alert| alert.kind == LATE_VEND) {
            self.late.extend(alert.purchase);
        }
    }

    /// The invariants that hold after every step.
    pub(super) fn check(&mut self) {
        let view = &self.world.view;
        for pooled in view.pool.values() {
            let mine: Vec<&Purchase> = view.purchases.values().filter(|p| p.machine == pooled.id).collect();
            let count = |of: fn(&Purchase) -> bool| mine.iter().filter(|p| of(p)).count();
            let reserved = self.reserved.get(&pooled.id).copied().unwrap_or(0);
            let holding = count(|p| p.holds_unit);
            assert_eq!(
                usize::try_from(reserved).ok(),
                Some(holding),
                "each unit is released once: {mine:#?}"
            );
            let completed = count(|p| p.state == PurchaseState::Completed);
            assert_eq!(usize::try_from(pooled.usage).ok(), Some(completed), "usage is completed purchases");
            let may_move = |p: &Purchase| {
                matches!(
                    p.state,
                    PurchaseState::Authorising | PurchaseState::Dispensing | PurchaseState::InDoubt
                )
            };
            assert!(count(may_move) <= 1, "one at a time may have a product come out: {mine:#?}");
            let doubt = mine.iter().find(|p| p.state == PurchaseState::InDoubt);
            assert!(
                doubt.is_none_or(|p| pooled.purchase == Some(p.id) && pooled.standing == Standing::InDoubt),
                "in doubt it is out of the pool: {pooled:?}"
            );
            let open = view.sessions.values().filter(|s| s.machine == pooled.id).filter(|s| match s.state {
                SessionState::ChooseProduct => s.lease_until_ms > view.clock_ms,
                SessionState::Processing => true,
                _ => false,
            });
            assert!(open.count() <= 1, "a machine is in one session at a time");
            let fence = self.fences.insert(pooled.id, pooled.fence).unwrap_or(0);
            assert!(fence <= pooled.fence, "fences only rise");
            if pooled.standing == Standing::Idle {
                assert_eq!((pooled.session, pooled.purchase, pooled.free_at_ms), (None, None, 0));
            }
        }
        for purchase in view.purchases.values() {
            let fence = self.claimed.insert(purchase.id, purchase.fence).unwrap_or(0);
            assert!(fence <= purchase.fence, "fences only rise");
            if purchase.state.is_final() {
                let before = self.ended.insert(purchase.id, purchase.state).unwrap_or(purchase.state);
                assert_eq!(before, purchase.state, "a final state stays");
                assert!(!purchase.holds_machine && !purchase.holds_unit && purchase.ended_at_ms > 0);
            }
            assert!(
                !self.ended.contains_key(&purchase.id) || purchase.state.is_final(),
                "a final state stays"
            );
        }
    }

    /// Everybody comes and says what there is to say: nothing stays under way, and what came out is what is told.
    pub(super) fn settle(&mut self) {
        for round in 0..20 {
            for at in 0..self.commands.len() {
                self.answer(at, true);
                self.carry_out(at, if round == 0 { 5 } else { 0 });
                self.sync(at);
            }
            self.world.view.clock_ms += 60_000;
            for at in 0..self.world.view.purchases.len() {
                self.claim(at);
                if !self.claims.is_empty() {
                    self.report(self.claims.len() - 1, 0);
                }
                self.check();
            }
        }
        for at in 0..self.world.view.purchases.len() {
            self.resolve(at, Resolution::NotDispensed);
            self.world.view.clock_ms += 60_000;
            self.claim(at);
            if !self.claims.is_empty() {
                self.report(self.claims.len() - 1, 0);
            }
            self.check();
        }
        assert!(self.reserved.values().all(|units| *units == 0), "{:?}", self.reserved);
        let vended: HashSet<PurchaseId> = self
            .commands
            .values()
            .filter(|command| command.known == Some(Said::Vended))
            .map(|command| command.purchase)
            .collect();
        for purchase in self.world.view.purchases.values() {
            assert!(purchase.state.is_final(), "{purchase:#?}");
            assert!(!purchase.heard, "somebody has looked: {purchase:#?}");
            let completed = purchase.state == PurchaseState::Completed;
            let known = vended.contains(&purchase.id) || self.said_dispensed.contains(&purchase.id);
            let told = self.late.contains(&purchase.id);
            assert!(!completed || known, "nothing counts that did not come out: {purchase:#?}");
            assert!(completed || !vended.contains(&purchase.id) || told, "a person is told: {purchase:#?}");
        }
        for pooled in self.world.view.pool.values() {
            assert_eq!(pooled.purchase, None, "{pooled:?}");
            assert!(pooled.free_at_ms < i64::MAX, "free, or free by itself: {pooled:?}");
        }
    }
}
