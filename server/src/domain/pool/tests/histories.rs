//! Random histories: whatever comes in whatever order, the invariants hold after every step.

use super::world::World;
use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::payment::Trouble;
use crate::domain::pool::{JobDone, Mode, Purchase, PurchaseState, Said, SessionState, Standing};
use proptest::prelude::*;
use std::collections::HashMap;

const STOCK: i64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Start,
    Choose(usize, bool),
    Claim(usize),
    Report(usize, u8),
    HandOut(usize),
    Reset(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Start),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(at, pays)| Step::Choose(at, pays)),
        4 => any::<usize>().prop_map(Step::Claim),
        5 => (any::<usize>(), 0..8_u8).prop_map(|(at, done)| Step::Report(at, done)),
        3 => any::<usize>().prop_map(Step::HandOut),
        1 => any::<usize>().prop_map(Step::Reset),
        3 => (0..3_000_i64).prop_map(Step::Wait),
    ]
}

fn done(kind: u8) -> JobDone {
    match kind {
        0 => JobDone::Authorised("pay".to_owned()),
        1 => JobDone::Declined(String::new()),
        2 => JobDone::Captured(String::new()),
        3 => JobDone::Voided,
        4 => JobDone::Elapsed,
        5 => JobDone::Said(Said::Vended),
        6 => JobDone::Said(Said::Failed("JAM".to_owned())),
        _ => JobDone::Unknown { trouble: Trouble::Timeout, detail: String::new(), again_in_ms: 500 },
    }
}

fn pick<T>(all: &[T], at: usize) -> Option<&T> {
    if all.is_empty() { None } else { all.get(at % all.len()) }
}

fn check(
    world: &World,
    fences: &mut HashMap<MachineId, i64>,
    ended: &mut HashMap<PurchaseId, PurchaseState>,
) {
    let purchases = &world.view.purchases;
    let is_out = |p: &Purchase| matches!(p.state, PurchaseState::Capturing | PurchaseState::Completed);
    if world.is_real() {
        let held = purchases.values().filter(|p| p.holds_unit).count();
        assert_eq!(world.reserved, i64::try_from(held).unwrap(), "a slot's reservations are what is held");
    } else {
        let out = purchases.values().filter(|p| p.holds_unit || is_out(p));
        assert_eq!(world.stock() + i64::try_from(out.count()).unwrap(), STOCK);
    }
    for purchase in purchases.values().filter(|p| is_out(p) || p.state == PurchaseState::Voiding) {
        let holder = world.machine(purchase.machine).purchase;
        assert!(!purchase.holds_machine && holder != Some(purchase.id), "no machine waits for money");
    }
    for pooled in world.view.pool.values() {
        let completed =
            purchases.values().filter(|p| p.machine == pooled.id && p.state == PurchaseState::Completed);
        assert_eq!(pooled.usage, i64::try_from(completed.count()).unwrap(), "usage is completed purchases");
        let open = world.view.sessions.values().filter(|s| {
            s.machine == pooled.id
                && match s.state {
                    SessionState::ChooseProduct => s.lease_until_ms > world.view.clock_ms,
                    SessionState::Processing => true,
                    _ => false,
                }
        });
        assert!(open.count() <= 1, "a machine is in one session at a time");
        let fence = fences.insert(pooled.id, pooled.fence).unwrap_or(0);
        assert!(fence <= pooled.fence, "fences only rise");
        match pooled.standing {
            Standing::Idle => {
                assert_eq!((pooled.session, pooled.purchase, pooled.free_at_ms), (None, None, 0));
            }
            Standing::Processing => assert!(pooled.session.is_some() && pooled.purchase.is_some()),
            _ => {}
        }
    }
    for purchase in purchases.values().filter(|p| p.state.is_final()) {
        let before = ended.insert(purchase.id, purchase.state).unwrap_or(purchase.state);
        assert_eq!(before, purchase.state, "a final state stays");
        assert!(!purchase.holds_machine && !purchase.holds_unit);
    }
}

proptest! {
    #[test]
    fn stock_usage_and_sessions_add_up_whatever_happens(
        steps in prop::collection::vec(step(), 1..120),
        real in any::<bool>(),
    ) {
        let mut world = if real { World::real_machines(2, STOCK) } else { World::virtual_machines(2, STOCK) };
        let (mut sessions, mut claims): (Vec<(SessionId, MachineId)>, Vec<Purchase>) = Default::default();
        let (mut fences, mut ended) = (HashMap::new(), HashMap::new());
        for (request, step) in (0..).zip(steps) {
            match step {
                Step::Start => sessions.extend(world.started(request)),
                Step::Choose(at, pays) => {
                    if let Some((session, _)) = pick(&sessions, at).copied() {
                        world.choose(session, if pays { Mode::Gateway } else { Mode::None }, request);
                    }
                }
                Step::Claim(at) => {
                    let mut all: Vec<PurchaseId> = world.view.purchases.keys().copied().collect();
                    all.sort();
                    if let Some(id) = pick(&all, at).copied() {
                        claims.extend(world.claim(id));
                    }
                }
                Step::Report(at, kind) => {
                    if let Some(claimed) = pick(&claims, at).cloned() {
                        world.report(&claimed, done(kind));
                    }
                }
                Step::HandOut(at) => {
                    let mut all: Vec<PurchaseId> = world.view.purchases.keys().copied().collect();
                    all.sort();
                    if let Some(id) = pick(&all, at).copied() {
                        world.hand_out(id);
                    }
                }
                Step::Reset(at) => {
                    if let Some((session, machine)) = pick(&sessions, at).copied() {
                        world.reset(machine, session);
                    }
                }
                Step::Wait(ms) => world.view.clock_ms += ms,
            }
            check(&world, &mut fences, &mut ended);
        }
    }
}
