//! `fleet-client run`: one machine, one person or script.

use super::terminal::{self, HELP, Line};
use anyhow::{Context as _, bail};
use fleet_client::context::Context;
use fleet_client::credentials::CredentialStore;
use fleet_client::device::{DeviceError, Event, Parts, Power};
use fleet_client::enrol::About;
use fleet_client::hardware::sim::{Behaviour, SimHardware, SimTerminal, Witness};
use fleet_client::journal::sqlite::Options;
use fleet_client::journal::{JournalError, export};
use fleet_client::transport::grpc::GrpcTransport;
use fleet_client::transport::line::Line as Cable;
use fleet_client::unit::{Observer, Unit, UnitError, Uplink};
use fleet_client::{agent::AgentError, agent::plan::Limits, json, open_journal, simulate};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::signal::unix::{SignalKind, signal};
use vend_core::config::Assignment;
use vend_core::machine::Input;

/// Times the journal is opened again after its medium failed, before this gives up.
const MAX_RESTARTS: u32 = 5;
/// Pause before each of them.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long the end may wait for a blocked read of stdin.
const END_PAUSE: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The machine's directory. Without credentials in it the machine sells and never syncs.
    #[arg(long)]
    dir: PathBuf,
    /// Print JSON lines; the default when stdin is not a terminal.
    #[arg(long)]
    json: bool,
    /// Go on without stdin when it ends, until a signal comes.
    #[arg(long)]
    stay: bool,
    /// Sell from a built-in config with so many slots. Only for a machine that is not enrolled, to try things out.
    #[arg(long, value_name = "SLOTS")]
    sample_config: Option<u16>,
    /// Seed of the simulated hardware's luck.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One turn of a motor in so many drops nothing; 0: none.
    #[arg(long, default_value_t = 0, value_name = "N")]
    motor_fails_one_in: u32,
    /// Milliseconds a turn of a motor takes.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    motor_ms: u64,
    /// Append a durable line to this file for each turn of a motor.
    #[arg(long, value_name = "FILE")]
    motor_marks: Option<PathBuf>,
    /// Bytes the journal may grow to.
    #[arg(long, default_value_t = Options::default().max_bytes, value_name = "BYTES")]
    journal_bytes: u64,
}

