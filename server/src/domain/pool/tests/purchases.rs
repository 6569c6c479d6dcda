//! One purchase at a time.

use super::world::{LEASE_MS, PRODUCT, World, euro};
use crate::domain::payment::{PaymentStatus, Trouble};
use crate::domain::pool::{
    Answer, Choose, Command, Failure, JobDone, LATE_VEND, MACHINE_RESTING, MachineKind, Mode,
    PURCHASE_IN_DOUBT, Purchase, PurchaseState, Refusal, Resolution, Resolve, Said, SessionState, Standing,
    Work, Writes, hear, notice,
};

fn unknown() -> JobDone {
    JobDone::Unknown { trouble: Trouble::Timeout, detail: "no answer".to_owned(), again_in_ms: 1_000 }
}

#[test]
fn the_lowest_in_usage_then_longest_unpicked_then_id_is_picked() {
    let mut world = World::virtual_machines(3, 9);
    let mut order = Vec::new();
    for request in 0..6 {
        let purchase = world.bought(Mode::None, request);
        order.push(purchase.machine.0.as_u128());
        world.view.clock_ms += 100;
        world.work(purchase.id, JobDone::Elapsed);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn nothing_idle_is_refused_and_a_lease_that_is_over_frees_its_machine() {
    let mut world = World::virtual_machines(1, 1);
    let (first, machine) = world.started(1).unwrap();
    assert_eq!(world.start(2), Answer::Refused(Refusal::NoIdleMachine));
    world.view.clock_ms += LEASE_MS;
    let (second, again) = world.started(3).unwrap();
    assert_eq!(machine, again);
    assert_eq!(world.view.sessions[&first].state, SessionState::Expired);
    let Answer::Refused(Refusal::SessionExpired(id, _)) = world.choose(first, Mode::None, 4) else {
        panic!()
    };
    assert_eq!(id, first);
    assert_eq!(world.machine(machine).session, Some(second));
}

#[test]
fn a_repeated_start_gives_the_same_session_and_renews_nothing() {
    let mut world = World::virtual_machines(2, 1);
    let Answer::Started { session, already: false } = world.start(1) else { panic!() };
    world.view.clock_ms += 10;
    assert_eq!(world.start(1), Answer::Started { session, already: true });
}

#[test]
fn a_purchase_without_payment_takes_one_unit_and_counts_once() {
    let mut world = World::virtual_machines(1, 2);
    let purchase = world.bought(Mode::None, 1);
    assert_eq!((world.stock(), purchase.state), (1, PurchaseState::Dispensing));
    assert!(world.claim(purchase.id).is_none(), "the delay is not over");
    world.view.clock_ms += 100;
    let claimed = world.claim(purchase.id).unwrap();
    world.report(&claimed, JobDone::Elapsed);
    assert_eq!(world.report(&claimed, JobDone::Elapsed), Answer::Stale);
    let machine = world.machine(purchase.machine);
    assert_eq!((machine.usage, machine.standing, world.stock()), (1, Standing::Idle, 1));
    assert_eq!(world.purchase(purchase.id).state, PurchaseState::Completed);
}

#[test]
fn with_the_gateway_it_authorises_dispenses_and_captures() {
    let mut world = World::virtual_machines(1, 1);
    let purchase = world.bought(Mode::Gateway, 1);
    assert_eq!(purchase.state, PurchaseState::Authorising);
    world.work(purchase.id, JobDone::Authorised("pay-1".to_owned()));
    assert_eq!(world.purchase(purchase.id).state, PurchaseState::Dispensing);
    world.view.clock_ms += 100;
    world.work(purchase.id, JobDone::Elapsed);
    assert_eq!(world.machine(purchase.machine).usage, 0);
    world.work(purchase.id, JobDone::Captured(String::new()));
    let done = world.purchase(purchase.id);
    assert_eq!((done.state, done.payment), (PurchaseState::Completed, PaymentStatus::Captured));
    assert_eq!(world.machine(purchase.machine).usage, 1);
}

#[test]
fn a_price_of_nothing_is_asked_of_no_gateway() {
    let mut world = World::virtual_machines(1, 1);
    world.priced(0);
    let purchase = world.bought(Mode::Gateway, 1);
    assert_eq!(
        (purchase.state, purchase.payment, purchase.work),
        (PurchaseState::Dispensing, PaymentStatus::NotRequired, Work::Dispense)
    );
    assert_eq!(purchase.as_made(), purchase);
    world.work_when_due(purchase.id, JobDone::Elapsed);
    let ended = world.purchase(purchase.id);
    assert_eq!((ended.state, ended.payment), (PurchaseState::Completed, PaymentStatus::NotRequired));
    let mut world = World::virtual_machines(1, 1);
    world.priced(0);
    let purchase = world.bought(Mode::Gateway, 1);
    world.reset(purchase.machine, purchase.session);
    assert_eq!((world.purchase(purchase.id).state, world.stock()), (PurchaseState::Failed, 1));
}

#[test]
fn a_declined_payment_gives_the_unit_back_and_frees_the_machine() {
    let mut world = World::virtual_machines(1, 1);
    let purchase = world.bought(Mode::Gateway, 1);
    world.work(purchase.id, JobDone::Declined("card".to_owned()));
    let done = world.purchase(purchase.id);
    assert_eq!((done.state, done.failure), (PurchaseState::Failed, Some(Failure::PaymentDeclined)));
    assert_eq!((world.stock(), world.machine(purchase.machine).standing), (1, Standing::Idle));
}

#[test]
fn an_authorisation_without_an_answer_is_voided_and_nothing_is_dispensed() {
    let mut world = World::virtual_machines(1, 1);
    let purchase = world.bought(Mode::Gateway, 1);
    world.work(purchase.id, unknown());
    assert_eq!(world.purchase(purchase.id).state, PurchaseState::Voiding);
    assert_eq!((world.stock(), world.machine(purchase.machine).standing), (1, Standing::Idle));
    world.work(purchase.id, unknown());
    assert_eq!(world.writes.dead_letters.len(), 1);
    world.view.clock_ms += 1_000;
    world.work(purchase.id, JobDone::Voided);
    assert_eq!(world.purchase(purchase.id).state, PurchaseState::Failed);
    assert_eq!(world.stock(), 1);
}

#[test]
fn a_reset_beats_a_late_job() {
    for mode in [Mode::None, Mode::Gateway] {
        let mut world = World::virtual_machines(1, 1);
        let purchase = world.bought(mode, 1);
        if mode == Mode::Gateway {
            world.work(purchase.id, JobDone::Authorised("pay-1".to_owned()));
        }
        world.view.clock_ms += 100;
        let claimed = world.claim(purchase.id).unwrap();
        let Answer::Reset { standing, units_returned, .. } = world.reset(purchase.machine, purchase.session)
        else {
            panic!()
        };
        assert_eq!((standing, units_returned, world.stock()), (Standing::Idle, 1, 1));
        let back = &world.writes.changes[0];
        assert_eq!((back.trace_id.as_str(), back.traceparent.as_str()), ("by-hand", "00-by-hand"));
        assert_eq!(world.report(&claimed, JobDone::Elapsed), Answer::Stale);
        assert_eq!(world.machine(purchase.machine).usage, 0);
        let again = world.reset(purchase.machine, purchase.session);
        assert_eq!(again, Answer::Refused(Refusal::AlreadyIdle(purchase.machine)));
    }
}

#[test]
fn three_failures_in_a_row_rest_a_machine() {
    let mut world = World::virtual_machines(1, 9);
    for request in 0..3 {
        let purchase = world.bought(Mode::Gateway, request);
        world.work(purchase.id, JobDone::Declined(String::new()));
    }
    assert_eq!(world.traces_of(MACHINE_RESTING), [("bought", "00-bought")]);
    assert_eq!(world.start(10), Answer::Refused(Refusal::NoIdleMachine));
    world.view.clock_ms += 10_000;
    assert!(world.started(11).is_some());
}

#[test]
fn a_silent_gateway_and_a_person_at_the_machine_rest_nobody() {
    let mut world = World::virtual_machines(1, 9);
    for request in 0..5 {
        let purchase = world.bought(Mode::Gateway, request);
        world.work(purchase.id, unknown());
        assert_eq!(world.machine(purchase.machine).failures, 0);
    }
    assert!(world.started(10).is_some());

    let mut world = World::real_machines(1, 9);
    for request in 0..5 {
        let purchase = world.bought(Mode::None, request);
        world.hand_out(purchase.id);
        world.work_when_due(purchase.id, JobDone::Said(Said::Refused("MACHINE_BUSY".to_owned())));
        assert_eq!(world.machine(purchase.machine).failures, 0);
    }
    for request in 5..8 {
        let purchase = world.bought(Mode::None, request);
        world.hand_out(purchase.id);
        world.work_when_due(purchase.id, JobDone::Said(Said::Refused("OUT_OF_SERVICE".to_owned())));
    }
    assert_eq!(world.start(10), Answer::Refused(Refusal::NoIdleMachine), "other refusals count");
}

#[test]
fn a_product_that_comes_out_ends_the_row_of_failures_and_its_alert() {
    let mut world = World::virtual_machines(1, 9);
    for request in 0..3 {
        let purchase = world.bought(Mode::Gateway, request);
        world.work(purchase.id, JobDone::Declined(String::new()));
    }
    let of_rest = |world: &World| {
        let alerts = world.writes.alerts.iter().filter(|alert| alert.kind == MACHINE_RESTING);
        alerts.map(|alert| alert.raise.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(of_rest(&world), [true]);
    world.view.clock_ms += 10_000;
    let purchase = world.bought(Mode::None, 10);
    assert!(of_rest(&world).is_empty(), "that it may be tried again proves nothing");
    world.work_when_due(purchase.id, JobDone::Elapsed);
    assert_eq!((of_rest(&world), world.machine(purchase.machine).failures), (vec![false], 0));
    let purchase = world.bought(Mode::None, 11);
    world.work_when_due(purchase.id, JobDone::Elapsed);
    assert!(of_rest(&world).is_empty());
}

#[test]
fn a_machine_is_free_once_the_product_is_out_and_counts_once_the_money_is_taken() {
    for mut world in [World::virtual_machines(1, 9), World::real_machines(1, 9)] {
        let purchase = world.bought(Mode::Gateway, 1);
        world.work(purchase.id, JobDone::Authorised("pay-1".to_owned()));
        world.hand_out(purchase.id);
        let out = if world.is_real() { JobDone::Said(Said::Vended) } else { JobDone::Elapsed };
        world.work_when_due(purchase.id, out);
        assert_eq!(world.purchase(purchase.id).state, PurchaseState::Capturing);
        assert_eq!(world.view.sessions[&purchase.session].state, SessionState::Completed);
        let machine = world.machine(purchase.machine).clone();
        assert_eq!((machine.standing, machine.session, machine.usage), (Standing::Idle, None, 0));
        // There is nothing to reset, and the next customer is served.
        let late = world.reset(purchase.machine, purchase.session);
        assert_eq!(late, Answer::Refused(Refusal::AlreadyIdle(purchase.machine)));
        let (next, _) = world.started(2).unwrap();
        let late = world.reset(purchase.machine, purchase.session);
        assert_eq!(late, Answer::Refused(Refusal::SessionEnded(purchase.session, Some(next))));
        world.work(purchase.id, JobDone::Captured(String::new()));
        assert_eq!(world.purchase(purchase.id).state, PurchaseState::Completed);
        let machine = world.machine(purchase.machine);
        assert_eq!((machine.usage, machine.session), (1, Some(next)), "it counts, and disturbs nobody");
    }
}

#[test]
fn a_repeated_choice_is_answered_as_at_first_whatever_came_of_it() {
    for mode in [Mode::None, Mode::Gateway] {
        let mut world = World::real_machines(1, 9);
        let first = world.bought(mode, 1);
        let made = first.as_made();
        assert_eq!(made, first);
        world.view.clock_ms += 700;
        if mode == Mode::Gateway {
            world.work(first.id, JobDone::Authorised("pay-1".to_owned()));
        }
        let shown = |purchase: &Purchase| {
            let of = purchase.as_made();
            (of.state, of.payment, of.command_number, of.reservation_end_ms, of.gateway_payment_id)
        };
        assert_eq!(shown(world.purchase(first.id)), shown(&made));
        assert!(world.purchase(first.id).reservation_end_ms > 0, "it lapses now");
        world.hand_out(first.id);
        world.work_when_due(first.id, JobDone::Said(Said::Failed("JAM".to_owned())));
        assert_eq!(shown(world.purchase(first.id)), shown(&made));
    }
}

#[test]
fn a_changed_price_is_refused_and_nothing_changes() {
    let mut world = World::virtual_machines(1, 1);
    let (session, machine) = world.started(1).unwrap();
    let purchase = crate::domain::ids::PurchaseId(uuid::Uuid::from_u128(5));
    let answer = world.tell(&Command::Choose(Choose {
        purchase,
        session,
        on: Some((machine, MachineKind::Virtual)),
        product: PRODUCT,
        expected_price: Some((euro(), 140)),
        mode: Mode::None,
        caller: "service:shop".to_owned(),
        request_id: uuid::Uuid::from_u128(9),
        fingerprint: [2; 32],
        at_ms: 1,
        trace_id: String::new(),
        traceparent: String::new(),
    }));
    assert!(matches!(answer, Answer::Refused(Refusal::PriceChanged { .. })), "{answer:?}");
    assert_eq!((world.stock(), world.machine(machine).standing), (1, Standing::ChooseProduct));
}

#[test]
fn a_command_never_handed_out_expires_and_the_slot_is_free_again() {
    let mut world = World::real_machines(1, 1);
    let purchase = world.bought(Mode::None, 1);
    assert_eq!((world.reserved, world.writes.commands.len(), purchase.command_number), (1, 1, 1));
    world.view.clock_ms += 5_000;
    world.work(purchase.id, JobDone::Elapsed);
    assert_eq!(world.purchase(purchase.id).failure, Some(Failure::Expired));
    assert_eq!((world.reserved, world.writes.expired.len()), (0, 1));
}

#[test]
fn a_command_handed_out_is_in_doubt_until_the_machine_or_an_operator_says() {
    for (said, state, failure) in [
        (Said::Vended, PurchaseState::Completed, None),
        (Said::Failed("JAM".to_owned()), PurchaseState::Failed, Some(Failure::VendFailed)),
        (Said::Refused("SLOT_EMPTY".to_owned()), PurchaseState::Failed, Some(Failure::SoldLocally)),
        (Said::Refused("MACHINE_BUSY".to_owned()), PurchaseState::Failed, Some(Failure::Refused)),
        (Said::Changed, PurchaseState::Failed, Some(Failure::MachineChanged)),
    ] {
        let mut world = in_doubt();
        let id = *world.view.purchases.keys().next().unwrap();
        let machine = world.purchase(id).machine;
        assert_eq!(world.start(50), Answer::Refused(Refusal::NoIdleMachine));
        world.view.clock_ms += 10_000;
        world.work(id, JobDone::Said(said));
        assert_eq!((world.purchase(id).state, world.purchase(id).failure), (state, failure));
        assert_eq!((world.reserved, world.machine(machine).standing), (0, Standing::Idle));
    }
    for (resolution, state) in
        [(Resolution::Dispensed, PurchaseState::Completed), (Resolution::NotDispensed, PurchaseState::Failed)]
    {
        let mut world = in_doubt();
        let id = *world.view.purchases.keys().next().unwrap();
        let resolve = Resolve {
            purchase: id,
            resolution,
            note: "saw it".to_owned(),
            at_ms: 5,
            trace_id: "by-hand".to_owned(),
            traceparent: "00-by-hand".to_owned(),
        };
        world.tell(&Command::Resolve(resolve.clone()));
        assert_eq!((world.purchase(id).state, world.reserved), (state, 0));
        let ended = world.traces_of(PURCHASE_IN_DOUBT);
        assert!(
            !ended.is_empty() && ended.iter().all(|trace| *trace == ("by-hand", "00-by-hand")),
            "{ended:?}"
        );
        let again = world.tell(&Command::Resolve(resolve));
        assert!(matches!(again, Answer::Refused(Refusal::NotInDoubt(..))), "{again:?}");
    }
}

#[test]
fn a_reset_ends_the_session_and_not_the_doubt() {
    let mut world = in_doubt();
    let id = *world.view.purchases.keys().next().unwrap();
    let purchase = world.purchase(id).clone();
    let Answer::Reset { standing, units_returned, session } = world.reset(purchase.machine, purchase.session)
    else {
        panic!()
    };
    assert_eq!((standing, units_returned, session.state), (Standing::InDoubt, 0, SessionState::Reset));
    assert_eq!(world.start(60), Answer::Refused(Refusal::NoIdleMachine));
    world.view.clock_ms += 10_000;
    world.work(id, JobDone::Said(Said::Vended));
    assert!(world.writes.alerts.iter().any(|alert| alert.kind == LATE_VEND && alert.raise.is_some()));
    assert_eq!(world.machine(purchase.machine).standing, Standing::Idle);
    assert_eq!(world.purchase(id).state, PurchaseState::Completed);
}

#[test]
fn what_a_machine_says_while_money_is_let_go_is_looked_at_afterwards() {
    let mut world = in_doubt_paid_by(Mode::Gateway);
    let id = *world.view.purchases.keys().next().unwrap();
    let at_ms = world.view.clock_ms;
    let resolve = Resolve {
        purchase: id,
        resolution: Resolution::NotDispensed,
        note: "looked".to_owned(),
        at_ms,
        trace_id: "by-hand".to_owned(),
        traceparent: "00-by-hand".to_owned(),
    };
    world.tell(&Command::Resolve(resolve));
    assert_eq!(world.purchase(id).state, PurchaseState::Voiding);
    let mut purchase = world.purchase(id).clone();
    hear(&mut purchase, at_ms);
    world.view.purchases.insert(id, purchase);
    world.work(id, JobDone::Voided);
    assert_eq!(world.purchase(id).state, PurchaseState::Failed);
    world.work(id, JobDone::Said(Said::Vended));
    assert!(world.writes.alerts.iter().any(|alert| alert.kind == LATE_VEND && alert.raise.is_some()));
    assert!(world.claim(id).is_none(), "told once");
}

#[test]
fn news_of_the_gateway_has_it_asked_at_once_unless_a_worker_may_be_asking() {
    let mut world = World::virtual_machines(1, 1);
    let id = world.bought(Mode::Gateway, 1).id;
    let mut writes = Writes::default();
    let mut told = |world: &mut World, set_aside| {
        notice(&mut world.view, id, set_aside, 5_000, &mut writes).then(|| world.purchase(id).due_at_ms)
    };
    assert_eq!(told(&mut world, false), None, "it is due");
    let asking = world.claim(id).unwrap();
    let over_ms = world.view.clock_ms + 5_000;
    assert_eq!(told(&mut world, false), Some(over_ms), "a killed worker's claim would last longer");
    assert_eq!(told(&mut world, false), None);
    world.report(&asking, unknown());
    world.work(id, unknown());
    assert_eq!(world.purchase(id).state, PurchaseState::Voiding);
    assert_eq!(told(&mut world, true), Some(1));
    world.work(id, JobDone::Voided);
    assert_eq!(told(&mut world, true), None, "it is over");
}

fn in_doubt() -> World {
    in_doubt_paid_by(Mode::None)
}

fn in_doubt_paid_by(mode: Mode) -> World {
    let mut world = World::real_machines(1, 2);
    let made = world.bought(mode, 1);
    if mode == Mode::Gateway {
        world.work(made.id, JobDone::Authorised("pay-1".to_owned()));
    }
    world.hand_out(made.id);
    let standing = world.machine(made.machine).standing;
    assert_eq!((world.purchase(made.id).state, standing), (PurchaseState::InDoubt, Standing::InDoubt));
    world
}
