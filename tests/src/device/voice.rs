//! Single calls in a machine's name: what no agent would say, or would not say just now.

use std::path::Path;

use fleet_client::{
    context::Context, credentials::Credentials, device::SharedJournal, journal::RawRecord,
    journal::sqlite::Options, open_journal,
};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};
use vendfleet_proto::v1::{self, machine_sync_service_client::MachineSyncServiceClient};

use super::Device;
pub use crate::refusal::{Refusal, refusal};

/// Speaks as one machine, without its agent.
#[derive(Debug, Clone)]
pub struct Voice {
    client: MachineSyncServiceClient<Channel>,
    authorization: Option<String>,
}

impl Voice {
    /// Over this channel, with the machine's secret.
    pub fn of(channel: Channel, credentials: &Credentials) -> Self {
        let identity = &credentials.identity;
        let header = format!("Machine {}.{}", identity.credential_id, identity.secret.to_base64url());
        Self { client: MachineSyncServiceClient::new(channel), authorization: Some(header) }
    }

    /// Over this channel, with nothing but what the channel itself brings.
    pub fn without_secret(channel: Channel) -> Self {
        Self { client: MachineSyncServiceClient::new(channel), authorization: None }
    }

    /// With another `authorization` header.
    #[must_use]
    pub fn saying(mut self, authorization: &str) -> Self {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// One Sync.
    pub async fn sync(&mut self, call: v1::SyncRequest) -> Result<v1::SyncResponse, Status> {
        let request = self.request(call);
        Ok(self.client.sync(request).await?.into_inner())
    }

    /// One Enroll.
    pub async fn enroll(&mut self, call: v1::EnrollRequest) -> Result<v1::EnrollResponse, Status> {
        let request = self.request(call);
        Ok(self.client.enroll(request).await?.into_inner())
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(header) = &self.authorization {
            request.metadata_mut().insert("authorization", MetadataValue::try_from(header).unwrap());
        }
        request
    }
}

impl Device {
    /// Switches the machine off and gives the Sync that its journal would make: up to `max_records` from `first_seq` on.
    pub async fn next_call(&mut self, first_seq: u64, max_records: usize) -> v1::SyncRequest {
        self.power_off().await;
        let dir = self.machine.dir().to_owned();
        tokio::task::spawn_blocking(move || call(&dir, first_seq, max_records)).await.unwrap()
    }
}

fn call(dir: &Path, first_seq: u64, max_records: usize) -> v1::SyncRequest {
    let context = Context::system();
    let journal: SharedJournal = open_journal(dir, &Options::default(), &context).unwrap();
    let epoch = journal.with(|j| j.recovered().epoch);
    let batch = journal.with(|j| j.batch(epoch, first_seq, max_records, 200_000)).unwrap();
    v1::SyncRequest {
        epoch: epoch.0.to_vec(),
        oldest_seq: batch.cursor.oldest_seq,
        last_seq: batch.cursor.last_seq,
        accepted_through: batch.cursor.accepted_through,
        first_seq: batch.first_seq,
        previous_hash: batch.previous_hash.to_vec(),
        records: batch.records.into_iter().map(record).collect(),
        now: Some(v1::Stamp { boot_id: context.boot().0.to_vec(), uptime_ms: 1, ..Default::default() }),
        ..Default::default()
    }
}

fn record(r: RawRecord) -> v1::Record {
    v1::Record { seq: r.seq, kind: r.kind, schema: r.schema, body: r.body.into(), hash: r.hash.to_vec() }
}
