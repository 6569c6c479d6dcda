//! What can go wrong below, in words that don't depend on the engine.

use crate::error::{ApiError, Reason};
use std::fmt;

/// Why the store could not do something. Display texts name no SQL, table or path: the driver's own words are only logged,
/// through [`std::error::Error::source`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached, is shutting down, or took longer than its limit. A write may have happened.
    #[error("the database is not available")]
    Unavailable(#[source] Cause),
    /// The database is read-only: a standby, a primary that was set so, a file that may not be written. Nothing was written.
    #[error("the database takes no writes")]
    ReadOnly(#[source] Cause),
    /// There is no room on the medium under the database. Nothing was written.
    #[error("the database's disk is full")]
    Full(#[source] Cause),
    /// Lost a race for the same rows. Nothing was written. [`super::Store::run_tx`] tries such a write again.
    #[error("lost a race for the same rows")]
    Conflict(#[source] Cause),
    /// `(machine, transaction, kind)` counts already. Nothing of the transaction was written.
    #[error("a transaction of the batch counts already")]
    UniqueCounted,
    /// A unique key is taken. Nothing of the transaction was written.
    #[error("a unique key is taken: {0}")]
    Taken(UniqueKey),
    /// A row was refused by a rule of the schema (a CHECK, a foreign key, NOT NULL): a bug above, or a limit reached.
    #[error("a row breaks a rule of the store: {0}")]
    Data(String),
    /// A stored row can't be read back as what it must be.
    #[error("a stored row is damaged: {0}")]
    Corrupt(String),
    /// The database is not one this server may run on: wrong version, durability not as required.
    #[error("the database can't be used: {0}")]
    Unsuitable(String),
    /// A statement or its use is wrong: a bug.
    #[error("a statement of the store failed")]
    Bug(#[source] Cause),
}

/// What the driver said; for logs.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Unique keys whose violation means something to a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UniqueKey {
    /// `products.sku` among products on sale.
    Sku,
    /// `machines.serial` among machines in use.
    Serial,
    /// `request_ids`: another call with the same key was faster.
    RequestId,
    /// `claim_tokens.token_hash`.
    ClaimToken,
    /// `orders.idempotency_key` of a customer: another call with it was faster.
    OrderKey,
    /// `sessions` and `purchases`: another call with the same request id was faster.
    PoolRequest,
    /// Any other.
    Other,
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sku => "sku",
            Self::Serial => "serial",
            Self::RequestId => "request id",
            Self::ClaimToken => "claim token",
            Self::OrderKey => "order key",
            Self::PoolRequest => "request id of a session or purchase",
            Self::Other => "another",
        })
    }
}

impl StoreError {
    /// The whole transaction may be tried again as it was.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// The database is away, full or read-only: nothing that a caller could change. Trying later may help.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::ReadOnly(_) | Self::Full(_))
    }

    /// Another connection writes, and went on doing so for longer than this one waits.
    pub(super) fn is_busy(error: &sqlx::Error) -> bool {
        let sqlx::Error::Database(database) = error else { return false };
        matches!(from_database(database.as_ref()), Some(Self::Conflict(_)))
    }

    /// A stored value is not what it must be; `what` names table and column.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::ReadOnly(_) | StoreError::Full(_) => {
                Self::unavailable(error)
            }
            StoreError::Conflict(_)
            | StoreError::Taken(UniqueKey::RequestId | UniqueKey::OrderKey | UniqueKey::PoolRequest) => {
                Self::new(Reason::LockConflict, "lost a race for the same rows; try again").caused_by(error)
            }
            StoreError::UniqueCounted
            | StoreError::Taken(_)
            | StoreError::Data(_)
            | StoreError::Corrupt(_)
            | StoreError::Unsuitable(_)
            | StoreError::Bug(_) => Self::internal(error),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => from_database(database.as_ref()).unwrap_or_else(|| {
                tracing::error!(error = %error, "a statement failed");
                Self::Bug(error.into())
            }),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error.into()),
            sqlx::Error::ColumnDecode { index, source } => Self::Corrupt(format!("column {index}: {source}")),
            sqlx::Error::Decode(source) => Self::Corrupt(source.to_string()),
            sqlx::Error::RowNotFound => Self::Corrupt("a row that must be there is missing".to_owned()),
            _ => {
                tracing::error!(error = %error, "a statement could not be used");
                Self::Bug(error.into())
            }
        }
    }
}

