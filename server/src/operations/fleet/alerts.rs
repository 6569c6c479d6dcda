//! Alerts: listed, acknowledged, resolved.

use crate::domain::fleet::{Alert, AlertFilter, AlertState};
use crate::domain::ids::AlertId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::store::alerts as store;
use uuid::Uuid;

fn not_found(id: AlertId) -> ApiError {
    ApiError::new(Reason::AlertNotFound, "alert_id: there is no such alert").with("alert_id", id)
}

/// A page of alerts, newest first.
///
/// # Errors
/// None of its own.
pub async fn list_alerts(
    deps: &Deps,
    filter: &AlertFilter,
    page: &PageRequest<Uuid>,
) -> Result<Page<Alert, Uuid>, ApiError> {
    let rows = store::list(&mut deps.store.read().await?, filter, page).await?;
    Ok(Page::cut(rows, page.size, |alert| alert.id.0))
}

/// Says that somebody is on it; who came first stays.
///
/// # Errors
/// ALERT_NOT_FOUND, ALERT_RESOLVED.
pub async fn acknowledge_alert(deps: &Deps, id: AlertId, by: String) -> Result<Alert, ApiError> {
    let now_ms = deps.context.now_ms();
    let acknowledged = write(deps, "acknowledge_alert", by, move |tx, by| {
        Box::pin(async move {
            store::acknowledge(tx, id, by, now_ms).await?;
            let alert = store::find(tx, id).await?.ok_or_else(|| not_found(id))?;
            if alert.state() == AlertState::Resolved {
                let text = "the alert is resolved and can't be acknowledged any more";
                return Err(ApiError::new(Reason::AlertResolved, text).with("alert_id", id).into());
            }
            Ok(alert)
        })
    });
    Ok(acknowledged.await?)
}

/// Says that it is over; who came first stays.
///
/// # Errors
/// ALERT_NOT_FOUND.
pub async fn resolve_alert(
    deps: &Deps,
    id: AlertId,
    note: Text<0, 256>,
    by: String,
) -> Result<Alert, ApiError> {
    let now_ms = deps.context.now_ms();
    let resolved = write(deps, "resolve_alert", (note, by), move |tx, (note, by)| {
        Box::pin(async move {
            store::resolve(tx, id, by, note.as_str(), now_ms).await?;
            Ok(store::find(tx, id).await?.ok_or_else(|| not_found(id))?)
        })
    });
    Ok(resolved.await?)
}
