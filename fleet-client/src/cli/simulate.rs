//! `fleet-client simulate`: many machines, one seed.

use anyhow::{Context as _, bail};
use fleet_client::credentials::Endpoint;
use fleet_client::hardware::sim::Behaviour;
use fleet_client::simulate::report::MachineReport;
use fleet_client::simulate::story::{FleetReport, Story, Tally};
use fleet_client::simulate::{Blueprint, SimMachine, sample_config};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Machines enrolled or switched on at once at the beginning.
const AT_ONCE: usize = 16;

#[derive(clap::Args)]
pub(super) struct Args {
    /// How many machines.
    #[arg(long, default_value_t = 10, value_name = "N")]
    machines: usize,
    /// Everything random follows from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that customers come.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    duration: u64,
    /// Mean milliseconds between two customers at one machine.
    #[arg(long, default_value_t = 500, value_name = "MS")]
    between_customers: u64,
    /// Seconds at the end for handing everything over.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    settle: u64,
    /// Where the machines' directories are or will be, one each.
    #[arg(long)]
    dir: PathBuf,
    /// The server: `https://host:port`. Without one the machines sell from a built-in config and never sync.
    #[arg(long, value_name = "URL", requires = "ca")]
    server: Option<String>,
    /// The CA that signs the server's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Name to expect in the server's certificate, when it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Claim tokens for the machines that are not enrolled yet, one a line; `-`: stdin.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Also ask for client certificates, for mutual TLS.
    #[arg(long)]
    mtls: bool,
    /// A cable is pulled or plugged in, one purchase in so many; 0: never.
    #[arg(long, default_value_t = 12, value_name = "N")]
    outage_one_in: u32,
    /// The power is cut, one purchase in so many; 0: never.
    #[arg(long, default_value_t = 15, value_name = "N")]
    power_cut_one_in: u32,
    /// The clock jumps, one purchase in so many; 0: never.
    #[arg(long, default_value_t = 40, value_name = "N")]
    clock_jump_one_in: u32,
    /// Answers are lost, one purchase in so many; 0: never.
    #[arg(long, default_value_t = 20, value_name = "N")]
    lost_answers_one_in: u32,
    /// One turn of a motor in so many drops nothing; 0: none.
    #[arg(long, default_value_t = 50, value_name = "N")]
    motor_fails_one_in: u32,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(simulate(args))?;
    if args.json {
        writeln!(stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        tell(&report, &mut stdout().lock())?;
    }
    Ok(if report.sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn simulate(args: &Args) -> anyhow::Result<FleetReport> {
    let endpoint = match (&args.server, &args.ca) {
        (Some(url), Some(ca)) => {
            let ca_pem = std::fs::read_to_string(ca).with_context(|| format!("--ca {}", ca.display()))?;
            Some(Endpoint { url: url.clone(), ca_pem, server_name: args.server_name.clone() })
        }
        _ => None,
    };
    let blueprint = Arc::new(Blueprint {
        endpoint,
        behaviour: Behaviour { motor_fails_one_in: args.motor_fails_one_in, ..Behaviour::default() },
        certificates: args.mtls,
        ..Blueprint::default()
    });
    let machines = prepare(args, &blueprint).await?;
    let story = Story {
        seed: args.seed,
        lasts: Duration::from_secs(args.duration),
        between_customers: Duration::from_millis(args.between_customers),
        outage_one_in: args.outage_one_in,
        power_cut_one_in: args.power_cut_one_in,
        clock_jump_one_in: args.clock_jump_one_in,
        lost_answers_one_in: args.lost_answers_one_in,
        settle: Duration::from_secs(args.settle),
    };
    let tally = Arc::new(Tally::default());
    let bar = ProgressBar::new(args.duration);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos:>4}/{len} s  {msg}")?);
    let drawing = tokio::spawn(draw(bar.clone(), Arc::clone(&tally)));
    let (machines, report) = story.happen(machines, tally).await;
    drawing.abort();
    bar.finish_and_clear();
    for mut machine in machines {
        machine.power_off().await;
    }
    Ok(report)
}

async fn draw(bar: ProgressBar, tally: Arc<Tally>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let of = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        bar.set_message(format!(
            "{} sold, {} cuts, {} outages, {} handed over",
            of(&tally.sold),
            of(&tally.power_cuts),
            of(&tally.outages),
            of(&tally.settled),
        ));
        bar.inc(1);
    }
}

/// Enrols who is not, and gives a config to who will never hear of one.
async fn prepare(args: &Args, blueprint: &Arc<Blueprint>) -> anyhow::Result<Vec<SimMachine>> {
    let mut tokens = match &args.tokens {
        Some(path) => read_tokens(path)?,
        None => Vec::new(),
    }
    .into_iter();
    let mut waiting = Vec::new();
    for index in 0..args.machines {
        let name = format!("machine-{index:05}");
        let seed = args.seed.wrapping_add(u64::try_from(index)?);
        let machine = SimMachine::new(&name, &args.dir.join(&name), seed, Arc::clone(blueprint));
        let token = match (machine.is_enrolled()?, &blueprint.endpoint) {
            (false, Some(_)) => Some(tokens.next().with_context(|| {
                format!("{name} is not enrolled and --tokens has no claim token left for it")
            })?),
            _ => None,
        };
        waiting.push((machine, token));
    }
    let mut ready = Vec::with_capacity(waiting.len());
    let mut enrolling = tokio::task::JoinSet::new();
    let mut waiting = waiting.into_iter().enumerate();
    loop {
        while enrolling.len() < AT_ONCE
            && let Some((index, (mut machine, token))) = waiting.next()
        {
            enrolling.spawn(async move {
                if let Some(token) = token {
                    machine.enrol(&token).await.with_context(|| machine.name().to_owned())?;
                }
                machine.power_on().await.with_context(|| machine.name().to_owned())?;
                if !machine.is_enrolled()? && machine.observe()?.assignment_number == 0 {
                    machine.load_config(1, sample_config(12)).await?;
                    machine.restock().await?;
                }
                anyhow::Ok((index, machine))
            });
        }
        match enrolling.join_next().await {
            Some(done) => ready.push(done??),
            None => break,
        }
    }
    ready.sort_by_key(|(index, _)| *index);
    Ok(ready.into_iter().map(|(_, machine)| machine).collect())
}

fn read_tokens(path: &Path) -> anyhow::Result<Vec<String>> {
    let lines: Result<Vec<String>, _> = if path == Path::new("-") {
        std::io::stdin().lock().lines().collect()
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("--tokens {}", path.display()))?;
        std::io::BufReader::new(file).lines().collect()
    };
    let tokens: Vec<String> =
        lines?.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        bail!("--tokens {}: no claim token in it", path.display());
    }
    Ok(tokens)
}

