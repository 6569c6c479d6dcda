//! What the gateway is asked for one claimed order, and what that comes to.

use crate::context::Context;
use crate::domain::order::{Learnt, Order, Source, Work, WorkDone};
use crate::domain::payment::{Trouble, Verdict};
use crate::operations::payments::{Ask, Capture, Failed, Payment, Said, Till};
use std::time::Duration;

/// How hard the gateway is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CashierSettings {
    /// How often it is asked before an order is set aside, at least once.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubles, with full jitter.
    pub backoff_first: Duration,
    /// Longest such pause.
    pub backoff_most: Duration,
    /// First pause before a payment in doubt is asked after again; doubles with every round.
    pub query_interval: Duration,
    /// Longest such pause.
    pub query_interval_most: Duration,
    /// How long a claim holds. No call is begun that could outlast it: what is not known by then is reported as such.
    pub lease: Duration,
}

impl CashierSettings {
    /// Longest that all attempts together can take, when a call may take `timeout`. A lease must be longer.
    pub fn all_attempts(&self, timeout: Duration) -> Duration {
        let pauses = (1..self.attempts).fold(Duration::ZERO, |sum, n| sum.saturating_add(self.backoff(n)));
        timeout.saturating_mul(self.attempts).saturating_add(pauses)
    }

    /// Longest pause after the `failed`th failed attempt, from 1.
    pub(crate) fn backoff(&self, failed: u32) -> Duration {
        doubled(self.backoff_first, failed.saturating_sub(1)).min(self.backoff_most)
    }

