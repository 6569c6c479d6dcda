//! The pool of remote purchases: what a batch of commands needs to know, what it leaves behind, the claims of workers, and
//! the reads.
//!
//! The number of statements of a batch depends on what kinds of rows it touches, never on how many commands are in it. Locks
//! are taken in the order of the house: machine_sync rows of real machines, pool rows, purchases, products, alerts, event
//! heads. StartWork holds nothing but the rows of candidates: see [`load_starts`].

mod alerts;
mod claim;
mod commands;
mod device;
mod forget;
mod givers;
mod letters;
mod load;
mod reads;
pub(in crate::store) mod rows;
mod starts;
mod told;
mod write;

pub use claim::{claim_due, next_due, overdue};
pub use forget::Forgotten;
pub use letters::{find_letter, list_letters, notice, redrive};
pub use load::load;
pub use reads::{
    count_by_standing, find_purchase, find_session, find_started, lock_machine, of_machine, of_machines,
};
pub use starts::{Look, fitting, load_starts, passed_by};
pub(in crate::store) use told::tell;
pub use write::{freed, is_nothing, write};
