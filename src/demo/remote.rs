//! Somebody buys who does not stand there; and tries it once more while somebody does.

use super::api::Operator;
use super::cast::Actor;
use super::stage::Stage;
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use vend_core::machine::Input;
use vendfleet_proto::v1::{MachineSession, Purchase, PurchaseState};

/// Longest wait for a purchase to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a person puts in and does not spend, minor units.
const COIN: i64 = 10;

/// What became of the two purchases, as the server and as the machines say.
#[derive(Debug, Serialize)]
pub(super) struct Remote {
    /// How the first ended.
    bought: String,
    /// Vends it added on its machine.
    vends: u64,
    /// How the second ended, which met a person at the machine.
    refused: String,
    /// Vends it added on its machine.
    vends_while_used: u64,
}

impl Remote {
    /// One came out and one did not.
    pub(super) fn is_clean(&self) -> bool {
        self.bought == "COMPLETED"
            && self.vends == 1
            && self.refused == "FAILED: MACHINE_BUSY"
            && self.vends_while_used == 0
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "bought from afar                {:>6}   {}", self.vends, self.bought)?;
        writeln!(f, "bought while a person was there {:>6}   {}", self.vends_while_used, self.refused)
    }
}

/// Two purchases of this product, each on the machine that the server picks.
pub(super) async fn buy(
    stage: &Stage,
    cast: &mut [Actor],
    operator: &mut Operator,
    product: &str,
) -> Result<Remote> {
    let (session, token) = operator.start_work(product).await?;
    let actor = of(cast, &session)?;
    let before = actor.machine.observe()?.vends;
    let began = Instant::now();
    operator.choose(&session, &token, product).await?;
    let bought = ended(operator, &session).await?;
    let took = began.elapsed();
    let vends = actor.machine.observe()?.vends.saturating_sub(before);
    stage.tell(&format!(
        "{} carried out command {} and gave one unit to somebody who is not there, {} ms after they chose",
        actor.machine.name(),
        bought.command_number,
        took.as_millis()
    ));

    let (session, token) = operator.start_work(product).await?;
    let actor = of(cast, &session)?;
    let before = actor.machine.observe()?.vends;
    actor.machine.handle(Input::InsertMoney { denomination: COIN }).await?;
    operator.choose(&session, &token, product).await?;
    let refused = ended(operator, &session).await?;
    actor.machine.handle(Input::Cancel).await?;
    let vends_while_used = actor.machine.observe()?.vends.saturating_sub(before);
    stage.tell(&format!(
        "at {} somebody had put a coin in: the machine said {}, and the purchase was given back",
        actor.machine.name(),
        refused.failure_detail
    ));
    Ok(Remote { bought: words(&bought), vends, refused: words(&refused), vends_while_used })
}

fn of<'c>(cast: &'c mut [Actor], session: &MachineSession) -> Result<&'c mut Actor> {
    let known =
        |actor: &&mut Actor| actor.machine.observe().is_ok_and(|o| o.sync.machine_id == session.machine_id);
    cast.iter_mut().find(known).context("StartWork: a machine that is not in this play")
}

/// The session's purchase once nothing more can happen to it.
async fn ended(operator: &mut Operator, session: &MachineSession) -> Result<Purchase> {
    let wait = async {
        loop {
            let purchase = operator.purchase(&session.session_id).await?;
            if matches!(purchase.state(), PurchaseState::Completed | PurchaseState::Failed) {
                return Ok::<_, anyhow::Error>(purchase);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, wait).await.context("waiting for a purchase to end")?
}

fn words(purchase: &Purchase) -> String {
    let state = purchase.state().as_str_name().trim_start_matches("PURCHASE_STATE_");
    if purchase.failure_detail.is_empty() {
        state.to_owned()
    } else {
        format!("{state}: {}", purchase.failure_detail)
    }
}
