//! Whether the server tells the truth: what devices hold, laid beside what the server has.
//!
//! Reads the devices' journals, the database and the public API, and nothing else; decides with its own arithmetic, not
//! the server's. Each promise of DESIGN section 8 that is about machines is one function below; [`check`] runs them all and
//! gives every breach as a sentence that names the record.

mod held;

use std::collections::{BTreeMap, BTreeSet};

use vend_core::{
    counters::{self, Totals},
    id::Epoch,
    money::Currency,
    record::{Body, Payment, VendOutcome},
};
use vendfleet_wire::{Hash, Link, totals_from_proto, verify_chain};

use held::{APPLIED, DEAD_LETTER, Held, Kept, Name, read};

use crate::{
    device::chains::Chains,
    fleet::{Fleet, operator::Operator, rows::Rows},
};

/// What was compared, so that a check of nothing is noticed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Durable records on the devices.
    pub device_records: u64,
    /// Records on main chains.
    pub main_records: u64,
    /// Paid vends with success that count.
    pub sales: u64,
}

/// Checks a fleet whose devices have settled. Panics with every breach it finds.
#[track_caller]
pub fn check<'a>(fleet: &'a Fleet, devices: &'a [Chains]) -> impl Future<Output = Checked> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (checked, breaches) = examine(&fleet.rows().await, &mut fleet.operator(), devices).await;
        assert!(breaches.is_empty(), "{caller}: {} breaches:\n{}", breaches.len(), breaches.join("\n"));
        checked
    }
}

/// Checks, and gives the breaches.
pub async fn examine(rows: &Rows, operator: &mut Operator, devices: &[Chains]) -> (Checked, Vec<String>) {
    let held = read(rows).await;
    let mut breaches = Vec::new();
    every_record_of_a_device_is_held_exactly_once(&held, devices, &mut breaches);
    every_name_up_to_the_mark_is_a_record_or_a_gap(&held, &mut breaches);
    every_chain_hashes_to_what_was_received(&held, &mut breaches);
    no_transaction_counts_twice(&held, &mut breaches);
    dead_letters_are_the_records_that_do_not_count(&held, &mut breaches);
    counters_are_the_sum_of_records(&held, &mut breaches);
    the_server_says_the_same_of_its_totals(&held, operator, &mut breaches).await;
    money_is_conserved_on_every_device(devices, &mut breaches);
    let main = || held.main.values().flat_map(BTreeMap::values);
    let checked = Checked {
        device_records: devices.iter().flat_map(|d| &d.epochs).map(|chain| chain.last_seq).sum(),
        main_records: main().map(|_| 1).sum(),
        sales: main().filter(|kept| kept.disposition == APPLIED && is_sale(kept)).map(|_| 1).sum(),
    };
    (checked, breaches)
}

/// DESIGN 8.1: applied, quarantined, dead-lettered, or in a named gap; and the bytes are the device's.
fn every_record_of_a_device_is_held_exactly_once(
    held: &Held,
    devices: &[Chains],
    breaches: &mut Vec<String>,
) {
    for (device, chain) in devices.iter().flat_map(|d| d.epochs.iter().map(move |c| (d, c))) {
        let epoch = chain.epoch.0.to_vec();
        let on_main = |seq: u64| {
            held.main
                .iter()
                .filter(|((_, chain), _)| held.epoch_of[chain] == epoch)
                .filter_map(move |(_, m)| m.get(&seq))
        };
        let in_gap = |seq: u64| {
            let gaps = held.gaps.get(&epoch).into_iter().flatten();
            gaps.filter(|(first, last)| (*first..=*last).contains(&seq)).count()
        };
        let mut say = |seq: u64, what: String| {
            breaches.push(format!(
                "{}: record {seq} of epoch {}: {what}",
                device.name,
                hex::encode(chain.epoch.0)
            ));
        };
        let oldest = chain.records.first().map_or(chain.last_seq + 1, |r| r.seq);
        for seq in 1..oldest {
            // Pruned: the device knows no more of it than its name.
            let apart = held.apart.keys().filter(|(e, s, _)| *e == epoch && *s == seq).count();
            let homes = on_main(seq).count() + in_gap(seq) + usize::from(apart > 0);
            if homes != 1 {
                say(seq, format!("pruned, and held {homes} times"));
            }
        }
        for record in &chain.records {
            let same = on_main(record.seq).filter(|kept| kept.hash == record.hash).count();
            let apart = held.apart.get(&(epoch.clone(), record.seq, record.hash)).copied().unwrap_or(0);
            let named = if same == 0 && apart == 0 { in_gap(record.seq) } else { 0 };
            let homes = same + usize::try_from(apart).unwrap_or(usize::MAX) + named;
            if homes != 1 {
                say(record.seq, format!("on {same} main chains, {apart} branches, in {named} gaps"));
            }
        }
    }
}

