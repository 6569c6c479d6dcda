//! Lifetime totals in one column: a version byte and seventeen big-endian 64-bit numbers. They are read and written as a
//! whole with every batch and never searched, and columns for them would triple the epoch's row.

use crate::store::{Columns, StoreError};
use vend_core::counters::Totals;

const VERSION: u8 = 1;
const FIELDS: usize = 17;
const BYTES: usize = 1 + FIELDS * 8;

/// Packed totals.
pub(super) type Packed = [u8; BYTES];

pub(super) fn pack(totals: &Totals) -> Packed {
    let t = *totals;
    let fields: [[u8; 8]; FIELDS] = [
        t.vends.to_be_bytes(),
        t.vends_minor.to_be_bytes(),
        t.cash_vends.to_be_bytes(),
        t.cash_vends_minor.to_be_bytes(),
        t.cashless_vends.to_be_bytes(),
        t.cashless_vends_minor.to_be_bytes(),
        t.remote_vends.to_be_bytes(),
        t.remote_vends_minor.to_be_bytes(),
        t.free_vends.to_be_bytes(),
        t.test_vends.to_be_bytes(),
        t.failed_vends.to_be_bytes(),
        t.unknown_vends.to_be_bytes(),
        t.cash_in_minor.to_be_bytes(),
        t.cash_out_minor.to_be_bytes(),
        t.cash_collected_minor.to_be_bytes(),
        t.cash_loaded_minor.to_be_bytes(),
        t.owed_minor.to_be_bytes(),
    ];
    let mut packed = [0; BYTES];
    packed[0] = VERSION;
    for (place, field) in packed[1..].chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field);
    }
    packed
}

/// The totals read next from a row, or NULL.
pub(in crate::store) fn read(columns: &mut Columns<'_>) -> Result<Option<Totals>, StoreError> {
    let Some(packed) = columns.opt_array::<BYTES>()? else { return Ok(None) };
    if packed[0] != VERSION {
        return Err(columns.damaged(format_args!("totals of version {}", packed[0])));
    }
    let mut fields = packed[1..].chunks_exact(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        bytes
    });
    let mut next = || fields.next().unwrap_or_default();
    Ok(Some(Totals {
        vends: u64::from_be_bytes(next()),
        vends_minor: i64::from_be_bytes(next()),
        cash_vends: u64::from_be_bytes(next()),
        cash_vends_minor: i64::from_be_bytes(next()),
        cashless_vends: u64::from_be_bytes(next()),
        cashless_vends_minor: i64::from_be_bytes(next()),
        remote_vends: u64::from_be_bytes(next()),
        remote_vends_minor: i64::from_be_bytes(next()),
        free_vends: u64::from_be_bytes(next()),
        test_vends: u64::from_be_bytes(next()),
        failed_vends: u64::from_be_bytes(next()),
        unknown_vends: u64::from_be_bytes(next()),
        cash_in_minor: i64::from_be_bytes(next()),
        cash_out_minor: i64::from_be_bytes(next()),
        cash_collected_minor: i64::from_be_bytes(next()),
        cash_loaded_minor: i64::from_be_bytes(next()),
        owed_minor: i64::from_be_bytes(next()),
    }))
}
