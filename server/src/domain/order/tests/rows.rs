//! Each row of the state machine.

use super::world::{World, item, learnt, product, unknown};
use crate::domain::ids::OrderId;
use crate::domain::order::{
    AlertOp, Answer, ChangeKind, DeadLetterKind, DeadLetterNote, Failure, GATEWAY_CONTRADICTION,
    LATE_APPROVAL, Learnt, ORDER_UNSETTLED, Refusal, Source, Status, Work, WorkDone, Writes,
};
use crate::domain::payment::{PaymentStatus, Verdict};
use crate::domain::stock::StockMove;
use vend_core::money::Currency;

const VERDICTS: [Verdict; 5] =
    [Verdict::Authorised, Verdict::Captured, Verdict::Declined, Verdict::Voided, Verdict::Refunded];

/// Where an order may stand when an answer of the gateway comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    Pending,
    Processing,
    Unsettled,
    Paid,
    Failed,
    Cancelled,
    RefundPending,
}

const STANDS: [Stand; 7] = [
    Stand::Pending,
    Stand::Processing,
    Stand::Unsettled,
    Stand::Paid,
    Stand::Failed,
    Stand::Cancelled,
    Stand::RefundPending,
];

/// A shop with one order of two units that stands there.
fn standing(stand: Stand) -> (World, OrderId) {
    let mut world = World::new([item(1, 10)]);
    let id = world.made("k", &[(1, 2)]);
    let captured = |world: &World| world.finding(id, learnt(Verdict::Captured, Source::Webhook));
    let declined = |world: &World| world.finding(id, learnt(Verdict::Declined, Source::Webhook));
    match stand {
        Stand::Pending => {}
        Stand::Processing => drop(world.claim(id, 30_000).unwrap()),
        Stand::Unsettled => {
            let fence = world.claim(id, 30_000).unwrap().state.fence;
            drop(world.take(&world.report(id, fence, unknown())));
        }
        Stand::Paid => drop(world.take(&captured(&world))),
        Stand::Failed => drop(world.take(&declined(&world))),
        Stand::Cancelled => drop(world.take(&world.cancel(id, None))),
        Stand::RefundPending => {
            drop(world.take(&declined(&world)));
            drop(world.take(&captured(&world)));
        }
    }
    (world, id)
}

fn kinds(writes: &Writes) -> Vec<ChangeKind> {
    writes.changes.iter().map(|change| change.kind).collect()
}

fn raised(writes: &Writes) -> Vec<&'static str> {
    let raise = |op: &AlertOp| if let AlertOp::Raise(raise) = op { Some(raise.kind) } else { None };
    writes.raised.iter().filter_map(raise).collect()
}

fn ended(writes: &Writes) -> Vec<&'static str> {
    let end = |op: &AlertOp| if let AlertOp::End(end) = op { Some(end.kind) } else { None };
    writes.raised.iter().filter_map(end).collect()
}

