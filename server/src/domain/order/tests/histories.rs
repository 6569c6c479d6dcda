//! Random histories: whatever customers, workers and the gateway do, in whatever order, the invariants hold.

use super::world::{World, item, learnt, unknown};
use crate::domain::ids::OrderId;
use crate::domain::order::{Answer, Command, DeadLetterKind, Source, Status, WorkDone};
use crate::domain::payment::Verdict;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Create {
        customer: u8,
        key: u8,
        lines: Vec<(u8, u32)>,
    },
    Cancel(prop::sample::Index),
    Claim(prop::sample::Index),
    /// What the worker that claimed it last hears; `stale`: with the fence of the claim before.
    Report {
        order: prop::sample::Index,
        heard: Option<Verdict>,
        stale: bool,
    },
    Webhook(prop::sample::Index, Verdict),
    Redrive(prop::sample::Index, bool),
    Pass(u16),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        1 => Just(Verdict::Authorised),
        4 => Just(Verdict::Captured),
        3 => Just(Verdict::Declined),
        1 => Just(Verdict::Voided),
        1 => Just(Verdict::Refunded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3u8, 0..6u8, prop::collection::vec((1..4u8, 1..6u32), 1..4))
            .prop_map(|(customer, key, lines)| Step::Create { customer, key, lines }),
        2 => index().prop_map(Step::Cancel),
        6 => index().prop_map(Step::Claim),
        6 => (index(), prop::option::of(verdict()), any::<bool>())
            .prop_map(|(order, heard, stale)| Step::Report { order, heard, stale }),
        2 => (index(), verdict()).prop_map(|(order, said)| Step::Webhook(order, said)),
        2 => (index(), any::<bool>()).prop_map(|(order, refund)| Step::Redrive(order, refund)),
        3 => any::<u16>().prop_map(Step::Pass),
    ]
}

/// Who ended an order: only a definite answer makes it PAID or FAILED, only a customer CANCELLED.
fn may_end(command: &Command, from: Status, to: Status) -> bool {
    let said = match command {
        Command::Report(report) => match &report.done {
            WorkDone::Learnt(learnt) => Some(learnt.verdict),
            WorkDone::Unknown { .. } => None,
        },
        Command::Finding(finding) => Some(finding.learnt.verdict),
        _ => None,
    };
    match to {
        Status::Pending | Status::Processing => true,
        Status::Paid => said == Some(Verdict::Captured),
        Status::Failed => matches!(said, Some(Verdict::Declined | Verdict::Voided | Verdict::Refunded)),
        Status::Cancelled => from == Status::Pending && matches!(command, Command::Cancel(_)),
    }
}

fn command(world: &mut World, step: Step, orders: &[OrderId]) -> Option<Command> {
    let pick = |index: prop::sample::Index| (!orders.is_empty()).then(|| *index.get(orders));
    Some(match step {
        Step::Create { customer, key, lines } => {
            world.create(&format!("c{customer}"), &format!("k{key}"), &lines)
        }
        Step::Cancel(order) => world.cancel(pick(order)?, None),
        Step::Report { order, heard, stale } => {
            let id = pick(order)?;
            let fence = world.order(id).state.fence - i64::from(stale);
            let done = heard.map_or_else(unknown, |said| WorkDone::Learnt(learnt(said, Source::Worker)));
            world.report(id, fence, done)
        }
        Step::Webhook(order, said) => world.finding(pick(order)?, learnt(said, Source::Webhook)),
        Step::Redrive(order, refund) => {
            let kind = if refund { DeadLetterKind::Payment } else { DeadLetterKind::Order };
            world.redrive(pick(order)?, kind)
        }
        Step::Claim(_) | Step::Pass(_) => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn stock_is_kept_and_only_a_definite_answer_ends_an_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new([item(1, 12), item(2, 5), item(3, 40)]);
        let mut orders: Vec<OrderId> = Vec::new();
        let mut fingerprints: BTreeMap<(String, String), [u8; 32]> = BTreeMap::new();
        for step in steps {
            world.now_ms += 1;
            if let Step::Pass(ms) = step {
                world.view.clock_ms += i64::from(ms);
            }
            if let Step::Claim(order) = &step
                && !orders.is_empty()
            {
                world.claim(*order.get(&orders), 30_000);
            }
            let Some(command) = command(&mut world, step, &orders) else { continue };
            let before: BTreeMap<OrderId, Status> =
                world.view.orders.iter().map(|(id, order)| (*id, order.state.status)).collect();
            let (answer, _) = world.take(&command);
            for (id, from) in before {
                let to = world.order(id).state.status;
                prop_assert!(from == to || may_end(&command, from, to), "{from:?} -> {to:?} by {command:?}");
            }
            if let Command::Create(create) = &command {
                let key = (create.new.customer.clone(), create.new.key.clone());
                match answer {
                    Answer::Created(order) => {
                        prop_assert!(fingerprints.insert(key, create.new.fingerprint).is_none(), "a key makes one order");
                        orders.push(order.id);
                    }
                    Answer::Existing(_) => prop_assert_eq!(fingerprints[&key], create.new.fingerprint),
                    _ => {}
                }
            }
        }
        world.replay();
    }
}
