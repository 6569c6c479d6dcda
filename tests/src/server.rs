//! The real `vendfleet serve`, as a process that a test can kill.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{client, fleet, postgres::TestDatabase, wait};

/// Names a built `vendfleet` binary; `./tests/run` sets it. Without it the harness builds the one beside the test.
pub const BINARY_VARIABLE: &str = "VENDFLEET_TEST_BIN";

/// Lines of a server's log shown when a test fails.
const LOG_LINES_SHOWN: usize = 80;

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    settings: BTreeMap<String, String>,
}

impl ServerOptions {
    /// Embedded SQLite in the data directory.
    pub fn embedded() -> Self {
        Self::default()
    }

    /// On a PostgreSQL database.
    pub fn postgres(database: &TestDatabase) -> Self {
        Self::at(database.url())
    }

    /// On the database with this URL.
    pub fn at(url: &str) -> Self {
        Self::default().set("database.url", url)
    }

    /// Sets a key of the config, e.g. `sync.next_sync_after_ms`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    /// The settings as the environment variables that carry them: `VENDFLEET_<SECTION>__<KEY>`.
    fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        self.settings.iter().map(|(key, value)| {
            (format!("VENDFLEET_{}", key.replace('.', "__").to_uppercase()), value.as_str())
        })
    }
}

/// What the server writes to `--ready-file` once it takes calls.
#[derive(Debug, Clone, Deserialize)]
struct Ready {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
}

/// A running server with a data directory of its own. Dropping it kills the process and removes the directory.
#[derive(Debug)]
pub struct TestServer {
    options: ServerOptions,
    dir: TempDir,
    child: Option<Child>,
    ready: Option<Ready>,
}

impl TestServer {
    /// Starts one on free ports and waits until it takes calls.
    pub async fn start(options: ServerOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("vendfleet-server-").tempdir().unwrap();
        let mut server = Self { options, dir, child: None, ready: None };
        server.launch().await;
        server
    }

    /// Starts a replica of this one: with its keys and certificates, which is what replicas of a deployment share.
    pub async fn start_beside(&self, options: ServerOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("vendfleet-server-").tempdir().unwrap();
        let mut server = Self { options, dir, child: None, ready: None };
        for shared in ["keys", "tls"] {
            fleet::copy_over(&self.data_dir().join(shared), &server.data_dir().join(shared));
        }
        server.launch().await;
        server
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where gRPC listens. Each start takes a new port: put a [`crate::link::Link`] before it for an address that stays.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.running().grpc_addr
    }

    /// Where `/healthz` and `/metrics` listen.
    pub fn http_addr(&self) -> SocketAddr {
        self.running().http_addr
    }

    /// The development CA, to trust.
    pub fn ca_pem(&self) -> String {
        let path = self.data_dir().join("tls/ca.pem");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A channel to the server.
    pub fn channel(&self) -> Channel {
        client::channel(self.grpc_addr(), &self.ca_pem())
    }

    /// A channel whose calls carry `token`.
    pub fn channel_as(&self, token: &str) -> client::AuthorizedChannel {
        client::authorized(self.channel(), token)
    }

    /// A token from `vendfleet token`, as an operator of the shell would make it.
    pub async fn token(&self, role: &str, subject: &str) -> String {
        self.run(&["token", "--role", role, "--subject", subject]).await.trim().to_owned()
    }

    /// A token of another server that acts for its customers.
    pub async fn token_on_behalf(&self, subject: &str) -> String {
        let arguments = ["token", "--role", "service", "--scope", "orders.on_behalf", "--subject", subject];
        self.run(&arguments).await.trim().to_owned()
    }

    /// Whether the process runs.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Runs another command of the binary on the same config; gives what it printed. Panics if it fails.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let shown = format!("{command:?}");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{shown}: {}\n{out}\n{err}", output.status);
        out.into_owned()
    }

    /// SIGKILL: the process is gone when this returns, and had no say in it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().unwrap();
        child.wait().unwrap();
        self.ready = None;
    }

    /// SIGSTOP: it does nothing until [`TestServer::thaw`], and time goes on without it.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        let pid =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child's id is a process id");
        kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, then waits for the drain to end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let child = self.child.as_mut().expect("the server runs");
        let status = wait::until("the server to drain and end", wait::PATIENCE, || {
            let ended = child.try_wait().unwrap();
            async move { ended }
        })
        .await;
        (self.child, self.ready) = (None, None);
        status
    }

    /// Starts the server again on the same data, after [`TestServer::kill`] or [`TestServer::stop`].
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "the server still runs: kill or stop it first");
        self.launch().await;
    }

    /// Everything the server has printed so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn running(&self) -> &Ready {
        self.ready.as_ref().expect("the server runs")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// The binary with this server's settings and nothing of the tests' own environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("VENDFLEET_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("VENDFLEET_SERVER__DATA_DIR", self.data_dir())
            .env("VENDFLEET_SERVER__LISTEN", "127.0.0.1:0")
            .env("VENDFLEET_SERVER__HTTP_LISTEN", "127.0.0.1:0")
            .envs(self.options.environment())
            .stdin(Stdio::null());
        command
    }

    async fn launch(&mut self) {
        let ready_file = self.dir.path().join("ready");
        if ready_file.exists() {
            fs::remove_file(&ready_file).unwrap();
        }
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command(&["serve", "--ready-file"]);
        command.arg(&ready_file).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let child = self.child.insert(child);

        let ready = wait::until("the server to take calls", wait::PATIENCE, || {
            let ended = child.try_wait().unwrap();
            // Written at once or not yet whole: both show as "not yet".
            let ready =
                fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice::<Ready>(&text).ok());
            async move {
                assert!(ended.is_none(), "the server ended at start: {ended:?}");
                ready
            }
        })
        .await;
        self.ready = Some(ready);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only where the process is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- the server's log, last {} lines ---\n{}", shown.len(), shown.join("\n"));
        }
    }
}

/// The `vendfleet` binary: the one [`BINARY_VARIABLE`] names, else the one in the profile directory of the running test,
/// which is built first, so that no test ever meets yesterday's server.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os(BINARY_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => build_binary(),
    })
}

fn build_binary() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile_dir = test.parent().and_then(Path::parent).expect("a test runs in <target>/<profile>/deps");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "vendfleet", "--bin", "vendfleet"]);
    if profile_dir.ends_with("release") {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "{build:?}: {built}");
    profile_dir.join(format!("vendfleet{}", env::consts::EXE_SUFFIX))
}
