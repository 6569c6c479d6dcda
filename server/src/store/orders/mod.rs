//! Orders: what a batch of commands needs to know, what it leaves behind, the claims of workers, and the reads.
//!
//! The number of statements of a batch depends on what kinds of rows it touches, never on how many commands are in it:
//! creates alone cost one lock of products, one write of products, one of orders and one of events. Locks are taken in the
//! order of the house: orders by id, products by id, alerts, event heads.

mod alerts;
mod backlog;
mod claim;
mod letters;
mod load;
mod reads;
mod rows;
mod write;

pub use backlog::{Backlog, backlog};
pub use claim::claim;
pub(in crate::store) use claim::without;
pub use letters::{find_letter, list_letters};
pub use load::{Keys, known_keys, load, load_open};
pub use reads::{find, find_many, list};
pub use write::{is_nothing, write};
