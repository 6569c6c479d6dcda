//! What the gateway is asked for one claimed order, and what that comes to.

use crate::context::Context;
use crate::domain::order::{Learnt, Order, Source, Work, WorkDone};
use crate::domain::payment::{Trouble, Verdict};
use crate::operations::payments::{Ask, Capture, Failed, Payment, Said, Till};
use std::time::Duration;

/// Calls beyond the attempts that one order may need under one claim: a query, then a void or a capture.
const CALLS_AFTER_ATTEMPTS: u32 = 2;

/// How hard the gateway is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CashierSettings {
    /// How often it is asked before an order is set aside, at least once.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubles, with full jitter.
    pub backoff_first: Duration,
    /// Longest such pause.
    pub backoff_most: Duration,
    /// First pause before a payment in doubt is asked after again; doubles with every claim.
    pub query_interval: Duration,
    /// Longest such pause.
    pub query_interval_most: Duration,
}

impl CashierSettings {
    /// Longest that one order can be worked on under one claim, when a call may take `timeout`.
    pub fn longest(&self, timeout: Duration) -> Duration {
        let calls = self.attempts.saturating_add(CALLS_AFTER_ATTEMPTS);
        let pauses = (1..self.attempts).fold(Duration::ZERO, |sum, n| sum.saturating_add(self.backoff(n)));
        timeout.saturating_mul(calls).saturating_add(pauses)
    }

    /// Longest pause after the `failed`th failed attempt, from 1.
    fn backoff(&self, failed: u32) -> Duration {
        doubled(self.backoff_first, failed.saturating_sub(1)).min(self.backoff_most)
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
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
        let (attempts, result) = match order.state.work {
            Work::Pay => self.pay(order, &ask).await,
            Work::Query => (0, self.ask_after(&ask, None).await),
            Work::Refund => (0, self.give_back(&ask).await),
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

    async fn pay(&self, order: &Order, ask: &Ask) -> (u32, Result<Payment, Failed>) {
        // A claim before this one may have asked too, and its answer may have been lost.
        let mut in_doubt = order.state.fence > 1 || order.state.attempts > 0;
        let mut attempts = 0;
        let last = loop {
            attempts += 1;
            let failed = match self.till.authorise(ask, Capture::Now).await {
                Ok(Said::Payment(payment)) => return (attempts, self.taken(ask, payment).await),
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
        };
        (attempts, self.ask_after(ask, Some(last)).await)
    }

    /// What became of it. When the gateway knows no payment one may still be on its way, so it is bound never to take it.
    async fn ask_after(&self, ask: &Ask, last: Option<Failed>) -> Result<Payment, Failed> {
        let unknown = |failed: Failed| last.clone().unwrap_or(failed);
        match self.till.query(ask).await {
            Ok(Said::Payment(payment)) => self.taken(ask, payment).await,
            Ok(Said::NoPayment) => {
                let words = last.as_ref().map_or("no payment was found", |failed| &failed.detail).to_owned();
                match definite(self.till.void(ask).await) {
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
    async fn taken(&self, ask: &Ask, payment: Payment) -> Result<Payment, Failed> {
        if payment.verdict != Verdict::Authorised {
            return Ok(payment);
        }
        definite(self.till.capture(ask).await)
    }

    /// Gives back what came after the order had ended.
    async fn give_back(&self, ask: &Ask) -> Result<Payment, Failed> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match definite(self.till.refund(ask).await) {
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
        }
    }

    /// Every claim doubles the pause: a payment that stays in doubt is asked after ever less often.
    fn again_in_ms(&self, fence: i64) -> i64 {
        let claims = u32::try_from(fence.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = doubled(self.settings.query_interval, claims).min(self.settings.query_interval_most);
        i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
    }
}

/// It refused the request itself: nothing was taken, and nothing will be.
fn not_taken(words: String) -> Payment {
    Payment { payment_id: String::new(), verdict: Verdict::Voided, detail: words }
}

fn definite(said: Result<Said, Failed>) -> Result<Payment, Failed> {
    match said? {
        Said::Payment(payment) => Ok(payment),
        Said::Refused(words) => Err(Failed::payment(Trouble::Error, words)),
        Said::NoPayment => Err(Failed::payment(Trouble::Error, "it knows no such payment")),
    }
}
