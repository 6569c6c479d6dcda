//! Configs as the server keeps them, and how far they are on a machine.

use crate::domain::ids::MachineId;
use crate::domain::text::{Label, Text};
use std::collections::HashSet;
use vend_core::config::Config;
use vend_core::config::check::check;
use vend_core::id::{ConfigId, ProductId};

/// A config to be kept. Its content has no id yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewConfig {
    /// The operator's name for it.
    pub name: Text<1, 64>,
    /// Free text.
    pub note: Text<0, 1024>,
    /// What machines get.
    pub config: Config,
    /// Who makes it.
    pub by: String,
}

/// A config as it is kept. Never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigRow {
    /// Its name.
    pub id: ConfigId,
    /// The operator's name for it.
    pub name: String,
    /// Free text.
    pub note: String,
    /// The bytes machines get. Empty in a list.
    pub body: Vec<u8>,
    /// SHA-256 over `body`.
    pub sha256: [u8; 32],
    /// Who made it.
    pub created_by: String,
    /// When, ms since the Unix epoch.
    pub created_at_ms: i64,
}

/// One thing wrong with a config, in the contract's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigProblem {
    /// Path inside the config, e.g. `slots[3].product_id`; empty: the config as a whole.
    pub field: String,
    /// The rule.
    pub rule: String,
}

/// What is wrong with a config: the machine's own rules, so that none refuses what was kept here, and its products against
/// the catalogue. `on_sale` are the products of the config that exist and are not archived.
pub fn check_config(config: &Config, on_sale: &HashSet<ProductId>) -> Vec<ConfigProblem> {
    let mut problems: Vec<ConfigProblem> = check(config, &[])
        .into_iter()
        .map(|refusal| ConfigProblem {
            field: if refusal.field == "currency" { "currency_code".to_owned() } else { refusal.field },
            rule: refusal.reason,
        })
        .collect();
    for (index, product) in config.products.iter().enumerate() {
        if !on_sale.contains(&product.id) {
            problems.push(ConfigProblem {
                field: format!("products[{index}].product_id"),
                rule: "must be a product of the catalogue that is not archived".to_owned(),
            });
        }
    }
    problems
}

/// Whose desired config is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AssignmentTarget {
    /// These, each once, in order.
    Machines(Vec<MachineId>),
    /// Every real machine in the group now, and every one that moves into it later.
    Group(Label),
}

/// Why a desired config is what it is. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DesiredCause {
    /// Assigned to this machine.
    Machine = 1,
    /// Assigned to its group.
    Group = 2,
    /// It moved into another group, or was made in it.
    GroupMove = 3,
}

/// How far desired and applied are apart. The numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing is desired.
    None = 1,
    /// Desired and neither applied nor rejected yet.
    Pending = 2,
    /// The desired one is in force.
    Applied = 3,
    /// The machine refused the desired one or went back from it.
    Rejected = 4,
}

/// How far a machine is with its desired assignment.
pub fn progress(desired_number: u64, applied_number: u64, rejected_number: u64) -> Progress {
    if desired_number == 0 {
        Progress::None
    } else if applied_number == desired_number {
        Progress::Applied
    } else if rejected_number >= desired_number {
        Progress::Rejected
    } else {
        Progress::Pending
    }
}
