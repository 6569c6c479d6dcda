//! `vendctl inventory`: slots with their three numbers.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, money};
use vendfleet_proto::v1::{GetMachineInventoryRequest, SlotInventory};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
}

impl Row for SlotInventory {
    const COLUMNS: &'static [Column] = &[
        left("MACHINE"),
        right("SLOT"),
        left("PRODUCT"),
        right("PRICE"),
        right("REPORTED"),
        right("DERIVED"),
        right("RESERVED"),
        right("PAR"),
        right("CAPACITY"),
        right("DRIFT"),
        left("SINCE RECORD"),
        left("FAULT"),
    ];

    fn cells(&self) -> Vec<String> {
        let level = |level: Option<i64>| level.map_or_else(String::new, |units| units.to_string());
        let drift = self.drift.as_ref();
        vec![
            self.machine_id.clone(),
            self.slot.to_string(),
            self.product_id.clone(),
            money::format(self.price_minor, &self.currency_code),
            level(self.reported.as_ref().map(|level| level.units)),
            level(self.derived.as_ref().map(|level| level.units)),
            self.reserved.to_string(),
            self.par_level.to_string(),
            self.capacity.to_string(),
            drift.map_or_else(String::new, |drift| format!("{:+}", drift.units)),
            drift.map_or_else(String::new, |drift| format!("{}:{}", drift.since_epoch, drift.since_seq)),
            if self.faulted { "faulted".to_owned() } else { String::new() },
        ]
    }
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = GetMachineInventoryRequest { machine_id: args.machine };
    let answer = session.fleet(request, async |c, r| c.get_machine_inventory(r).await).await?;
    if output.is_json() {
        return output.json_line(&answer);
    }
    if answer.config_id.is_empty() {
        output.hint("the machine has not applied a config yet")?;
    }
    output.table(&answer.slots)
}
