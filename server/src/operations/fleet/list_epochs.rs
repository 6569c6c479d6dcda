//! A machine's journals and how far the server has each.

use super::machine_not_found;
use crate::domain::fleet::{EpochState, EpochSummary, rivals};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::sync::EpochStatus;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::{branches, chains, machines};

/// A page of a machine's epochs, in the order they were opened.
///
/// # Errors
/// MACHINE_NOT_FOUND, MACHINE_KIND_MISMATCH.
pub async fn list_epochs(
    deps: &Deps,
    machine: MachineId,
    page: &PageRequest<u64>,
) -> Result<Page<EpochSummary, u64>, ApiError> {
    let mut session = deps.store.read().await?;
    let detail = machines::find(&mut session, machine).await?.ok_or_else(|| machine_not_found(machine))?;
    let detail = super::expect_real(detail)?;
    let page = Page::cut(chains::epochs(&mut session, machine, page).await?, page.size, |row| row.ordinal);
    let said = chains::last_said(&mut session, machine).await?;
    let branches = branches::of_machine(&mut session, machine).await?;
    let rivals = detail.device.map(|device| rivals(&device, &branches)).unwrap_or_default();
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        let uncounted = chains::uncounted(&mut session, machine, row.epoch).await?;
        let received = branches.iter().filter(|b| b.branch.key.epoch == row.epoch).map(|b| b.branch.last_seq);
        let last_said = said.filter(|(epoch, _)| *epoch == row.epoch).map_or(0, |(_, seq)| seq);
        let state = match row.status {
            _ if rivals.contains(&row.epoch) => EpochState::Rival,
            EpochStatus::Current => EpochState::Current,
            EpochStatus::Replaced => EpochState::Replaced,
        };
        // An epoch that was split off another machine: what it had brought there counts there.
        let elsewhere = if row.parent == Some(row.epoch) { row.parent_last_common } else { 0 };
        let not_here = uncounted.dead_lettered.saturating_add(uncounted.missing).saturating_add(elsewhere);
        items.push(EpochSummary {
            machine,
            state,
            last_seq: received.max().unwrap_or(0).max(last_said).max(row.accepted_through),
            applied: row.durable_through.saturating_sub(not_here),
            quarantined: uncounted.quarantined,
            dead_lettered: uncounted.dead_lettered,
            missing: uncounted.missing,
            row,
        });
    }
    Ok(Page { items, next: page.next })
}
