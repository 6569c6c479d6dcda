//! Usage stays fair: where every job takes equally long, no machine is used more than once more often than another.

use super::world::{SETTINGS, World};
use crate::domain::ids::{Ids as _, MachineId, PurchaseId, SessionId};
use crate::domain::pool::{Answer, Command, JobDone, Mode, Pick, Start, Writes, fold};
use proptest::prelude::*;
use std::collections::VecDeque;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Step {
    /// So many callers in one batch; each that gets a machine chooses at once.
    Callers(usize),
    /// So many of the jobs that are due end, those that began first before others.
    End(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..9_usize).prop_map(Step::Callers),
        5 => (1..9_usize).prop_map(Step::End),
        4 => (0..150_i64).prop_map(Step::Wait),
    ]
}

struct Crowd {
    world: World,
    machines: Vec<MachineId>,
    under_way: VecDeque<PurchaseId>,
    requests: u128,
}

impl Crowd {
    fn new(machines: u128) -> Self {
        let world = World::virtual_machines(machines, 10_000);
        let machines = world.view.candidates[&Pick::default()].clone();
        Self { world, machines: machines.into(), under_way: VecDeque::new(), requests: 0 }
    }

    /// As the committer does it: candidates are put in order once, and who was taken is passed over.
    fn batch(&mut self, callers: usize) {
        let pick = Pick::default();
        self.world.view.candidates.insert(pick.clone(), self.machines.clone().into());
        self.world.view.put_in_order();
        let (mut writes, mut begun) = (Writes::default(), Vec::new());
        for _ in 0..callers {
            self.requests += 1;
            let start = Start {
                session: SessionId(self.world.ids.uuid_v7()),
                customer: "anna".to_owned(),
                pick: pick.clone(),
                caller: "service:shop".to_owned(),
                request_id: Uuid::from_u128(self.requests),
                fingerprint: [1; 32],
                at_ms: self.world.view.clock_ms,
                trace_id: String::new(),
            };
            let view = &mut self.world.view;
            let answer = fold(view, &Command::Start(start), &SETTINGS, &mut self.world.ids, &mut writes);
            if let Answer::Started { session, already: false } = answer {
                view.pass_over(&pick, session.machine);
                begun.push(session.id);
            }
        }
        self.world.view.candidates.insert(pick, self.machines.clone().into());
        for session in begun {
            self.requests += 1;
            let Answer::Chosen { purchase, .. } = self.world.choose(session, Mode::None, self.requests)
            else {
                panic!("the session has just begun");
            };
            self.under_way.push_back(purchase.id);
        }
    }

    fn end(&mut self, most: usize) {
        for _ in 0..most {
            let Some(id) = self.under_way.front().copied() else { return };
            let Some(claimed) = self.world.claim(id) else { return };
            self.world.report(&claimed, JobDone::Elapsed);
            self.under_way.pop_front();
        }
    }

    fn check(&self) {
        if self.under_way.is_empty() {
            let used: Vec<i64> = self.machines.iter().map(|id| self.world.machine(*id).usage).collect();
            let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
            assert!(most - least <= 1, "{used:?}");
        }
    }
}

proptest! {
    #[test]
    fn nobody_is_used_twice_more_than_another(machines in 1..7_u128, steps in prop::collection::vec(step(), 1..120)) {
        let mut crowd = Crowd::new(machines);
        for step in steps {
            match step {
                Step::Callers(count) => crowd.batch(count),
                Step::End(most) => crowd.end(most),
                Step::Wait(ms) => crowd.world.view.clock_ms += ms,
            }
            crowd.check();
        }
        crowd.world.view.clock_ms += 1_000;
        crowd.end(usize::MAX);
        assert!(crowd.under_way.is_empty());
        crowd.check();
    }
}