/// What an answer does: status, payment, work, and the event besides PROCESSING, if there is one.
fn expected(stand: Stand, verdict: Verdict) -> (Status, PaymentStatus, Work, Option<ChangeKind>) {
    use {PaymentStatus as P, Stand as S, Verdict as V};
    let unchanged = |stand| match stand {
        S::Pending => (Status::Pending, P::Pending, Work::Pay, None),
        S::Processing => (Status::Processing, P::Unknown, Work::Pay, None),
        S::Unsettled => (Status::Processing, P::Unknown, Work::Query, None),
        S::Paid => (Status::Paid, P::Captured, Work::None, None),
        S::Failed => (Status::Failed, P::Declined, Work::None, None),
        S::Cancelled => (Status::Cancelled, P::Pending, Work::None, None),
        S::RefundPending => (Status::Failed, P::RefundPending, Work::Refund, None),
    };
    let refund = |status, payment, work| (status, payment, work, Some(ChangeKind::Refund));
    match (stand, verdict) {
        // Held is not taken, and what is paid stays paid whatever is said afterwards.
        (S::Paid, V::Refunded) => refund(Status::Paid, P::Refunded, Work::None),
        (_, V::Authorised) | (S::Paid, _) => unchanged(stand),
        (S::Pending | S::Processing | S::Unsettled, V::Captured) => {
            (Status::Paid, P::Captured, Work::None, Some(ChangeKind::Paid))
        }
        (S::Pending | S::Processing | S::Unsettled, V::Declined) => {
            (Status::Failed, P::Declined, Work::None, Some(ChangeKind::Failed))
        }
        (S::Pending | S::Processing | S::Unsettled, V::Voided | V::Refunded) => {
            (Status::Failed, P::Voided, Work::None, Some(ChangeKind::Failed))
        }
        (S::Failed, V::Captured) => refund(Status::Failed, P::RefundPending, Work::Refund),
        (S::Cancelled, V::Captured) => refund(Status::Cancelled, P::RefundPending, Work::Refund),
        (S::RefundPending, V::Voided) => refund(Status::Failed, P::Voided, Work::None),
        (S::RefundPending, V::Refunded) => refund(Status::Failed, P::Refunded, Work::None),
        (S::Failed | S::Cancelled | S::RefundPending, _) => unchanged(stand),
    }
}

#[test]
fn every_answer_of_the_gateway_does_what_its_row_says() {
    for stand in STANDS {
        for verdict in VERDICTS {
            for source in [Source::Worker, Source::Webhook] {
                let (mut world, id) = standing(stand);
                let (was_unsettled, fence) = (world.order(id).state.unsettled, world.order(id).state.fence);
                let command = match source {
                    Source::Worker => world.report(id, fence, WorkDone::Learnt(learnt(verdict, source))),
                    Source::Webhook => world.finding(id, learnt(verdict, source)),
                };
                let (answer, writes) = world.take(&command);
                let row = format!("{stand:?} {verdict:?} {source:?}");
                assert!(matches!(answer, Answer::Done(_)), "{row}");
                let state = &world.order(id).state;
                let (status, payment, work, event) = expected(stand, verdict);
                assert_eq!((state.status, state.payment, state.work), (status, payment, work), "{row}");
                let mut events = kinds(&writes);
                events.retain(|kind| *kind != ChangeKind::Processing);
                assert_eq!(events, event.into_iter().collect::<Vec<_>>(), "{row}");
                let held = if matches!(status, Status::Failed | Status::Cancelled) { 0 } else { 2 };
                assert_eq!(world.stock(product(1)), 10 - held, "{row}");
                let settles = was_unsettled && event.is_some();
                assert_eq!(ended(&writes).contains(&ORDER_UNSETTLED), settles, "{row}");
                assert_eq!(state.unsettled, was_unsettled && !settles, "{row}");
                if source == Source::Webhook {
                    assert_eq!(writes.facts.len(), 1, "a webhook is always noted: {row}");
                }
                world.replay();

                let orders = world.view.orders.clone();
                let (_, again) = world.take(&command);
                assert_eq!(kinds(&again), [], "said twice it is done once: {row}");
                if source == Source::Webhook {
                    assert_eq!(world.view.orders, orders, "{row}");
                }
            }
        }
    }
}

#[test]
fn an_order_takes_its_lines_and_tells_what_was_left() {
    let mut world = World::new([item(1, 10), item(2, 3)]);
    let command = world.create("anna", "k", &[(2, 3), (1, 4)]);
    let (answer, writes) = world.take(&command);
    let Answer::Created(order) = answer else { panic!("{answer:?}") };
    assert_eq!((order.total_minor, order.state.status), (3 * 200 + 4 * 100, Status::Pending));
    assert_eq!(order.lines.iter().map(|line| line.product).collect::<Vec<_>>(), [product(2), product(1)]);
    let moves = [
        StockMove { product: product(2), delta: -3, after: 0 },
        StockMove { product: product(1), delta: -4, after: 6 },
    ];
    assert_eq!(writes.changes[0].moves, moves);
    assert_eq!(kinds(&writes), [ChangeKind::Created]);
}