/// How a run of the unit ended.
enum End {
    Quit,
    /// The journal must be opened again.
    Again(UnitError),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = super::small_runtime()?;
    let outcome = runtime.block_on(machine(args));
    // A thread may be blocked reading stdin, which nothing can interrupt.
    runtime.shutdown_timeout(END_PAUSE);
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn machine(args: &Args) -> anyhow::Result<()> {
    let as_json = args.json || !stdin().is_terminal();
    let mut lines = BufReader::with_capacity(512, tokio::io::stdin()).lines();
    let cable = Cable::default();
    for restart in 0..=MAX_RESTARTS {
        let mut unit = start(args, as_json, &cable).await?;
        match serve(args, as_json, &mut unit, &mut lines, &cable).await? {
            End::Quit => {
                unit.stop().await;
                return Ok(());
            }
            End::Again(why) => {
                tracing::error!(%why, restart, "starting again from the journal");
                unit.stop().await;
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
    bail!("the journal's medium failed {MAX_RESTARTS} times in a row")
}

async fn start(args: &Args, as_json: bool, cable: &Cable) -> anyhow::Result<Unit> {
    let context = Context::system();
    let store = CredentialStore::new(&args.dir);
    let endpoint = match (store.credentials()?, store.pending()?) {
        (Some(known), _) => Some(known.endpoint),
        (None, Some(begun)) => Some(begun.endpoint),
        (None, None) => None,
    };
    if endpoint.is_some() && args.sample_config.is_some() {
        bail!(
            "--sample-config is for machines that are not enrolled: this one gets its config from the server"
        );
    }
    let options = Options { max_bytes: args.journal_bytes, ..Options::default() };
    let (dir, at) = (args.dir.clone(), context.clone());
    let journal = tokio::task::spawn_blocking(move || open_journal(&dir, &options, &at)).await??;
    let behaviour = Behaviour {
        motor_fails_one_in: args.motor_fails_one_in,
        motor_ms: args.motor_ms,
        ..Behaviour::default()
    };
    let mut hardware = SimHardware::new(behaviour, args.seed, Witness::default());
    if let Some(path) = &args.motor_marks {
        hardware = hardware.with_marks(path).with_context(|| format!("--motor-marks {}", path.display()))?;
    }
    let reader_cable = cable.clone();
    let parts = Parts {
        context: context.clone(),
        journal,
        hardware: Box::new(hardware),
        terminal: Box::new(SimTerminal::new(behaviour, args.seed, move || reader_cable.is_plugged())),
        firmware: fleet_client::FIRMWARE.to_owned(),
        power: Power::steady(),
    };
    let uplink = endpoint
        .map(|endpoint| {
            let transport = GrpcTransport::new(context, &endpoint, cable.clone())?;
            let about = About {
                serial: String::new(),
                model: "simulated".to_owned(),
                firmware: fleet_client::FIRMWARE.to_owned(),
                certificate: false,
            };
            Ok::<_, anyhow::Error>(Uplink {
                transport: Arc::new(transport),
                store,
                about,
                limits: Limits::default(),
            })
        })
        .transpose()?;
    let unit = Unit::start(parts, uplink, observer(as_json)).await?;
    if let Some(slots) = args.sample_config
        && unit.snapshot().durable.applied_number == 0
    {
        let config = simulate::sample_config(slots);
        let (_, sha256) = vendfleet_wire::config::encode(&config);
        unit.handle(Input::ConfigOffered(Assignment { number: 1, sha256, config })).await;
    }
    Ok(unit)
}

/// Prints what happens, as it happens.
fn observer(as_json: bool) -> Observer {
    Box::new(move |event: Event| {
        if as_json {
            json::event(&event).iter().for_each(say_json);
        } else if let Some(text) = terminal::tell(&event) {
            say(&text);
        }
    })
}

async fn serve(
    args: &Args,
    as_json: bool,
    unit: &mut Unit,
    lines: &mut Lines<BufReader<Stdin>>,
    cable: &Cable,
) -> anyhow::Result<End> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut reading = true;
    if as_json {
        say_json(&status(unit, "started"));
    } else {
        say(HELP);
    }
    loop {
        let line = tokio::select! {
            line = lines.next_line(), if reading => line?,
            why = unit.ended() => return ended(why),
            _ = terminated.recv() => return Ok(End::Quit),
            _ = interrupted.recv() => return Ok(End::Quit),
        };
        let Some(line) = line else {
            if !args.stay {
                return Ok(End::Quit);
            }
            reading = false;
            continue;
        };
        match terminal::parse(&line, &unit.snapshot()) {
            Err(why) if as_json => say_json(&json!({"event": "not_understood", "message": why})),
            Err(why) => say(&why),
            Ok(Line::Nothing) => {}
            Ok(Line::Help) => say(HELP),
            Ok(Line::Quit) => return Ok(End::Quit),
            Ok(Line::Sync) => unit.sync_now(),
            Ok(Line::Offline) => cable.pull(),
            Ok(Line::Online) => {
                cable.plug();
                unit.sync_now();
            }
            Ok(Line::Status) if as_json => say_json(&status(unit, "status")),
            Ok(Line::Status) => say(&terminal::status(&unit.snapshot(), &sync(unit))),
            Ok(Line::Input(input)) => {
                if unit.handle(*input).await.is_none() {
                    let why = unit.ended().await;
                    return ended(why);
                }
            }
        }
        if as_json {
            say_json(&json!({"event": "done", "line": line}));
        }
    }
}

/// What opening the journal again can heal is tried; the rest is told.
fn ended(why: UnitError) -> anyhow::Result<End> {
    match why {
        UnitError::Device(DeviceError::Journal(JournalError::Io(_) | JournalError::Damaged(_)))
        | UnitError::Agent(AgentError::Journal(JournalError::Io(_) | JournalError::Damaged(_))) => {
            Ok(End::Again(why))
        }
        other => Err(other.into()),
    }
}

fn status(unit: &Unit, event: &str) -> Value {
    let now = unit.snapshot();
    json!({
        "event": event,
        "state": json::state(&now.view),
        "epoch": hex::encode(now.epoch.0),
        "last_seq": now.last_seq,
        "assignment_number": now.durable.applied_number,
        "credit_minor": now.view.credit_minor,
        "lifetime": export::totals(&now.durable.counters.lifetime),
        "books": json::books(&vend_core::machine::Books::of(&now.durable)),
        "slots": now.durable.slots.iter()
            .map(|s| json!({"slot": s.slot, "units": s.units, "faulted": s.faulted})).collect::<Vec<_>>(),
        "sync": sync(unit),
    })
}

fn sync(unit: &Unit) -> Value {
    let s = unit.status();
    json!({
        "machine_id": s.machine_id, "answered": s.answered, "failed": s.failed,
        "last_error": s.last_error.map(|e| e.to_string()),
        "accepted_through": s.marks.map(|m| m.accepted_through),
        "durable_through": s.marks.map(|m| m.durable_through),
        "all_accepted": s.all_accepted, "standing": format!("{:?}", s.standing).to_lowercase(),
        "configs_refused": s.configs_refused, "watching": s.watching,
    })
}

fn say_json(value: &Value) {
    say(&value.to_string());
}

/// One line, at once: whoever reads it may act on it, or pull the plug.
fn say(text: &str) {
    let mut out = stdout().lock();
    // A reader that went away must not stop a machine that sells.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
