//! `client_footprint`: what one machine costs its board. The program as it is flashed (`--profile device`), its size, the
//! memory of a running machine that sells and syncs over TLS, and the bytes it writes to flash per sale.
//!
//! `cargo bench -p vendfleet-tests --bench client_footprint`; builds the device profile when it is missing, or always
//! with `-- build`.
#![allow(clippy::disallowed_methods, reason = "measuring is what the clock is for here")]
#![allow(clippy::unwrap_used, reason = "a bench that can't go on says where and stops")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
#![allow(unreachable_pub, reason = "the module is this bench's own")]

mod common;

use common::Report;
use fleet_client::credentials::{CredentialStore, Credentials, Endpoint, Identity, Secret};
use server::auth::SecretKey;
use server::config::Config;
use server::context::Context;
use server::store::{End, Store, StoreOptions, Target};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use uuid::Uuid;

const SALES: u64 = 500;
/// Price 100 in the sample config.
const SLOT: &str = "8";
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    common::refuse_debug_build();
    let program = device_build(std::env::args().any(|word| word == "build"));
    let size = fs::metadata(&program).unwrap().len() as f64 / MIB;

    let alone = {
        let dir = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
        measure(&program, dir.path(), &["--sample-config", "8"])
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(connected(program));

    println!("client_footprint: {SALES} sales in cash with change");
    println!("  program, stripped               {size:>8.2} MiB  (aim: under 6)");
    for (name, seen) in [("no server", &alone), ("syncing over TLS", &connected)] {
        println!("  {name}");
        println!("    resident after start          {:>8.2} MiB", seen.resident_start);
        println!("    resident after the sales      {:>8.2} MiB  (aim: under 8)", seen.resident);
        println!("    resident, most                {:>8.2} MiB", seen.resident_peak);
        println!("    of that, not the program file {:>8.2} MiB", seen.anonymous);
        println!(
            "    written to flash              {:>8.0} bytes per sale (whole pages)",
            seen.flash_per_sale
        );
        println!("    written by the program        {:>8.0} bytes per sale", seen.written_per_sale);
        Report::of("client_footprint")
            .with("case", name)
            .number("program_mib", size)
            .number("resident_start_mib", seen.resident_start)
            .number("resident_mib", seen.resident)
            .number("resident_peak_mib", seen.resident_peak)
            .number("anonymous_mib", seen.anonymous)
            .number("flash_bytes_per_sale", seen.flash_per_sale)
            .number("written_bytes_per_sale", seen.written_per_sale)
            .print();
    }
}

/// The binary as it is flashed.
fn device_build(always: bool) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let target = here.ancestors().nth(3).expect("a bench runs in <target>/release/deps");
    let program = target.join("device/fleet-client");
    if always || !program.exists() {
        println!("building fleet-client, profile device");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "-p", "fleet-client", "--profile", "device"]);
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success(), "{build:?}: {built}");
    }
    program
}

struct Seen {
    resident_start: f64,
    resident: f64,
    resident_peak: f64,
    anonymous: f64,
    flash_per_sale: f64,
    written_per_sale: f64,
}

fn measure(program: &Path, dir: &Path, arguments: &[&str]) -> Seen {
    let mut machine = Machine::start(program, dir, arguments);
    machine.say("status");
    // One sale first: what is made on first use is not a sale's.
    machine.restock();
    machine.sell();
    let resident_start = machine.resident("VmRSS");
    let (flash, written) = (machine.io("write_bytes"), machine.io("wchar"));
    for sale in 0..SALES {
        if sale % 10 == 0 {
            machine.restock();
        }
        machine.sell();
    }
    let lifetime = machine.status();
    let sold = lifetime["lifetime"]["vends"].as_u64();
    assert_eq!(sold, Some(SALES + 1), "every sale went through: {lifetime}");
    Seen {
        resident_start,
        resident: machine.resident("VmRSS"),
        resident_peak: machine.resident("VmHWM"),
        anonymous: machine.resident("RssAnon"),
        flash_per_sale: (machine.io("write_bytes") - flash) as f64 / SALES as f64,
        written_per_sale: (machine.io("wchar") - written) as f64 / SALES as f64,
    }
}

