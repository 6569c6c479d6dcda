//! Numbers and names under which small enums are stored. Those that travel have the wire's numbers.

use crate::domain::sync::{
    AssignmentCause, BranchReason, BranchState, Disposition, EpochStatus, GapReason, MachineStanding,
    VerdictReason,
};
use crate::store::{Columns, StoreError};
use vend_core::record::EpochReason;
use vend_core::time::ClockQuality;

/// An enum that is stored as a number.
pub(in crate::store) trait Coded: Copy + PartialEq + Sized + 'static {
    /// Every value and its number.
    const CODES: &'static [(Self, i64)];

    /// What is stored.
    fn code(self) -> i64 {
        let found = Self::CODES.iter().find(|(value, _)| *value == self);
        found.map(|(_, code)| *code).expect("the codes! macro refuses an enum with a value it does not list")
    }

    /// The value read next from a row.
    fn read(columns: &mut Columns<'_>) -> Result<Self, StoreError> {
        let code = columns.int()?;
        let found = Self::CODES.iter().find(|(_, known)| *known == code);
        found
            .map(|(value, _)| *value)
            .ok_or_else(|| columns.damaged(format_args!("no value has code {code}")))
    }
}

macro_rules! codes {
    ($($kind:ty { $($value:ident = $code:literal),* $(,)? })*) => {$(
        impl Coded for $kind {
            const CODES: &'static [(Self, i64)] = &[$((Self::$value, $code)),*];
        }

        // A value without a number does not compile.
        const _: fn($kind) = |value| match value { $(<$kind>::$value => {})* };
    )*};
}

codes! {
    MachineStanding { Active = 1, Cloned = 2 }
    EpochStatus { Current = 1, Replaced = 2 }
    EpochReason { New = 1, Salvaged = 2, Forked = 3, TailLost = 4 }
    BranchReason { Fork = 1, Cloned = 2, Revoked = 3 }
    BranchState { Held = 1, Adopted = 2, Discarded = 3 }
    Disposition { Applied = 1, DeadLetter = 2, Quarantined = 3 }
    GapReason { NotHeld = 1, Damaged = 2, PastUnknown = 3 }
    AssignmentCause { Publish = 1, Reissue = 6 }
    ClockQuality { Unset = 0, FreeRunning = 1, Synced = 2 }
}

/// The verdict reason read next from a row.
pub(in crate::store) fn verdict_reason(columns: &mut Columns<'_>) -> Result<VerdictReason, StoreError> {
    let name = columns.text()?;
    let found = VerdictReason::ALL.into_iter().find(|reason| reason.as_str() == name);
    found.ok_or_else(|| columns.damaged(format_args!("no verdict reason is called {name}")))
}
