//! What happens to a fleet when nobody tells it what to do: customers, outages, power cuts, clock jumps, from a seed.

use super::machine::{SimError, SimMachine};
use super::report::MachineReport;
use super::{Bought, CutPoint};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How a fleet's time passes. The odds are per purchase: one in so many; zero: never.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Story {
    /// Everything random follows from this.
    pub seed: u64,
    /// How long customers come.
    pub lasts: Duration,
    /// Mean time between two customers at one machine.
    pub between_customers: Duration,
    /// The cable is pulled, or plugged in again.
    pub outage_one_in: u32,
    /// The plug is pulled somewhere in a vend.
    pub power_cut_one_in: u32,
    /// The wall clock jumps by up to a year.
    pub clock_jump_one_in: u32,
    /// Answers begin to be lost, or arrive again.
    pub lost_answers_one_in: u32,
    /// After the last customer everything is switched on and plugged in, and has this long to hand over what it has.
    pub settle: Duration,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            seed: 1,
            lasts: Duration::from_secs(30),
            between_customers: Duration::from_millis(500),
            outage_one_in: 12,
            power_cut_one_in: 15,
            clock_jump_one_in: 40,
            lost_answers_one_in: 20,
            settle: Duration::from_secs(60),
        }
    }
}

/// What has happened so far, over all machines. Shared with whoever draws a progress bar.
#[derive(Debug, Default)]
pub struct Tally {
    /// Purchases that ended with a product.
    pub sold: AtomicU64,
    /// Purchases that did not.
    pub not_sold: AtomicU64,
    /// Power cuts.
    pub power_cuts: AtomicU64,
    /// Cables pulled.
    pub outages: AtomicU64,
    /// Clock jumps.
    pub clock_jumps: AtomicU64,
    /// Times answers began to be lost.
    pub lost_answers: AtomicU64,
    /// Machines that have handed over everything at the end.
    pub settled: AtomicU64,
}

/// How it ended.
#[derive(Clone, Debug, Serialize)]
pub struct FleetReport {
    /// The seed.
    pub seed: u64,
    /// Purchases that ended with a product.
    pub sold: u64,
    /// Purchases that did not.
    pub not_sold: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Cables pulled.
    pub outages: u64,
    /// Clock jumps.
    pub clock_jumps: u64,
    /// Times answers began to be lost.
    pub lost_answers: u64,
    /// Machines that handed over everything in time.
    pub settled: u64,
    /// Machines whose money does not add up: must be zero.
    pub money_off: u64,
    /// Sales whose motor was driven twice, over all machines: must be zero.
    pub driven_twice: u64,
    /// Turns of motors without a vend in the journal, over all machines: must be zero.
    pub turns_unrecorded: u64,
    /// Machines that ended with an error.
    pub broken: u64,
    /// Each machine.
    pub machines: Vec<MachineReport>,
}

impl FleetReport {
    /// Nothing that must be zero is above it.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.money_off == 0 && self.driven_twice == 0 && self.turns_unrecorded == 0 && self.broken == 0
    }
}

