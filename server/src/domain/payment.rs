//! What a gateway can say about a payment, and what is known of one. Shared by orders and remote purchases.

/// What is known about the money. Only a definite answer of the gateway moves it to `Authorised`, `Captured`, `Declined`,
/// `Voided` or `Refunded`. The numbers are the wire's and the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PaymentStatus {
    /// No payment is asked for.
    NotRequired = 1,
    /// The gateway has not been asked yet.
    Pending = 2,
    /// The gateway was or is being asked and gave no definite answer: the money may or may not be held or taken.
    Unknown = 3,
    /// Held, not taken.
    Authorised = 4,
    /// Taken.
    Captured = 5,
    /// Refused.
    Declined = 6,
    /// Let go, or made impossible before any was held.
    Voided = 7,
    /// Approved although what it was for had failed: to be given back, not confirmed yet.
    RefundPending = 8,
    /// Was taken and was given back.
    Refunded = 9,
}

impl PaymentStatus {
    /// The status of that number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        [
            Self::NotRequired,
            Self::Pending,
            Self::Unknown,
            Self::Authorised,
            Self::Captured,
            Self::Declined,
            Self::Voided,
            Self::RefundPending,
            Self::Refunded,
        ]
        .into_iter()
        .find(|status| *status as i64 == number)
    }
}

/// A definite thing a gateway said about one payment: it will say the same when asked again. The numbers are the store's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// The money is held.
    Authorised = 1,
    /// The money is taken.
    Captured = 2,
    /// It refused the payment: card, funds, risk.
    Declined = 3,
    /// The money was let go, or the gateway has bound itself never to take any under this key.
    Voided = 4,
    /// The money was given back.
    Refunded = 5,
}

/// Why a gateway gave no definite answer. The names are those of dead letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trouble {
    /// No answer in time, or the connection ended before there was one.
    Timeout,
    /// It can't be reached: no attempt was made, as far as is known.
    Unreachable,
    /// It failed, or answered what can't be understood.
    Error,
    /// It said two definite things about one payment.
    Contradiction,
}

impl Trouble {
    /// UPPER_SNAKE, as dead letters show it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "GATEWAY_TIMEOUT",
            Self::Unreachable => "GATEWAY_UNREACHABLE",
            Self::Error => "GATEWAY_ERROR",
            Self::Contradiction => "GATEWAY_CONTRADICTS_ITSELF",
        }
    }
}

/// Longest name a gateway may give a payment, bytes.
pub const MAX_GATEWAY_ID_BYTES: usize = 128;
/// Longest words of a gateway that are kept, bytes.
pub const MAX_DETAIL_BYTES: usize = 256;
