//! A PostgreSQL for one run, with the durability a production one has: `fsync` on.
//!
//! `VENDFLEET_TEST_POSTGRES_URL` names one; without it a private one is started from the server binaries of this machine,
//! and the bench runs again as a child process that is told its address, so that whatever ends the bench, what was started
//! is stopped.

use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vendfleet_tests::postgres::URL_VARIABLE;

const OLDEST_MAJOR: u32 = 15;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const PORTS_TRIED: u32 = 20;

/// Makes sure that this process has a PostgreSQL: gives back only in a process that has one. The first process starts
/// one, runs this bench again beside it, stops it, and ends.
pub fn ensure() {
    if env::var(URL_VARIABLE).is_ok_and(|url| !url.is_empty()) {
        return;
    }
    let Some(binaries) = binaries() else {
        eprintln!(
            "PostgreSQL {OLDEST_MAJOR} or newer is missing. Install its server binaries (Debian: apt-get install postgresql), \
             or set {URL_VARIABLE} to one with fsync on, whose role may create databases."
        );
        std::process::exit(2);
    };
    let status = {
        let server = Private::start(&binaries);
        let program = env::current_exe().expect("this bench has a path");
        let mut again = Command::new(program);
        again.args(env::args_os().skip(1)).env(URL_VARIABLE, &server.url);
        again.status().expect("this bench runs again")
    };
    std::process::exit(status.code().unwrap_or(1));
}

fn binaries() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    if let Ok(asked) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim()));
    }
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            places.push(entry.path().join("bin"));
        }
    }
    places.push(PathBuf::from("/usr/local/pgsql/bin"));
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

struct Private {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Private {
    fn start(binaries: &Path) -> Self {
        let folder =
            tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().expect("a temporary directory");
        let (home, log) = (folder.path().join("postgres"), folder.path().join("postgres/log"));
        let data = home.join("data");
        fs::create_dir(&home).expect("a fresh directory");
        let password: String = rand::random::<[u8; 16]>().iter().map(|b| format!("{b:02x}")).collect();
        fs::write(home.join("password"), &password).expect("a fresh file");
        let user = Service::find();
        user.own(folder.path());
        user.own(&home);
        user.own(&home.join("password"));
        let mut init = user.command(&binaries.join("initdb"), &home);
        init.arg("--pgdata").arg(&data).args(["--username", "vendfleet", "--auth", "scram-sha-256"]);
        init.args(["--encoding", "UTF8", "--locale", "C", "--pwfile"]).arg(home.join("password"));
        let made = init.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(
            data.join("postgresql.auto.conf"),
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 100\n\
             shared_buffers = '256MB'\nmax_wal_size = '4GB'\ncheckpoint_timeout = '30min'\nfsync = on\n\
             synchronous_commit = on\nfull_page_writes = on\n",
        )
        .expect("initdb made the directory");
        user.own(&data.join("postgresql.auto.conf"));
        for _ in 0..PORTS_TRIED {
            let port = rand::random_range(10_000..32_000_u16);
            let file = fs::File::create(&log).expect("a log");
            let mut start = user.command(&binaries.join("postgres"), &home);
            start.arg("-D").arg(&data).arg("-p").arg(port.to_string());
            start.stdout(file.try_clone().expect("a second handle")).stderr(file);
            let mut child = start.spawn().expect("postgres runs");
            if ready(&mut child, &data) {
                let url = format!("postgres://vendfleet:{password}@127.0.0.1:{port}/postgres");
                return Self { child, url, _folder: folder };
            }
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(said.contains("Address already in use"), "PostgreSQL did not start: {said}");
        }
        panic!("no free port found for PostgreSQL");
    }
}

/// Its pid file says so, as `pg_ctl` reads it.
fn ready(child: &mut Child, data: &Path) -> bool {
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT && matches!(child.try_wait(), Ok(None)) {
        let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
            return true;
        }
        sleep(Duration::from_millis(100));
    }
    false
}

impl Drop for Private {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Fast shutdown: sessions are ended, nothing is waited for.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let _ = self.child.wait();
    }
}

/// PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`, by setpriv.
struct Service {
    ids: Option<(u32, u32)>,
}

impl Service {
    fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { ids: None };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = ["postgres", "nobody"].iter().find_map(|name| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        assert!(
            ids.is_some(),
            "running as root needs a user postgres or nobody: PostgreSQL refuses to run as root"
        );
        Self { ids }
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.ids {
            chown(path, Some(user), Some(group)).expect("root may give files away");
        }
    }

    fn command(&self, program: &Path, home: &Path) -> Command {
        let Some((user, group)) = self.ids else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.arg("--reuid").arg(user.to_string()).arg("--regid").arg(group.to_string());
        command
            .args(["--clear-groups", "--pdeathsig", "INT"])
            .arg(program)
            .env("HOME", home)
            .current_dir(home);
        command
    }
}