/// What is acknowledged is there: up to `durable_through` each seq is either a record or in a gap, never both, never none.
fn every_name_up_to_the_mark_is_a_record_or_a_gap(held: &Held, breaches: &mut Vec<String>) {
    for (_, epoch, _, accepted, durable) in &held.epochs {
        // A split leaves what was counted where it was counted: the chain of one epoch may lie under two machines.
        let chains = || held.main.iter().filter(|((_, name), _)| name == epoch).map(|(_, chain)| chain);
        let name = hex::encode(epoch);
        if durable > accepted {
            breaches.push(format!("epoch {name}: durable {durable} is above accepted {accepted}"));
        }
        for seq in 1..=*durable {
            let gaps = held.gaps.get(epoch).into_iter().flatten();
            let gaps = gaps.filter(|(first, last)| (*first..=*last).contains(&seq)).count();
            let homes = chains().filter(|chain| chain.contains_key(&seq)).count() + gaps;
            if homes != 1 {
                breaches.push(format!("epoch {name}: seq {seq} is below the mark and {homes} times there"));
            }
        }
    }
    for ((machine, epoch), chain) in &held.main {
        let mark =
            held.epochs.iter().find(|(m, e, ..)| m == machine && e == epoch).map(|(.., durable)| *durable);
        if let (Some(mark), Some((last, _))) = (mark, chain.last_key_value())
            && *last > mark
        {
            breaches.push(format!("epoch {}: record {last} lies above the mark {mark}", hex::encode(epoch)));
        }
    }
}

/// The bytes stored are the bytes received: each run of records hashes, one upon the other.
fn every_chain_hashes_to_what_was_received(held: &Held, breaches: &mut Vec<String>) {
    for ((_, name), chain) in &held.main {
        let epoch = Epoch(held.epoch_of[name].as_slice().try_into().expect("16 bytes"));
        let mut before: Option<(u64, Hash)> = Some((0, [0; 32]));
        for (&seq, kept) in chain {
            // Behind a gap the chain can't be linked; the device's own hashes are compared above.
            if let Some((_, previous)) = before.filter(|(last, _)| last + 1 == seq) {
                let link =
                    Link { seq, kind: kept.kind, schema: kept.schema, body: &kept.body, hash: &kept.hash };
                if verify_chain(&epoch, seq, &previous, [link]).is_err() {
                    breaches.push(format!(
                        "epoch {}: record {seq} is not what its hash was made of",
                        hex::encode(name)
                    ));
                }
            }
            before = Some((seq, kept.hash));
        }
    }
}

/// DESIGN 8.2, first half, from the bodies themselves.
fn no_transaction_counts_twice(held: &Held, breaches: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for ((machine, epoch), chain) in &held.main {
        for (seq, kept) in chain.iter().filter(|(_, kept)| kept.disposition == APPLIED) {
            let Some(transaction) = kept.meaning().and_then(|m| m.body.transaction()) else { continue };
            let here = format!("{} of epoch {}", seq, hex::encode(epoch));
            if let Some(there) = seen.insert((machine.clone(), transaction.0, kept.kind), here.clone()) {
                let id = hex::encode(transaction.0);
                breaches.push(format!("transaction {id} counts as record {there} and as record {here}"));
            }
        }
    }
}

/// A record that does not count has a row that says why, and the other way round; what counts can be read.
fn dead_letters_are_the_records_that_do_not_count(held: &Held, breaches: &mut Vec<String>) {
    for ((machine, epoch), chain) in &held.main {
        for (seq, kept) in chain {
            let listed = held.dead.contains(&(machine.clone(), epoch.clone(), *seq));
            if listed != (kept.disposition == DEAD_LETTER) {
                let what = if listed {
                    "is a dead letter and counts"
                } else {
                    "does not count and nothing says why"
                };
                breaches.push(format!("record {seq} of epoch {} {what}", hex::encode(epoch)));
            }
            if kept.disposition == APPLIED && kept.meaning().is_none() {
                breaches
                    .push(format!("record {seq} of epoch {} counts and can't be read", hex::encode(epoch)));
            }
        }
    }
}

/// DESIGN 8.2, second half: from one counted record to the next in the same chain, the counters in the records are the sum of
/// what the records say. Where something in between does not count, the step is the named gap's, dead letter's or branch's.
fn counters_are_the_sum_of_records(held: &Held, breaches: &mut Vec<String>) {
    for ((_, epoch), chain) in &held.main {
        let mut known: Option<(u64, Totals)> = None;
        let mut currency = Currency::NONE;
        for (&seq, kept) in chain {
            let meaning = if kept.disposition == APPLIED { kept.meaning() } else { None };
            let unbroken = known.take().filter(|(last, _)| last + 1 == seq);
            let Some(meaning) = meaning else { continue };
            let expected = unbroken.map(|(_, mut totals)| {
                counters::advance(&mut currency, &mut totals, &meaning.body);
                totals
            });
            if let (Some(expected), Some(said)) = (expected, meaning.lifetime_after)
                && expected != said
            {
                let name = hex::encode(epoch);
                breaches.push(format!("record {seq} of epoch {name} says {said:?}, the sum is {expected:?}"));
            }
            known = meaning.lifetime_after.or(expected).map(|totals| (seq, totals));
        }
    }
}