    /// Pause before a payment in doubt is asked after again, after so many rounds before this one: ever longer.
    pub(crate) fn again_in(&self, rounds: u32) -> Duration {
        doubled(self.query_interval, rounds).min(self.query_interval_most)
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

fn nothing_to_pay() -> Learnt {
    Learnt {
        verdict: Verdict::Captured,
        gateway_payment_id: String::new(),
        detail: String::new(),
        amount: None,
        source: Source::Worker,
    }
}

/// One order's turn.
struct Turn {
    ask: Ask,
    /// The last moment at which a call may begin.
    until: Duration,
}

/// Has one order paid, asks what became of its payment, or gives money back.
#[derive(Clone, Debug)]
pub struct Cashier {
    till: Till,
    settings: CashierSettings,
    context: Context,
}

impl Cashier {
    /// Over a till.
    pub fn new(till: Till, settings: CashierSettings, context: Context) -> Self {
        Self { till, settings, context }
    }

    /// Does an order's work as far as it can be done now: how often the gateway was asked for the money, and what came of it.
    pub async fn work_on(&self, order: &Order, traceparent: &str) -> (u32, WorkDone) {
        let ask = Ask {
            key: order.id.0,
            currency: order.currency,
            amount_minor: order.total_minor,
            payment_id: order.state.gateway_payment_id.clone(),
            traceparent: traceparent.to_owned(),
        };
        if order.total_minor == 0 && order.state.work == Work::Pay {
            // Made by an earlier version, which asked: there is nothing to pay.
            return (0, WorkDone::Learnt(nothing_to_pay()));
        }
        let room = self.settings.lease.saturating_sub(self.till.timeout());
        let turn = Turn { ask, until: self.context.elapsed().saturating_add(room) };
        let (attempts, result) = match order.state.work {
            Work::Pay => self.pay(order, &turn).await,
            Work::Query => (0, self.ask_after(&turn, None).await),
            Work::Refund => (0, self.give_back(&turn).await),
            // Claimed by a server of another version: it is left to that one.
            Work::None => (0, Err(Failed::payment(Trouble::Error, "an order without work was claimed"))),
        };
        let done = match result {
            Ok(payment) => WorkDone::Learnt(Learnt {
                verdict: payment.verdict,
                gateway_payment_id: payment.payment_id,
                detail: payment.detail,
                // The gateway's client has checked it.
                amount: None,
                source: Source::Worker,
            }),
            Err(Failed { trouble, detail, .. }) => {
                WorkDone::Unknown { trouble, detail, again_in_ms: self.again_in_ms(order.state.fence) }
            }
        };
        (attempts, done)
    }

    async fn pay(&self, order: &Order, turn: &Turn) -> (u32, Result<Payment, Failed>) {
        // A claim before this one may have asked too, and its answer may have been lost.
        let mut in_doubt = order.state.fence > 1 || order.state.attempts > 0;
        let mut attempts = 0;
        let last = loop {
            attempts += 1;
            let failed = match self.till.authorise(&turn.ask, Capture::Now).await {
                Ok(Said::Payment(payment)) => return (attempts, self.taken(turn, payment).await),
                Ok(Said::Refused(words)) if !in_doubt => return (attempts, Ok(not_taken(words))),
                // This request is refused, an earlier one may have been taken: that is asked after.
                Ok(Said::Refused(words)) => break Failed::payment(Trouble::Error, words),
                Ok(Said::NoPayment) => Failed::payment(Trouble::Error, "no payment was made"),
                Err(failed) => failed,
            };
            in_doubt = true;
            if failed.trouble == Trouble::Contradiction || attempts >= self.settings.attempts {
                break failed;
            }
            tokio::time::sleep(self.context.jitter(self.settings.backoff(attempts))).await;
            if self.too_late(turn) {
                break failed;
            }
        };
        (attempts, self.ask_after(turn, Some(last)).await)
    }

    /// What became of it. When the gateway knows no payment one may still be on its way, so it is bound never to take it.
    async fn ask_after(&self, turn: &Turn, last: Option<Failed>) -> Result<Payment, Failed> {
        let unknown = |failed: Failed| last.clone().unwrap_or(failed);
        if let Some(last) = &last
            && self.too_late(turn)
        {
            return Err(last.clone());
        }
        match self.till.query(&turn.ask).await {
            Ok(Said::Payment(payment)) => self.taken(turn, payment).await,
            Ok(Said::NoPayment) if self.too_late(turn) => Err(unknown(no_time())),
            Ok(Said::NoPayment) => {
                let words = last.as_ref().map_or("no payment was found", |failed| &failed.detail).to_owned();
                match definite(self.till.void(&turn.ask).await) {
                    Ok(payment) if payment.verdict == Verdict::Voided && payment.detail.is_empty() => {
                        Ok(Payment { detail: words, ..payment })
                    }
                    Ok(payment) => Ok(payment),
                    Err(failed) => Err(unknown(failed)),
                }
            }
            Ok(Said::Refused(words)) => Err(unknown(Failed::payment(Trouble::Error, words))),
            // What contradicts itself is shown as that, whatever came before.
            Err(failed) if failed.trouble == Trouble::Contradiction => Err(failed),
            Err(failed) => Err(unknown(failed)),
        }
    }

    /// An order's money is taken in one step; a gateway that only holds it is told to take it.
    async fn taken(&self, turn: &Turn, payment: Payment) -> Result<Payment, Failed> {
        if payment.verdict != Verdict::Authorised {
            return Ok(payment);
        }
        if self.too_late(turn) {
            return Err(no_time());
        }
        definite(self.till.capture(&turn.ask).await)
    }

    /// Gives back what came after the order had ended.
    async fn give_back(&self, turn: &Turn) -> Result<Payment, Failed> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match definite(self.till.refund(&turn.ask).await) {
                Ok(payment) if matches!(payment.verdict, Verdict::Refunded | Verdict::Voided) => {
                    return Ok(payment);
                }
                Ok(payment) => {
                    let words = format!("asked to give it back, the gateway says {:?}", payment.verdict);
                    return Err(Failed::payment(Trouble::Contradiction, words));
                }
                Err(failed) => failed,
            };
            if attempts >= self.settings.attempts {
                return Err(failed);
            }
            tokio::time::sleep(self.context.jitter(self.settings.backoff(attempts))).await;
            if self.too_late(turn) {
                return Err(failed);
            }
        }
    }

    /// A call that begins now could outlast the claim.
    fn too_late(&self, turn: &Turn) -> bool {
        self.context.elapsed() > turn.until
    }

    /// Every claim doubles the pause: a payment that stays in doubt is asked after ever less often.
    fn again_in_ms(&self, fence: i64) -> i64 {
        let claims = u32::try_from(fence.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.settings.again_in(claims);
        i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
    }
}

/// It refused the request itself: nothing was taken, and nothing will be.
fn not_taken(words: String) -> Payment {
    Payment { payment_id: String::new(), verdict: Verdict::Voided, detail: words }
}

fn no_time() -> Failed {
    Failed::payment(Trouble::Timeout, "the claim ended before it was settled")
}

fn definite(said: Result<Said, Failed>) -> Result<Payment, Failed> {
    match said? {
        Said::Payment(payment) => Ok(payment),
        Said::Refused(words) => Err(Failed::payment(Trouble::Error, words)),
        Said::NoPayment => Err(Failed::payment(Trouble::Error, "it knows no such payment")),
    }
}
