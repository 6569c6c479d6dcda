//! `vendctl machine`.

use crate::arg;
use crate::call::{Found, Session};
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use crate::update;
use clap::{ArgGroup, Args, Subcommand};
use vendfleet_proto::v1::{
    ArchiveMachineRequest, CreateMachineRequest, GetMachineRequest, ListMachinesRequest, Machine, Tags,
    UpdateMachineRequest,
};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Makes a machine. A real one waits for a device: `vendctl claim create --machine ID`.
    Create(Create),
    /// Machines, in order of creation.
    List(List),
    /// One machine with all that is known of it.
    Get(One),
    /// Changes what a machine is called and where it belongs. A new group gives a real machine its config.
    Update(Update),
    /// Takes a machine out of use for good; its history stays.
    Archive(One),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Shown name, 1 to 64 bytes.
    name: String,
    /// Real, or virtual: a job on the server.
    #[arg(long, default_value = "real", value_parser = arg::choice("MachineKind"))]
    kind: i32,
    /// Where it stands.
    #[arg(long, default_value = "", value_name = "TEXT")]
    location: String,
    /// The group that gives it its config.
    #[arg(long, value_parser = arg::label)]
    group: Option<String>,
    /// For filters; may be repeated.
    #[arg(long = "tag", value_name = "TAG", value_parser = arg::label)]
    tags: Vec<String>,
    /// Hardware serial of a real machine.
    #[arg(long, default_value = "", value_name = "TEXT")]
    serial: String,
    /// How long a virtual machine's job takes, milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=600_000))]
    delay_ms: u32,
}

#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
    /// Change it only if it is still as when this etag was read [default: as it is now].
    #[arg(long)]
    etag: Option<String>,
    /// New name, 1 to 64 bytes.
    #[arg(long, group = "change", value_name = "TEXT")]
    name: Option<String>,
    /// Where it stands now.
    #[arg(long, group = "change", value_name = "TEXT")]
    location: Option<String>,
    /// New group.
    #[arg(long, group = "change", value_parser = arg::label)]
    group: Option<String>,
    /// Out of its group; the config it has stays.
    #[arg(long, group = "change", conflicts_with = "group")]
    no_group: bool,
    /// New tag; may be repeated: those given are all it has then.
    #[arg(long = "tag", group = "change", value_name = "TAG", value_parser = arg::label)]
    tags: Vec<String>,
    /// No tags any more.
    #[arg(long, group = "change", conflicts_with = "tags")]
    no_tags: bool,
    /// New hardware serial of a real machine.
    #[arg(long, group = "change", value_name = "TEXT")]
    serial: Option<String>,
    /// How long a virtual machine's next jobs take, milliseconds.
    #[arg(long, group = "change", value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=600_000))]
    delay_ms: Option<u32>,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
}

#[derive(Args)]
struct Filter {
    /// Archived ones too.
    #[arg(long)]
    archived: bool,
    /// Only this kind.
    #[arg(long, default_value = "any", value_parser = arg::filter("MachineKind"))]
    kind: i32,
    /// Only this group.
    #[arg(long, value_parser = arg::label)]
    group: Option<String>,
    /// Only those with this tag; may be repeated.
    #[arg(long = "tag", value_name = "TAG", value_parser = arg::label)]
    tags: Vec<String>,
    /// Only those here in remote purchases.
    #[arg(long, default_value = "any", value_parser = arg::filter("PoolState"))]
    pool: i32,
    /// Only the one with this serial.
    #[arg(long, default_value = "", value_name = "TEXT")]
    serial: String,
}

#[derive(Args)]
pub(crate) struct One {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
}

