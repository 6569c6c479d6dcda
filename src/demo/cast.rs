//! The machines, and what each of them will go through.

use anyhow::Result;
use fleet_client::simulate::{Bought, CutPoint, SimError, SimMachine};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Pause between two customers at one machine.
const BETWEEN_CUSTOMERS: Duration = Duration::from_millis(120);

/// What fate has in store for a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Sells, goes offline, comes back.
    Ordinary,
    /// Loses power at this point of a vend while offline.
    PowerCut(CutPoint),
    /// Its journal is deleted; its credentials stay.
    Reflashed,
    /// A second device runs a copy of its disk.
    Cloned,
    /// The second device.
    Clone,
}

impl Fate {
    /// The fates of a fleet of so many machines, in order.
    pub(super) fn of(index: u16) -> Self {
        match index {
            1 => Self::PowerCut(CutPoint::BeforeMotor),
            2 => Self::PowerCut(CutPoint::AfterMotor),
            3 => Self::PowerCut(CutPoint::BeforePayout),
            4 => Self::PowerCut(CutPoint::AfterPayout),
            5 => Self::Reflashed,
            6 => Self::Cloned,
            _ => Self::Ordinary,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ordinary => "offline and back",
            Self::PowerCut(CutPoint::BeforeCommit) => "power cut before a commit",
            Self::PowerCut(CutPoint::BeforeMotor) => "power cut between intent and motor",
            Self::PowerCut(CutPoint::AfterMotor) => "power cut after the motor, before its outcome",
            Self::PowerCut(CutPoint::BeforePayout) => "power cut before the change fell",
            Self::PowerCut(CutPoint::AfterPayout) => "power cut after the change fell",
            Self::Reflashed => "re-flashed: journal deleted",
            Self::Cloned => "its disk was copied into a second board",
            Self::Clone => "the second board",
        }
    }
}

pub(super) struct Actor {
    pub(super) machine: SimMachine,
    pub(super) fate: Fate,
    /// Units sold over the counter in this run.
    pub(super) sold: u64,
    /// Times the power went.
    pub(super) cuts: u64,
}

/// Customers come to every machine that is on, until the time is over. A machine that loses power is switched on again.
pub(super) async fn sell(cast: Vec<Actor>, lasts: Duration, sold: &Arc<AtomicU64>) -> Result<Vec<Actor>> {
    let ends = Instant::now() + lasts;
    let mut days = JoinSet::new();
    for (index, actor) in cast.into_iter().enumerate() {
        let sold = Arc::clone(sold);
        days.spawn(async move { Ok::<_, SimError>((index, one_day(actor, ends, &sold).await?)) });
    }
    let mut back = Vec::new();
    while let Some(day) = days.join_next().await {
        back.push(day??);
    }
    back.sort_by_key(|(index, _)| *index);
    Ok(back.into_iter().map(|(_, actor)| actor).collect())
}

async fn one_day(mut actor: Actor, ends: Instant, sold: &AtomicU64) -> Result<Actor, SimError> {
    while Instant::now() < ends {
        match actor.machine.buy().await? {
            Bought::Yes => {
                actor.sold += 1;
                sold.fetch_add(1, Ordering::Relaxed);
            }
            Bought::No => {}
            Bought::PowerCut => {
                actor.cuts += 1;
                actor.machine.power_on().await?;
            }
        }
        sleep(BETWEEN_CUSTOMERS).await;
    }
    Ok(actor)
}
