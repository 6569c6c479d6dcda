//! The server as a child process: this same binary, killed and started again on the same address.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Longest wait for a server that was started to say so.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Pause between two looks at the ready file.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What `serve --ready-file` writes.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ready {
    pub(super) grpc_addr: String,
    pub(super) http_addr: String,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) pid: u32,
}

pub(super) struct Server {
    dir: PathBuf,
    database_url: Option<String>,
    child: Child,
    ready: Ready,
}

impl Server {
    pub(super) async fn start(dir: &Path, database_url: Option<&str>) -> Result<Self> {
        let database_url = database_url.map(ToOwned::to_owned);
        let (child, ready) = spawn(dir, database_url.as_deref(), "127.0.0.1:0", "127.0.0.1:0").await?;
        Ok(Self { dir: dir.to_owned(), database_url, child, ready })
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        data_dir(&self.dir)
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    pub(super) fn ca_pem(&self) -> Result<String> {
        let Some(file) = &self.ready.ca_file else { bail!("the server did not name its development CA") };
        std::fs::read_to_string(file).with_context(|| format!("CA file {}", file.display()))
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing the server")
    }

    /// Starts it again on its data and its address.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        let (grpc, http) = (self.ready.grpc_addr.clone(), self.ready.http_addr.clone());
        (self.child, self.ready) = spawn(&self.dir, self.database_url.as_deref(), &grpc, &http).await?;
        Ok(())
    }

    /// Waits until it ends by itself, as it does on Ctrl-C.
    pub(super) async fn wait(&mut self) -> Result<()> {
        self.child.wait().await.context("waiting for the server")?;
        Ok(())
    }

    /// An operator's token, made by the server's own command.
    pub(super) async fn operator_token(&self) -> Result<String> {
        let output = Command::new(std::env::current_exe()?)
            .args(["token", "--role", "operator", "--subject", "demo", "--ttl", "2h", "--data-dir"])
            .arg(self.data_dir())
            .output()
            .await?;
        if !output.status.success() {
            bail!("making a token: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("server")
}

async fn spawn(dir: &Path, database_url: Option<&str>, grpc: &str, http: &str) -> Result<(Child, Ready)> {
    let ready_file = dir.join("ready.json");
    if ready_file.exists() {
        std::fs::remove_file(&ready_file)?;
    }
    let log = File::options().create(true).append(true).open(dir.join("server.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--data-dir").arg(data_dir(dir)).arg("--ready-file").arg(&ready_file);
    command.args(["--listen", grpc, "--http-listen", http]);
    // A demo's day is a minute long.
    command.args(["--set", "sync.base_interval_ms=1500"]);
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("starting the server")?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if let Ok(text) = std::fs::read_to_string(&ready_file) {
            return Ok((child, serde_json::from_str(&text)?));
        }
        if let Some(status) = child.try_wait()? {
            bail!("the server ended with {status}; its log: {}", dir.join("server.log").display());
        }
        if Instant::now() > deadline {
            bail!("the server did not start in time; its log: {}", dir.join("server.log").display());
        }
        sleep(LOOK_EVERY).await;
    }
}