fn tell(report: &FleetReport, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "seed {}: {} machines", report.seed, report.machines.len())?;
    writeln!(
        out,
        "  {} sold, {} not sold; {} power cuts, {} outages, {} clock jumps, {} spells of lost answers",
        report.sold,
        report.not_sold,
        report.power_cuts,
        report.outages,
        report.clock_jumps,
        report.lost_answers
    )?;
    writeln!(
        out,
        "  {} handed over everything; money off on {}; driven twice {}, unrecorded {}; broken {}",
        report.settled, report.money_off, report.driven_twice, report.turns_unrecorded, report.broken
    )?;
    writeln!(
        out,
        "{:<16} {:<36} {:>7} {:>8} {:>8} {:>6} {:>6}  epoch, hash",
        "machine", "machine_id", "config", "last", "durable", "turns", "money"
    )?;
    report.machines.iter().try_for_each(|machine| tell_machine(machine, out))
}

fn tell_machine(machine: &MachineReport, out: &mut impl Write) -> std::io::Result<()> {
    if let Some(error) = &machine.error {
        return writeln!(out, "{:<16} {error}", machine.name);
    }
    let Some(epoch) = machine.epochs.first() else { return Ok(()) };
    writeln!(
        out,
        "{:<16} {:<36} {:>7} {:>8} {:>8} {:>6} {:>6}  {} {}",
        machine.name,
        if machine.machine_id.is_empty() { "not enrolled" } else { &machine.machine_id },
        machine.assignment_number,
        epoch.last_seq,
        epoch.durable_through,
        machine.motor_turns,
        if machine.money_conserved { "ok" } else { "OFF" },
        epoch.epoch.get(..8).unwrap_or_default(),
        epoch.last_hash.get(..16).unwrap_or_default(),
    )
}
