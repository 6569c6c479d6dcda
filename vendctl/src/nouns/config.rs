//! `vendctl config`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::nouns::machine::config_word;
use crate::output::contract::{read_json, word};
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use clap::{ArgGroup, Args, Subcommand};
use std::fs;
use std::path::PathBuf;
use vendfleet_proto::v1::{
    AssignConfigRequest, Config, ConfigStatus, CreateConfigRequest, GetConfigRequest,
    ListConfigStatusesRequest, ListConfigsRequest, MachineConfig,
};

const MAX_PAGE: usize = 100;
const MAX_STATUS_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Keeps a config; assigned to nobody yet. It never changes: a new price is a new config.
    Create(Create),
    /// Configs, newest first, without their content.
    List,
    /// One config with its content.
    Get(Get),
    /// Makes a config the desired one of machines or of a group. To go back, assign the one before.
    Assign(Assign),
    /// Which machine has which config desired, applied and rejected.
    Status(Status),
}

#[derive(Args)]
pub(crate) struct Create {
    /// A MachineConfig as JSON, e.g. `.config` of `vendctl --json config get ID`; its config_id is left out.
    #[arg(short, long, value_name = "FILE.json")]
    file: PathBuf,
    /// Your name for it, 1 to 64 bytes.
    #[arg(long)]
    name: String,
    /// Free text.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Args)]
pub(crate) struct Get {
    /// The config's id.
    #[arg(value_name = "CONFIG", value_parser = arg::id)]
    config: String,
}

#[derive(Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub(crate) struct Assign {
    /// The config's id.
    #[arg(value_name = "CONFIG", value_parser = arg::id)]
    config: String,
    /// A machine that is to have it; may be repeated.
    #[arg(long = "machine", value_name = "MACHINE", group = "target", value_parser = arg::id)]
    machines: Vec<String>,
    /// Every real machine in this group, now and later.
    #[arg(long, group = "target", value_parser = arg::label)]
    group: Option<String>,
    /// When, e.g. 2026-12-01T04:00:00Z [default: at once].
    #[arg(long, value_name = "TIME", value_parser = arg::time)]
    start: Option<i64>,
}

#[derive(Args)]
pub(crate) struct Status {
    /// Only machines that are to have this config.
    #[arg(long, value_parser = arg::id)]
    config: Option<String>,
    /// Only this group.
    #[arg(long, value_parser = arg::label)]
    group: Option<String>,
    /// Only machines this far.
    #[arg(long, default_value = "any", value_parser = arg::filter("ConfigProgress"))]
    progress: i32,
}

impl Row for Config {
    const COLUMNS: &'static [Column] =
        &[left("CONFIG"), left("NAME"), left("MADE"), left("MADE BY"), left("SHA-256"), left("NOTE")];

    fn cells(&self) -> Vec<String> {
        vec![
            self.config_id.clone(),
            self.name.clone(),
            when::time(self.create_time_ms),
            self.created_by.clone(),
            self.sha256.chars().take(12).collect(),
            self.note.clone(),
        ]
    }
}

impl Row for ConfigStatus {
    const COLUMNS: &'static [Column] = &[
        left("MACHINE"),
        left("PROGRESS"),
        right("DESIRED"),
        left("DESIRED CONFIG"),
        left("CAUSE"),
        left("SINCE"),
        right("APPLIED"),
        left("APPLIED CONFIG"),
        right("REJECTED"),
        left("FIRST REFUSAL"),
    ];

    fn cells(&self) -> Vec<String> {
        let refusal = self.refusals.first();
        vec![
            self.machine_id.clone(),
            config_word(Some(self)).to_owned(),
            self.desired_number.to_string(),
            self.desired_config_id.clone(),
            word("AssignmentCause", self.desired_cause),
            when::time(self.desired_time_ms),
            self.applied_number.to_string(),
            self.applied_config_id.clone(),
            self.rejected_number.to_string(),
            refusal.map_or_else(String::new, |r| format!("{} {}", r.field, r.reason)),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => {
            let request = CreateConfigRequest {
                request_id: session.request_id(),
                name: args.name,
                note: args.note,
                config: Some(read(&args.file)?),
            };
            let answer = session.fleet_write(request, async |c, r| c.create_config(r).await).await?;
            output.one(&answer.config.ok_or_else(|| Failure::missing("config"))?)
        }
        Verb::List => {
            let fetch = async |page_size, page_token| {
                let request = ListConfigsRequest { page_size, page_token };
                let page = session.fleet(request, async |c, r| c.list_configs(r).await).await?;
                Ok((page.configs, page.next_page_token))
            };
            output.list(&session.pages(MAX_PAGE, fetch).await?)
        }
        Verb::Get(Get { config: config_id }) => {
            let request = GetConfigRequest { config_id };
            let answer = session.fleet(request, async |c, r| c.get_config(r).await).await?;
            output.one(&answer.config.ok_or_else(|| Failure::missing("config"))?)
        }
        Verb::Assign(args) => assign(args, session, output).await,
        Verb::Status(args) => {
            let filter = ListConfigStatusesRequest {
                desired_config_id: args.config.unwrap_or_default(),
                group: args.group.unwrap_or_default(),
                progress: args.progress,
                ..ListConfigStatusesRequest::default()
            };
            let fetch = async |page_size, page_token| {
                let request = ListConfigStatusesRequest { page_size, page_token, ..filter.clone() };
                let page = session.fleet(request, async |c, r| c.list_config_statuses(r).await).await?;
                Ok((page.statuses, page.next_page_token))
            };
            output.list(&session.pages(MAX_STATUS_PAGE, fetch).await?)
        }
    }
}

async fn assign(args: Assign, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = AssignConfigRequest {
        request_id: session.request_id(),
        config_id: args.config,
        machine_ids: args.machines,
        group: args.group.unwrap_or_default(),
        start_time_ms: args.start.unwrap_or_default(),
    };
    let answer = session.fleet_write(request, async |c, r| c.assign_config(r).await).await?;
    if output.is_json() {
        return output.json_line(&answer);
    }
    if answer.machines == 0 {
        return output.text(&format!("starts {}\n", when::time(answer.start_time_ms)));
    }
    output.text(&format!("machines: {}\n", answer.machines))?;
    output.table(&answer.statuses)
}

fn read(path: &PathBuf) -> Result<MachineConfig, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("--file {}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let config: MachineConfig = read_json(&text).map_err(|error| wrong(&error))?;
    // The server gives every config its own id; a copy of another one is a new config.
    Ok(MachineConfig { config_id: String::new(), ..config })
}
