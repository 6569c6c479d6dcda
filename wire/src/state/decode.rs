//! From bytes in the journal to what a machine remembers.

use crate::check::{self, Once};
use crate::config;
use crate::error::{BodyError, Path};
use crate::record::payment_from_proto;
use crate::totals;
use prost::Message;
use vend_core::config::Assignment;
use vend_core::counters::{Counters, Totals};
use vend_core::id::{ConfigId, ProductId, TransactionId};
use vend_core::machine::{
    CashlessStage, Configs, Durable, MAX_OPEN_CASHLESS, OpenCashless, PayoutIntent, Probation, SlotLevel,
    VendIntent,
};
use vendfleet_proto::v1;

type Result<T> = core::result::Result<T, BodyError>;

/// Reads a machine's state.
///
/// # Errors
/// The first field that broke a rule, and the rule.
pub fn decode_state(bytes: &[u8]) -> Result<Durable> {
    let m = v1::JournalState::decode(bytes)
        .map_err(|_| BodyError::new("state", "must be a serialised JournalState"))?;
    let at = Path::root("state");
    check::count(&at, "slots", m.slots.len(), crate::MAX_SLOTS)?;
    check::count(&at, "cashless", m.cashless.len(), MAX_OPEN_CASHLESS)?;
    let mut once = Once::default();
    let slot = |(index, s): (usize, &v1::StoredSlot)| {
        let at = at.item("slots", index);
        if !once.first(s.slot) {
            return Err(at.field("slot").broke("must appear once"));
        }
        slot(&at, s)
    };
    let cashless = |(index, c)| cashless(&at.item("cashless", index), c);
    let applied_config = match m.applied_config.as_slice() {
        [] => None,
        bytes => Some(ConfigId(check::id(&at, "applied_config", bytes)?)),
    };
    Ok(Durable {
        counters: Counters {
            currency: check::currency(&at, &m.currency_code)?,
            lifetime: totals_at(&at, "lifetime", m.lifetime.as_ref())?,
            since_reset: totals_at(&at, "since_reset", m.since_reset.as_ref())?,
        },
        slots: m.slots.iter().enumerate().map(slot).collect::<Result<_>>()?,
        tubes: check::purse(&at, "tubes", &m.tubes)?,
        box_minor: m.box_minor,
        credit: check::purse(&at, "credit", &m.credit)?,
        intent: m.intent.map(|i| intent(&at, i)).transpose()?,
        payout: m.payout.as_ref().map(|p| payout(&at, p)).transpose()?,
        cashless: m.cashless.into_iter().enumerate().map(cashless).collect::<Result<_>>()?,
        kept_minor: m.kept_minor,
        adjusted_minor: m.adjusted_minor,
        out_of_service: m.out_of_service,
        applied_number: m.applied_number,
        applied_config,
        rejected_number: m.rejected_number,
        probation: m.probation.as_ref().map(|p| probation(&at, p)).transpose()?,
        commands_through: m.commands_through,
        boot_count: m.boot_count,
        last_contact_wall_ms: m.last_contact_wall_ms,
    })
}

/// Reads a machine's configs.
///
/// # Errors
/// The first field that broke a rule, and the rule.
pub fn decode_configs(bytes: &[u8]) -> Result<Configs> {
    let m = v1::JournalConfigs::decode(bytes)
        .map_err(|_| BodyError::new("configs", "must be a serialised JournalConfigs"))?;
    let read = |name, a: Option<v1::StoredAssignment>| a.map(|a| assignment(name, &a)).transpose();
    Ok(Configs {
        current: read("current", m.current)?,
        last_known_good: read("last_known_good", m.last_known_good)?,
        pending: read("pending", m.pending)?,
    })
}

fn totals_at(at: &Path<'_>, name: &'static str, totals: Option<&v1::Totals>) -> Result<Totals> {
    totals.map(totals::from_proto).ok_or_else(|| at.field(name).broke("must be set"))
}

fn small(at: &Path<'_>, name: &'static str, number: u32) -> Result<u8> {
    u8::try_from(number).map_err(|_| at.field(name).broke("must be at most 255"))
}

fn slot(at: &Path<'_>, s: &v1::StoredSlot) -> Result<SlotLevel> {
    Ok(SlotLevel {
        slot: check::slot(at, s.slot)?,
        product: ProductId(check::id(at, "product_id", &s.product_id)?),
        units: s.units,
        failures: small(at, "failures", s.failures)?,
        faulted: s.faulted,
    })
}

fn intent(at: &Path<'_>, i: v1::StoredVendIntent) -> Result<VendIntent> {
    let at = at.field("intent");
    Ok(VendIntent {
        transaction: TransactionId(check::id(&at, "transaction_id", &i.transaction_id)?),
        slot: check::slot(&at, i.slot)?,
        product: ProductId(check::id(&at, "product_id", &i.product_id)?),
        config: ConfigId(check::id(&at, "config_id", &i.config_id)?),
        price_minor: i.price_minor,
        currency: check::currency(&at, &i.currency_code)?,
        payment: payment_from_proto(&at, i.payment, i.payment_reference, i.offline)?,
        command_number: i.command_number,
    })
}

fn payout(at: &Path<'_>, p: &v1::StoredPayout) -> Result<PayoutIntent> {
    let at = at.field("payout");
    Ok(PayoutIntent {
        transaction: TransactionId(check::id(&at, "transaction_id", &p.transaction_id)?),
        coins: check::purse(&at, "coins", &p.coins)?,
    })
}

fn cashless(at: &Path<'_>, c: v1::StoredCashless) -> Result<OpenCashless> {
    let stage = match v1::CashlessStage::try_from(c.stage) {
        Ok(v1::CashlessStage::Authorising) => CashlessStage::Authorising,
        Ok(v1::CashlessStage::Approved) => CashlessStage::Approved,
        Ok(v1::CashlessStage::Capturing) => CashlessStage::Capturing,
        Ok(v1::CashlessStage::Voiding) => CashlessStage::Voiding,
        Ok(v1::CashlessStage::Unspecified) | Err(_) => {
            return Err(at.field("stage").broke("must be a known CashlessStage"));
        }
    };
    Ok(OpenCashless {
        transaction: TransactionId(check::id(at, "transaction_id", &c.transaction_id)?),
        amount_minor: c.amount_minor,
        reference: check::text(at, "reference", c.reference, 64)?,
        offline: c.offline,
        stage,
    })
}

fn probation(at: &Path<'_>, p: &v1::StoredProbation) -> Result<Probation> {
    let at = at.field("probation");
    Ok(Probation {
        failed_vends: small(&at, "failed_vends", p.failed_vends)?,
        short_boots: small(&at, "short_boots", p.short_boots)?,
    })
}

fn assignment(name: &'static str, a: &v1::StoredAssignment) -> Result<Assignment> {
    let at = Path::root(name);
    let sha256 = a.sha256.as_slice().try_into().map_err(|_| at.field("sha256").broke("must be 32 bytes"))?;
    let config = a.config.as_ref().ok_or_else(|| at.field("config").broke("must be set"))?;
    Ok(Assignment { number: a.number, sha256, config: config::from_proto(config)? })
}
