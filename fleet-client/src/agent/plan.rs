//! When to sync, from which record, and what an answer asks for: decided here as values, without I/O and without a
//! clock. The driver in [`super`] carries it out.

use super::backoff::{Backoff, Bounds};
use crate::journal::{Acknowledgement, EpochCursor, EpochOrder};
use crate::transport::{CallError, FailureKind, OfferedConfig, Standing, SyncAnswer};
use vend_core::id::Epoch;
use vend_core::machine::Command;

/// Bounds of the sync agent. All times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most records in one Sync; the contract allows 512.
    pub batch_records: usize,
    /// Most bytes of bodies in one Sync; the contract allows 200,000.
    pub batch_bytes: usize,
    /// After a record was written, wait this long for its companions before syncing.
    pub settle_ms: u64,
    /// Back-off after failures.
    pub backoff: Bounds,
    /// Longest wait an answer or `RetryInfo` can ask for; a slip in the server's config must not silence a fleet for weeks.
    pub longest_wait_ms: u64,
    /// Shortest wait between two Syncs that nothing asked for.
    pub shortest_wait_ms: u64,
    /// Syncs in a row without progress after which the agent waits as long as the server asked, whatever is unsent. Halving
    /// towards the oldest record of a long chain takes up to 64 of them.
    pub rounds_without_progress: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_records: 256,
            batch_bytes: 96 * 1024,
            settle_ms: 1_500,
            backoff: Bounds { base_ms: 2_000, cap_ms: 300_000 },
            longest_wait_ms: 6 * 60 * 60 * 1_000,
            shortest_wait_ms: 1_000,
            rounds_without_progress: 70,
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Make the call.
    Sync,
    /// Nothing before this uptime, unless something happens.
    WaitUntil(u64),
    /// A call is under way.
    InFlight,
    /// The credential was revoked: nothing until somebody asks.
    Stopped,
}

/// What an answer asks for, to be carried out in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Set the wall clock.
    LearnClock(i64),
    /// Store marks, verdicts and facts. Before anything else of the answer takes effect.
    Store(Acknowledgement),
    /// Open a new epoch.
    OpenEpoch(EpochOrder),
    /// Check this config and offer it to the machine.
    Offer(OfferedConfig),
    /// Hand this command to the machine.
    Command(Command),
    /// Enrol anew with this claim token.
    Reenrol(String),
}

/// The name under which the incarnation is kept in the journal.
pub const FACT_INCARNATION: &str = "server_incarnation";

/// The agent's mind.
#[derive(Clone, Debug)]
pub struct Plan {
    limits: Limits,
    backoff: Backoff,
    in_flight: bool,
    stopped: bool,
    /// The regular next call.
    due_ms: u64,
    /// A wish for an earlier one: a sale, a hint.
    soon_ms: Option<u64>,
    /// Not before this, whatever is wished: back-off, `RetryInfo`.
    not_before_ms: u64,
    /// Where the server wants the next batch of an epoch to start.
    resend: Option<(Epoch, u64)>,
    rounds_without_progress: u32,
    standing: Standing,
}

