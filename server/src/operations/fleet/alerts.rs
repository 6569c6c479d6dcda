//! Alerts: listed, acknowledged, resolved.

use crate::domain::fleet::{Alert, AlertChange, AlertFilter, AlertState};
use crate::domain::ids::AlertId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::operations::Deps;
use crate::operations::deps::{origin, write};
use crate::store::events::{self, Happening, Origin};
use crate::store::{StoreError, Tx, alerts as store};
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
    let acknowledged = write(deps, "acknowledge_alert", (by, origin()), move |tx, (by, origin)| {
        Box::pin(async move {
            let changed = store::acknowledge(tx, id, by, now_ms).await?;
            let alert = store::find(tx, id).await?.ok_or_else(|| not_found(id))?;
            if alert.state() == AlertState::Resolved {
                let text = "the alert is resolved and can't be acknowledged any more";
                return Err(ApiError::new(Reason::AlertResolved, text).with("alert_id", id).into());
            }
            tell(tx, AlertChange::Acknowledged, changed.as_ref(), origin).await?;
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
    let resolved = write(deps, "resolve_alert", (note, by, origin()), move |tx, (note, by, origin)| {
        Box::pin(async move {
            let changed = store::resolve(tx, id, by, note.as_str(), now_ms).await?;
            let alert = store::find(tx, id).await?.ok_or_else(|| not_found(id))?;
            tell(tx, AlertChange::Resolved, changed.as_ref(), origin).await?;
            Ok(alert)
        })
    });
    Ok(resolved.await?)
}

/// Writes the event, last of all, when this call changed the alert.
async fn tell(
    tx: &mut Tx,
    change: AlertChange,
    changed: Option<&Alert>,
    origin: &Origin,
) -> Result<(), StoreError> {
    let happening = changed.map(|alert| Happening::alert(change, alert, origin)).transpose()?;
    events::write(tx, happening.as_slice()).await
}
