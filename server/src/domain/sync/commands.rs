//! Numbered commands in a Sync: which are in its answer, and what its records say of them.
//!
//! Handing out is part of the Sync's own commit, before the answer leaves: what the device may have heard is known to be out.

use super::call::SyncCall;
use super::fold::Settings;
use super::view::{KnownCommand, MachineView};
use super::writes::{HandOut, Writes};
use crate::domain::command::{Command, NOT_TAKEN, State, WRONG_BOOT, WRONG_EPOCH, number_in, purchase_in};
use std::collections::BTreeSet;
use vend_core::record::Body;

/// Commands in one answer, at most.
const MAX_COMMANDS_PER_ANSWER: usize = 16;
/// Uptime at which a recalled command expired: the device refuses it in its journal if it never took it.
const RECALLED_UPTIME_MS: u64 = 1;

/// A command that was in no answer and whose number the device is past comes from another life of the server's data: it gets
/// one above, as a config does. Only once the whole journal is here, which may show that it was carried out in that life; where
/// a gap may hide that, a purchase's is left to lapse.
fn renumber(view: &mut MachineView, call: &SyncCall, writes: &mut Writes) {
    let gap_named_at_ms = view.gap_named_at_ms;
    let seldom = &mut view.machine.seldom;
    let passed = |known: &KnownCommand| {
        let hidden = known.command.purchase().is_some() && may_be_hidden(known, call, gap_named_at_ms);
        known.command.state == State::Pending && is_passed(known, call) && !hidden
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

fn is_passed(known: &KnownCommand, call: &SyncCall) -> bool {
    known.command.number <= call.commands_done_through
}

/// Whether a gap may have swallowed what the device wrote of it: then a journal without it proves nothing. Of one that was in
/// no answer the device knows only in another life of the server's data.
fn may_be_hidden(known: &KnownCommand, call: &SyncCall, gap_named_at_ms: i64) -> bool {
    let command = &known.command;
    if command.state == State::Pending {
        return is_passed(known, call) && gap_named_at_ms >= command.created_at_ms;
    }
    gap_named_at_ms > command.handed_out_at_ms
}

/// Takes what a record says of a command. A vend names its purchase, whatever number the command has by now; who has the number
/// is told as well.
pub(super) fn hear(view: &mut MachineView, call: &SyncCall, seq: u64, body: &Body, writes: &mut Writes) {
    let number = number_in(body);
    if number == 0 {
        return;
    }
    let seldom = &mut view.machine.seldom;
    seldom.command_number = seldom.command_number.max(number);
    let own = purchase_in(body).and_then(|purchase| {
        view.commands.iter().find(|(_, known)| known.command.purchase() == Some(purchase)).map(|(n, _)| *n)
    });
    for about in own.into_iter().chain((own != Some(number)).then_some(number)) {
        let Some(known) = view.commands.get_mut(&about) else { continue };
        if known.command.hear(body, seq, call.received_at_ms) {
            view.commands_dirty.insert(about);
            writes.heard.extend(known.command.purchase().map(|purchase| (call.machine, purchase)));
        }
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
    /// A gap may hide what became of it: only a person can say, or a record that comes after all.
    Hidden,
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
    let seldom = &mut view.machine.seldom;
    seldom.command_number = seldom.command_number.max(call.commands_done_through);
    if !view.is_heard || !seldom.has_commands {
        return Vec::new();
    }
    if call.last_seq == through {
        renumber(view, call, writes);
    }
    let (gap_named_at_ms, clock_ms, mut hidden) = (view.gap_named_at_ms, view.clock_ms, BTreeSet::new());
    let heard_through = view.machine.commands_done_through;
    let mut answer = Vec::new();
    for (number, known) in &mut view.commands {
        if !known.command.state.is_open() {
            continue;
        }
        let recalled = match fate(known, call, through, heard_through, gap_named_at_ms, clock_ms) {
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
            Fate::Hidden => {
                hidden.insert(*number);
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
            if known.command.purchase().is_some() {
                // What the reservation has left, on the device's own clock as it is in this very call.
                let left_ms =
                    u64::try_from(known.command.expires_at_ms.saturating_sub(clock_ms)).unwrap_or(0);
                known.command.expires_uptime_ms =
                    call.now.at.uptime_ms.saturating_add(left_ms).min(i64::MAX.unsigned_abs());
            }
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
    view.machine.seldom.has_commands = view.commands.iter().any(|(number, known)| {
        known.command.state.is_open() && known.command.epoch == call.epoch && !hidden.contains(number)
    });
    answer
}

fn fate(
    known: &KnownCommand,
    call: &SyncCall,
    through: u64,
    heard_through: u64,
    gap_named_at_ms: i64,
    clock_ms: i64,
) -> Fate {
    let command = &known.command;
    let pending = command.state == State::Pending;
    // Everything the device has written is here. A call of an earlier boot that comes late has fewer records than that.
    let is_whole = call.last_seq == through;
    let is_hidden = may_be_hidden(known, call, gap_named_at_ms);
    if command.epoch != call.epoch {
        // Of one that was handed out to a journal that is gone nobody knows, unless its records come on after all.
        return if pending { Fate::Ends(WRONG_EPOCH) } else { Fate::Waits };
    }
    if command.boot.is_some_and(|boot| boot != call.now.boot) {
        // A power-up writes the outcome of a vend that the cut left open before anything else, so a whole journal without one
        // is proof. A pending command could be handed out too, for the device to refuse it; but that would put its purchase
        // in doubt until the next Sync for nothing, and what never travels can't be misheard.
        return match (is_whole, is_hidden) {
            (true, false) => Fate::Ends(WRONG_BOOT),
            (true, true) => Fate::Hidden,
            (false, _) => Fate::Waits,
        };
    }
    if command.number <= call.commands_done_through.max(heard_through) {
        // Results are journalled before the state claims them: past the number and without one, it was left out for good.
        return match (is_whole && is_passed(known, call), is_hidden) {
            (true, false) => Fate::Ends(NOT_TAKEN),
            (true, true) => Fate::Hidden,
            (false, _) => Fate::Waits,
        };
    }
    let over = command.state_at(clock_ms) != command.state || !known.wanted;
    match (command.state, over, command.purchase()) {
        // Its reservation's lapse gives the unit and the money back.
        (State::Pending, true, Some(_)) => Fate::Waits,
        (State::Pending, true, None) => Fate::Expires,
        (State::InDoubt, _, _) | (_, true, _) => Fate::Recalled,
        (_, false, _) => Fate::Travels,
    }
}
