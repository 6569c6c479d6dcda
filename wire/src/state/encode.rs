//! From what a machine remembers to bytes.

use crate::check::purse_to_proto;
use crate::config;
use crate::record::payment_to_proto;
use crate::totals;
use prost::Message;
use vend_core::config::Assignment;
use vend_core::machine::{CashlessStage, Configs, Durable, OpenCashless, SlotLevel, VendIntent};
use vendfleet_proto::v1;

/// Serialises a machine's state.
#[must_use]
pub fn encode_state(durable: &Durable) -> Vec<u8> {
    v1::JournalState {
        currency_code: durable.counters.currency.as_str().to_owned(),
        lifetime: Some(totals::to_proto(&durable.counters.lifetime)),
        since_reset: Some(totals::to_proto(&durable.counters.since_reset)),
        slots: durable.slots.iter().map(slot).collect(),
        tubes: purse_to_proto(&durable.tubes),
        box_minor: durable.box_minor,
        credit: purse_to_proto(&durable.credit),
        intent: durable.intent.as_ref().map(intent),
        payout: durable.payout.as_ref().map(|p| v1::StoredPayout {
            transaction_id: p.transaction.0.to_vec(),
            coins: purse_to_proto(&p.coins),
        }),
        cashless: durable.cashless.iter().map(cashless).collect(),
        kept_minor: durable.kept_minor,
        adjusted_minor: durable.adjusted_minor,
        out_of_service: durable.out_of_service,
        applied_number: durable.applied_number,
        applied_config: durable.applied_config.map(|id| id.0.to_vec()).unwrap_or_default(),
        rejected_number: durable.rejected_number,
        probation: durable.probation.map(|p| v1::StoredProbation {
            failed_vends: p.failed_vends.into(),
            short_boots: p.short_boots.into(),
        }),
        commands_through: durable.commands_through,
        boot_count: durable.boot_count,
        last_contact_wall_ms: durable.last_contact_wall_ms,
    }
    .encode_to_vec()
}

/// Serialises a machine's configs.
#[must_use]
pub fn encode_configs(configs: &Configs) -> Vec<u8> {
    v1::JournalConfigs {
        current: configs.current.as_ref().map(assignment),
        last_known_good: configs.last_known_good.as_ref().map(assignment),
        pending: configs.pending.as_ref().map(assignment),
    }
    .encode_to_vec()
}

fn slot(s: &SlotLevel) -> v1::StoredSlot {
    v1::StoredSlot {
        slot: s.slot.into(),
        product_id: s.product.0.to_vec(),
        units: s.units,
        failures: s.failures.into(),
        faulted: s.faulted,
    }
}

fn intent(i: &VendIntent) -> v1::StoredVendIntent {
    let (payment, payment_reference, offline) = payment_to_proto(&i.payment);
    v1::StoredVendIntent {
        transaction_id: i.transaction.0.to_vec(),
        slot: i.slot.into(),
        product_id: i.product.0.to_vec(),
        config_id: i.config.0.to_vec(),
        price_minor: i.price_minor,
        currency_code: i.currency.as_str().to_owned(),
        payment: payment.into(),
        payment_reference,
        offline,
        command_number: i.command_number,
    }
}

fn cashless(c: &OpenCashless) -> v1::StoredCashless {
    let stage = match c.stage {
        CashlessStage::Authorising => v1::CashlessStage::Authorising,
        CashlessStage::Approved => v1::CashlessStage::Approved,
        CashlessStage::Capturing => v1::CashlessStage::Capturing,
        CashlessStage::Voiding => v1::CashlessStage::Voiding,
    };
    v1::StoredCashless {
        transaction_id: c.transaction.0.to_vec(),
        amount_minor: c.amount_minor,
        reference: c.reference.clone(),
        offline: c.offline,
        stage: stage.into(),
    }
}

fn assignment(a: &Assignment) -> v1::StoredAssignment {
    v1::StoredAssignment {
        number: a.number,
        sha256: a.sha256.to_vec(),
        config: Some(config::to_proto(&a.config)),
    }
}
