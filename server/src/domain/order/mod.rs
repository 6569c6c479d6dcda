//! Orders against central stock: what an order is, and the pure decision over a batch of commands about orders.
//!
//! PENDING -> PROCESSING -> PAID or FAILED; PENDING -> CANCELLED; the last three are final. Only a definite answer of the
//! gateway ends an order. To add a command: a variant of [`Command`], its decision in [`fold`], a test in `tests/`.

mod command;
mod fold;
mod model;
mod request;
mod settle;
#[cfg(test)]
mod tests;

pub use command::{
    AlertEnd, AlertOp, AlertRaise, Answer, Cancel, Command, Create, DeadLetterNote, Fact, Finding, Learnt,
    OpenOrders, Redrive, Refusal, Report, Source, View, WorkDone, Writes,
};
pub use fold::{claim, fold, repeated};
pub use model::{Change, ChangeKind, DeadLetterKind, Failure, Line, Order, OrderFilter, State, Status, Work};
pub use request::{LineRequest, MAX_LINES, MAX_QUANTITY, NewOrder};
pub use settle::{GATEWAY_CONTRADICTION, LATE_APPROVAL, ORDER_UNSETTLED};