/// With a server, which this process runs, and an identity as `Enroll` would have left it.
async fn connected(program: PathBuf) -> Seen {
    let data = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let mut config = Config::default();
    config.server.data_dir = data.path().to_str().unwrap().to_owned();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.http_listen = "127.0.0.1:0".parse().unwrap();
    let file = data.path().join("vendfleet.db");
    config.database.url = format!("sqlite:{}", file.display());
    let running = server::serve::start(config, Context::system()).await.unwrap();
    let ids = (Uuid::now_v7(), Uuid::now_v7(), rand::random::<[u8; 32]>());
    add_machine(&file, data.path(), ids).await;

    let dir = tempfile::Builder::new().prefix("vendfleet-bench-").tempdir().unwrap();
    let credentials = Credentials {
        endpoint: Endpoint {
            url: format!("https://localhost:{}", running.grpc_address.port()),
            ca_pem: fs::read_to_string(running.ca_file.as_ref().unwrap()).unwrap(),
            server_name: None,
        },
        identity: Identity {
            machine_id: ids.0.to_string(),
            credential_id: ids.1.to_string(),
            secret: Secret(ids.2),
            certificate: None,
        },
    };
    CredentialStore::new(dir.path()).finish(&credentials).unwrap();
    let path = dir.path().to_owned();
    let seen = tokio::task::spawn_blocking(move || measure(&program, &path, &[])).await.unwrap();
    running.stop().await;
    seen
}

/// A machine with its credential and the simulator's sample config, whose prices the sales rely on.
async fn add_machine(file: &Path, data: &Path, ids: (Uuid, Uuid, [u8; 32])) {
    let text = fs::read_to_string(data.join("keys/credential-hmac.hex")).unwrap();
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).unwrap();
    let hash = SecretKey::new(key).hash(&ids.2);
    let (config, sha256) = vendfleet_wire::config::encode(&fleet_client::simulate::sample_config(8));
    let id = fleet_client::simulate::sample_config(8).id;
    let store =
        Store::open(&StoreOptions::new(Target::Sqlite(file.to_owned())), Context::system()).await.unwrap();
    let rows = (ids.0, ids.1, hash, config, sha256, id);
    store
        .run_tx("bench", rows, |tx, (machine, credential, hash, config, sha256, id)| {
            Box::pin(async move {
                let (none, der): (Uuid, &[u8]) = (Uuid::nil(), &[]);
                let sql = "INSERT INTO configs (config_id, name, body, sha256, created_by, created_at_ms) \
                           VALUES ($1, 'bench', $2, $3, 'bench', 1)";
                tx.execute(sql, &[(&id.0).into(), config.as_slice().into(), sha256.into()]).await?;
                let sql = "INSERT INTO machines (machine_id, kind, name, created_at_ms, updated_at_ms) \
                           VALUES ($1, 2, 'bench', 1, 1)";
                tx.execute(sql, &[machine.into()]).await?;
                let sql = "INSERT INTO machine_sync (machine_id, desired_number, desired_config) VALUES ($1, 1, $2)";
                tx.execute(sql, &[machine.into(), (&id.0).into()]).await?;
                let sql = "INSERT INTO assignments (machine_id, number, config_id, cause, assigned_at_ms) \
                           VALUES ($1, 1, $2, 1, 1)";
                tx.execute(sql, &[machine.into(), (&id.0).into()]).await?;
                let sql = "INSERT INTO credentials (credential_id, machine_id, secret_hash, state, claim_token_id, \
                           certificate_der, created_at_ms) VALUES ($1, $2, $3, 1, $4, $5, 1)";
                let args = [credential.into(), machine.into(), hash.into(), (&none).into(), der.into()];
                tx.execute(sql, &args).await?;
                Ok(End::Commit(()))
            })
        })
        .await
        .unwrap();
    store.close().await;
}

/// A running `fleet-client run`, spoken to as a script would.
struct Machine {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Machine {
    fn start(program: &Path, dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.arg("run").arg("--dir").arg(dir).arg("--json").args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut machine = Self { child, input, output };
        // With a server the config comes by the first Sync.
        for _ in 0..200 {
            if machine.status()["assignment_number"] == 1 {
                return machine;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the machine got no config");
    }

    /// Sends a line and gives all that was printed until it was done.
    fn say(&mut self, line: &str) -> Vec<serde_json::Value> {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
        let mut said = Vec::new();
        loop {
            let mut text = String::new();
            assert!(self.output.read_line(&mut text).unwrap() > 0, "the machine ended at `{line}`");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            if value["event"] == "done" && value["line"] == line {
                return said;
            }
            said.push(value);
        }
    }

    fn status(&mut self) -> serde_json::Value {
        self.say("status").into_iter().find(|value| value["event"] == "status").unwrap()
    }

    fn restock(&mut self) {
        self.say("collect");
        self.say("refill");
    }

    fn sell(&mut self) {
        self.say(&format!("select {SLOT}"));
        self.say("coin 200");
    }

    /// MiB, from the kernel.
    fn resident(&self, field: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024.0
    }

    /// Bytes, from the kernel.
    fn io(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(": ")).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
