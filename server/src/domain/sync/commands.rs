//! Numbered commands in a Sync: which are in its answer, and what its records say of them.
//!
//! Handing out is part of the Sync's own commit, before the answer leaves: what the device may have heard is known to be out.

use super::call::SyncCall;
use super::fold::Settings;
use super::view::{KnownCommand, MachineView};
use super::writes::{HandOut, Writes};
use crate::domain::command::{Command, NOT_TAKEN, State, WRONG_BOOT, WRONG_EPOCH, number_in};
use vend_core::record::Body;

/// Commands in one answer, at most.
const MAX_COMMANDS_PER_ANSWER: usize = 16;
/// Uptime at which a recalled command expired: the device refuses it in its journal if it never took it.
const RECALLED_UPTIME_MS: u64 = 1;

/// A command that was in no answer and whose number the device is past comes from another life of the server's data: it gets
/// one above, as a config does. Before the call's records are heard, which may be about the old holder of the number.
pub(super) fn renumber(view: &mut MachineView, call: &SyncCall, writes: &mut Writes) {
    let seldom = &mut view.machine.seldom;
    seldom.command_number = seldom.command_number.max(call.commands_done_through);
    let passed = |known: &KnownCommand| {
        known.command.state == State::Pending && known.command.number <= call.commands_done_through
    };
    let old: Vec<u64> = view.commands.iter().filter(|(_, known)| passed(known)).map(|(n, _)| *n).collect();
    for number in old {
        let Some(mut known) = view.commands.remove(&number) else { continue };
        seldom.command_number = seldom.command_number.saturating_add(1);
        known.command.number = seldom.command_number;
        writes.renumbered.push((call.machine, number, known.command.number));
        view.commands.insert(known.command.number, known);
    }
}

/// Takes what a record says of a command.
pub(super) fn hear(view: &mut MachineView, call: &SyncCall, seq: u64, body: &Body, writes: &mut Writes) {
    let number = number_in(body);
    if number == 0 {
        return;
    }
    let seldom = &mut view.machine.seldom;
    seldom.command_number = seldom.command_number.max(number);
    let Some(known) = view.commands.get_mut(&number) else { return };
    if known.command.hear(body, seq, call.received_at_ms) {
        view.commands_dirty.insert(number);
        writes.heard.extend(known.command.purchase().map(|purchase| (call.machine, purchase)));
    }
}

/// What becomes of one command now.
enum Fate {
    /// It is in the answer.
    Travels,
    /// It is in the answer as one that has expired: whoever wanted it does not any more, and so it is settled.
    Recalled,
    /// It can't be carried out any more.
    Ends(&'static str),
    /// Its time is over, and it was in no answer.
    Expires,
    /// Something else decides.
    Waits,
}

/// The commands of the answer; `through` is the main chain's mark. Nothing for a device that has none: one flag is looked at.
pub(super) fn hand_out(
    view: &mut MachineView,
    call: &SyncCall,
    through: u64,
    settings: &Settings,
    writes: &mut Writes,
) -> Vec<Command> {
    if !view.is_heard || !view.machine.seldom.has_commands {
        return Vec::new();
    }
    let heard_through = view.machine.commands_done_through;
    let mut answer = Vec::new();
    for (number, known) in &mut view.commands {
        if !known.command.state.is_open() {
            continue;
        }
        let recalled = match fate(known, call, through, heard_through) {
            Fate::Travels => false,
            Fate::Recalled => true,
            Fate::Ends(reason) => {
                known.command.end_unheard(reason, call.received_at_ms);
                view.commands_dirty.insert(*number);
                writes.heard.extend(known.command.purchase().map(|purchase| (call.machine, purchase)));
                continue;
            }
            Fate::Expires => {
                known.command.state = State::Expired;
                known.command.ended_at_ms = call.received_at_ms;
                view.commands_dirty.insert(*number);
                continue;
            }
            Fate::Waits => continue,
        };
        if answer.len() >= MAX_COMMANDS_PER_ANSWER {
            continue;
        }
        if known.command.state == State::Pending {
            known.command.state = State::HandedOut;
            known.command.handed_out_at_ms = call.received_at_ms;
            view.commands_dirty.insert(*number);
            writes.handed_out.extend(known.command.purchase().map(|purchase| HandOut {
                machine: call.machine,
                purchase,
                look_again_in_ms: settings.doubt_after_ms,
            }));
        }
        let mut command = known.command.clone();
        if recalled {
            command.expires_uptime_ms = RECALLED_UPTIME_MS;
        }
        answer.push(command);
    }
    view.machine.seldom.has_commands = view
        .commands
        .values()
        .any(|known| known.command.state.is_open() && known.command.epoch == call.epoch);
    answer
}

fn fate(known: &KnownCommand, call: &SyncCall, through: u64, heard_through: u64) -> Fate {
    let command = &known.command;
    let pending = command.state == State::Pending;
    // Everything the device has written is here. A call of an earlier boot that comes late has fewer records than that.
    let is_whole = call.last_seq == through;
    if command.epoch != call.epoch {
        // Of one that was handed out to a journal that is gone nobody knows, unless its records come on after all.
        return if pending { Fate::Ends(WRONG_EPOCH) } else { Fate::Waits };
    }
    if command.boot.is_some_and(|boot| boot != call.now.boot) {
        // A power-up writes the outcome of a vend that the cut left open before anything else, so a whole journal without one
        // is proof. A pending command could be handed out too, for the device to refuse it; but that would put its purchase
        // in doubt until the next Sync for nothing, and what never travels can't be misheard.
        return if is_whole { Fate::Ends(WRONG_BOOT) } else { Fate::Waits };
    }
    if command.number <= call.commands_done_through.max(heard_through) {
        // Results are journalled before the state claims them: past the number and without one, it was left out for good.
        let left_out = is_whole && command.number <= call.commands_done_through;
        return if left_out { Fate::Ends(NOT_TAKEN) } else { Fate::Waits };
    }
    let over = command.state_at(call.received_at_ms) != command.state || !known.wanted;
    match (command.state, over, command.purchase()) {
        // Its reservation's lapse gives the unit and the money back.
        (State::Pending, true, Some(_)) => Fate::Waits,
        (State::Pending, true, None) => Fate::Expires,
        (State::InDoubt, _, _) | (_, true, _) => Fate::Recalled,
        (_, false, _) => Fate::Travels,
    }
}
