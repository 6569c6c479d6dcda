//! `vendctl totals`: the machine's own count and the server's, side by side.

use crate::arg;
use crate::call::Session;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::contract;
use crate::output::table::{Table, left, right};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use vendfleet_proto::v1::{GetMachineTotalsRequest, GetMachineTotalsResponse};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The machine's id.
    #[arg(value_name = "MACHINE", value_parser = arg::id)]
    machine: String,
}

pub(crate) async fn run(args: Args, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = GetMachineTotalsRequest { machine_id: args.machine };
    let answer = session.fleet(request, async |c, r| c.get_machine_totals(r).await).await?;
    if output.is_json() {
        return output.json_line(&answer);
    }
    output.text(&render(&answer)?)
}

/// A line per total. Amounts stay in minor units: totals may be of any size, and are compared digit by digit.
fn render(answer: &GetMachineTotalsResponse) -> Result<String, Failure> {
    let sides = [&answer.reported, &answer.counted, &answer.missing];
    let mut reflected = Vec::new();
    for side in sides {
        reflected.push(contract::reflect(&side.unwrap_or_default())?);
    }
    let unit = match answer.currency_code.as_str() {
        "" => "minor units".to_owned(),
        code => format!("{code} minor units"),
    };
    let mut table = Table::new(&[left("TOTAL"), right("REPORTED"), right("COUNTED"), right("MISSING")]);
    for field in reflected[0].descriptor().fields() {
        let mut row = vec![match field.name().strip_suffix("_minor") {
            Some(amount) => format!("{amount} ({unit})"),
            None => field.name().to_owned(),
        }];
        row.extend(reflected.iter().map(|side: &DynamicMessage| number(&side.get_field(&field))));
        table.push(row);
    }
    let mut text = table.render();
    match &answer.disagreement {
        Some(found) => text.push_str(&format!(
            "they part at record {}:{}: {} is {} by the machine and {} by its records\n",
            found.epoch, found.seq, found.field, found.reported, found.counted
        )),
        None => text.push_str("reported = counted + missing\n"),
    }
    if !answer.as_of_epoch.is_empty() {
        text.push_str(&format!("as of record {}:{}\n", answer.as_of_epoch, answer.as_of_seq));
    }
    Ok(text)
}

fn number(value: &Value) -> String {
    match value {
        Value::U64(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
