//! Numbered commands: what is in an answer, and what ends them.

use super::device::{Device, machine};
use super::world::World;
use crate::domain::command::{Command, Dispense, Order, State, WRONG_BOOT};
use crate::domain::ids::PurchaseId;
use crate::domain::pool::Said;
use crate::domain::sync::{
    AlertKind, Answer, CredentialState, KnownCommand, MachineStanding, Standing, SyncCall, Writes,
};
use uuid::Uuid;
use vend_core::id::{ProductId, TransactionId};
use vend_core::money::Currency;

const PURCHASE: PurchaseId = PurchaseId(Uuid::from_u128(77));

impl World {
    /// Queues a command bound to the device as it last spoke, as the store would.
    fn queue(&mut self, device: &Device, order: Order) -> u64 {
        let seldom = &mut self.view.machine.seldom;
        seldom.command_number += 1;
        seldom.has_commands = true;
        let boot = matches!(order, Order::Dispense(_)).then(|| device.boot());
        let number = seldom.command_number;
        let command = Command {
            machine: machine(),
            number,
            state: State::Pending,
            epoch: self.view.machine.current_epoch.unwrap(),
            boot,
            expires_uptime_ms: 600_000,
            order,
            refusal: String::new(),
            result_seq: 0,
            sent_by: "user:op".to_owned(),
            created_at_ms: self.now_ms,
            handed_out_at_ms: 0,
            expires_at_ms: self.now_ms + self.clock_ahead_ms + 60_000,
            ended_at_ms: 0,
        };
        self.view.commands.insert(number, KnownCommand { command, wanted: true });
        number
    }

    fn queue_dispense(&mut self, device: &Device) -> u64 {
        self.queue(device, dispense())
    }

    fn command(&self, number: u64) -> &Command {
        &self.view.commands[&number].command
    }

    fn heard(&self) -> bool {
        self.writes.heard == [(machine(), PURCHASE)]
    }
}

fn dispense() -> Order {
    Order::Dispense(Dispense {
        purchase: PURCHASE,
        slot: 3,
        product: ProductId([3; 16]),
        price_minor: 150,
        currency: Currency::parse("EUR").unwrap(),
    })
}

fn transaction() -> TransactionId {
    TransactionId(*PURCHASE.as_bytes())
}

fn numbers(answer: &Answer) -> Vec<u64> {
    answer.commands.iter().map(|command| command.number).collect()
}

fn spoken() -> (World, Device) {
    let (mut world, mut device) = (World::new(), Device::new(1));
    device.vend();
    world.drain(&mut device);
    (world, device)
}

#[test]
fn a_reservation_runs_out_on_the_databases_clock_and_on_the_devices_own() {
    let (mut world, mut device) = spoken();
    // This server's clock is an hour behind the database's, or behind that of the server that queued the command.
    world.clock_ahead_ms = 3_600_000;
    let number = world.queue_dispense(&device);
    world.now_ms += 20_000;
    let call = device.call(50, world.now_ms);
    let answer = world.take(&call);
    assert_eq!(numbers(&answer), [number]);
    let left_ms = u64::try_from(world.command(number).expires_at_ms - world.view.clock_ms).unwrap();
    assert!((1..=40_000).contains(&left_ms), "{left_ms}");
    let expires_uptime_ms = call.now.at.uptime_ms + left_ms;
    assert_eq!(answer.commands[0].expires_uptime_ms, expires_uptime_ms);
    // Handed out again, it has no longer than that.
    world.now_ms += 10_000;
    assert_eq!(world.sync(&mut device).commands[0].expires_uptime_ms, expires_uptime_ms);

    let (mut world, mut device) = spoken();
    world.queue_dispense(&device);
    world.clock_ahead_ms = 3_600_000;
    assert!(numbers(&world.sync(&mut device)).is_empty(), "its time was over before anybody fetched it");
}

#[test]
fn a_command_travels_until_its_result_came_and_its_purchase_is_in_doubt_from_the_first_answer_on() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    assert_eq!(numbers(&world.sync(&mut device)), [number]);
    assert_eq!(world.writes.handed_out.len(), 1);
    assert_eq!(world.command(number).state, State::HandedOut);
    // The reply was lost: the same again, and handed out once.
    assert_eq!(numbers(&world.sync(&mut device)), [number]);
    assert!(world.writes.handed_out.is_empty());

    device.dispense(number, transaction());
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert!(world.heard());
    assert_eq!(world.command(number).said(), Some(Said::Vended));
    assert!(!world.view.machine.seldom.has_commands, "nothing is left to look for");
}