#[test]
fn the_last_unit_goes_to_one_of_a_batch() {
    let mut world = World::new([item(1, 1)]);
    let mut won = 0;
    for n in 0..1_000 {
        let command = world.create(&format!("customer {n}"), "k", &[(1, 1)]);
        match world.take(&command).0 {
            Answer::Created(_) => won += 1,
            Answer::Refused(Refusal::InsufficientStock { product: missing, requested, available }) => {
                assert_eq!((missing, requested, available), (product(1), 1, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[test]
fn low_stock_is_told_once_per_crossing() {
    let mut world = World::new([item(1, 5)]);
    let create = |world: &mut World, key: &str, units| {
        let command = world.create("anna", key, &[(1, units)]);
        let (answer, writes) = world.take(&command);
        let Answer::Created(order) = answer else { panic!("{answer:?}") };
        (order.id, raised(&writes))
    };
    assert!(create(&mut world, "a", 2).1.is_empty());
    let (crossing, alerts) = create(&mut world, "b", 1);
    assert_eq!(alerts, [crate::domain::fleet::LOW_STOCK]);
    assert!(create(&mut world, "c", 1).1.is_empty(), "it is low already");
    let (_, writes) = world.take(&world.cancel(crossing, None));
    assert!(ended(&writes).is_empty(), "two units left are still few");
    let first = world.view.keys[&("anna".to_owned(), "a".to_owned())];
    let (_, writes) = world.take(&world.cancel(first, None));
    assert_eq!(ended(&writes), [crate::domain::fleet::LOW_STOCK]);
}

#[test]
fn a_refused_create_leaves_its_key_free() {
    let mut world = World::new([item(1, 1)]);
    let command = world.create("anna", "k", &[(1, 2)]);
    assert!(matches!(world.take(&command).0, Answer::Refused(Refusal::InsufficientStock { .. })));
    assert!(world.view.keys.is_empty());
    let command = world.create("anna", "k", &[(1, 1)]);
    assert!(matches!(world.take(&command).0, Answer::Created(_)));
}

#[test]
fn cancelling_is_for_the_pending_and_gives_back_once() {
    for stand in STANDS {
        let (mut world, id) = standing(stand);
        let stock = world.stock(product(1));
        let (answer, writes) = world.take(&world.cancel(id, Some("anna")));
        match stand {
            Stand::Pending => {
                assert!(matches!(answer, Answer::Cancelled { already: false, .. }));
                assert_eq!(kinds(&writes), [ChangeKind::Cancelled]);
                assert_eq!(world.stock(product(1)), stock + 2);
                assert!(matches!(
                    world.take(&world.cancel(id, None)).0,
                    Answer::Cancelled { already: true, .. }
                ));
                assert_eq!(world.stock(product(1)), stock + 2);
            }
            Stand::Cancelled => assert!(matches!(answer, Answer::Cancelled { already: true, .. })),
            _ => {
                let status = world.order(id).state.status;
                assert_eq!(answer, Answer::Refused(Refusal::NotCancellable { order: id, status }));
            }
        }
        let stranger = world.take(&world.cancel(id, Some("bert"))).0;
        assert_eq!(
            stranger,
            Answer::Refused(Refusal::OrderNotFound(id)),
            "also when it could not be cancelled"
        );
    }
}

#[test]
fn a_claim_is_for_what_is_due_and_raises_the_fence() {
    let (mut world, id) = standing(Stand::Pending);
    let first = world.claim(id, 30_000).unwrap();
    assert_eq!((first.state.status, first.state.payment), (Status::Processing, PaymentStatus::Unknown));
    assert_eq!(first.state.due_at_ms, world.view.clock_ms + 30_000);
    assert!(world.claim(id, 30_000).is_none(), "while the lease lasts it is nobody else's");
    world.view.clock_ms += 30_000;
    let second = world.claim(id, 30_000).unwrap();
    assert!(second.state.fence > first.state.fence);
    let (answer, _) = world.take(&world.report(id, first.state.fence, unknown()));
    assert_eq!(answer, Answer::Stale, "who lost the claim knows nothing any more");
    let late = WorkDone::Learnt(learnt(Verdict::Captured, Source::Worker));
    let (answer, _) = world.take(&world.report(id, first.state.fence, late));
    assert!(
        matches!(answer, Answer::Done(order) if order.state.status == Status::Paid),
        "but a fact is a fact"
    );
    for stand in [Stand::Paid, Stand::Failed, Stand::Cancelled] {
        let (mut world, id) = standing(stand);
        world.view.clock_ms += 1_000_000;
        assert!(world.claim(id, 30_000).is_none(), "{stand:?}");
    }
}

#[test]
fn what_nobody_knows_is_set_aside_with_its_stock() {
    let (mut world, id) = standing(Stand::Processing);
    let fence = world.order(id).state.fence;
    let (_, writes) = world.take(&world.report(id, fence, unknown()));
    let state = world.order(id).state.clone();
    assert_eq!((state.status, state.work, state.unsettled), (Status::Processing, Work::Query, true));
    assert_eq!((state.attempts, state.due_at_ms), (1, world.view.clock_ms + 5_000));
    assert_eq!((kinds(&writes), raised(&writes)), (vec![ChangeKind::Unsettled], vec![ORDER_UNSETTLED]));
    let open = DeadLetterKind::Order;
    assert!(matches!(&writes.dead_letters[..], [DeadLetterNote::Open { kind, .. }] if *kind == open));
    assert_eq!(world.stock(product(1)), 8);

    world.view.clock_ms += 5_000;
    let fence = world.claim(id, 30_000).unwrap().state.fence;
    let (_, writes) = world.take(&world.report(id, fence, unknown()));
    assert_eq!(kinds(&writes), [], "still unknown is no news");
    assert!(raised(&writes).is_empty());
}

#[test]
fn a_redrive_hands_set_aside_work_back_and_nothing_else() {
    for stand in STANDS {
        for kind in [DeadLetterKind::Order, DeadLetterKind::Payment] {
            let (mut world, id) = standing(stand);
            let fence = world.order(id).state.fence;
            let (answer, writes) = world.take(&world.redrive(id, kind));
            let fits = matches!(
                (stand, kind),
                (Stand::Unsettled, DeadLetterKind::Order) | (Stand::RefundPending, DeadLetterKind::Payment)
            );
            if fits {
                assert_eq!(kinds(&writes), [ChangeKind::Redriven]);
                assert_eq!(world.order(id).state.fence, fence + 1, "whoever asks now has lost it");
                assert!(world.claim(id, 30_000).is_some(), "it is due at once");
            } else {
                assert_eq!(answer, Answer::Refused(Refusal::NotSetAside(id)), "{stand:?} {kind:?}");
            }
        }
    }
}

#[test]
fn money_that_comes_late_is_given_back_and_told() {
    for stand in [Stand::Failed, Stand::Cancelled] {
        let (mut world, id) = standing(stand);
        let (_, writes) = world.take(&world.finding(id, learnt(Verdict::Captured, Source::Webhook)));
        assert_eq!(raised(&writes), [LATE_APPROVAL]);
        let claimed = world.claim(id, 30_000).unwrap();
        assert_eq!((claimed.state.work, claimed.state.gateway_payment_id.as_str()), (Work::Refund, "pay-1"));
        let done = WorkDone::Learnt(learnt(Verdict::Refunded, Source::Worker));
        let (_, writes) = world.take(&world.report(id, claimed.state.fence, done));
        assert_eq!(ended(&writes), [LATE_APPROVAL]);
        assert_eq!(world.order(id).state.payment, PaymentStatus::Refunded);
    }
}

#[test]
fn another_payment_while_one_is_being_given_back_is_a_contradiction() {
    let (mut world, id) = standing(Stand::RefundPending);
    let other =
        Learnt { gateway_payment_id: "pay-2".to_owned(), ..learnt(Verdict::Captured, Source::Webhook) };
    let (_, writes) = world.take(&world.finding(id, other));
    assert_eq!(raised(&writes), [GATEWAY_CONTRADICTION]);
    assert_eq!(world.order(id).state.gateway_payment_id, "pay-1", "the refund under way is not forgotten");
}

#[test]
fn a_paid_order_whose_payment_was_given_back_stays_paid_and_says_so() {
    let (mut world, id) = standing(Stand::Paid);
    let said = |verdict| Learnt { gateway_payment_id: "pay-1".to_owned(), ..learnt(verdict, Source::Worker) };
    let (_, writes) = world.take(&world.report(id, 0, WorkDone::Learnt(said(Verdict::Refunded))));
    assert!(raised(&writes).is_empty());
    let kinds: Vec<_> = writes.changes.iter().map(|change| (change.kind, change.state.payment)).collect();
    assert_eq!(kinds, [(ChangeKind::Refund, PaymentStatus::Refunded)]);
    for verdict in [Verdict::Refunded, Verdict::Captured] {
        let (_, writes) = world.take(&world.report(id, 0, WorkDone::Learnt(said(verdict))));
        assert!(writes.changed.is_empty() && raised(&writes).is_empty(), "{verdict:?}");
    }
}

#[test]
fn a_paid_order_hears_no_second_story() {
    for (verdict, payment, heard) in [
        (Verdict::Captured, "pay-1", false),
        (Verdict::Captured, "pay-2", true),
        (Verdict::Declined, "pay-1", true),
        (Verdict::Voided, "pay-1", true),
        (Verdict::Refunded, "pay-2", true),
    ] {
        let (mut world, id) = standing(Stand::Paid);
        let said = Learnt { gateway_payment_id: payment.to_owned(), ..learnt(verdict, Source::Worker) };
        let (_, writes) = world.take(&world.report(id, 0, WorkDone::Learnt(said)));
        assert_eq!(raised(&writes).contains(&GATEWAY_CONTRADICTION), heard, "{verdict:?} {payment}");
        assert_eq!(writes.facts.len(), usize::from(heard));
        assert!(writes.changed.is_empty());
    }
}

#[test]
fn another_amount_moves_nothing() {
    let eur = Currency::parse("EUR").unwrap();
    for (currency, minor, is_told) in
        [(eur, 200, false), (eur, 199, true), (Currency::parse("USD").unwrap(), 200, true)]
    {
        let (mut world, id) = standing(Stand::Processing);
        let said = Learnt { amount: Some((currency, minor)), ..learnt(Verdict::Captured, Source::Webhook) };
        let (_, writes) = world.take(&world.finding(id, said));
        assert_eq!(raised(&writes).contains(&GATEWAY_CONTRADICTION), is_told);
        let status = if is_told { Status::Processing } else { Status::Paid };
        assert_eq!(world.order(id).state.status, status);
    }
}

#[test]
fn a_failure_carries_its_reason() {
    for (verdict, failure) in [
        (Verdict::Declined, Failure::PaymentDeclined),
        (Verdict::Voided, Failure::PaymentNotTaken),
        (Verdict::Refunded, Failure::PaymentNotTaken),
    ] {
        let (mut world, id) = standing(Stand::Processing);
        let (_, writes) = world.take(&world.finding(id, learnt(verdict, Source::Webhook)));
        let state = &world.order(id).state;
        assert_eq!((state.failure, state.failure_detail.as_str()), (Some(failure), "said so"));
        assert_eq!(writes.changes[0].state.failure, Some(failure), "in the event as well");
    }
}
