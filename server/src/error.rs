//! Why a call failed, as a plain value: what operations return and `grpc::status` puts on the wire.
//!
//! **Architecture Invariant**: nothing here knows gRPC. The names, codes and retries below are those of
//! `proto/vendfleet/v1/error_reason.proto` (its comments say when each happens and which metadata it carries);
//! a test keeps the two and `docs/errors.md` equal.

use std::{error::Error as StdError, fmt, time::Duration};

/// The canonical status codes in use, by their gRPC names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are gRPC's own; https://grpc.io/docs/guides/status-codes")]
pub enum Code {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
}

impl Code {
    /// Its gRPC name, e.g. `INVALID_ARGUMENT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The HTTP status of the same meaning (google.rpc.Code).
    pub fn http(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }
}

/// Whether trying again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails again: change the request or the credential.
    No,
    /// The same call, with the same key, may succeed later; `RetryInfo` says when.
    Backoff,
    /// The state stands against it: read it again, then decide on a new call.
    Reread,
}

impl Retry {
    /// Its name in the contract's comments.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "NO",
            Self::Backoff => "BACKOFF",
            Self::Reread => "REREAD",
        }
    }
}

// One row per reason keeps name, code and retry in one place; three functions over an enum of this size would be three
// tables that drift.
macro_rules! reasons {
    ($($variant:ident, $name:literal, $code:ident, $retry:ident;)*) => {
        /// Why a call failed. `vendfleet.v1.ErrorReason` says when each happens.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "documented at each value of vendfleet.v1.ErrorReason")]
        pub enum Reason { $($variant,)* }

        impl Reason {
            /// Every reason, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire, UPPER_SNAKE.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status code it travels with.
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// Whether trying again helps.
            pub fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }
        }
    };
}

reasons! {
    InvalidField, "INVALID_FIELD", InvalidArgument, No;
    MalformedMessage, "MALFORMED_MESSAGE", InvalidArgument, No;
    MessageTooLarge, "MESSAGE_TOO_LARGE", OutOfRange, No;
    PageTokenInvalid, "PAGE_TOKEN_INVALID", InvalidArgument, No;
    IdempotencyKeyReused, "IDEMPOTENCY_KEY_REUSED", InvalidArgument, No;
    CurrencyMismatch, "CURRENCY_MISMATCH", InvalidArgument, No;
    BadHash, "BAD_HASH", InvalidArgument, No;
    Unauthenticated, "UNAUTHENTICATED", Unauthenticated, No;
    TokenExpired, "TOKEN_EXPIRED", Unauthenticated, No;
    PermissionDenied, "PERMISSION_DENIED", PermissionDenied, No;
    MachineRevoked, "MACHINE_REVOKED", PermissionDenied, No;
    ClaimTokenInvalid, "CLAIM_TOKEN_INVALID", Unauthenticated, No;
    ClaimTokenUsed, "CLAIM_TOKEN_USED", AlreadyExists, No;
    ClaimTokenExpired, "CLAIM_TOKEN_EXPIRED", FailedPrecondition, No;
    SerialMismatch, "SERIAL_MISMATCH", FailedPrecondition, No;
    RateLimited, "RATE_LIMITED", ResourceExhausted, Backoff;
    Overloaded, "OVERLOADED", ResourceExhausted, Backoff;
    SlowConsumer, "SLOW_CONSUMER", ResourceExhausted, Backoff;
    Unavailable, "UNAVAILABLE", Unavailable, Backoff;
    LockConflict, "LOCK_CONFLICT", Aborted, Backoff;
    DeadlineExceeded, "DEADLINE_EXCEEDED", DeadlineExceeded, Backoff;
    Internal, "INTERNAL", Internal, No;
    Unimplemented, "UNIMPLEMENTED", Unimplemented, No;
    CursorLost, "CURSOR_LOST", OutOfRange, Reread;
    EtagMismatch, "ETAG_MISMATCH", Aborted, Reread;
    ProductNotFound, "PRODUCT_NOT_FOUND", NotFound, No;
    SkuExists, "SKU_EXISTS", AlreadyExists, No;
    ProductArchived, "PRODUCT_ARCHIVED", FailedPrecondition, Reread;
    InsufficientStock, "INSUFFICIENT_STOCK", FailedPrecondition, Reread;
    StockLimitExceeded, "STOCK_LIMIT_EXCEEDED", FailedPrecondition, Reread;
    OrderNotFound, "ORDER_NOT_FOUND", NotFound, No;
    OrderNotCancellable, "ORDER_NOT_CANCELLABLE", FailedPrecondition, Reread;
    NoIdleMachine, "NO_IDLE_MACHINE", FailedPrecondition, Backoff;
    MachineNotInState, "MACHINE_NOT_IN_STATE", FailedPrecondition, Reread;
    MachineAlreadyIdle, "MACHINE_ALREADY_IDLE", FailedPrecondition, Reread;
    PriceChanged, "PRICE_CHANGED", FailedPrecondition, Reread;
    SessionNotFound, "SESSION_NOT_FOUND", NotFound, No;
    SessionTokenMismatch, "SESSION_TOKEN_MISMATCH", PermissionDenied, No;
    SessionExpired, "SESSION_EXPIRED", FailedPrecondition, Reread;
    SessionEnded, "SESSION_ENDED", FailedPrecondition, Reread;
    ProductNotInMachine, "PRODUCT_NOT_IN_MACHINE", FailedPrecondition, Reread;
    MachineUnreachable, "MACHINE_UNREACHABLE", FailedPrecondition, Reread;
    PurchaseNotFound, "PURCHASE_NOT_FOUND", NotFound, No;
    PurchaseNotInDoubt, "PURCHASE_NOT_IN_DOUBT", FailedPrecondition, Reread;
    MachineNotFound, "MACHINE_NOT_FOUND", NotFound, No;
    SerialExists, "SERIAL_EXISTS", AlreadyExists, No;
    MachineArchived, "MACHINE_ARCHIVED", FailedPrecondition, Reread;
    MachineKindMismatch, "MACHINE_KIND_MISMATCH", FailedPrecondition, No;
    MachineNotEnrolled, "MACHINE_NOT_ENROLLED", FailedPrecondition, Reread;
    MachineCloned, "MACHINE_CLONED", FailedPrecondition, Reread;
    MachineNotCloned, "MACHINE_NOT_CLONED", FailedPrecondition, Reread;
    MachineInUse, "MACHINE_IN_USE", FailedPrecondition, Reread;
    ClaimTokenNotFound, "CLAIM_TOKEN_NOT_FOUND", NotFound, No;
    CredentialNotFound, "CREDENTIAL_NOT_FOUND", NotFound, No;
    UnsentRecords, "UNSENT_RECORDS", FailedPrecondition, Reread;
    ConfigNotFound, "CONFIG_NOT_FOUND", NotFound, No;
    GroupNotFound, "GROUP_NOT_FOUND", NotFound, No;
    RolloutNotFound, "ROLLOUT_NOT_FOUND", NotFound, No;
    RolloutNotInState, "ROLLOUT_NOT_IN_STATE", FailedPrecondition, Reread;
    RolloutConflict, "ROLLOUT_CONFLICT", FailedPrecondition, Reread;
    TransactionNotFound, "TRANSACTION_NOT_FOUND", NotFound, No;
    BranchNotFound, "BRANCH_NOT_FOUND", NotFound, No;
    BranchNotOpen, "BRANCH_NOT_OPEN", FailedPrecondition, Reread;
    DeadLetterNotFound, "DEAD_LETTER_NOT_FOUND", NotFound, No;
    DeadLetterNotOpen, "DEAD_LETTER_NOT_OPEN", FailedPrecondition, Reread;
    AlertNotFound, "ALERT_NOT_FOUND", NotFound, No;
    AlertResolved, "ALERT_RESOLVED", FailedPrecondition, Reread;
    CallerLimit, "CALLER_LIMIT", ResourceExhausted, Backoff;
    TooManyOpenOrders, "TOO_MANY_OPEN_ORDERS", ResourceExhausted, Backoff;
    MachineBudget, "MACHINE_BUDGET", ResourceExhausted, Backoff;
}