#[test]
fn at_most_sixteen_travel_lowest_first() {
    let (mut world, mut device) = spoken();
    for _ in 0..20 {
        world.queue(&device, Order::ReturnToService);
    }
    assert_eq!(numbers(&world.sync(&mut device)), (1..=16).collect::<Vec<u64>>());
    for number in 1..=16 {
        device.result(number, "");
    }
    assert_eq!(numbers(&world.sync(&mut device)), [17, 18, 19, 20]);
}

#[test]
fn a_refusal_is_the_machines_own_word() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.result(number, "MACHINE_BUSY");
    world.sync(&mut device);
    assert_eq!(world.command(number).said(), Some(Said::Refused("MACHINE_BUSY".to_owned())));
}

#[test]
fn the_vend_of_another_transaction_under_the_number_is_not_this_ones() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.dispense(number, TransactionId([1; 16]));
    world.sync(&mut device);
    assert_eq!(world.command(number).said(), Some(Said::Changed));
}

#[test]
fn a_restart_before_the_command_ends_it_once_the_whole_journal_is_here() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.restart();
    device.vend();
    let part = device.call(1, world.now_ms);
    let answer = world.take(&part);
    assert!(numbers(&answer).is_empty());
    assert_eq!(world.command(number).state, State::HandedOut, "its vend may still come");
    device.hear(&answer);
    world.sync(&mut device);
    assert_eq!(
        (world.command(number).state, world.command(number).refusal.as_str()),
        (State::Refused, WRONG_BOOT)
    );
    assert!(world.heard());
    assert_eq!(world.command(number).said(), Some(Said::Changed));
}

#[test]
fn a_restart_after_the_motor_tells_of_the_vend() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.dispense(number, transaction());
    device.restart();
    world.sync(&mut device);
    assert_eq!(world.command(number).said(), Some(Said::Vended));
}

#[test]
fn a_pending_command_of_another_boot_never_travels() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    device.restart();
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(number).state, State::Expired);
    assert!(world.writes.handed_out.is_empty() && world.heard());
    assert_eq!(world.command(number).said(), Some(Said::Changed));
}

#[test]
fn a_late_call_of_an_earlier_boot_ends_nothing() {
    let (mut world, mut device) = spoken();
    let late = device.call(50, world.now_ms);
    device.restart();
    world.sync(&mut device);
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    world.take(&late);
    assert_eq!(world.command(number).state, State::HandedOut);
}

#[test]
fn commands_are_bound_to_the_board_that_counts_whoever_else_speaks() {
    let (mut world, mut old) = spoken();
    let before_the_swap = old.call(50, world.now_ms);
    let mut new = Device::new(2);
    new.restart();
    world.drain(&mut new);
    assert_ne!(old.boot(), new.boot());
    let bound = world.view.machine.last_contact.unwrap();

    // It drains: what its credential may still do is upload.
    old.vend();
    let draining =
        SyncCall { credential_state: CredentialState::UploadOnly, ..old.call(50, world.now_ms + 7_000) };
    assert_eq!(world.take(&draining).standing, Standing::Draining);
    // And a call of it from before the swap comes late.
    world.take(&SyncCall { received_at_ms: world.now_ms, ..before_the_swap });

    let now = world.view.machine.last_contact.unwrap();
    assert_eq!(now.boot, new.boot());
    assert!(now.at_ms >= bound.at_ms + 7_000, "it is known that somebody spoke");
    let ran_on = i64::try_from(now.uptime_ms - bound.uptime_ms).unwrap();
    assert_eq!(ran_on, now.at_ms - bound.at_ms, "the board that counts ran on meanwhile");
}

#[test]
fn a_late_call_of_an_earlier_boot_is_none_to_bind_commands_to() {
    let (mut world, mut device) = spoken();
    let late = device.call(50, world.now_ms);
    device.restart();
    world.sync(&mut device);
    world.take(&late);
    assert_eq!(world.view.machine.last_contact.unwrap().boot, device.boot());
}

#[test]
fn a_lost_journal_leaves_the_doubt_to_an_operator() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.reflash();
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(number).said(), None);
    assert!(!world.view.machine.seldom.has_commands);
}

#[test]
fn a_number_the_machine_is_past_without_a_result_was_left_out() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.commands_done = number;
    world.sync(&mut device);
    assert_eq!(world.command(number).said(), Some(Said::Changed));
}

#[test]
fn after_a_restore_numbers_go_on_above_what_the_machine_knows() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    device.result(5, "");
    let answer = world.sync(&mut device);
    assert_eq!(world.writes.renumbered, [(machine(), number, 6)]);
    assert_eq!(numbers(&answer), [6]);
}

