//! A machine's lifetime totals, counted twice: by the machine, and as the sum of what counts here.

use vend_core::counters::{self, Totals};
use vend_core::id::Epoch;
use vend_core::money::Currency;
use vend_core::record::Record;

const FIELDS: usize = 17;
type Amounts = [i128; FIELDS];

const NAMES: [&str; FIELDS] = [
    "vends",
    "vends_minor",
    "cash_vends",
    "cash_vends_minor",
    "cashless_vends",
    "cashless_vends_minor",
    "remote_vends",
    "remote_vends_minor",
    "free_vends",
    "test_vends",
    "failed_vends",
    "unknown_vends",
    "cash_in_minor",
    "cash_out_minor",
    "cash_collected_minor",
    "cash_loaded_minor",
    "owed_minor",
];

fn amounts(t: &Totals) -> Amounts {
    [
        t.vends.into(),
        t.vends_minor.into(),
        t.cash_vends.into(),
        t.cash_vends_minor.into(),
        t.cashless_vends.into(),
        t.cashless_vends_minor.into(),
        t.remote_vends.into(),
        t.remote_vends_minor.into(),
        t.free_vends.into(),
        t.test_vends.into(),
        t.failed_vends.into(),
        t.unknown_vends.into(),
        t.cash_in_minor.into(),
        t.cash_out_minor.into(),
        t.cash_collected_minor.into(),
        t.cash_loaded_minor.into(),
        t.owed_minor.into(),
    ]
}

fn totals(a: &Amounts) -> Totals {
    let count = |n: i128| u64::try_from(n.max(0)).unwrap_or(u64::MAX);
    let minor = |n: i128| i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX });
    Totals {
        vends: count(a[0]),
        vends_minor: minor(a[1]),
        cash_vends: count(a[2]),
        cash_vends_minor: minor(a[3]),
        cashless_vends: count(a[4]),
        cashless_vends_minor: minor(a[5]),
        remote_vends: count(a[6]),
        remote_vends_minor: minor(a[7]),
        free_vends: count(a[8]),
        test_vends: count(a[9]),
        failed_vends: count(a[10]),
        unknown_vends: count(a[11]),
        cash_in_minor: minor(a[12]),
        cash_out_minor: minor(a[13]),
        cash_collected_minor: minor(a[14]),
        cash_loaded_minor: minor(a[15]),
        owed_minor: minor(a[16]),
    }
}

/// The first record after which the machine's counters and the sum of its records part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disagreement {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its seq.
    pub seq: u64,
    /// The first field that differs.
    pub field: &'static str,
    /// What the machine said.
    pub reported: i64,
    /// What the records sum up to.
    pub counted: i64,
}

/// A machine's lifetime totals.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MachineTotals {
    /// As the machine's counters said after the last record that carries them.
    pub reported: Totals,
    /// Sum over the records that count here.
    pub counted: Totals,
    /// What happened in between that does not count here: gaps, dead letters, steps between journals.
    pub missing: Totals,
    /// The record `reported` is from.
    pub as_of: Option<(Epoch, u64)>,
    /// Set when counters and records part.
    pub disagreement: Option<Disagreement>,
    /// Whose minor units these are: that of the last record that names one.
    pub currency: Currency,
}

/// Walks over a machine's counted records in order.
#[derive(Debug, Default)]
pub struct TotalsFold {
    counted: Totals,
    counted_currency: Currency,
    reported: Totals,
    reported_currency: Currency,
    missing: Amounts,
    as_of: Option<(Epoch, u64)>,
    disagreement: Option<Disagreement>,
}

impl TotalsFold {
    /// Counts a record. `hole`: something between it and the record before does not count here.
    pub fn walk(&mut self, epoch: Epoch, seq: u64, record: &Record, hole: bool) {
        self.count(record);
        counters::advance(&mut self.reported_currency, &mut self.reported, &record.body);
        let Some(said) = record.lifetime_after else { return };
        if said != self.reported {
            let (said_amounts, summed) = (amounts(&said), amounts(&self.reported));
            if hole {
                for (missing, (said, sum)) in self.missing.iter_mut().zip(said_amounts.iter().zip(&summed)) {
                    *missing += said - sum;
                }
            } else if self.disagreement.is_none() {
                let first = (0..FIELDS).find(|i| said_amounts[*i] != summed[*i]).unwrap_or(0);
                let shown = |n: i128| i64::try_from(n).unwrap_or(i64::MAX);
                self.disagreement = Some(Disagreement {
                    epoch,
                    seq,
                    field: NAMES[first],
                    reported: shown(said_amounts[first]),
                    counted: shown(summed[first]),
                });
            }
            self.reported = said;
        }
        self.as_of = Some((epoch, seq));
    }

    /// Counts a record of an adopted branch: it counts here, and is in no later counters that could be compared.
    pub fn count(&mut self, record: &Record) {
        counters::advance(&mut self.counted_currency, &mut self.counted, &record.body);
    }

    /// The totals.
    pub fn finish(self) -> MachineTotals {
        MachineTotals {
            reported: if self.as_of.is_some() { self.reported } else { Totals::default() },
            counted: self.counted,
            missing: totals(&self.missing),
            as_of: self.as_of,
            disagreement: self.disagreement,
            currency: if self.reported_currency == Currency::NONE {
                self.counted_currency
            } else {
                self.reported_currency
            },
        }
    }
}
