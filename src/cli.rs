//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use server::auth::Role;

/// Runs a fleet of vending machines.
#[derive(Debug, Parser)]
#[command(name = "vendfleet", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server. Without flags: embedded SQLite in ./vendfleet-data, TLS with a development CA.
    Serve(Serve),
    /// A small fleet sells, goes offline, loses power, comes back and takes new prices, in under two minutes; then a report.
    Demo(crate::demo::DemoArgs),
    /// Bring the database to this version's schema, then end. `serve` does it too; this is for deployments that want it apart.
    Migrate {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Write a consistent copy of the embedded database to a new file; a running server goes on meanwhile. Keys and certificates
    /// are files of the data directory: copy them too. PostgreSQL has pg_dump.
    Backup {
        #[command(flatten)]
        config: ConfigArgs,
        /// A file that does not exist yet.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a copy in the place of the embedded database, which is kept beside it, while no server runs. After pg_restore, with
    /// every server stopped: without --from. Machines and streams then learn that this is another life of the data.
    Restore {
        #[command(flatten)]
        config: ConfigArgs,
        /// What `backup` wrote; only for the embedded database.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// The deployment's CA and the server's development certificate.
    Certs {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        command: Certs,
    },
    /// Make a token for a person or another server; printed on standard output.
    Token(Token),
    /// Ask a running server's /healthz; ends with 0 when it works (ok or degraded). For Docker's HEALTHCHECK.
    Healthcheck {
        #[command(flatten)]
        config: ConfigArgs,
        /// Longest wait, milliseconds.
        #[arg(long, default_value_t = 2_000)]
        timeout_ms: u64,
    },
}

/// Where settings come from: defaults < file < environment (VENDFLEET_SECTION__KEY) < flags.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// TOML config file; also VENDFLEET_CONFIG.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of keys, certificates and the embedded database.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// postgres://... or sqlite:<path>.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Any key of the config, e.g. `--set sync.base_interval_ms=5000`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Print the effective config, with every key's meaning and bounds and without secrets, and end.
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Where gRPC listens, ip:port; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Where /healthz and /metrics listen, ip:port; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http_listen: Option<String>,
    /// Written whole once the server takes calls: the JSON that is also the first line of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Certs {
    /// Make the CA and the server's certificate where they are missing.
    Init,
    /// Show what is there.
    Show,
    /// Make a new server certificate now; a running server picks it up by itself.
    Renew,
    /// Make a new server certificate for these names and addresses besides localhost. To keep them, set tls.sans too.
    Server {
        /// A DNS name or an IP address; may be repeated.
        #[arg(long = "san", required = true)]
        sans: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// What they are.
    #[arg(long, value_enum)]
    pub(crate) role: RoleArg,
    /// Who they are: the token's `sub`, 1 to 128 bytes. For a customer: the customer.
    #[arg(long)]
    pub(crate) subject: String,
    /// How long it lasts: a number and s, m, h or d; at most 366d.
    #[arg(long, default_value = "12h", value_parser = seconds)]
    pub(crate) ttl: u64,
    /// A right beyond the role, e.g. orders.on_behalf; may be repeated.
    #[arg(long = "scope")]
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Runs the fleet.
    Operator,
    /// Another server: orders on behalf of customers, remote purchases, events.
    Service,
    /// Buys: their own orders.
    Customer,
    /// Reads, changes nothing.
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Operator => Self::Operator,
            RoleArg::Service => Self::Service,
            RoleArg::Customer => Self::Customer,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<u64, String> {
    let rule = "must be a number and s, m, h or d, e.g. 12h; at most 366d";
    let unit = text.chars().last().ok_or(rule)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(rule.to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| rule)?;
    number
        .checked_mul(factor)
        .filter(|s| (1..=server::auth::MAX_TTL_S).contains(s))
        .ok_or_else(|| rule.to_owned())
}
