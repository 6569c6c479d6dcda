//! `vendctl alerts`.

use crate::arg;
use crate::call::{Found, Session};
use crate::failure::Failure;
use crate::output::contract::word;
use crate::output::table::{Column, left, right};
use crate::output::{Output, Row, when};
use clap::{Args, Subcommand};
use vendfleet_proto::v1::{AcknowledgeAlertRequest, Alert, ListAlertsRequest, ResolveAlertRequest};

const MAX_PAGE: usize = 500;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Alerts, newest first; the open ones unless told otherwise.
    List(List),
    /// Says that you are on it.
    Ack(One),
    /// Says that it is over.
    Resolve(Resolve),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this state.
    #[arg(long, default_value = "open", value_parser = arg::filter("AlertState"))]
    state: i32,
    /// Only this type.
    #[arg(long = "type", default_value = "any", hide_possible_values = true, value_name = "TYPE",
          value_parser = arg::filter("AlertType"))]
    kind: i32,
    /// Only this severity.
    #[arg(long, default_value = "any", value_parser = arg::filter("AlertSeverity"))]
    severity: i32,
    /// Only this machine's.
    #[arg(long, value_parser = arg::id)]
    machine: Option<String>,
    /// Only this product's.
    #[arg(long, value_parser = arg::id)]
    product: Option<String>,
}

#[derive(Args)]
pub(crate) struct One {
    /// The alert's id.
    #[arg(value_name = "ALERT", value_parser = arg::id)]
    alert: String,
}

#[derive(Args)]
pub(crate) struct Resolve {
    /// The alert's id.
    #[arg(value_name = "ALERT", value_parser = arg::id)]
    alert: String,
    /// What was done.
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
}

impl Row for Alert {
    const COLUMNS: &'static [Column] = &[
        left("ALERT"),
        left("SEVERITY"),
        left("TYPE"),
        left("STATE"),
        right("TIMES"),
        left("LAST"),
        left("MACHINE"),
        left("MESSAGE"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.alert_id.clone(),
            word("AlertSeverity", self.severity),
            word("AlertType", self.r#type),
            word("AlertState", self.state),
            self.occurrences.to_string(),
            when::time(self.last_time_ms),
            self.machine_id.clone(),
            self.message.clone(),
        ]
    }
}

pub(crate) async fn run(verb: Verb, session: &Session<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => {
            let filter = ListAlertsRequest {
                state: args.state,
                r#type: args.kind,
                severity: args.severity,
                machine_id: args.machine.unwrap_or_default(),
                product_id: args.product.unwrap_or_default(),
                ..ListAlertsRequest::default()
            };
            output.list(&list(session, &filter).await?)
        }
        Verb::Ack(One { alert: alert_id }) => {
            let request = AcknowledgeAlertRequest { alert_id };
            let answer = session.fleet(request, async |c, r| c.acknowledge_alert(r).await).await?;
            output.one(&answer.alert.ok_or_else(|| Failure::missing("alert"))?)
        }
        Verb::Resolve(Resolve { alert: alert_id, note }) => {
            let request = ResolveAlertRequest { alert_id, note };
            let answer = session.fleet(request, async |c, r| c.resolve_alert(r).await).await?;
            output.one(&answer.alert.ok_or_else(|| Failure::missing("alert"))?)
        }
    }
}

pub(crate) async fn list(session: &Session<'_>, filter: &ListAlertsRequest) -> Result<Found<Alert>, Failure> {
    let fetch = async |page_size, page_token| {
        let request = ListAlertsRequest { page_size, page_token, ..filter.clone() };
        let page = session.fleet(request, async |c, r| c.list_alerts(r).await).await?;
        Ok((page.alerts, page.next_page_token))
    };
    session.pages(MAX_PAGE, fetch).await
}
