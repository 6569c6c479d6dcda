//! Says what became of a purchase in doubt.

use super::refusal::refused;
use crate::context::Context;
use crate::domain::ids::PurchaseId;
use crate::domain::pool::{
    self, Answer, Command, Purchase, Refusal, Resolution, Resolve, Settings as Rules, View, Writes,
};
use crate::domain::request::RequestKey;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::operations::deps::{ContextIds, Failure, trace, write};
use crate::operations::request::begin;
use crate::store::{Tx, pool as store};

struct Input {
    key: RequestKey,
    resolve: Resolve,
    context: Context,
    rules: Rules,
}

/// Settles a purchase in doubt as an operator found it, once per request id. Gives it as it is now.
///
/// # Errors
/// PURCHASE_NOT_FOUND, PURCHASE_NOT_IN_DOUBT, IDEMPOTENCY_KEY_REUSED, LOCK_CONFLICT.
pub async fn resolve_purchase(
    deps: &Deps,
    key: RequestKey,
    purchase: PurchaseId,
    resolution: Resolution,
    note: String,
) -> Result<Purchase, ApiError> {
    let at_ms = deps.context.now_ms();
    let (trace_id, traceparent) = trace();
    let (operator, why) = (key.caller.clone(), note.clone());
    let resolve = Resolve { purchase, resolution, note, at_ms, trace_id, traceparent };
    let input = Input { key, resolve, context: deps.context.clone(), rules: *deps.pool.rules() };
    let (now, done) = write(deps, "resolve_purchase", input, |tx, input| Box::pin(settle(tx, input))).await?;
    if let Some((view, writes)) = done {
        tracing::info!(
            %operator,
            purchase_id = %purchase,
            machine_id = %now.machine,
            ?resolution,
            note = why,
            "a purchase in doubt was resolved"
        );
        deps.pool.after.commit(&view, &writes);
    }
    Ok(now)
}

/// Gives the purchase, and what was written now.
async fn settle(tx: &mut Tx, input: &Input) -> Result<(Purchase, Option<(View, Writes)>), Failure> {
    let Input { key, resolve, context, rules } = input;
    if begin(tx, key, &resolve.purchase.to_string(), resolve.at_ms).await?.is_some() {
        let found = store::find_purchase(tx, resolve.purchase).await?;
        let found = found.ok_or_else(|| refused(Refusal::PurchaseNotFound(resolve.purchase)))?;
        return Ok((found, None));
    }
    let command = Command::Resolve(resolve.clone());
    let mut view = store::load(tx, std::slice::from_ref(&command), resolve.at_ms).await?;
    let mut writes = Writes::default();
    match pool::fold(&mut view, &command, rules, &mut ContextIds(context), &mut writes) {
        Answer::Done(purchase) => {
            store::write(tx, &view, &writes).await?;
            Ok((purchase, Some((view, writes))))
        }
        Answer::Refused(refusal) => Err(refused(refusal).into()),
        other => Err(ApiError::internal(format!("a resolution was answered with {other:?}")).into()),
    }
}
