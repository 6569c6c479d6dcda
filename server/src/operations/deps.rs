//! What operations work with, and the one way they write.

use crate::auth::SecretKey;
use crate::context::Context;
use crate::domain::ids::Ids;
use crate::error::ApiError;
use crate::operations::events::EventLog;
use crate::operations::orders::Orders;
use crate::operations::pool::Pool;
use crate::operations::watch::Hints;
use crate::store::events::Origin;
use crate::store::{End, Store, StoreError, Tx, clock};
use crate::telemetry;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

/// What operations work with. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// Time, ids, randomness.
    pub context: Context,
    /// Hashes secrets and seals page tokens.
    pub key: SecretKey,
    /// Signs machines' certificates.
    pub signer: Arc<dyn SignCertificate>,
    /// Wakes connected machines.
    pub hints: Hints,
    /// Where every change of an order goes through.
    pub orders: Orders,
    /// Where every change of a session or purchase goes through.
    pub pool: Pool,
    /// What happened, as streams read it.
    pub events: EventLog,
    /// What an operator can set of it.
    pub settings: Settings,
}

/// One moment, ms since the Unix epoch, on the two clocks that things run out on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// On the database's: leases, rests, connections, reservations.
    pub clock_ms: i64,
    /// On this server's: credentials.
    pub own_ms: i64,
}

impl Deps {
    /// Now, on both clocks. To be asked for before a write whose answer shows it: what is committed is then not answered with
    /// an error.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn moment(&self) -> Result<Moment, ApiError> {
        let clock_ms = clock::now_ms(&self.store).await?;
        Ok(Moment { clock_ms, own_ms: self.context.now_ms() })
    }
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What an operator can set of the operations.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a credential may upload after its board was swapped out, ms.
    pub swap_drain_ms: i64,
    /// Name of this replica, at most 64 bytes.
    pub replica: String,
    /// When this process started, ms since the Unix epoch.
    pub started_at_ms: i64,
    /// Full names of the services that answer on this server.
    pub services: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { swap_drain_ms: 604_800_000, replica: String::new(), started_at_ms: 0, services: Vec::new() }
    }
}

/// A certificate made from a machine's request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCertificate {
    /// DER.
    pub der: Vec<u8>,
    /// When it ends, ms since the Unix epoch.
    pub expires_ms: i64,
}

/// Whatever signs machines' certificates.
pub trait SignCertificate: Send + Sync + 'static {
    /// Signs a PKCS#10 request for this machine and credential. `Err` says what is wrong with the request.
    fn sign(
        &self,
        csr_der: &[u8],
        machine: crate::domain::ids::MachineId,
        credential: crate::domain::ids::CredentialId,
    ) -> Result<SignedCertificate, String>;

    /// The CA that signs server and machines, PEM.
    fn ca_pem(&self) -> String;
}

/// Why a write did not happen.
pub(crate) enum Failure {
    /// The store failed.
    Store(StoreError),
    /// The state stands against it: nothing is written, the caller gets this.
    Refused(ApiError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// What a write is made of.
pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 't>>;

/// Why a whole write failed, retries included.
pub(crate) enum WriteError {
    /// A unique key was taken by somebody else in the same moment.
    Store(StoreError),
    /// Refused.
    Refused(ApiError),
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Refused(error) => error,
        }
    }
}

/// Runs `work` in one transaction through the store's retried write; a refusal rolls it back.
pub(crate) async fn write<I, T, W>(
    deps: &Deps,
    name: &'static str,
    input: I,
    work: W,
) -> Result<T, WriteError>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    W: for<'t> Fn(&'t mut Tx, &'t I) -> Work<'t, T> + Send + Sync + 'static,
{
    let outcome = deps
        .store
        .run_tx(name, (input, work), |tx, (input, work)| {
            Box::pin(async move {
                match work(tx, input).await {
                    Ok(value) => Ok(End::Commit(Ok(value))),
                    Err(Failure::Refused(error)) => Ok(End::RollBack(Err(error))),
                    Err(Failure::Store(error)) => Err(error),
                }
            })
        })
        .await
        .map_err(WriteError::Store)?;
    outcome.map_err(WriteError::Refused)
}

/// The call being handled, for what follows from it; empty on background tasks. Asked before a write, which runs on a task of
/// its own.
pub(crate) fn origin() -> Origin {
    telemetry::current()
        .map_or_else(Origin::default, |trace| Origin { traceparent: trace.traceparent(), trace_id: trace.id })
}

/// Trace id and W3C traceparent of the call being handled; empty on background tasks.
pub(crate) fn trace() -> (String, String) {
    telemetry::current().map_or_else(Default::default, |trace| {
        let parent = trace.traceparent();
        (trace.id, parent)
    })
}

/// Ids from the context, for folds.
pub(crate) struct ContextIds<'c>(pub(crate) &'c Context);

impl Ids for ContextIds<'_> {
    fn uuid_v7(&mut self) -> Uuid {
        self.0.new_id()
    }
}