impl Plan {
    /// A machine that has just started syncs at once.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            backoff: Backoff::new(limits.backoff),
            in_flight: false,
            stopped: false,
            due_ms: 0,
            soon_ms: None,
            not_before_ms: 0,
            resend: None,
            rounds_without_progress: 0,
            standing: Standing::Active,
        }
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self, now_ms: u64) -> Next {
        if self.in_flight {
            return Next::InFlight;
        }
        if self.stopped {
            return Next::Stopped;
        }
        let wanted = self.soon_ms.map_or(self.due_ms, |soon| soon.min(self.due_ms));
        let at = wanted.max(self.not_before_ms);
        if now_ms >= at { Next::Sync } else { Next::WaitUntil(at) }
    }

    /// A record was written. The first one starts the clock; later ones ride along.
    pub fn wrote(&mut self, now_ms: u64) {
        self.soon_ms.get_or_insert(now_ms.saturating_add(self.limits.settle_ms));
    }

    /// The server hinted that something waits.
    pub fn hinted(&mut self, now_ms: u64) {
        self.soon_ms = Some(self.soon_ms.map_or(now_ms, |soon| soon.min(now_ms)));
    }

    /// Somebody asked, or the network came back: forget the back-off (`RetryInfo` too: it was about another moment), and
    /// a revocation that may have been lifted.
    pub fn asked(&mut self, now_ms: u64) {
        self.stopped = false;
        self.backoff.reset();
        self.not_before_ms = 0;
        self.rounds_without_progress = 0;
        self.hinted(now_ms);
    }

    /// Where the next batch of this epoch starts.
    #[must_use]
    pub fn batch_start(&self, cursor: &EpochCursor) -> u64 {
        let end = cursor.last_seq.saturating_add(1);
        let start = match self.resend {
            Some((epoch, seq)) if epoch == cursor.epoch => seq,
            _ => cursor.accepted_through.saturating_add(1),
        };
        // Below the oldest held means "from the oldest you hold"; a mark beyond the last seq means a lost tail, and the
        // server sees that from an empty batch behind the last one.
        start.clamp(cursor.oldest_seq.min(end), end)
    }

    /// The call is made.
    pub fn started(&mut self) {
        self.in_flight = true;
        self.soon_ms = None;
    }

    /// The call was answered. `sent` is where the epoch of the call stood when the batch was read; `current` is the epoch the
    /// journal writes now.
    pub fn answered(
        &mut self,
        now_ms: u64,
        answer: SyncAnswer,
        sent: &EpochCursor,
        current: Epoch,
    ) -> Vec<Step> {
        self.in_flight = false;
        self.backoff.reset();
        self.standing = answer.standing;
        let resend = answer.resend_from.map(|seq| (answer.epoch, seq));
        let advanced = answer.accepted_through > sent.accepted_through;
        self.rounds_without_progress =
            if advanced { 0 } else { self.rounds_without_progress.saturating_add(1) };
        self.resend = resend;

        let wait = u64::from(answer.next_sync_after_ms)
            .clamp(self.limits.shortest_wait_ms, self.limits.longest_wait_ms);
        self.due_ms = now_ms.saturating_add(wait);
        self.not_before_ms = 0;
        let open_epoch = answer.open_epoch.filter(|order| order.epoch == current);
        let more = answer.accepted_through < sent.last_seq || resend.is_some() || !sent.current;
        if self.rounds_without_progress >= self.limits.rounds_without_progress {
            self.not_before_ms = self.due_ms;
        } else if more || open_epoch.is_some() || answer.reenroll.is_some() {
            self.soon_ms = Some(now_ms);
        }
        steps(answer, open_epoch)
    }

    /// The call failed.
    pub fn failed(&mut self, now_ms: u64, error: &CallError, up_to: impl FnOnce(u64) -> u64) {
        self.in_flight = false;
        let wait = match error.kind {
            FailureKind::Later => self.backoff.failed(up_to),
            FailureKind::Revoked => {
                self.stopped = true;
                0
            }
            FailureKind::Unauthenticated | FailureKind::Invalid | FailureKind::Refused => {
                self.backoff.failed_badly(up_to)
            }
        };
        let asked = error.retry_after.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let wait = wait.max(asked).min(self.limits.longest_wait_ms);
        self.not_before_ms = now_ms.saturating_add(wait);
        // What was to be said is still to be said.
        self.soon_ms = Some(now_ms);
    }

    /// How the server regards this device's uploads, as last heard.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

fn steps(answer: SyncAnswer, open_epoch: Option<EpochOrder>) -> Vec<Step> {
    let mut steps = vec![
        Step::LearnClock(answer.server_time_ms),
        Step::Store(Acknowledgement {
            epoch: answer.epoch,
            accepted_through: answer.accepted_through,
            durable_through: answer.durable_through,
            // The clock was set to this a step before.
            now_ms: answer.server_time_ms,
            keep_days: answer.keep_days,
            verdicts: answer.verdicts,
            facts: vec![(FACT_INCARNATION.to_owned(), answer.server_incarnation.into_bytes())],
        }),
    ];
    steps.extend(open_epoch.map(Step::OpenEpoch));
    steps.extend(answer.config.map(Step::Offer));
    steps.extend(answer.commands.into_iter().map(Step::Command));
    steps.extend(answer.reenroll.map(Step::Reenrol));
    steps
}
