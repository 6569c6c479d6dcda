//! Which call is for whom: one table. A call that is not in it is refused, and a test fails when a call of the contract
//! is missing, so no call is open by accident.

use super::{Caller, Role, Standing};
use crate::error::{ApiError, Reason};

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody, without a credential.
    Public,
    /// Machines, also those that only upload any more.
    Machine,
    /// People and servers with one of these roles.
    Roles(&'static [Role]),
    /// Every machine in good standing, every role.
    AnyCredential,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its HTTP/2 path.
    pub path: &'static str,
    /// Who may make it.
    pub audience: Audience,
    /// Whether the answer is a stream.
    pub streams: bool,
    /// Whether it is answered however busy the server is: what tells whether the server is busy.
    pub always: bool,
    /// How much longer than other unary calls it may take, when its caller asked to wait, ms.
    pub waits_ms: u64,
}

const PUBLIC: Audience = Audience::Public;
const MACHINE: Audience = Audience::Machine;
const ANYONE_KNOWN: Audience = Audience::AnyCredential;
const OPERATOR: Audience = Audience::Roles(&[Role::Operator]);
const READER: Audience = Audience::Roles(&[Role::Operator, Role::Viewer]);
const SERVICE: Audience = Audience::Roles(&[Role::Service, Role::Operator]);
const ORDERING: Audience = Audience::Roles(&[Role::Customer, Role::Service]);

const fn unary(path: &'static str, audience: Audience) -> Call {
    Call { path, audience, streams: false, always: false, waits_ms: 0 }
}

const fn stream(path: &'static str, audience: Audience) -> Call {
    Call { path, audience, streams: true, always: false, waits_ms: 0 }
}

