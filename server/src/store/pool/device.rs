//! What is known of real machines: what a command to one is bound to, and what its slots offer.

use crate::domain::ids::MachineId;
use crate::domain::pool::{Bound, Offer, View};
use crate::domain::sync::{MachineStanding, SlotRow};
use crate::store::bulk::Kind;
use crate::store::keyed::Keyed;
use crate::store::sync::codes::Coded as _;
use crate::store::sync::rows::{slot, slot_columns};
use crate::store::{Columns, Session, StoreError, Tx};
use Kind::{Bool, Bytes, Int};
use std::collections::{BTreeSet, HashMap};
use vend_core::config::Config;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId};

macro_rules! device_columns {
    () => {
        "machine_id, standing, current_epoch, last_boot, last_uptime_ms, last_contact_ms, command_number, \
         commands_done_through, applied_config"
    };
}

const DEVICE_KINDS: [Kind; 9] = [Bytes, Int, Bytes, Bytes, Int, Int, Int, Int, Bytes];

static LOCKED: Keyed =
    Keyed::new(concat!("SELECT ", device_columns!(), " FROM machine_sync WHERE machine_id"), &DEVICE_KINDS)
        .then_on_postgres("ORDER BY machine_id FOR UPDATE");

static SEEN: Keyed =
    Keyed::new(concat!("SELECT ", device_columns!(), " FROM machine_sync WHERE machine_id"), &DEVICE_KINDS);

static SLOTS: Keyed = Keyed::new(
    concat!("SELECT machine_id, ", slot_columns!(), " FROM slots WHERE machine_id"),
    &[Bytes, Int, Bytes, Int, Int, Bytes, Int, Int, Bool, Bytes, Int, Int, Int],
);

static CONFIGS: Keyed = Keyed::new("SELECT config_id, body FROM configs WHERE config_id", &[Bytes, Bytes]);

/// A real machine's hot row, as far as purchases care.
pub(super) struct Device {
    machine: MachineId,
    /// `None`: it never spoke, so there is nothing to bind a command to.
    bound: Option<Bound>,
    applied_config: Option<ConfigId>,
}

/// Locks the hot rows of these real machines, first of all rows.
pub(super) async fn lock(tx: &mut Tx, real: &[MachineId], own_ms: i64) -> Result<Vec<Device>, StoreError> {
    let keys: Vec<&[u8; 16]> = real.iter().map(MachineId::as_bytes).collect();
    LOCKED.fetch(tx, &keys).await?.iter().map(|row| device(&mut row.columns(), own_ms)).collect()
}

/// What these machines offer, without a lock: for a choice between machines.
pub(super) async fn look(
    session: &mut Session,
    view: &mut View,
    real: &[MachineId],
) -> Result<(), StoreError> {
    let keys: Vec<&[u8; 16]> = real.iter().map(MachineId::as_bytes).collect();
    let rows = SEEN.fetch(session, &keys).await?;
    let devices = rows.iter().map(|row| device(&mut row.columns(), 0)).collect::<Result<Vec<_>, _>>()?;
    load_offers(session, view, &devices).await
}

/// Puts what is known of these machines into the view.
pub(super) async fn load(
    session: &mut Session,
    view: &mut View,
    devices: Vec<Device>,
) -> Result<(), StoreError> {
    load_offers(session, view, &devices).await?;
    let bound = devices.into_iter().filter_map(|device| Some((device.machine, device.bound?)));
    view.bound.extend(bound);
    Ok(())
}

fn device(c: &mut Columns<'_>, own_ms: i64) -> Result<Device, StoreError> {
    let machine = MachineId(c.uuid()?);
    let standing = MachineStanding::read(c)?;
    let (epoch, boot) = (c.opt_array()?.map(Epoch), c.opt_array()?.map(BootId));
    let (uptime_ms, last_sync_ms): (u64, i64) = (c.number()?, c.int()?);
    // A device that is ahead of the server has taken numbers that the server has forgotten.
    let (given, done): (u64, u64) = (c.number()?, c.number()?);
    let since_ms = u64::try_from(own_ms.saturating_sub(last_sync_ms)).unwrap_or(0);
    let bound = epoch.zip(boot).map(|(epoch, boot)| Bound {
        epoch,
        boot,
        uptime_ms: uptime_ms.saturating_add(since_ms),
        last_command: given.max(done),
        cloned: standing == MachineStanding::Cloned,
        last_sync_ms,
    });
    Ok(Device { machine, bound, applied_config: c.opt_array()?.map(ConfigId) })
}

async fn load_offers(session: &mut Session, view: &mut View, devices: &[Device]) -> Result<(), StoreError> {
    let planned: BTreeSet<[u8; 16]> =
        devices.iter().filter_map(|device| device.applied_config).map(|c| c.0).collect();
    let keys: Vec<&[u8; 16]> = planned.iter().collect();
    let mut configs: HashMap<ConfigId, Config> = HashMap::new();
    for row in CONFIGS.fetch(session, &keys).await? {
        let mut c = row.columns();
        let id = ConfigId(c.array()?);
        let config = vendfleet_wire::config::decode(c.bytes()?);
        configs.insert(id, config.map_err(|error| c.damaged(error))?);
    }
    let keys: Vec<&[u8; 16]> = devices.iter().map(|device| device.machine.as_bytes()).collect();
    let mut slots: HashMap<(MachineId, u16), SlotRow> = HashMap::new();
    for row in SLOTS.fetch(session, &keys).await? {
        let mut c = row.columns();
        let machine = MachineId(c.uuid()?);
        let row = slot(&mut c)?;
        slots.insert((machine, row.slot), row);
    }
    for device in devices {
        // A machine may have applied a config this server never made: nothing of it can be sold by this server.
        let Some(config) = device.applied_config.and_then(|id| configs.get(&id)) else {
            view.offers.insert(device.machine, Vec::new());
            continue;
        };
        let offers = config.slots.iter().map(|planned| Offer {
            slot: planned.slot,
            product: planned.product,
            price_minor: planned.price_minor,
            currency: config.currency,
            available: slots
                .get(&(device.machine, planned.slot))
                .map_or(0, |row| available(row, planned.product)),
        });
        view.offers.insert(device.machine, offers.collect());
    }
    Ok(())
}

/// Units of a product in a slot that nobody was promised: as reported, or as derived when that is lower or nothing is
/// reported. A number about another product is none about this one.
fn available(row: &SlotRow, product: ProductId) -> i64 {
    if row.faulted {
        return 0;
    }
    let derived = (row.product == Some(product)).then_some(row.derived);
    let reported = row.reported.filter(|_| row.reported_product.is_none_or(|reported| reported == product));
    let units = match (reported.map(i64::from), derived) {
        (Some(reported), Some(derived)) => reported.min(derived),
        (Some(units), None) | (None, Some(units)) => units,
        (None, None) => 0,
    };
    units.saturating_sub(i64::from(row.reserved)).max(0)
}
