//! What the gateway is asked for one claimed purchase, and what that comes to.
//!
//! A purchase is authorised before its machine is told anything, captured once the product came out, voided otherwise. An
//! authorisation without a definite answer is not asked after: nothing was dispensed for it, so what the gateway may hold is
//! let go, which is definite whatever it was.

use crate::context::Context;
use crate::domain::payment::{Trouble, Verdict};
use crate::domain::pool::{JobDone, Purchase, Work};
use crate::operations::payments::{Ask, Capture, Failed, Payment, Permit, Said, Till};
use crate::operations::worker::CashierSettings;
use std::time::Duration;

/// Asks the gateway on behalf of purchases.
#[derive(Clone, Debug)]
pub struct Teller {
    till: Till,
    settings: CashierSettings,
    context: Context,
}

impl Teller {
    /// Over a till.
    pub fn new(till: Till, settings: CashierSettings, context: Context) -> Self {
        Self { till, settings, context }
    }

    /// Does a purchase's work with the gateway as far as it can be done now: how often it was asked, and what came of it.
    pub async fn work_on(&self, purchase: &Purchase, traceparent: &str) -> (u32, JobDone) {
        let ask = Ask {
            key: purchase.id.0,
            currency: purchase.currency,
            amount_minor: purchase.price_minor,
            payment_id: purchase.gateway_payment_id.clone(),
            traceparent: traceparent.to_owned(),
        };
        if let Permit::Nothing { until } = self.till.permit() {
            let failed = Failed::outage(
                Trouble::Unreachable,
                "the gateway is left alone: it failed too often in a row",
            );
            let left_alone_for = until.saturating_sub(self.context.elapsed());
            return (0, self.unknown(failed, purchase, left_alone_for));
        }
        let room = self.settings.lease.saturating_sub(self.till.timeout());
        let until = self.context.elapsed().saturating_add(room);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = match self.once(purchase, &ask, attempts > 1 || purchase.fence > 1).await {
                Ok(done) => return (attempts, done),
                Err(failed) => failed,
            };
            let pause = self.context.jitter(self.settings.backoff(attempts));
            let late = self.context.elapsed().saturating_add(pause) > until;
            if failed.trouble == Trouble::Contradiction || attempts >= self.settings.attempts || late {
                return (attempts, self.unknown(failed, purchase, Duration::ZERO));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, purchase: &Purchase, ask: &Ask, in_doubt: bool) -> Result<JobDone, Failed> {
        match purchase.work {
            Work::Authorise => authorised(self.till.authorise(ask, Capture::Later).await?, in_doubt),
            Work::Capture => captured(payment(self.till.capture(ask).await?)?),
            Work::Void => self.let_go(ask).await,
            Work::Dispense | Work::None => Err(Failed::payment(Trouble::Error, "no work for the gateway")),
        }
    }

    /// Money that was taken all the same is given back.
    async fn let_go(&self, ask: &Ask) -> Result<JobDone, Failed> {
        let voided = payment(self.till.void(ask).await?)?;
        match voided.verdict {
            Verdict::Voided => Ok(JobDone::Voided),
            Verdict::Declined => Ok(JobDone::Declined(voided.detail)),
            Verdict::Refunded => Ok(JobDone::Refunded),
            Verdict::Authorised => Err(contradiction("asked to let it go, the gateway says it holds it")),
            Verdict::Captured => match payment(self.till.refund(ask).await?)?.verdict {
                Verdict::Refunded | Verdict::Voided => Ok(JobDone::Refunded),
                _ => Err(contradiction("asked to give it back, the gateway says otherwise")),
            },
        }
    }

    /// Every round of questions about the present step doubles the pause. The fence does not count them: it rises with
    /// whatever happens to a purchase.
    fn unknown(&self, failed: Failed, purchase: &Purchase, at_least: Duration) -> JobDone {
        let rounds = purchase.attempts.div_ceil(self.settings.attempts.max(1));
        let pause = self.settings.again_in(rounds).max(at_least).max(Duration::from_millis(1));
        let again_in_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        JobDone::Unknown { trouble: failed.trouble, detail: failed.detail, again_in_ms }
    }
}

fn authorised(said: Said, in_doubt: bool) -> Result<JobDone, Failed> {
    match said {
        Said::Payment(payment) => match payment.verdict {
            // A gateway that took it at once says so again when it is asked to capture or to void.
            Verdict::Authorised | Verdict::Captured => Ok(JobDone::Authorised(payment.payment_id)),
            Verdict::Declined | Verdict::Voided => Ok(JobDone::Declined(payment.detail)),
            Verdict::Refunded => {
                Err(contradiction("asked to hold money, the gateway says it was given back"))
            }
        },
        // An earlier request may have been taken: what it holds is let go.
        Said::Refused(words) if in_doubt => Err(Failed::payment(Trouble::Error, words)),
        Said::Refused(words) => Ok(JobDone::Declined(words)),
        Said::NoPayment => Err(Failed::payment(Trouble::Error, "no payment was made")),
    }
}

fn captured(payment: Payment) -> Result<JobDone, Failed> {
    match payment.verdict {
        Verdict::Captured => Ok(JobDone::Captured(payment.payment_id)),
        other => Err(contradiction(&format!("asked to take what it held, the gateway says {other:?}"))),
    }
}

fn payment(said: Said) -> Result<Payment, Failed> {
    match said {
        Said::Payment(payment) => Ok(payment),
        Said::Refused(words) => Err(Failed::payment(Trouble::Error, words)),
        Said::NoPayment => Err(Failed::payment(Trouble::Error, "it knows no such payment")),
    }
}

fn contradiction(words: &str) -> Failed {
    Failed::payment(Trouble::Contradiction, words)
}
