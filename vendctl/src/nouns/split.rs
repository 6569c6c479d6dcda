//! `vendctl split`.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use vendfleet_proto::v1::SplitMachineRequest;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cloned machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
    /// The device that becomes a machine of its own: its epoch, one that `vendctl epochs` shows as rival.
    #[arg(long, value_name = "EPOCH", value_parser = arg::epoch)]
    epoch: String,
    /// Name of the new machine, 1 to 64 bytes.
    #[arg(long)]
    name: String,
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = SplitMachineRequest {
        request_id: session.request_id(),
        machine_id: args.machine,
        epoch: args.epoch,
        name: args.name,
    };
    output.one(&session.fleet_write(request, async |c, r| c.split_machine(r).await).await?)
}