/// `GetMachineTotals`: counted is what this checker counts; and reported = counted + missing, field by field, as long as the
/// machine has had one pair of counters that has gone on: a lost journal began others, a fork is two.
async fn the_server_says_the_same_of_its_totals(
    held: &Held,
    operator: &mut Operator,
    breaches: &mut Vec<String>,
) {
    let machines: BTreeSet<&Name> = held.epochs.iter().map(|(machine, ..)| machine).collect();
    for machine in machines {
        let id = uuid::Uuid::from_slice(machine).expect("16 bytes").to_string();
        let said = |totals: &Option<vendfleet_proto::v1::Totals>| {
            totals.as_ref().map(totals_from_proto).unwrap_or_default()
        };
        let totals = operator.totals(&id).await;
        let (reported, counted, missing) =
            (said(&totals.reported), said(&totals.counted), said(&totals.missing));
        let mut sum = Totals::default();
        let mut currency = Currency::NONE;
        for ((_, _), chain) in held.main.iter().filter(|((m, _), _)| m == machine) {
            for kept in chain.values().filter(|kept| kept.disposition == APPLIED) {
                if let Some(meaning) = kept.meaning() {
                    counters::advance(&mut currency, &mut sum, &meaning.body);
                }
            }
        }
        if counted != sum {
            breaches
                .push(format!("machine {id}: the server counts {counted:?}, its records sum up to {sum:?}"));
        }
        if held.branched.contains(machine) || counters_restarted(held, machine) {
            continue;
        }
        for ((name, all), (_, some), (_, rest)) in
            izip(&fields(&reported), &fields(&counted), &fields(&missing))
        {
            if *all != some + rest {
                breaches
                    .push(format!("machine {id}: {name}: reported {all}, counted {some}, missing {rest}"));
            }
        }
    }
}

/// A journal that was lost took the machine's counters with it: an epoch begins below where the one before had ended.
fn counters_restarted(held: &Held, machine: &Name) -> bool {
    let mut ended: Option<Totals> = None;
    let mine = held.epochs.iter().filter(|(m, ..)| m == machine);
    mine.filter_map(|(m, epoch, ..)| held.main.get(&(m.clone(), epoch.clone()))).any(|chain| {
        let said: Vec<Totals> = chain.values().filter_map(|kept| kept.meaning()?.lifetime_after).collect();
        let begins_below = match (ended, said.first()) {
            (Some(before), Some(first)) => {
                first.vends < before.vends || first.cash_in_minor < before.cash_in_minor
            }
            _ => false,
        };
        ended = said.last().copied().or(ended);
        begins_below
    })
}

/// DESIGN 8.7, as each device keeps its books.
fn money_is_conserved_on_every_device(devices: &[Chains], breaches: &mut Vec<String>) {
    for device in devices.iter().filter(|d| !d.money_conserved) {
        breaches.push(format!("{}: money in, sold, returned, credited and owed do not add up", device.name));
    }
}

fn is_sale(kept: &Kept) -> bool {
    kept.meaning().is_some_and(|m| match m.body {
        Body::Vend(v) => {
            v.outcome == VendOutcome::Success && !matches!(v.payment, Payment::Free | Payment::Test)
        }
        _ => false,
    })
}

fn fields(t: &Totals) -> Vec<(&'static str, i64)> {
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    vec![
        ("vends", n(t.vends)),
        ("vends_minor", t.vends_minor),
        ("cash_vends", n(t.cash_vends)),
        ("cash_vends_minor", t.cash_vends_minor),
        ("cashless_vends", n(t.cashless_vends)),
        ("cashless_vends_minor", t.cashless_vends_minor),
        ("failed_vends", n(t.failed_vends)),
        ("unknown_vends", n(t.unknown_vends)),
        ("cash_in_minor", t.cash_in_minor),
        ("cash_out_minor", t.cash_out_minor),
        ("cash_collected_minor", t.cash_collected_minor),
        ("cash_loaded_minor", t.cash_loaded_minor),
        ("owed_minor", t.owed_minor),
    ]
}

type Field = (&'static str, i64);

fn izip<'a>(
    a: &'a [Field],
    b: &'a [Field],
    c: &'a [Field],
) -> impl Iterator<Item = (&'a Field, &'a Field, &'a Field)> {
    a.iter().zip(b).zip(c).map(|((a, b), c)| (a, b, c))
}
