//! People at the machine: what they press and what they put in, drawn from a seed.

use super::machine::{SimError, SimMachine};
use crate::device::Event;
use vend_core::config::{CashConfig, Config, OfflineBudget, Product, Slot, Tube};
use vend_core::id::{ConfigId, ProductId};
use vend_core::machine::{Display, Durable, Input, SlotUnits, State};
use vend_core::money::{Currency, Minor, Pieces};
use vend_core::record::UnknownPolicy;

/// Coins a customer may put in for one purchase.
const MAX_COINS: usize = 40;

/// How a purchase went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bought {
    /// The product fell.
    Yes,
    /// The machine did not sell, and says why in its events.
    No,
    /// The power went. The machine is off.
    PowerCut,
}

impl SimMachine {
    /// A customer chooses any slot that has something, pays in coins or by card, and takes what comes. A customer whose
    /// coins are not taken, or who changes their mind, cancels.
    ///
    /// # Errors
    /// When the machine is off, or died of something else than a power cut.
    pub async fn buy(&mut self) -> Result<Bought, SimError> {
        let snapshot = self.snapshot()?;
        let stocked: Vec<u16> =
            snapshot.durable.slots.iter().filter(|s| s.units > 0 && !s.faulted).map(|s| s.slot).collect();
        let Some(&slot) = stocked.get(self.pick(stocked.len())) else { return Ok(Bought::No) };
        let card = self.pick(4) == 0;
        match self.purchase(slot, card).await {
            Err(SimError::PowerCut) => Ok(Bought::PowerCut),
            other => other,
        }
    }

    async fn purchase(&mut self, slot: u16, card: bool) -> Result<Bought, SimError> {
        let mut events = self.handle(Input::Select { slot }).await?;
        if card && matches!(self.snapshot()?.view.state, State::AcceptingMoney { .. }) {
            events.extend(self.handle(Input::PresentCard).await?);
        } else {
            events.extend(self.pay_in_coins().await?);
        }
        // Whatever is left inside belongs to the customer.
        if matches!(self.snapshot()?.view.state, State::AcceptingMoney { .. }) {
            self.handle(Input::Cancel).await?;
        }
        let vended = |e: &Event| matches!(e, Event::Show(Display::Vended { .. }));
        Ok(if events.iter().any(vended) { Bought::Yes } else { Bought::No })
    }

    async fn pay_in_coins(&mut self) -> Result<Vec<Event>, SimError> {
        let mut events = Vec::new();
        // One customer in eight walks away after the first coin.
        let walks_away = self.pick(8) == 0;
        for coins in 0..MAX_COINS {
            let view = self.snapshot()?.view;
            let State::AcceptingMoney { selection: Some(_), .. } = view.state else { break };
            let Some(&coin) = view.accepts.get(self.pick(view.accepts.len())) else { break };
            if walks_away && coins == 1 {
                break;
            }
            events.extend(self.handle(Input::InsertMoney { denomination: coin }).await?);
        }
        Ok(events)
    }

    /// An operator fills every slot to its par level and every tube.
    ///
    /// # Errors
    /// As [`SimMachine::buy`], a power cut included.
    pub async fn restock(&mut self) -> Result<Vec<Event>, SimError> {
        let snapshot = self.snapshot()?;
        match snapshot.config.and_then(|config| refill(&config, &snapshot.durable)) {
            Some(input) => self.handle(input).await,
            None => Ok(Vec::new()),
        }
    }
}

/// What it takes to bring every slot to par and every tube to full; `None` when nothing is missing.
#[must_use]
pub fn refill(config: &Config, durable: &Durable) -> Option<Input> {
    let slots: Vec<SlotUnits> = config
        .slots
        .iter()
        .filter_map(|slot| {
            let level = durable.slots.iter().find(|l| l.slot == slot.slot);
            let units = slot.par.saturating_sub(level.map_or(0, |l| l.units));
            (units > 0).then_some(SlotUnits { slot: slot.slot, units })
        })
        .collect();
    let tubes: Vec<Pieces> = config
        .cash
        .tubes
        .iter()
        .filter_map(|tube| {
            let held = durable.tubes.iter().find(|p| p.denomination == tube.denomination);
            let count = (tube.capacity / 2).saturating_sub(held.map_or(0, |p| p.count));
            (count > 0).then_some(Pieces { denomination: tube.denomination, count })
        })
        .collect();
    (!slots.is_empty() || !tubes.is_empty()).then_some(Input::Refill { slots, tubes })
}

/// A config to sell from without any server: so many slots, euro coins.
#[must_use]
pub fn sample_config(slots: u16) -> Config {
    let id = |n: u16| {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&[0x01, 0x90, 0, 0, 0, 0]);
        bytes[6] = 0x70;
        bytes[8] = 0x80;
        bytes[14..].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    let accepted: Vec<Minor> = vec![5, 10, 20, 50, 100, 200];
    let slots: Vec<Slot> = (1..=slots.clamp(1, 256))
        .map(|slot| Slot {
            slot,
            product: ProductId(id(slot)),
            price_minor: 100 + Minor::from(slot % 8) * 20,
            capacity: 20,
            par: 15,
        })
        .collect();
    let names = ["Cola", "Water", "Crisps", "Nuts", "Chocolate", "Gum", "Apple", "Tea"];
    let products = slots.iter().zip(names.iter().cycle());
    Config {
        id: ConfigId(id(0)),
        currency: Currency::parse("EUR").expect("three upper-case letters"),
        products: products
            .map(|(s, name)| Product { id: s.product, name: format!("{name} {}", s.slot) })
            .collect(),
        slots,
        cash: CashConfig {
            tubes: accepted.iter().map(|&denomination| Tube { denomination, capacity: 60 }).collect(),
            accepted,
            max_credit_minor: 1000,
        },
        offline_cashless: OfflineBudget {
            per_sale_minor: 500,
            total_minor: 5_000,
            count: 20,
            age_ms: 7 * 24 * 3_600_000,
        },
        unknown_policy: UnknownPolicy::Refund,
        selection_timeout_ms: 30_000,
    }
}
