//! The gateway's books: one payment per key, and every movement of money there ever was.

use std::collections::BTreeMap;

/// What a payment is. The words are the contract's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Held.
    Authorised,
    /// Taken.
    Captured,
    /// Refused.
    Declined,
    /// Let go, or never to be taken.
    Voided,
    /// Given back.
    Refunded,
}

impl Status {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }
}

/// A payment in the books.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payment {
    /// The idempotency key.
    pub key: String,
    /// The gateway's own name for it.
    pub payment_id: String,
    /// As it is now.
    pub status: Status,
    /// ISO 4217.
    pub currency: String,
    /// Amount.
    pub minor_units: i64,
    /// Times money was taken. More than one is a customer charged twice.
    pub charges: u32,
    /// Times money was given back.
    pub refunds: u32,
}

/// What was really done with the money, by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// By idempotency key.
    pub payments: BTreeMap<String, Payment>,
}

impl Ledger {
    /// Minor units the customer is out of pocket under this key.
    pub fn net(&self, key: &str) -> i64 {
        self.payments.get(key).map_or(0, |p| p.minor_units * (i64::from(p.charges) - i64::from(p.refunds)))
    }

    /// Keys under which money was taken and not given back.
    pub fn charged(&self) -> Vec<&str> {
        self.payments.keys().map(String::as_str).filter(|key| self.net(key) != 0).collect()
    }

    /// Nobody was charged twice under one key, and nobody got back more than was taken.
    pub fn assert_never_twice(&self) {
        for payment in self.payments.values() {
            assert!(payment.charges <= 1, "charged more than once: {payment:?}");
            assert!(payment.refunds <= payment.charges, "gave back more than it took: {payment:?}");
        }
    }
}

#[derive(Default)]
pub(super) struct Books {
    payments: BTreeMap<String, Payment>,
    numbered: u32,
}

impl Books {
    pub(super) fn find(&self, key: &str) -> Option<Payment> {
        self.payments.get(key).cloned()
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger { payments: self.payments.clone() }
    }

    /// A known key gets its first decision again: that is what the key is for.
    pub(super) fn authorise(
        &mut self,
        key: &str,
        currency: &str,
        minor_units: i64,
        capture: bool,
        approve: bool,
    ) -> Payment {
        if let Some(known) = self.payments.get(key) {
            return known.clone();
        }
        let status = match (approve, capture) {
            (false, _) => Status::Declined,
            (true, true) => Status::Captured,
            (true, false) => Status::Authorised,
        };
        self.enter(key, currency, minor_units, status)
    }

    pub(super) fn take(&mut self, key: &str, currency: &str, minor_units: i64) -> Payment {
        self.authorise(key, currency, minor_units, true, true)
    }

    pub(super) fn capture(&mut self, key: &str) -> Option<Payment> {
        let payment = self.payments.get_mut(key)?;
        if payment.status == Status::Authorised {
            payment.status = Status::Captured;
            payment.charges += 1;
        }
        Some(payment.clone())
    }

    /// Binds itself never to take money under this key, also when it never saw it; too late once it is taken.
    pub(super) fn void(&mut self, key: &str, currency: &str, minor_units: i64) -> Payment {
        match self.payments.get_mut(key) {
            None => self.enter(key, currency, minor_units, Status::Voided),
            Some(payment) => {
                if payment.status == Status::Authorised {
                    payment.status = Status::Voided;
                }
                payment.clone()
            }
        }
    }

    pub(super) fn refund(&mut self, key: &str) -> Option<Payment> {
        let payment = self.payments.get_mut(key)?;
        match payment.status {
            Status::Captured => {
                payment.status = Status::Refunded;
                payment.refunds += 1;
            }
            Status::Authorised => payment.status = Status::Voided,
            Status::Declined | Status::Voided | Status::Refunded => {}
        }
        Some(payment.clone())
    }

    fn enter(&mut self, key: &str, currency: &str, minor_units: i64, status: Status) -> Payment {
        self.numbered += 1;
        let payment = Payment {
            key: key.to_owned(),
            payment_id: format!("pay_{}", self.numbered),
            status,
            currency: currency.to_owned(),
            minor_units,
            charges: u32::from(status == Status::Captured),
            refunds: 0,
        };
        self.payments.insert(key.to_owned(), payment.clone());
        payment
    }
}
