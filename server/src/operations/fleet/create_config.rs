//! Keeps a config.

use super::{config_not_found, resource};
use crate::domain::fleet::{ConfigRow, NewConfig, check_config};
use crate::domain::request::RequestKey;
use crate::error::{ApiError, FieldViolation, MAX_VIOLATIONS};
use crate::operations::Deps;
use crate::operations::deps::write;
use crate::operations::request::begin;
use crate::store::{catalog, fleet::configs};
use vend_core::config::Config;
use vend_core::id::ConfigId;

/// Most bytes of a config, so that it fits a Sync answer with everything else in it.
const MAX_CONFIG_BYTES: usize = 60_000;

/// Checks a config with the machine's own rules and against the catalogue, and keeps it.
///
/// # Errors
/// INVALID_FIELD with each bad path below `config`, IDEMPOTENCY_KEY_REUSED.
pub async fn create_config(deps: &Deps, key: RequestKey, new: NewConfig) -> Result<ConfigRow, ApiError> {
    let now_ms = deps.context.now_ms();
    let id = ConfigId(deps.context.new_id().into_bytes());
    let config = Config { id, ..new.config };
    let (body, sha256) = vendfleet_wire::config::encode(&config);
    if body.len() > MAX_CONFIG_BYTES {
        return Err(ApiError::invalid_field(
            "config",
            format!("must be at most {MAX_CONFIG_BYTES} bytes serialised"),
        ));
    }
    let row = ConfigRow {
        id,
        name: new.name.into_string(),
        note: new.note.into_string(),
        body,
        sha256,
        created_by: new.by,
        created_at_ms: now_ms,
    };
    let kept = write(deps, "create_config", (key, config, row), move |tx, (key, config, row)| {
        Box::pin(async move {
            let name = uuid::Uuid::from_bytes(row.id.0).to_string();
            if let Some(known) = begin(tx, key, &name, now_ms).await? {
                let id = ConfigId(resource(&known.resource_id)?.into_bytes());
                return Ok(configs::find(tx, id).await?.ok_or_else(|| config_not_found(id))?);
            }
            check_against_catalogue(tx, config).await?;
            configs::insert(tx, row).await?;
            Ok(row.clone())
        })
    });
    Ok(kept.await?)
}

async fn check_against_catalogue(
    tx: &mut crate::store::Tx,
    config: &Config,
) -> Result<(), crate::operations::deps::Failure> {
    let ids: Vec<_> = config.products.iter().map(|product| product.id).collect();
    let on_sale = catalog::on_sale(tx, &ids).await?;
    let violations: Vec<FieldViolation> = check_config(config, &on_sale)
        .into_iter()
        .take(MAX_VIOLATIONS)
        .map(|problem| FieldViolation {
            field: if problem.field.is_empty() {
                "config".to_owned()
            } else {
                format!("config.{}", problem.field)
            },
            rule: problem.rule,
        })
        .collect();
    if violations.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(violations).into()) }
}
