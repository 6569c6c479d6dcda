//! What many calls came to: wins and refusals apart.

use crate::common::cpu::Cpu;
use crate::common::{Report, percentile};
use crate::crowd::Spent;
use std::collections::BTreeMap;
use std::time::Duration;

/// One call.
pub struct Call {
    pub what: &'static str,
    pub took: Duration,
    /// `None`: it got what it asked for; otherwise the reason.
    pub refused: Option<String>,
}

/// Calls of a round or of several.
#[derive(Default)]
pub struct Tally {
    wins: BTreeMap<&'static str, Vec<f64>>,
    refusals: BTreeMap<(&'static str, String), Vec<f64>>,
    calls: usize,
    took: Duration,
    cpu: Cpu,
}

impl Tally {
    pub fn add(&mut self, calls: &[Call], spent: Spent) {
        self.calls += calls.len();
        self.took += spent.took;
        self.cpu += spent.cpu;
        for call in calls {
            let ms = call.took.as_secs_f64() * 1e3;
            match &call.refused {
                None => self.wins.entry(call.what).or_default().push(ms),
                Some(reason) => self.refusals.entry((call.what, reason.clone())).or_default().push(ms),
            }
        }
    }

    /// How often a reason was given.
    pub fn reason(&self, wanted: &str) -> usize {
        self.refusals.iter().filter(|((_, reason), _)| reason == wanted).map(|(_, all)| all.len()).sum()
    }

    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn print(&self, what: &str, callers: usize) {
        let per_s = self.calls as f64 / self.took.as_secs_f64();
        println!(
            "  {what}, {callers} at once: {} calls, {per_s:.0}/s; {}",
            self.calls,
            self.cpu.shared_by(self.calls)
        );
        let all_wins: Vec<f64> = self.wins.values().flatten().copied().collect();
        let all_refusals: Vec<f64> = self.refusals.values().flatten().copied().collect();
        line("wins", &all_wins);
        for (call, ms) in &self.wins {
            line(&format!("  {call}"), ms);
        }
        line("refusals", &all_refusals);
        for ((call, reason), ms) in &self.refusals {
            line(&format!("  {call} {reason}"), ms);
        }
        let p99 = |all: &[f64]| if all.is_empty() { 0.0 } else { percentile(&sorted(all), 0.99) };
        Report::of("orchestrator_stress")
            .with("what", what)
            .with("callers", callers)
            .with("calls", self.calls)
            .number("per_s", per_s)
            .with("wins", all_wins.len())
            .number("wins_p99_ms", p99(&all_wins))
            .with("refusals", all_refusals.len())
            .number("refusals_p99_ms", p99(&all_refusals))
            .with("timeouts", self.reason("timeout"))
            .with("overloaded", self.reason("OVERLOADED"))
            .with("rate_limited", self.reason("RATE_LIMITED"))
            .print();
    }
}

fn sorted(all: &[f64]) -> Vec<f64> {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all
}

fn line(what: &str, ms: &[f64]) {
    if ms.is_empty() {
        return;
    }
    let sorted = sorted(ms);
    let at = |share| percentile(&sorted, share);
    println!(
        "    {what:<34} {:>6}  p50 {:>7.1}  p90 {:>7.1}  p99 {:>7.1}  max {:>7.1} ms",
        ms.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
