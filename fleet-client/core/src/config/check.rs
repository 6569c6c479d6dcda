//! Whether a config may be applied at all: every rule, each broken one named with its field.

use super::{Config, MAX_CAPACITY, MAX_PRICE_MINOR, MAX_PRODUCTS, MAX_SLOTS};
use crate::money::{Currency, MAX_DENOMINATIONS, Minor};
use crate::record::ConfigRefusal;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Most refusals named, so that the verdict fits a record; the last one says when there are more.
pub const MAX_REFUSALS: usize = 40;

/// What is wrong with a config, item by item; empty when nothing is. Field paths index the config's own lists:
/// `slots[12].price_minor` is the 13th entry of the planogram. `hardware_slots` are the slots the machine has; empty
/// when that is not known.
#[must_use]
pub fn check(config: &Config, hardware_slots: &[u16]) -> Vec<ConfigRefusal> {
    let mut found = Found { refusals: Vec::new() };
    if config.currency == Currency::NONE {
        found.refuse("currency", "NO_CURRENCY");
    }
    check_products(config, &mut found);
    check_slots(config, hardware_slots, &mut found);
    check_cash(config, &mut found);
    let offline = &config.offline_cashless;
    found.amount("offline_cashless.per_sale_minor", offline.per_sale_minor, "NEGATIVE_AMOUNT");
    found.amount("offline_cashless.total_minor", offline.total_minor, "NEGATIVE_AMOUNT");
    if !(1_000..=600_000).contains(&config.selection_timeout_ms) {
        found.refuse("selection_timeout_ms", "OUT_OF_RANGE");
    }
    found.finish()
}

fn check_products(config: &Config, found: &mut Found) {
    if config.products.len() > MAX_PRODUCTS {
        return found.refuse("products", "TOO_MANY");
    }
    for (i, product) in config.products.iter().enumerate() {
        if config.products[..i].iter().any(|p| p.id == product.id) {
            found.refuse(&format!("products[{i}].product_id"), "DUPLICATE_PRODUCT");
        }
        if !(1..=64).contains(&product.name.len()) {
            found.refuse(&format!("products[{i}].name"), "BAD_NAME");
        }
    }
}

fn check_slots(config: &Config, hardware_slots: &[u16], found: &mut Found) {
    if config.slots.is_empty() {
        return found.refuse("slots", "NO_SLOTS");
    }
    if config.slots.len() > MAX_SLOTS {
        return found.refuse("slots", "TOO_MANY");
    }
    for (i, slot) in config.slots.iter().enumerate() {
        if config.slots[..i].iter().any(|s| s.slot == slot.slot) {
            found.refuse(&format!("slots[{i}].slot"), "DUPLICATE_SLOT");
        }
        if !hardware_slots.is_empty() && !hardware_slots.contains(&slot.slot) {
            found.refuse(&format!("slots[{i}].slot"), "MISSING_SLOT");
        }
        if !config.products.iter().any(|p| p.id == slot.product) {
            found.refuse(&format!("slots[{i}].product_id"), "UNKNOWN_PRODUCT");
        }
        found.amount(&format!("slots[{i}].price_minor"), slot.price_minor, "NEGATIVE_PRICE");
        if !(1..=MAX_CAPACITY).contains(&slot.capacity) {
            found.refuse(&format!("slots[{i}].capacity"), "BAD_CAPACITY");
        }
        if slot.par > slot.capacity {
            found.refuse(&format!("slots[{i}].par_level"), "PAR_ABOVE_CAPACITY");
        }
    }
}

fn check_cash(config: &Config, found: &mut Found) {
    let cash = &config.cash;
    found.amount("cash.max_credit_minor", cash.max_credit_minor, "NEGATIVE_AMOUNT");
    if cash.accepted.len() > MAX_DENOMINATIONS || cash.tubes.len() > MAX_DENOMINATIONS {
        return found.refuse("cash", "TOO_MANY");
    }
    let mut last = 0;
    for (i, &denomination) in cash.accepted.iter().enumerate() {
        let field = format!("cash.accepted_minor[{i}]");
        if !(1..=MAX_PRICE_MINOR).contains(&denomination) {
            found.refuse(&field, "BAD_DENOMINATION");
        } else if denomination <= last {
            found.refuse(&field, "DENOMINATIONS_NOT_RISING");
        }
        last = denomination;
    }
    for (i, tube) in cash.tubes.iter().enumerate() {
        let field = format!("cash.tubes[{i}].denomination_minor");
        if !cash.accepted.contains(&tube.denomination) {
            found.refuse(&field, "TUBE_NOT_ACCEPTED");
        }
        if cash.tubes[..i].iter().any(|t| t.denomination == tube.denomination) {
            found.refuse(&field, "DUPLICATE_TUBE");
        }
        if !(1..=MAX_CAPACITY).contains(&tube.capacity) {
            found.refuse(&format!("cash.tubes[{i}].capacity"), "BAD_CAPACITY");
        }
    }
}

struct Found {
    refusals: Vec<ConfigRefusal>,
}

impl Found {
    fn refuse(&mut self, field: &str, reason: &str) {
        if self.refusals.len() <= MAX_REFUSALS {
            self.refusals.push(ConfigRefusal { field: String::from(field), reason: String::from(reason) });
        }
    }

    fn amount(&mut self, field: &str, amount: Minor, negative: &str) {
        if amount < 0 {
            self.refuse(field, negative);
        } else if amount > MAX_PRICE_MINOR {
            self.refuse(field, "TOO_LARGE");
        }
    }

    fn finish(mut self) -> Vec<ConfigRefusal> {
        if self.refusals.len() > MAX_REFUSALS {
            self.refusals.truncate(MAX_REFUSALS - 1);
            self.refuse("", "MORE_REFUSALS");
        }
        self.refusals
    }
}
