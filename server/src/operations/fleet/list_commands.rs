//! Commands with what became of them.

use crate::domain::command::{Command, Place, State};
use crate::domain::ids::MachineId;
use crate::domain::page::{Page, PageRequest};
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::commands;

/// A page of commands, newest first; `now_ms` of the database's clock decides which are over by themselves.
///
/// # Errors
/// None of its own.
pub async fn list_commands(
    deps: &Deps,
    machine: Option<MachineId>,
    state: Option<State>,
    now_ms: i64,
    page: &PageRequest<Place>,
) -> Result<Page<Command, Place>, ApiError> {
    let rows = commands::list(&mut deps.store.read().await?, machine, state, page, now_ms).await?;
    Ok(Page::cut(rows, page.size, |command| {
        let number = i64::try_from(command.number).unwrap_or(i64::MAX);
        (command.created_at_ms, (command.machine.0, number))
    }))
}