/// Every call this server knows.
pub const CALLS: &[Call] = &[
    // MachineSyncService
    unary("/vendfleet.v1.MachineSyncService/Enroll", PUBLIC),
    unary("/vendfleet.v1.MachineSyncService/Sync", MACHINE),
    stream("/vendfleet.v1.MachineSyncService/Watch", MACHINE),
    // OrderService
    unary("/vendfleet.v1.OrderService/CreateOrder", ORDERING),
    unary("/vendfleet.v1.OrderService/GetOrder", ORDERING),
    unary("/vendfleet.v1.OrderService/ListOrders", ORDERING),
    unary("/vendfleet.v1.OrderService/CancelOrder", ORDERING),
    stream("/vendfleet.v1.OrderService/WatchOrders", ORDERING),
    // OrchestratorService
    // StartWorkRequest.wait_ms.
    Call { waits_ms: 60_000, ..unary("/vendfleet.v1.OrchestratorService/StartWork", SERVICE) },
    unary("/vendfleet.v1.OrchestratorService/ChooseProduct", SERVICE),
    unary("/vendfleet.v1.OrchestratorService/GetMachineSession", SERVICE),
    unary("/vendfleet.v1.OrchestratorService/ResetMachine", OPERATOR),
    unary("/vendfleet.v1.OrchestratorService/ResolvePurchase", OPERATOR),
    // CatalogService
    unary("/vendfleet.v1.CatalogService/CreateProduct", OPERATOR),
    unary("/vendfleet.v1.CatalogService/GetProduct", ANYONE_KNOWN),
    unary("/vendfleet.v1.CatalogService/ListProducts", ANYONE_KNOWN),
    unary("/vendfleet.v1.CatalogService/UpdateProduct", OPERATOR),
    unary("/vendfleet.v1.CatalogService/ArchiveProduct", OPERATOR),
    unary("/vendfleet.v1.CatalogService/AdjustStock", OPERATOR),
    // FleetService
    unary("/vendfleet.v1.FleetService/CreateMachine", OPERATOR),
    unary("/vendfleet.v1.FleetService/GetMachine", READER),
    unary("/vendfleet.v1.FleetService/ListMachines", READER),
    unary("/vendfleet.v1.FleetService/UpdateMachine", OPERATOR),
    unary("/vendfleet.v1.FleetService/ArchiveMachine", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListMachineGroups", READER),
    unary("/vendfleet.v1.FleetService/CreateClaimToken", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListClaimTokens", READER),
    unary("/vendfleet.v1.FleetService/RevokeClaimToken", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListCredentials", READER),
    unary("/vendfleet.v1.FleetService/RevokeCredential", OPERATOR),
    unary("/vendfleet.v1.FleetService/SplitMachine", OPERATOR),
    unary("/vendfleet.v1.FleetService/CreateConfig", OPERATOR),
    unary("/vendfleet.v1.FleetService/GetConfig", READER),
    unary("/vendfleet.v1.FleetService/ListConfigs", READER),
    unary("/vendfleet.v1.FleetService/AssignConfig", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListConfigStatuses", READER),
    unary("/vendfleet.v1.FleetService/CreateRollout", OPERATOR),
    unary("/vendfleet.v1.FleetService/GetRollout", READER),
    unary("/vendfleet.v1.FleetService/ListRollouts", READER),
    unary("/vendfleet.v1.FleetService/StartRollout", OPERATOR),
    unary("/vendfleet.v1.FleetService/PauseRollout", OPERATOR),
    unary("/vendfleet.v1.FleetService/ResumeRollout", OPERATOR),
    unary("/vendfleet.v1.FleetService/RollBackRollout", OPERATOR),
    unary("/vendfleet.v1.FleetService/SendCommand", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListCommands", READER),
    unary("/vendfleet.v1.FleetService/ListTransactions", READER),
    unary("/vendfleet.v1.FleetService/GetTransaction", READER),
    unary("/vendfleet.v1.FleetService/GetMachineTotals", READER),
    unary("/vendfleet.v1.FleetService/GetMachineInventory", READER),
    unary("/vendfleet.v1.FleetService/ListInventoryDiscrepancies", READER),
    unary("/vendfleet.v1.FleetService/ListEpochs", READER),
    unary("/vendfleet.v1.FleetService/ListGaps", READER),
    unary("/vendfleet.v1.FleetService/ListQuarantineBranches", READER),
    unary("/vendfleet.v1.FleetService/ListQuarantinedRecords", READER),
    unary("/vendfleet.v1.FleetService/AdoptBranch", OPERATOR),
    unary("/vendfleet.v1.FleetService/DiscardBranch", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListDeadLetters", READER),
    unary("/vendfleet.v1.FleetService/GetDeadLetter", READER),
    unary("/vendfleet.v1.FleetService/RedriveDeadLetter", OPERATOR),
    unary("/vendfleet.v1.FleetService/ListAlerts", READER),
    unary("/vendfleet.v1.FleetService/AcknowledgeAlert", OPERATOR),
    unary("/vendfleet.v1.FleetService/ResolveAlert", OPERATOR),
    unary("/vendfleet.v1.FleetService/GetServerInfo", READER),
    // EventService
    stream("/vendfleet.v1.EventService/StreamEvents", SERVICE),
    // Health: for load balancers, which have no credential. It tells serving or not, and nothing else.
    Call { always: true, ..unary("/grpc.health.v1.Health/Check", PUBLIC) },
    stream("/grpc.health.v1.Health/Watch", PUBLIC),
    // Reflection: the contract is published; switched off by `web.reflection`.
    stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", PUBLIC),
    stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", PUBLIC),
];

/// The call with this path.
pub fn find(path: &str) -> Option<&'static Call> {
    // About sixty rows: a scan costs less than a microsecond, and no map has to be kept.
    CALLS.iter().find(|call| call.path == path)
}

impl Call {
    /// Whether this caller may make it.
    pub fn authorise(&self, caller: &Caller) -> Result<(), ApiError> {
        match (self.audience, caller) {
            (Audience::Public, _)
            | (Audience::Machine, Caller::Machine(_))
            | (Audience::AnyCredential, Caller::Person(_)) => Ok(()),
            (Audience::AnyCredential, Caller::Machine(machine)) if machine.standing == Standing::Active => {
                Ok(())
            }
            (Audience::Roles(roles), Caller::Person(person)) if roles.contains(&person.role) => Ok(()),
            (_, Caller::Anonymous) => Err(ApiError::new(
                Reason::Unauthenticated,
                "this call needs `authorization: Bearer <token>` or `authorization: Machine <credential_id>.<secret>`",
            )),
            (audience, Caller::Machine(_) | Caller::Person(_)) => Err(denied(audience)),
        }
    }
}

fn denied(audience: Audience) -> ApiError {
    let needed = match audience {
        Audience::Roles(roles) => roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or "),
        Audience::Machine => "machine".to_owned(),
        Audience::AnyCredential | Audience::Public => "a credential in good standing".to_owned(),
    };
    ApiError::new(Reason::PermissionDenied, format!("this call is for: {needed}"))
        .with("required_scope", needed)
}
