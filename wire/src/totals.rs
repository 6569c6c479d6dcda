//! Totals after EVA-DTS.

use vend_core::counters::Totals;
use vendfleet_proto::v1;

/// Totals as the contract has them.
#[must_use]
pub fn to_proto(t: &Totals) -> v1::Totals {
    v1::Totals {
        vends: t.vends,
        vends_minor: t.vends_minor,
        cash_vends: t.cash_vends,
        cash_vends_minor: t.cash_vends_minor,
        cashless_vends: t.cashless_vends,
        cashless_vends_minor: t.cashless_vends_minor,
        remote_vends: t.remote_vends,
        remote_vends_minor: t.remote_vends_minor,
        free_vends: t.free_vends,
        test_vends: t.test_vends,
        failed_vends: t.failed_vends,
        unknown_vends: t.unknown_vends,
        cash_in_minor: t.cash_in_minor,
        cash_out_minor: t.cash_out_minor,
        cash_collected_minor: t.cash_collected_minor,
        cash_loaded_minor: t.cash_loaded_minor,
        owed_minor: t.owed_minor,
    }
}

/// Totals as the machine counts them. Any numbers are totals: whether they add up is the server's business.
#[must_use]
pub fn from_proto(t: &v1::Totals) -> Totals {
    Totals {
        vends: t.vends,
        vends_minor: t.vends_minor,
        cash_vends: t.cash_vends,
        cash_vends_minor: t.cash_vends_minor,
        cashless_vends: t.cashless_vends,
        cashless_vends_minor: t.cashless_vends_minor,
        remote_vends: t.remote_vends,
        remote_vends_minor: t.remote_vends_minor,
        free_vends: t.free_vends,
        test_vends: t.test_vends,
        failed_vends: t.failed_vends,
        unknown_vends: t.unknown_vends,
        cash_in_minor: t.cash_in_minor,
        cash_out_minor: t.cash_out_minor,
        cash_collected_minor: t.cash_collected_minor,
        cash_loaded_minor: t.cash_loaded_minor,
        owed_minor: t.owed_minor,
    }
}
