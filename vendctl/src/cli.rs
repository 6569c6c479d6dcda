//! The command line: what every command takes, and which file does what.

use crate::arg;
use crate::call::Session;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nouns::{
    alerts, claim, command, config, credential, dead_letters, drift, epochs, event, gaps, inventory, machine,
    order, product, purchase, quarantine, server, session, split, status, totals, transactions,
};
use crate::output::Output;
use crate::settings::Settings;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  something is broken here or on the server
  2  the command or its input is wrong; nothing was done
  3  the server refused it, or there is no such thing
  4  no credential, a bad one, or one that may not do this
  5  the server can't be reached, is too busy, or did not answer in time; a write may have happened:
     repeat it with the --request-id that is shown

Flags go before the environment, the environment before the profile file:
  VENDCTL_SERVER, VENDCTL_CA, VENDCTL_TOKEN
  VENDCTL_CONFIG, else $XDG_CONFIG_HOME/vendctl/config.toml, else ~/.config/vendctl/config.toml
                 keys: server, ca, tls_name, token_file

With --json a list is one object per line, anything else one object, as the .proto files name the fields; amounts are in
minor units; an error or a hint is one object on stderr.";

/// Runs a fleet of vending machines from the shell: machines, configs, sales, orders, and what needs a person.
#[derive(Parser)]
#[command(name = "vendctl", version, after_help = AFTER_HELP, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    noun: Noun,
}

/// What every command takes.
#[derive(Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Where the server is [default: https://localhost:7443].
    #[arg(long, global = true, value_name = "https://HOST:PORT")]
    pub(crate) server: Option<String>,
    /// PEM file with the CA to trust, instead of the system's own.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The name the server's certificate must have, when it is not the host's.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tls_name: Option<String>,
    /// The credential. Other users of this host can see it here: prefer --token-file or VENDCTL_TOKEN.
    #[arg(long, global = true, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// File with the credential.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// JSON for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Most rows of a list.
    #[arg(long, global = true, value_name = "ROWS", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Longest wait for one answer, seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) timeout: u32,
    /// How often a call is made at most, the first time included, when trying again helps.
    #[arg(long, global = true, value_name = "TIMES", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) attempts: u32,
    /// Repeats an earlier write: the request id that was shown with its error.
    #[arg(long, global = true, value_name = "UUID", value_parser = arg::id)]
    request_id: Option<String>,
}

#[derive(Subcommand)]
enum Noun {
    /// One screen: the fleet, what is open, what is wrong.
    Status(status::Args),
    /// Machines.
    #[command(subcommand)]
    Machine(machine::Verb),
    /// Claim tokens: single-use permissions to enrol a device.
    #[command(subcommand)]
    Claim(claim::Verb),
    /// What devices prove themselves with.
    #[command(subcommand)]
    Credential(credential::Verb),
    /// Configs: planograms, prices, money; and which machine has which.
    #[command(subcommand)]
    Config(config::Verb),
    /// Orders to machines: out of service and back.
    #[command(subcommand)]
    Command(command::Verb),
    /// The catalogue and central stock.
    #[command(subcommand)]
    Product(product::Verb),
    /// Orders against central stock. For a customer's token, or a service's with the scope orders.on_behalf.
    #[command(subcommand)]
    Order(order::Verb),
    /// Who holds a machine for a remote purchase.
    #[command(subcommand)]
    Session(session::Verb),
    /// Remote purchases of which nobody knows whether the product came out.
    #[command(subcommand)]
    Purchase(purchase::Verb),
    /// What happened, as it happens. For a service's or an operator's token.
    #[command(subcommand)]
    Event(event::Verb),
    /// What machines sold, and cash without a sale.
    Transactions(transactions::Args),
    /// A machine's slots: reported, derived and reserved units.
    Inventory(inventory::Args),
    /// Slots whose reported and derived levels disagree.
    Drift(drift::Args),
    /// A machine's lifetime totals: as it reports them, as its records sum up, and what is missing.
    Totals(totals::Args),
    /// A machine's journals and how far the server has each.
    Epochs(epochs::Args),
    /// Records nobody can deliver any more.
    Gaps(gaps::Args),
    /// Records stored apart: forks, clones, drains.
    #[command(subcommand)]
    Quarantine(quarantine::Verb),
    /// Makes one of a clone's two devices a machine of its own.
    Split(split::Args),
    /// Work that was set aside.
    #[command(subcommand)]
    DeadLetters(dead_letters::Verb),
    /// What a person should know.
    #[command(subcommand)]
    Alerts(alerts::Verb),
    /// The server itself.
    #[command(subcommand)]
    Server(server::Verb),
}

impl Cli {
    pub(crate) async fn run(
        self,
        context: &Context,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<(), Failure> {
        let settings = Settings::new(&self.global, context)?;
        let limit = usize::try_from(self.global.limit).expect("a limit of rows fits");
        let session = &Session::new(&settings, context, limit, self.global.request_id.as_deref())?;
        let output = &mut Output::new(out, err, self.global.json);
        match self.noun {
            Noun::Status(args) => status::run(args, session, output).await,
            Noun::Machine(verb) => machine::run(verb, session, output).await,
            Noun::Claim(verb) => claim::run(verb, session, output).await,
            Noun::Credential(verb) => credential::run(verb, session, output).await,
            Noun::Config(verb) => config::run(verb, session, output).await,
            Noun::Command(verb) => command::run(verb, session, output).await,
            Noun::Product(verb) => product::run(verb, session, output).await,
            Noun::Order(verb) => order::run(verb, session, output).await,
            Noun::Session(verb) => session::run(verb, session, output).await,
            Noun::Purchase(verb) => purchase::run(verb, session, output).await,
            Noun::Event(verb) => event::run(verb, session, output).await,
            Noun::Transactions(args) => transactions::run(args, session, output).await,
            Noun::Inventory(args) => inventory::run(args, session, output).await,
            Noun::Drift(args) => drift::run(args, session, output).await,
            Noun::Totals(args) => totals::run(args, session, output).await,
            Noun::Epochs(args) => epochs::run(args, session, output).await,
            Noun::Gaps(args) => gaps::run(args, session, output).await,
            Noun::Quarantine(verb) => quarantine::run(verb, session, output).await,
            Noun::Split(args) => split::run(args, session, output).await,
            Noun::DeadLetters(verb) => dead_letters::run(verb, session, output).await,
            Noun::Alerts(verb) => alerts::run(verb, session, output).await,
            Noun::Server(verb) => server::run(&verb, session, output).await,
        }
    }
}

pub(crate) fn parse<Argument: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = Argument>,
) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// Help goes where results go; a wrong command line where errors go.
pub(crate) fn explain(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let (exit, written) =
        if is_asked_for { (Exit::Ok, write!(out, "{error}")) } else { (Exit::Usage, write!(err, "{error}")) };
    // Nothing is left to say it with; the exit code still tells.
    drop(written);
    exit
}

#[cfg(test)]
mod tests;
