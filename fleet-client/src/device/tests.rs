//! What a device promises about the order of things, with a real journal and a hand on the plug.

#![allow(clippy::unwrap_used)]

use super::{CutPoint, Device, DeviceError, Event, Parts, Power};
use crate::context::Context;
use crate::hardware::sim::{Behaviour, SimHardware, SimTerminal, Witness};
use crate::journal::sqlite::Options;
use crate::open_journal;
use crate::simulate::{refill, sample_config};
use vend_core::config::Assignment;
use vend_core::machine::{Books, Display, Input, Refusal};
use vend_core::record::{Body, VendOutcome};

const SLOT: u16 = 3;

struct Cabinet {
    dir: tempfile::TempDir,
    power: Power,
    witness: Witness,
    behaviour: Behaviour,
    options: Options,
    seed: u64,
}

impl Cabinet {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            power: Power::steady(),
            witness: Witness::default(),
            behaviour: Behaviour::default(),
            options: Options::default(),
            seed: 0,
        }
    }

    fn boot(&mut self) -> (Device, Vec<Event>) {
        self.seed += 1;
        let context = Context::seeded(self.seed);
        let parts = Parts {
            journal: open_journal(self.dir.path(), &self.options, &context).unwrap(),
            context,
            hardware: Box::new(SimHardware::new(self.behaviour, self.seed, self.witness.clone())),
            terminal: Box::new(SimTerminal::new(self.behaviour, self.seed, || true)),
            firmware: "test/1".to_owned(),
            power: self.power.clone(),
        };
        let mut events = Vec::new();
        let device = Device::boot(parts, &mut |e| events.push(e)).unwrap();
        (device, events)
    }

    /// Booted, configured, filled.
    fn ready(&mut self) -> Device {
        let (mut device, _) = self.boot();
        let config = sample_config(8);
        let (_, sha256) = vendfleet_wire::config::encode(&config);
        let fill = |device: &Device| refill(&config, device.machine().durable()).unwrap();
        device
            .handle(
                Input::ConfigOffered(Assignment { number: 1, sha256, config: config.clone() }),
                &mut |_| {},
            )
            .unwrap();
        let input = fill(&device);
        device.handle(input, &mut |_| {}).unwrap();
        device
    }
}

/// Chooses and pays with one coin too many, so that there is change.
fn buy(device: &mut Device) -> Result<Vec<Event>, DeviceError> {
    let mut events = Vec::new();
    device.handle(Input::Select { slot: SLOT }, &mut |e| events.push(e))?;
    device.handle(Input::InsertMoney { denomination: 200 }, &mut |e| events.push(e))?;
    Ok(events)
}

fn vends(events: &[Event]) -> Vec<VendOutcome> {
    let records = events.iter().filter_map(|e| match e {
        Event::Committed { records, .. } => Some(records),
        _ => None,
    });
    records
        .flatten()
        .filter_map(|r| match &r.body {
            Body::Vend(v) => Some(v.outcome),
            _ => None,
        })
        .collect()
}

#[test]
fn a_sale_ends_with_a_product_change_and_one_record() {
    let mut cabinet = Cabinet::new();
    let mut device = cabinet.ready();
    let events = buy(&mut device).unwrap();
    assert_eq!(vends(&events), [VendOutcome::Success]);
    assert!(events.iter().any(|e| matches!(e, Event::Show(Display::Vended { change_minor: 40, .. }))));
    assert_eq!(cabinet.witness.seen().dropped, 1);
    assert_eq!(cabinet.witness.seen().paid_out_minor, 40);
    assert!(Books::of(device.machine().durable()).balance());
}

#[test]
fn the_outcome_is_durable_before_the_change_leaves() {
    let mut cabinet = Cabinet::new();
    let mut device = cabinet.ready();
    let events = buy(&mut device).unwrap();
    let at = |p: fn(&Event) -> bool| events.iter().position(p).unwrap();
    let motor = at(|e| matches!(e, Event::Dispensed { .. }));
    let record = at(|e| matches!(e, Event::Committed { .. }));
    let change = at(|e| matches!(e, Event::PaidOut(_)));
    assert!(motor < record && record < change, "{events:?}");
}

#[test]
fn wherever_the_power_goes_nothing_is_dispensed_twice_and_no_money_is_lost() {
    let points = [
        (CutPoint::BeforeMotor, 0),
        (CutPoint::AfterMotor, 1),
        (CutPoint::BeforePayout, 1),
        (CutPoint::AfterPayout, 1),
    ];
    for (point, turns) in points {
        let mut cabinet = Cabinet::new();
        let mut device = cabinet.ready();
        cabinet.power.cut_at(point);
        assert!(matches!(buy(&mut device), Err(DeviceError::PowerCut)), "{point:?}");
        drop(device);
        assert_eq!(cabinet.witness.seen().driven.len(), turns, "{point:?}");

        let (device, events) = cabinet.boot();
        let seen = cabinet.witness.seen();
        assert_eq!(seen.driven.len(), turns, "{point:?}: a boot drives no motor");
        let open = matches!(point, CutPoint::BeforeMotor | CutPoint::AfterMotor);
        assert_eq!(
            vends(&events).len(),
            usize::from(open),
            "{point:?}: an open intent is one record at boot"
        );
        let books = Books::of(device.machine().durable());
        assert!(books.balance(), "{point:?}: {books:?}");
    }
}

#[test]
fn a_cut_between_any_two_effects_leaves_a_machine_that_boots_and_adds_up() {
    for effects in 0..12 {
        let mut cabinet = Cabinet::new();
        let mut device = cabinet.ready();
        cabinet.power.cut_after_effects(effects);
        let cut = buy(&mut device).is_err();
        cabinet.power.keep();
        drop(device);
        let (mut device, _) = cabinet.boot();
        let books = Books::of(device.machine().durable());
        assert!(books.balance(), "{effects} (cut: {cut}): {books:?}");
        // Credit that survived the cut is still the customer's; it goes back before the next sale.
        let _ = device.handle(Input::Cancel, &mut |_| {});
        assert_eq!(vends(&buy(&mut device).unwrap()), [VendOutcome::Success], "{effects}: it sells again");
        assert!(cabinet.witness.seen().driven_twice.is_empty());
    }
}

#[test]
fn a_full_journal_stops_selling_and_the_coin_goes_back() {
    let mut cabinet = Cabinet::new();
    cabinet.options = Options { max_bytes: 512 * 1024, reserve_bytes: 128 * 1024, ..Options::default() };
    let mut device = cabinet.ready();
    let mut refused = None;
    for sale in 0..20_000 {
        let mut events = Vec::new();
        device.handle(Input::Select { slot: SLOT }, &mut |e| events.push(e)).unwrap();
        device.handle(Input::InsertMoney { denomination: 100 }, &mut |e| events.push(e)).unwrap();
        device.handle(Input::Cancel, &mut |e| events.push(e)).unwrap();
        if events.contains(&Event::Refused(Refusal::JournalFull)) {
            refused = Some(sale);
            break;
        }
    }
    assert!(refused.is_some(), "the journal is bounded");
    let books = Books::of(device.machine().durable());
    assert!(books.balance(), "{books:?}");
    drop(device);
    let (device, _) = cabinet.boot();
    assert!(Books::of(device.machine().durable()).balance(), "and it still boots");
}