#[test]
fn after_a_restore_a_vend_is_its_purchases_under_whatever_number_it_was_made() {
    for in_the_other_life in [1, 4] {
        let (mut world, mut device) = spoken();
        let number = world.queue_dispense(&device);
        // Handed out and carried out in a life of the data that the restore has undone.
        device.dispense(in_the_other_life, transaction());
        assert!(numbers(&world.sync(&mut device)).is_empty(), "it would be dispensed a second time");
        assert!(world.writes.renumbered.is_empty());
        assert!(world.heard());
        assert_eq!(world.command(number).said(), Some(Said::Vended));
    }
}

#[test]
fn after_a_restore_nothing_is_handed_out_again_before_the_whole_journal_is_here() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    device.vend();
    device.dispense(number, transaction());
    let part = device.call(1, world.now_ms);
    let answer = world.take(&part);
    assert!(numbers(&answer).is_empty() && world.writes.renumbered.is_empty());
    device.hear(&answer);
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(number).said(), Some(Said::Vended));
}

#[test]
fn after_a_restore_a_number_that_was_anothers_leaves_the_command_to_go_on_under_a_new_one() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    device.dispense(number, TransactionId([1; 16]));
    let answer = world.sync(&mut device);
    assert_eq!(world.writes.renumbered, [(machine(), number, number + 1)]);
    assert_eq!(numbers(&answer), [number + 1]);
}

/// Records that nobody holds any more: the device's flash lost them, and it goes on behind.
fn lose_unsent(world: &mut World, device: &mut Device) {
    let lost = device.last_seq();
    device.current().pruned = lost;
    device.vend();
    world.drain(device);
    assert!(world.raised(AlertKind::RecordsMissing));
}

#[test]
fn a_vend_that_a_gap_may_hide_stays_in_doubt() {
    for restarts in [false, true] {
        let (mut world, mut device) = spoken();
        let number = world.queue_dispense(&device);
        world.sync(&mut device);
        device.dispense(number, transaction());
        if restarts {
            device.restart();
        }
        lose_unsent(&mut world, &mut device);
        world.sync(&mut device);
        assert_eq!((world.command(number).state, world.command(number).said()), (State::HandedOut, None));
        assert!(!world.view.machine.seldom.has_commands, "nothing but a person can end it");
    }
}

#[test]
fn a_gap_from_before_a_command_was_handed_out_hides_nothing_of_it() {
    let (mut world, mut device) = spoken();
    device.vend();
    lose_unsent(&mut world, &mut device);
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    device.commands_done = number;
    world.sync(&mut device);
    assert_eq!(world.command(number).said(), Some(Said::Changed));
}

#[test]
fn after_a_restore_a_purchase_that_a_gap_may_hide_is_not_dispensed_again() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    device.dispense(number, transaction());
    lose_unsent(&mut world, &mut device);
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(number).state, State::Pending, "it lapses");
}

#[test]
fn what_nobody_wants_any_more_is_recalled() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.sync(&mut device);
    world.view.commands.get_mut(&number).unwrap().wanted = false;
    let answer = world.sync(&mut device);
    assert_eq!((answer.commands[0].number, answer.commands[0].expires_uptime_ms), (number, 1));
}

#[test]
fn a_command_that_nobody_fetched_in_time_never_travels() {
    let (mut world, mut device) = spoken();
    let operators = world.queue(&device, Order::OutOfService("works".to_owned()));
    let purchase = world.queue_dispense(&device);
    world.now_ms += 60_000;
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(operators).state, State::Expired);
    // Its own worker gives the unit back.
    assert_eq!(world.command(purchase).state, State::Pending);
    assert_eq!(world.command(purchase).state_at(world.now_ms), State::Expired);
}

#[test]
fn clones_are_told_nothing() {
    let (mut world, mut device) = spoken();
    let number = world.queue_dispense(&device);
    world.view.machine.standing = MachineStanding::Cloned;
    assert!(numbers(&world.sync(&mut device)).is_empty());
    assert_eq!(world.command(number).state, State::Pending);
    assert_eq!(world.writes.handed_out, Writes::default().handed_out);
}

#[test]
fn a_twin_that_was_split_off_is_none_to_bind_commands_to() {
    let (mut world, mut twin) = (World::new(), Device::new(1));
    world.drain(&mut twin);
    let mut kept = twin.clone();
    kept.diverge(9);
    kept.reflash();
    kept.restart();
    world.drain(&mut kept);
    assert_eq!(world.view.machine.last_contact.unwrap().boot, kept.boot());
    twin.vend();
    let call = twin.call(50, world.now_ms);
    world.view.epochs.get_mut(&call.epoch).unwrap().moved_to = Some(machine());
    assert!(world.take(&call).reenroll_as.is_some());
    assert_eq!(world.view.machine.last_contact.unwrap().boot, kept.boot());
}
