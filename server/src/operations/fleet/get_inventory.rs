//! A machine's slots: reported, derived and reserved, beside what the applied config says.

use super::{expect_real, machine_not_found};
use crate::domain::fleet::{Planned, SlotInventory};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::sync::SlotRow;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::Session;
use crate::store::fleet::{configs, machines, slots};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;
use vend_core::id::{ConfigId, ProductId};

type Plan = BTreeMap<u16, Planned>;

/// Every slot of a machine, and the config it applied.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_KIND_MISMATCH.
pub async fn get_inventory(
    deps: &Deps,
    machine: MachineId,
) -> Result<(Vec<SlotInventory>, Option<ConfigId>), ApiError> {
    let mut session = deps.store.read().await?;
    let detail = machines::find(&mut session, machine).await?.ok_or_else(|| machine_not_found(machine))?;
    let applied = expect_real(detail)?.device.and_then(|device| device.applied_config);
    let plan = plan(&mut session, applied).await?;
    let rows = slots::of_machine(&mut session, machine).await?;
    let mut by_slot: BTreeMap<u16, Option<SlotRow>> = plan.keys().map(|slot| (*slot, None)).collect();
    by_slot.extend(rows.into_iter().map(|row| (row.slot, Some(row))));
    let mut inventory = Vec::with_capacity(by_slot.len());
    for (slot, row) in by_slot {
        inventory.push(beside(&mut session, machine, slot, row, &plan).await?);
    }
    Ok((inventory, applied))
}

/// A page of slots that drift, in order of machine and slot.
///
/// # Errors
/// None of its own.
pub async fn list_discrepancies(
    deps: &Deps,
    machine: Option<MachineId>,
    product: Option<ProductId>,
    page: &PageRequest<(Uuid, i64)>,
) -> Result<Page<SlotInventory, (Uuid, i64)>, ApiError> {
    let mut session = deps.store.read().await?;
    let rows = slots::drifting(&mut session, machine, product, page).await?;
    let page = Page::cut(rows, page.size, |(machine, row)| (machine.0, i64::from(row.slot)));
    let mut plans: HashMap<MachineId, Plan> = HashMap::new();
    let mut items = Vec::with_capacity(page.items.len());
    for (machine, row) in page.items {
        let plan = match plans.entry(machine) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let device = machines::find(&mut session, machine).await?.and_then(|detail| detail.device);
                let applied = device.and_then(|device| device.applied_config);
                place.insert(plan(&mut session, applied).await?)
            }
        };
        let slot = row.slot;
        items.push(beside(&mut session, machine, slot, Some(row), plan).await?);
    }
    Ok(Page { items, next: page.next })
}

async fn plan(session: &mut Session, applied: Option<ConfigId>) -> Result<Plan, ApiError> {
    let Some(id) = applied else { return Ok(Plan::new()) };
    // A machine may report a config this server never made.
    let Some(row) = configs::find(session, id).await? else { return Ok(Plan::new()) };
    let config = vendfleet_wire::config::decode(&row.body).map_err(ApiError::internal)?;
    let planned = config.slots.iter().map(|slot| {
        let planned = Planned {
            product: slot.product,
            price_minor: slot.price_minor,
            currency: config.currency,
            capacity: slot.capacity,
            par: slot.par,
        };
        (slot.slot, planned)
    });
    Ok(planned.collect())
}

async fn beside(
    session: &mut Session,
    machine: MachineId,
    slot: u16,
    row: Option<SlotRow>,
    plan: &Plan,
) -> Result<SlotInventory, ApiError> {
    let drifts = row.as_ref().is_some_and(|row| row.drift_seq > 0);
    let drift_seen_ms = if drifts { slots::drift_seen(session, machine, slot).await? } else { 0 };
    Ok(SlotInventory { machine, slot, row, planned: plan.get(&slot).copied(), drift_seen_ms })
}
