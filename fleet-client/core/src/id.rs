//! Names of things: 128 bits each, made outside (the core has no randomness).

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub [u8; 16]);
    };
}

id128! {
    /// One journal's life: random, made with the journal. Record names are `(machine_id, epoch, seq)`.
    Epoch
}
id128! {
    /// One boot of the machine's controller: random, made at power-up. Uptimes compare only within one boot.
    BootId
}
id128! {
    /// A sale from selection to settlement: UUIDv7, made at selection.
    TransactionId
}
id128! {
    /// A product of the catalogue: UUIDv7, made by the server.
    ProductId
}
id128! {
    /// A published machine config (planogram, prices, limits): UUIDv7, made by the server.
    ConfigId
}