impl Story {
    /// Lets it happen to all of them at once; they are switched on at the end. Without a server nothing settles.
    pub async fn happen(
        self,
        machines: Vec<SimMachine>,
        tally: Arc<Tally>,
    ) -> (Vec<SimMachine>, FleetReport) {
        let mut lives = JoinSet::new();
        let ends = Instant::now() + self.lasts;
        for (index, mut machine) in machines.into_iter().enumerate() {
            let tally = Arc::clone(&tally);
            lives.spawn(async move {
                let index_seed = u64::try_from(index).unwrap_or(u64::MAX);
                let rng =
                    ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(index_seed.wrapping_mul(0x9E37_79B9)));
                let report = self.one_life(&mut machine, rng, ends, &tally).await;
                (index, machine, report)
            });
        }
        let mut ended = Vec::new();
        while let Some(life) = lives.join_next().await {
            match life {
                Ok(end) => ended.push(end),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        ended.sort_by_key(|(index, ..)| *index);
        let mut machines = Vec::with_capacity(ended.len());
        let mut reports = Vec::with_capacity(ended.len());
        for (_, machine, report) in ended {
            reports.push(report.unwrap_or_else(|error| broken(&machine, &error)));
            machines.push(machine);
        }
        (machines, self.report(&tally, reports))
    }

    async fn one_life(
        &self,
        machine: &mut SimMachine,
        mut rng: ChaCha8Rng,
        ends: Instant,
        tally: &Tally,
    ) -> Result<MachineReport, SimError> {
        boot(machine).await?;
        let mean = u64::try_from(self.between_customers.as_millis()).unwrap_or(u64::MAX);
        while Instant::now() < ends {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..=mean.saturating_mul(2)))).await;
            self.bad_luck(machine, &mut rng, tally);
            boot(machine).await?;
            match machine.buy().await? {
                Bought::Yes => add(&tally.sold),
                Bought::No => {
                    add(&tally.not_sold);
                    if rng.random_range(0..8_u32) == 0 {
                        match machine.restock().await {
                            Ok(_) => {}
                            Err(SimError::PowerCut) => add(&tally.power_cuts),
                            Err(error) => return Err(error),
                        }
                    }
                }
                Bought::PowerCut => add(&tally.power_cuts),
            }
        }
        machine.keep_power();
        machine.lose_answers(false);
        machine.go_online();
        boot(machine).await?;
        machine.sync_now();
        if machine.is_enrolled()? {
            match machine.settled(self.settle, true).await {
                Ok(()) => add(&tally.settled),
                Err(SimError::NotSettled(why)) => {
                    tracing::warn!(machine = machine.name(), why, "not settled");
                }
                Err(error) => return Err(error),
            }
        }
        machine.report().await
    }

    fn bad_luck(&self, machine: &SimMachine, rng: &mut ChaCha8Rng, tally: &Tally) {
        let mut one_in = |n: u32| n > 0 && rng.random_range(0..n) == 0;
        let (outage, lossy) = (one_in(self.outage_one_in), one_in(self.lost_answers_one_in));
        let (cut, jump) = (one_in(self.power_cut_one_in), one_in(self.clock_jump_one_in));
        if outage && machine.is_online() {
            add(&tally.outages);
            machine.go_offline();
        } else if outage || (!machine.is_online() && rng.random_range(0..6_u32) == 0) {
            machine.go_online();
        }
        if lossy {
            add(&tally.lost_answers);
        }
        machine.lose_answers(lossy);
        if cut {
            const POINTS: [CutPoint; 5] = [
                CutPoint::BeforeCommit,
                CutPoint::BeforeMotor,
                CutPoint::AfterMotor,
                CutPoint::BeforePayout,
                CutPoint::AfterPayout,
            ];
            match rng.random_range(0..=POINTS.len()) {
                n if n < POINTS.len() => machine.cut_power_at(POINTS[n]),
                _ => machine.cut_power_after(rng.random_range(0..12)),
            }
        }
        if jump {
            add(&tally.clock_jumps);
            const YEAR_MS: i64 = 365 * 24 * 3_600_000;
            machine.jump_clock(rng.random_range(-YEAR_MS..=YEAR_MS));
        }
    }

    fn report(&self, tally: &Tally, machines: Vec<MachineReport>) -> FleetReport {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let count = |p: fn(&MachineReport) -> bool| {
            machines.iter().filter(|m| p(m)).fold(0_u64, |n, _| n.saturating_add(1))
        };
        FleetReport {
            seed: self.seed,
            sold: of(&tally.sold),
            not_sold: of(&tally.not_sold),
            power_cuts: of(&tally.power_cuts),
            outages: of(&tally.outages),
            clock_jumps: of(&tally.clock_jumps),
            lost_answers: of(&tally.lost_answers),
            settled: of(&tally.settled),
            money_off: count(|m| m.error.is_none() && !m.money_conserved),
            driven_twice: machines.iter().map(|m| m.driven_twice).sum(),
            turns_unrecorded: machines.iter().map(|m| m.turns_unrecorded).sum(),
            broken: count(|m| m.error.is_some()),
            machines,
        }
    }
}

/// Boots a machine that is off; a cut that comes during the boot is a boot more.
async fn boot(machine: &mut SimMachine) -> Result<(), SimError> {
    const TRIES: u32 = 8;
    for _ in 0..TRIES {
        match machine.power_on().await {
            Err(SimError::PowerCut) => {}
            other => return other,
        }
    }
    machine.keep_power();
    machine.power_on().await
}

fn broken(machine: &SimMachine, error: &SimError) -> MachineReport {
    MachineReport { error: Some(error.to_string()), ..MachineReport::only_named(machine.name()) }
}

fn add(n: &AtomicU64) {
    n.fetch_add(1, Ordering::Relaxed);
}
