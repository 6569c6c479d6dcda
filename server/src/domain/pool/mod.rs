//! The pool of remote purchases: who gets which machine, and how a purchase goes on from there. Pure decisions over batches.
//!
//! A machine is idle -> choose_product -> processing -> idle; a purchase is a saga whose every step is a value. To add a
//! command: a variant of [`Command`], its decision in a module of its own, a test in `tests/`.

mod batch;
mod choose;
mod command;
mod end;
mod model;
mod report;
mod reset;
mod shown;
mod start;
#[cfg(test)]
mod tests;

pub use batch::{Bound, Doubt, NewCommand, Offer, PoolAlert, StockCrossing, View, Writes};
pub use command::{
    Answer, Choose, Command, Job, JobDone, Pick, Refusal, Report, Reset, Resolution, Resolve, Said, Settings,
    Start,
};
pub use end::{MACHINE_RESTING, PURCHASE_IN_DOUBT};
pub use model::{
    Failure, MachineKind, Mode, NEVER, Pooled, Purchase, PurchaseChange, PurchaseState, Session,
    SessionState, Standing, Work,
};
pub use report::{LATE_VEND, SOLD_LOCALLY, claim, hand_out, hear, notice, redrive};
pub use shown::Shown;

use crate::domain::ids::Ids;

/// Decides one command on the view, after all that came before it in the batch. A refusal changes nothing, but that a lease
/// which is over may be noted as such.
pub fn fold(
    view: &mut View,
    command: &Command,
    settings: &Settings,
    ids: &mut dyn Ids,
    writes: &mut Writes,
) -> Answer {
    match command {
        Command::Start(start) => start::start(view, start, settings, writes),
        Command::Choose(choose) => choose::choose(view, choose, settings, ids, writes),
        Command::Reset(reset) => {
            let before = writes.told();
            let answer = reset::reset(view, reset, settings, ids, writes);
            writes.follows_from(before, &reset.trace_id, &reset.traceparent);
            answer
        }
        Command::Resolve(resolve) => {
            let before = writes.told();
            let answer = report::resolve(view, resolve, settings, ids, writes);
            writes.follows_from(before, &resolve.trace_id, &resolve.traceparent);
            answer
        }
        Command::Report(report) => report::report(view, report, settings, ids, writes),
        Command::Free(machine, at_ms) => {
            start::free(view, *machine, *at_ms, writes);
            Answer::Stale
        }
    }
}
