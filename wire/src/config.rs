//! A machine's config and its bytes. Only what the types can't say is checked here (ids, sizes, counts); whether a
//! config makes sense on a machine is the machine's own verdict, item by item.

use crate::check;
use crate::error::{BodyError, Path};
use crate::hash::{Hash, sha256};
use crate::record::{policy_from_proto, policy_to_proto};
use prost::Message;
use vend_core::config::{CashConfig, Config, OfflineBudget, Product, Slot, Tube};
use vend_core::id::{ConfigId, ProductId};
use vendfleet_proto::v1;

type Result<T> = core::result::Result<T, BodyError>;

/// What a config without a time says, milliseconds.
pub const DEFAULT_SELECTION_TIMEOUT_MS: u64 = 30_000;

/// A config's bytes as they travel in a `ConfigAssignment`, and their SHA-256.
#[must_use]
pub fn encode(config: &Config) -> (Vec<u8>, Hash) {
    let bytes = to_proto(config).encode_to_vec();
    let hash = sha256(&bytes);
    (bytes, hash)
}

/// Reads a config's bytes. Compare their hash (`sha256(bytes)`) with the assignment's before offering it to a machine.
///
/// # Errors
/// The first field that broke a rule, and the rule.
pub fn decode(bytes: &[u8]) -> Result<Config> {
    if bytes.len() > crate::MAX_CONFIG_BYTES {
        return Err(BodyError::new("config", "must be at most 65536 bytes"));
    }
    let message = v1::MachineConfig::decode(bytes)
        .map_err(|_| BodyError::new("config", "must be a serialised MachineConfig"))?;
    from_proto(&message)
}

/// A config as the contract has it.
#[must_use]
pub fn to_proto(config: &Config) -> v1::MachineConfig {
    v1::MachineConfig {
        config_id: check::format_uuid(&config.id.0),
        currency_code: config.currency.as_str().to_owned(),
        products: config
            .products
            .iter()
            .map(|p| v1::ConfigProduct { product_id: check::format_uuid(&p.id.0), name: p.name.clone() })
            .collect(),
        slots: config
            .slots
            .iter()
            .map(|s| v1::ConfigSlot {
                slot: s.slot.into(),
                product_id: check::format_uuid(&s.product.0),
                price_minor: s.price_minor,
                capacity: s.capacity,
                par_level: s.par,
            })
            .collect(),
        cash: (config.cash != CashConfig::default()).then(|| cash_to_proto(&config.cash)),
        offline_cashless: (config.offline_cashless != OfflineBudget::default()).then_some(
            v1::OfflineCashlessBudget {
                per_sale_minor: config.offline_cashless.per_sale_minor,
                total_minor: config.offline_cashless.total_minor,
                count: config.offline_cashless.count,
                age_ms: config.offline_cashless.age_ms,
            },
        ),
        unknown_policy: policy_to_proto(config.unknown_policy).into(),
        selection_timeout_ms: u32::try_from(config.selection_timeout_ms).unwrap_or(u32::MAX),
    }
}

/// A config as a machine reads it.
///
/// # Errors
/// The first field that broke a rule, and the rule.
pub fn from_proto(message: &v1::MachineConfig) -> Result<Config> {
    let at = Path::root("");
    check::count(&at, "products", message.products.len(), crate::MAX_PRODUCTS)?;
    check::count(&at, "slots", message.slots.len(), crate::MAX_SLOTS)?;
    let product = |(index, p): (usize, &v1::ConfigProduct)| {
        let at = at.item("products", index);
        if p.name.is_empty() || p.name.len() > 64 {
            return Err(at.field("name").broke("must be 1 to 64 bytes"));
        }
        Ok(Product { id: ProductId(uuid(&at, "product_id", &p.product_id)?), name: p.name.clone() })
    };
    let slot = |(index, s): (usize, &v1::ConfigSlot)| {
        let at = at.item("slots", index);
        Ok(Slot {
            slot: check::slot(&at, s.slot)?,
            product: ProductId(uuid(&at, "product_id", &s.product_id)?),
            price_minor: s.price_minor,
            capacity: s.capacity,
            par: s.par_level,
        })
    };
    let offline = message.offline_cashless.as_ref();
    Ok(Config {
        id: ConfigId(uuid(&at, "config_id", &message.config_id)?),
        currency: check::currency(&at, &message.currency_code)?,
        products: message.products.iter().enumerate().map(product).collect::<Result<_>>()?,
        slots: message.slots.iter().enumerate().map(slot).collect::<Result<_>>()?,
        cash: message.cash.as_ref().map(|c| cash(&at, c)).transpose()?.unwrap_or_default(),
        offline_cashless: offline.map_or_else(OfflineBudget::default, |o| OfflineBudget {
            per_sale_minor: o.per_sale_minor,
            total_minor: o.total_minor,
            count: o.count,
            age_ms: o.age_ms,
        }),
        unknown_policy: policy_from_proto(&at, message.unknown_policy)?,
        selection_timeout_ms: match message.selection_timeout_ms {
            0 => DEFAULT_SELECTION_TIMEOUT_MS,
            ms => ms.into(),
        },
    })
}

fn uuid(at: &Path<'_>, name: &'static str, text: &str) -> Result<[u8; 16]> {
    check::parse_uuid(text).ok_or_else(|| at.field(name).broke("must be a UUID"))
}

fn cash_to_proto(cash: &CashConfig) -> v1::CashConfig {
    v1::CashConfig {
        accepted_minor: cash.accepted.clone(),
        tubes: cash
            .tubes
            .iter()
            .map(|t| v1::CoinTube { denomination_minor: t.denomination, capacity: t.capacity })
            .collect(),
        max_credit_minor: cash.max_credit_minor,
    }
}

fn cash(at: &Path<'_>, cash: &v1::CashConfig) -> Result<CashConfig> {
    let at = at.field("cash");
    check::count(&at, "accepted_minor", cash.accepted_minor.len(), crate::MAX_DENOMINATIONS)?;
    check::count(&at, "tubes", cash.tubes.len(), crate::MAX_DENOMINATIONS)?;
    let tube = |t: &v1::CoinTube| Tube { denomination: t.denomination_minor, capacity: t.capacity };
    Ok(CashConfig {
        accepted: cash.accepted_minor.clone(),
        tubes: cash.tubes.iter().map(tube).collect(),
        max_credit_minor: cash.max_credit_minor,
    })
}
