//! A machine's lifetime totals as it reports them, as its records sum up, and what is missing between.

use super::body::read_body;
use super::{expect_real, machine_not_found};
use crate::domain::fleet::{MachineTotals, TotalsFold};
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::records::Kinds;
use crate::store::fleet::{chains, machines, records};

/// Records read at a time.
const RECORDS_PER_STEP: i64 = 500;
/// Gaps and dead letters looked at, at most; behind more, a difference counts as a disagreement.
const MAX_HOLES: i64 = 100_000;

/// Sums up a machine's whole history; the call's deadline bounds it.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_KIND_MISMATCH.
pub async fn get_totals(deps: &Deps, machine: MachineId) -> Result<MachineTotals, ApiError> {
    let mut session = deps.store.read().await?;
    let detail = machines::find(&mut session, machine).await?.ok_or_else(|| machine_not_found(machine))?;
    expect_real(detail)?;
    let holes = chains::holes(&mut session, machine, MAX_HOLES).await?;
    let mut fold = TotalsFold::default();
    for chain in records::chains(&mut session, machine).await? {
        let adopted = chain.id != chain.epoch;
        // An epoch begins with whatever its journal knew; what its parent did not know of that is missing here.
        let (mut first, mut hole) = (1, true);
        loop {
            let kinds = Kinds::Totals;
            let batch =
                records::of_kinds(&mut session, machine, chain.id, kinds, first, RECORDS_PER_STEP).await?;
            if batch.is_empty() {
                break;
            }
            for stored in batch {
                let passed = first..stored.seq;
                first = stored.seq.saturating_add(1);
                let record = read_body(stored.kind, stored.schema, &stored.body).map_err(|bad| {
                    ApiError::internal(format!("a counted record can't be read: {}", bad.detail))
                })?;
                if adopted {
                    fold.count(&record);
                    continue;
                }
                hole |= holes.iter().any(|(epoch, from, through)| {
                    *epoch == chain.epoch && *from < passed.end && *through >= passed.start
                });
                fold.walk(chain.epoch, stored.seq, &record, hole);
                hole &= record.lifetime_after.is_none();
            }
        }
    }
    Ok(fold.finish())
}
