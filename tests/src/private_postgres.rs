//! A PostgreSQL of one's own: for tests that stop or kill it. The shared one must survive every test.
//!
//! `fsync` is off: what a killed process had written is the kernel's, and only a power cut would lose it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait;

const OLDEST_MAJOR: u32 = 15;
const PORTS_TRIED: usize = 20;
/// How often a start is tried again while what was killed lets go of port and shared memory.
const STARTS_TRIED: usize = 100;

/// A running PostgreSQL in a temporary directory. Dropping it ends the process and removes the directory.
pub struct PrivatePostgres {
    folder: TempDir,
    binaries: PathBuf,
    service: Option<(u32, u32)>,
    port: u16,
    running: Option<Keeper>,
}

/// The postmaster, and the thread that started it: it ends with that thread, should the test be killed.
struct Keeper {
    child: Child,
    _let_go: mpsc::Sender<()>,
    _thread: JoinHandle<()>,
}

impl PrivatePostgres {
    /// Makes and starts one. Panics, saying what to install, where there are no binaries.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("vendfleet-postgres-").tempdir().unwrap();
        let binaries = binaries().unwrap_or_else(|| {
            panic!("PostgreSQL {OLDEST_MAJOR} or newer is missing: apt-get install postgresql")
        });
        let mut postgres = Self { folder, binaries, service: service(), port: 0, running: None };
        postgres.make();
        for _ in 0..PORTS_TRIED {
            postgres.port = free_port();
            if postgres.launch().await {
                return postgres;
            }
        }
        panic!("PostgreSQL did not start: {}", postgres.log());
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        format!("postgres://vendfleet@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as a crash does: sessions are cut, nothing is written down; the next start recovers.
    pub async fn crash(&mut self) {
        self.end(Signal::QUIT).await;
    }

    /// Ends it as an operator does: sessions are cut, a checkpoint is written.
    pub async fn stop(&mut self) {
        self.end(Signal::INT).await;
    }

    /// Starts it again at the same address.
    pub async fn start_again(&mut self) {
        for _ in 0..STARTS_TRIED {
            if self.launch().await {
                return;
            }
        }
        panic!("PostgreSQL did not start again: {}", self.log());
    }

    async fn end(&mut self, signal: Signal) {
        let mut keeper = self.running.take().expect("it runs");
        let pid = i32::try_from(keeper.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(pid, signal).unwrap();
        wait::until("PostgreSQL to end", wait::PATIENCE, || {
            let ended = keeper.child.try_wait().unwrap();
            async move { ended }
        })
        .await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.service {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    fn make(&self) {
        self.own(self.folder.path());
        let mut init = self.command("initdb");
        init.arg("--pgdata").arg(self.data()).args(["--username", "vendfleet", "--auth", "trust"]);
        init.args(["--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        let made = init.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let conf = self.data().join("postgresql.auto.conf");
        fs::write(
            &conf,
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 100\n\
             shared_buffers = '64MB'\nfsync = off\nfull_page_writes = off\n",
        )
        .unwrap();
        self.own(&conf);
    }

    /// One attempt to start; `false` when it ended at once, as it does when the port is taken.
    async fn launch(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let file = fs::File::create(&log).unwrap();
        let mut start = self.command("postgres");
        start.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        start.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let (born, child) = mpsc::channel();
        let (let_go, wanted) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            born.send(start.spawn()).expect("the test waits for it");
            // Until the test lets go, or ends.
            let _ = wanted.recv();
        });
        let mut child = child.recv().unwrap().unwrap();
        let pid_file = self.data().join("postmaster.pid");
        let started = wait::until("PostgreSQL to start", wait::PATIENCE, || {
            let ended = child.try_wait().unwrap().is_some();
            // Its eighth line turns to "ready", as pg_ctl reads it.
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let ready = text.lines().nth(7).is_some_and(|line| line.trim() == "ready");
            let ours = text.lines().next().is_some_and(|pid| pid.trim() == child.id().to_string());
            async move { if ended { Some(false) } else { (ready && ours).then_some(true) } }
        })
        .await;
        if started {
            self.running = Some(Keeper { child, _let_go: let_go, _thread: thread });
        }
        started
    }

    /// One of its programs: as an unprivileged user when we are root, which PostgreSQL refuses to be.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = self.service {
            let (user, group) = (user.to_string(), group.to_string());
            command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
        }
        command.args(["--pdeathsig", "INT"]).arg(self.binaries.join(program));
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.running.take() {
            if let Some(pid) = i32::try_from(keeper.child.id()).ok().and_then(Pid::from_raw) {
                // Fails only where it is gone already.
                let _ = kill_process(pid, Signal::QUIT);
            }
            let _ = keeper.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- PostgreSQL's log ---\n{}", self.log());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Who runs it: nobody in particular, unless we are root.
fn service() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = ["postgres", "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(ids.expect("running as root needs a user postgres or nobody: PostgreSQL refuses to run as root"))
}

/// The newest server binaries of this machine that are new enough.
fn binaries() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = vec!["/usr/local/pgsql/bin".into()];
    if let Ok(asked) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()));
    }
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(root).into_iter().flatten().flatten();
        places.extend(versions.map(|version| version.path().join("bin")));
    }
    let with_version = places.into_iter().filter_map(|place| {
        let asked = Command::new(place.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        let digits: String =
            text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        let major: u32 = digits.parse().ok()?;
        (major >= OLDEST_MAJOR && place.join("initdb").exists()).then_some((major, place))
    });
    with_version.max().map(|(_, place)| place)
}