impl Row for Machine {
    const COLUMNS: &'static [Column] = &[
        left("MACHINE"),
        left("NAME"),
        left("KIND"),
        left("GROUP"),
        left("POOL"),
        left("STANDING"),
        left("LAST SYNC"),
        right("UNSENT"),
        left("CONFIG"),
    ];

    fn cells(&self) -> Vec<String> {
        let device = self.device.as_ref();
        let pool = self.pool.as_ref().map_or(0, |pool| pool.state);
        vec![
            self.machine_id.clone(),
            self.name.clone(),
            word("MachineKind", self.kind),
            self.group.clone(),
            if self.archived { "archived".to_owned() } else { word("PoolState", pool) },
            device.map_or_else(String::new, |d| word("UploadStanding", d.standing)),
            device.map_or_else(String::new, |d| when::time(d.last_sync_time_ms)),
            device.map_or_else(String::new, |d| d.last_seq.saturating_sub(d.accepted_through).to_string()),
            device.map_or_else(String::new, |d| config_word(d.config.as_ref()).to_owned()),
        ]
    }
}

/// How far desired and applied are apart.
pub(crate) fn config_word(status: Option<&vendfleet_proto::v1::ConfigStatus>) -> &'static str {
    match status {
        None => "-",
        Some(status) if status.desired_number == 0 => "none",
        Some(status) if status.rejected_number == status.desired_number => "rejected",
        Some(status) if status.applied_number == status.desired_number => "applied",
        Some(_) => "pending",
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => {
            let request = CreateMachineRequest {
                request_id: session.request_id(),
                kind: args.kind,
                name: args.name,
                location: args.location,
                group: args.group.unwrap_or_default(),
                tags: args.tags,
                serial: args.serial,
                virtual_delay_ms: args.delay_ms,
            };
            let answer = session.fleet_write(request, async |c, r| c.create_machine(r).await).await?;
            output.one(&answer.machine.ok_or_else(|| Failure::missing("machine"))?)
        }
        Verb::List(args) => {
            let filter = ListMachinesRequest {
                include_archived: args.filter.archived,
                kind: args.filter.kind,
                group: args.filter.group.unwrap_or_default(),
                tags: args.filter.tags,
                pool_state: args.filter.pool,
                serial: args.filter.serial,
                ..ListMachinesRequest::default()
            };
            output.list(&list(session, &filter).await?)
        }
        Verb::Get(One { machine }) => output.one(&get(machine, session).await?),
        Verb::Update(args) => update(args, session, output).await,
        Verb::Archive(One { machine: machine_id }) => {
            let request = ArchiveMachineRequest { machine_id };
            let answer = session.fleet(request, async |c, r| c.archive_machine(r).await).await?;
            output.one(&answer.machine.ok_or_else(|| Failure::missing("machine"))?)
        }
    }
}

async fn get(machine_id: String, session: &Session<'_>) -> Result<Machine, Failure> {
    let request = GetMachineRequest { machine_id };
    let answer = session.fleet(request, async |c, r| c.get_machine(r).await).await?;
    answer.machine.ok_or_else(|| Failure::missing("machine"))
}

async fn update(args: Update, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let present = async || Ok(get(args.machine.clone(), session).await?.etag);
    let etag = update::etag(args.etag, session, present).await?;
    let has_new_tags = args.no_tags || !args.tags.is_empty();
    let request = UpdateMachineRequest {
        request_id: session.request_id(),
        machine_id: args.machine,
        etag: etag.clone(),
        name: args.name,
        location: args.location,
        group: if args.no_group { Some(String::new()) } else { args.group },
        tags: has_new_tags.then_some(Tags { values: args.tags }),
        serial: args.serial,
        virtual_delay_ms: args.delay_ms,
    };
    let answer = session.fleet_write(request, async |c, r| c.update_machine(r).await).await;
    let answer = update::told(answer, &etag, output)?;
    output.one(&answer.machine.ok_or_else(|| Failure::missing("machine"))?)
}

pub(crate) async fn list(
    session: &Session<'_>,
    filter: &ListMachinesRequest,
) -> Result<Found<Machine>, Failure> {
    let fetch = async |page_size, page_token| {
        let request = ListMachinesRequest { page_size, page_token, ..filter.clone() };
        let page = session.fleet(request, async |c, r| c.list_machines(r).await).await?;
        Ok((page.machines, page.next_page_token))
    };
    session.pages(MAX_PAGE, fetch).await
}
