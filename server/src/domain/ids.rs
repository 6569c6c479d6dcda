//! Names of the server's own things. What devices name (epochs, boots, transactions) is `vend_core::id`.

use std::fmt;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The sixteen bytes, as stored.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// A machine, UUIDv7; survives a board swap.
    MachineId
}
uuid_id! {
    /// One secret a device authenticates with, UUIDv7.
    CredentialId
}
uuid_id! {
    /// One life of the server's data, UUIDv4; a restore makes a new one.
    Incarnation
}
uuid_id! {
    /// An alert, UUIDv7.
    AlertId
}
uuid_id! {
    /// An event, UUIDv7; repeats of an event are told by it.
    EventId
}

uuid_id! {
    /// An order, UUIDv7. Also the gateway's idempotency key for its payment.
    OrderId
}

uuid_id! {
    /// One customer on one machine, UUIDv7. Not secret.
    SessionId
}
uuid_id! {
    /// A remote purchase, UUIDv7. Also the gateway's idempotency key and the vend's transaction id.
    PurchaseId
}

/// Makes ids; driven by the context, so that tests can repeat a run.
pub trait Ids {
    /// A fresh UUIDv7.
    fn uuid_v7(&mut self) -> Uuid;
}
