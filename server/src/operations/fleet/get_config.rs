//! One config with its content.

use super::config_not_found;
use crate::domain::fleet::ConfigRow;
use crate::error::ApiError;
use crate::operations::Deps;
use crate::store::fleet::configs;
use vend_core::id::ConfigId;

/// One config.
///
/// # Errors
/// CONFIG_NOT_FOUND.
pub async fn get_config(deps: &Deps, id: ConfigId) -> Result<ConfigRow, ApiError> {
    configs::find(&mut deps.store.read().await?, id).await?.ok_or_else(|| config_not_found(id))
}