/// How long a caller waits when a retry helps and nothing better is known.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_millis(500);

/// Most field violations in one answer; the contract's bound.
pub const MAX_VIOLATIONS: usize = 64;

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, e.g. `records[3].body`.
    pub field: String,
    /// The rule it breaks, in words.
    pub rule: String,
}

/// A refused or failed call. The message and the metadata reach the caller; the cause is only logged.
#[derive(Debug)]
pub struct ApiError {
    /// The row of the table.
    pub reason: Reason,
    /// For people; names the field and the rule; never anything internal.
    pub message: String,
    /// For programs: the keys that the reason documents.
    pub metadata: Vec<(&'static str, String)>,
    /// What was wrong, for [`Reason::InvalidField`]; at most [`MAX_VIOLATIONS`] travel.
    pub violations: Vec<FieldViolation>,
    /// When to try again; [`DEFAULT_RETRY_AFTER`] when unset and the reason says BACKOFF.
    pub retry_after: Option<Duration>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// A failure for this reason, with words for people.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// One field breaks its rule.
    pub fn invalid_field(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldViolation { field: field.into(), rule: rule.into() }])
    }

    /// Several fields break their rules. An empty list is a bug of the caller and still answers INVALID_FIELD.
    pub fn invalid_fields(violations: Vec<FieldViolation>) -> Self {
        let (message, field) = match violations.first() {
            Some(first) => (format!("{}: {}", first.field, first.rule), first.field.clone()),
            None => ("the request breaks a rule".to_owned(), String::new()),
        };
        Self { violations, ..Self::new(Reason::InvalidField, message).with("field", field) }
    }

    /// The server broke one of its own rules. The cause is logged with the trace id and never sent.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "internal error; the trace id finds it in the server's log")
            .caused_by(cause)
    }

    /// The database can't be reached, or the server is draining. The cause is logged and never sent.
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Reason::Unavailable, "temporarily unavailable; repeat with the same key").caused_by(cause)
    }

    /// Adds one metadata value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Keeps what went wrong underneath, for the log alone.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What went wrong underneath, for the log.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.name(), self.message)
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}
