//! `fleet-client journal`: a machine's journal, looked at while the machine is off.

use fleet_client::journal::export;
use fleet_client::journal::sqlite::{Options, SqliteJournal};
use fleet_client::simulate::report::{EpochReport, epochs};
use fleet_client::{JOURNAL_DIR, context::Context, device::SharedJournal, json};
use serde_json::json;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use vend_core::id::Epoch;
use vend_core::machine::Books;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// What it holds: epochs, marks, records by kind, the machine's state.
    Inspect(Where),
    /// Check every hash and seal. A damaged journal is set aside and salvaged, as it would be at the next start.
    Verify(Where),
    /// Every record as a line of JSON, oldest first.
    Export(Where),
}

#[derive(clap::Args)]
struct Where {
    /// The machine's directory.
    #[arg(long)]
    dir: PathBuf,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Inspect(at) => inspect(&at),
        Verb::Verify(at) => verify(&at),
        Verb::Export(at) => {
            open(&at)?.export(&mut stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn open(at: &Where) -> anyhow::Result<SqliteJournal> {
    let dir = at.dir.join(JOURNAL_DIR);
    if !dir.is_dir() {
        anyhow::bail!("--dir {}: there is no journal in it", at.dir.display());
    }
    Ok(SqliteJournal::open(&dir, &Options::default(), Epoch(Context::system().random16()))?)
}

fn inspect(at: &Where) -> anyhow::Result<ExitCode> {
    let journal = SharedJournal::new(open(at)?);
    let recovered = journal.with(|j| j.recovered().clone());
    let state = &recovered.stored.durable;
    let held: Vec<EpochReport> = if recovered.opens_epoch && recovered.parent.is_none() {
        Vec::new()
    } else {
        epochs(&journal, recovered.parent.map_or(recovered.epoch, |p| p.epoch))?
    };
    let report = json!({
        "epochs": held,
        "opens_epoch_at_next_start": recovered.opens_epoch,
        "salvage": recovered.salvage.as_ref().map(|s| format!("{s:?}")),
        "verdicts_seen_through": journal.with(|j| j.verdicts_seen_through())?,
        "boot_count": state.boot_count,
        "assignment_number": state.applied_number,
        "rejected_number": state.rejected_number,
        "commands_through": state.commands_through,
        "intent_open": state.intent.is_some(),
        "payout_open": state.payout.is_some(),
        "lifetime": export::totals(&state.counters.lifetime),
        "since_reset": export::totals(&state.counters.since_reset),
        "books": json::books(&Books::of(state)),
    });
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    Ok(ExitCode::SUCCESS)
}

fn verify(at: &Where) -> anyhow::Result<ExitCode> {
    let mut journal = open(at)?;
    let sound = journal.verify()?;
    let salvage = fleet_client::journal::Journal::recovered(&journal).salvage.clone();
    let mut out = stdout().lock();
    writeln!(out, "{} records in {} epochs, every hash fits", sound.records, sound.epochs)?;
    match salvage {
        None => Ok(ExitCode::SUCCESS),
        Some(salvage) => {
            writeln!(out, "it was damaged: {}", salvage.damage)?;
            writeln!(
                out,
                "kept {}, to be written again {}, left behind {}, lost {}; set aside as {}",
                salvage.kept, salvage.rewritten, salvage.left_behind, salvage.lost, salvage.set_aside
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}