/// `None`: nothing the caller could act on.
fn from_database(error: &dyn sqlx::error::DatabaseError) -> Option<StoreError> {
    let cause = || -> Cause { error.to_string().into() };
    let code = error.code().unwrap_or_default();
    if let Some(postgres) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        let constraint = postgres.constraint().unwrap_or_default();
        return Some(match code.as_ref() {
            "23505" => taken(constraint),
            _ if code.starts_with("23") || code.starts_with("22") => data(error, constraint),
            // Serialization failure, deadlock, lock not available within lock_timeout.
            "40001" | "40P01" | "55P03" => StoreError::Conflict(cause()),
            // Cancelled by statement_timeout or by an administrator; idle in transaction for too long.
            "57014" | "25P03" => StoreError::Unavailable(cause()),
            "25006" => StoreError::ReadOnly(cause()),
            "53100" => StoreError::Full(cause()),
            // Connection trouble, resources, shutdown, system errors.
            _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                StoreError::Unavailable(cause())
            }
            "XX001" | "XX002" => StoreError::Corrupt(error.message().to_owned()),
            _ => return None,
        });
    }
    // SQLite: the low byte is the primary code, https://sqlite.org/rescode.html
    let extended: i32 = code.parse().ok()?;
    match (extended, extended & 0xff) {
        // CONSTRAINT_UNIQUE, CONSTRAINT_PRIMARYKEY, CONSTRAINT_ROWID: "UNIQUE constraint failed: table.a, table.b"
        (2067 | 1555 | 2579, _) => Some(taken(error.message())),
        (_, 18..=20) => Some(data(error, error.message())),
        (_, 5 | 6) => Some(StoreError::Conflict(cause())),
        (_, 8) => Some(StoreError::ReadOnly(cause())),
        (_, 13) => Some(StoreError::Full(cause())),
        (_, 9 | 10 | 14 | 15 | 7 | 3 | 23) => Some(StoreError::Unavailable(cause())),
        (_, 11 | 26) => Some(StoreError::Corrupt(error.message().to_owned())),
        _ => None,
    }
}

/// PostgreSQL names the index, SQLite the columns.
fn taken(said: &str) -> StoreError {
    const KEYS: [(&str, &str, UniqueKey); 7] = [
        ("products_sku", "products.sku", UniqueKey::Sku),
        ("machines_serial", "machines.serial", UniqueKey::Serial),
        ("request_ids_pkey", "request_ids.caller", UniqueKey::RequestId),
        ("claim_tokens_hash", "claim_tokens.token_hash", UniqueKey::ClaimToken),
        ("orders_key", "orders.customer_id", UniqueKey::OrderKey),
        ("sessions_request", "sessions.caller", UniqueKey::PoolRequest),
        ("purchases_request", "purchases.caller", UniqueKey::PoolRequest),
    ];
    if said.contains("records_counted") || said.contains("records.transaction_id") {
        return StoreError::UniqueCounted;
    }
    let key = KEYS.iter().find(|(index, columns, _)| said.contains(index) || said.contains(columns));
    if key.is_none() {
        tracing::error!(said, "a unique key is taken that nobody expects");
    }
    StoreError::Taken(key.map_or(UniqueKey::Other, |(.., key)| *key))
}

fn data(error: &dyn sqlx::error::DatabaseError, rule: &str) -> StoreError {
    tracing::warn!(error = %error, "a row was refused");
    StoreError::Data(rule.to_owned())
}
