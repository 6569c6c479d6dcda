//! The whole path: real clients over TLS, real credentials, every check, the server as `vendfleet serve` builds it; and
//! beside it a bare tonic server that echoes the same messages over the same TLS.

use crate::common::cpu_seconds;
use crate::common::home::{self, Home};
use crate::common::raw_codec::Raw;
use crate::load::Machine;
use crate::stage;
use crate::{Shape, committer, rate};
use prost::Message as _;
use prost::bytes::Bytes;
use server::auth::SecretKey;
use server::config::Config;
use server::context::Context;
use server::store::{Engine, Target};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use vendfleet_proto::v1;

/// TLS connections of the load generator; machines share them as they would behind a mobile carrier's gateway.
const CONNECTIONS: usize = 8;
const SYNC: &str = "/vendfleet.v1.MachineSyncService/Sync";
pub const ECHO: &str = "/bench.Echo/Echo";

/// What one machine sends, ready: the credential, the messages, and the mark each must be answered with.
struct Prepared {
    authorization: MetadataValue<Ascii>,
    calls: Vec<(Bytes, u64)>,
}

fn prepare(fleet: &[Machine]) -> Vec<Prepared> {
    use base64::Engine as _;
    fleet
        .iter()
        .map(|machine| {
            let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(machine.secret);
            Prepared {
                authorization: format!("Machine {}.{secret}", machine.credential).parse().unwrap(),
                calls: machine.syncs[1..].iter().map(|s| (machine.message(s), s.last().seq)).collect(),
            }
        })
        .collect()
}

async fn connect(address: SocketAddr, ca_pem: &str) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem)).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
        channels.push(endpoint.tcp_nodelay(true).connect().await.unwrap());
    }
    channels
}

/// Every machine has one call in flight, all machines at once. Gives the time from the first call to the last answer.
async fn drive(
    channels: &[Channel],
    path: &'static str,
    fleet: Vec<Prepared>,
    check: fn(Bytes, u64),
) -> Duration {
    let mut machines = JoinSet::new();
    let began = Instant::now();
    for (at, machine) in fleet.into_iter().enumerate() {
        let mut client = tonic::client::Grpc::new(channels[at % channels.len()].clone());
        machines.spawn(async move {
            for (message, through) in machine.calls {
                let mut request = Request::new(message);
                request.metadata_mut().insert("authorization", machine.authorization.clone());
                client.ready().await.unwrap();
                let answer = client.unary(request, PathAndQuery::from_static(path), Raw).await.unwrap();
                check(answer.into_inner(), through);
            }
        });
    }
    while let Some(ended) = machines.join_next().await {
        ended.unwrap();
    }
    began.elapsed()
}

/// What one run through the server gives.
pub struct Measured {
    pub records_per_s: f64,
    /// Processor time of this process per Sync, µs: server, load generator and, embedded, the database.
    pub cpu_us_per_sync: f64,
    /// Syncs in one commit, on average.
    pub syncs_per_commit: f64,
}

/// Records per second through the server.
pub fn run(
    clients: &Runtime,
    servers: &Runtime,
    engine: Engine,
    fleet: &[Machine],
    shape: &Shape,
) -> Measured {
    let home = servers.block_on(Home::fresh(engine));
    let data = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let mut config = Config::default();
    config.server.data_dir = data.path().to_str().unwrap().to_owned();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    config.server.sample_data = false;
    config.database.url = match home.target() {
        Target::Sqlite(path) => format!("sqlite:{}", path.display()),
        Target::Postgres(url) => url,
    };
    let running = servers.block_on(server::serve::start(config, Context::system())).unwrap();
    let store = servers.block_on(async {
        let store = home::open(home.target()).await;
        stage::add_machines(&store, fleet, &secret_key(data.path())).await;
        let committer = committer::start(&store);
        committer::open_epochs(&committer, fleet).await;
        home::settle(&home).await;
        store
    });
    let before = servers.block_on(stage::count_records(&store));
    let ca = fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap();
    let prepared = prepare(fleet);
    let cpu = cpu_seconds();
    let took = clients.block_on(async {
        let channels = connect(running.grpc_address, &ca).await;
        drive(&channels, SYNC, prepared, |answer, through| {
            let answer = v1::SyncResponse::decode(answer).unwrap();
            assert_eq!((answer.accepted_through, answer.durable_through), (through, through));
        })
        .await
    });
    let cpu = cpu_seconds() - cpu;
    let (commits, calls) = commits(running.http_address);
    let after = servers.block_on(stage::count_records(&store));
    assert_eq!(after - before, i64::try_from(shape.total_records()).unwrap());
    servers.block_on(async {
        store.close().await;
        running.stop().await;
    });
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let syncs = shape.total_syncs() as f64;
    Measured {
        records_per_s: rate(shape.total_records(), took),
        cpu_us_per_sync: cpu / syncs * 1e6,
        syncs_per_commit: calls / commits,
    }
}

/// How many commits of Syncs the server counted, and how many calls were in them.
fn commits(address: SocketAddr) -> (f64, f64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.contains(name) && !line.starts_with('#')).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    (value("commit_batch_requests_count"), value("commit_batch_requests_sum"))
}

fn secret_key(data: &Path) -> SecretKey {
    let text = fs::read_to_string(data.join("keys/credential-hmac.hex")).unwrap();
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).unwrap();
    SecretKey::new(bytes)
}

/// Calls per second through a bare tonic server that decodes each message and sends it back, and µs of processor time each.
pub fn run_echo(clients: &Runtime, servers: &Runtime, fleet: &[Machine], shape: &Shape) -> (f64, f64) {
    let prepared = prepare(fleet);
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (address, stop) = servers.block_on(crate::echo::start(&certified));
    let ca = certified.cert.pem();
    let cpu = cpu_seconds();
    let took = clients.block_on(async {
        let channels = connect(address, &ca).await;
        drive(&channels, ECHO, prepared, |answer, through| {
            assert_eq!(v1::SyncRequest::decode(answer).unwrap().last_seq, through);
        })
        .await
    });
    let cpu = cpu_seconds() - cpu;
    drop(stop);
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let syncs = shape.total_syncs() as f64;
    (rate(shape.total_syncs(), took), cpu / syncs * 1e6)
}
