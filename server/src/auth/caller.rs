//! Who is calling, as a value. Made once at the edge; handlers take it from the request's extensions.

use uuid::Uuid;

/// Who is calling. In the extensions of every request that reaches a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular: only the public calls (`Enroll`, health, reflection).
    Anonymous,
    /// A machine, named by its credential, never by a message.
    Machine(MachineCaller),
    /// A person or another server, named by a token.
    Person(Person),
}

/// A machine and the credential it spoke with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineCaller {
    /// The machine.
    pub machine_id: Uuid,
    /// The credential.
    pub credential_id: Uuid,
    /// What the credential may still do.
    pub standing: Standing,
}

/// What a machine's credential may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything a machine may.
    Active,
    /// Upload only, into quarantine, until the drain ends (milliseconds since the Unix epoch).
    UploadOnly {
        /// When the drain ends.
        drain_until_ms: i64,
    },
}

/// A person or another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The token's `sub`: 1 to 128 bytes. For a customer: the customer.
    pub subject: String,
    /// What they are.
    pub role: Role,
    /// What they were granted beyond the role.
    pub scopes: Vec<Scope>,
}

/// What a person or another server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the fleet: everything.
    Operator,
    /// Another server: orders on behalf of customers, remote purchases, events.
    Service,
    /// Buys: their own orders.
    Customer,
    /// Reads the catalogue and the fleet, changes nothing.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Service, Self::Customer, Self::Viewer];

    /// Its name in tokens and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Customer => "customer",
            Self::Viewer => "viewer",
        }
    }
}

/// A right beyond the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// May name the customer it acts for.
    OrdersOnBehalf,
}

impl Scope {
    /// Its name in a token's `scope`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OrdersOnBehalf => "orders.on_behalf",
        }
    }

    /// The scope of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::OrdersOnBehalf.name()).then_some(Self::OrdersOnBehalf)
    }
}

impl Caller {
    /// The machine, when it is one.
    pub fn machine(&self) -> Option<&MachineCaller> {
        if let Self::Machine(machine) = self { Some(machine) } else { None }
    }

    /// The person, when it is one.
    pub fn person(&self) -> Option<&Person> {
        if let Self::Person(person) = self { Some(person) } else { None }
    }

    /// Who it is, for logs, `changed_by` columns and rate limits: `machine:<credential>`, `operator:<subject>`, ...
    pub fn name(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Machine(machine) => format!("machine:{}", machine.credential_id),
            Self::Person(person) => format!("{}:{}", person.role.name(), person.subject),
        }
    }
}
