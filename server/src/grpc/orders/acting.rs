//! Who may act for whom.

use crate::auth::{Person, Role, Scope};
use crate::domain::text::Text;
use crate::error::{ApiError, Reason};
use crate::grpc::fields::Fields;

/// A customer's name.
pub(crate) type Customer = Text<1, 128>;

/// For whom a call is made.
pub(crate) struct Acting {
    /// The customer named, or the token's subject.
    customer: Customer,
    /// Nobody was named, and the caller may see everybody's.
    anybody: bool,
}

impl Acting {
    /// `customer_id` as the request has it. A customer is the token's subject; another one may be named by a service with
    /// the scope orders.on_behalf. `None`: the field breaks its rule, which `fields` knows.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub(crate) fn parse(
        fields: &mut Fields,
        caller: &Person,
        customer_id: &str,
    ) -> Result<Option<Self>, ApiError> {
        let on_behalf = caller.role == Role::Service && caller.scopes.contains(&Scope::OrdersOnBehalf);
        let named = if customer_id.is_empty() { &caller.subject } else { customer_id };
        if named != caller.subject && !on_behalf {
            let scope = Scope::OrdersOnBehalf.name();
            return Err(ApiError::new(
                Reason::PermissionDenied,
                format!("customer_id: only a service with the scope {scope} may name another customer"),
            )
            .with("required_scope", scope));
        }
        let anybody = customer_id.is_empty() && on_behalf;
        Ok(fields.text("customer_id", named).map(|customer| Self { customer, anybody }))
    }

    /// The one customer the call is about.
    pub(crate) fn own(self) -> Customer {
        self.customer
    }

    /// Whose orders may be seen; `None`: everybody's.
    pub(super) fn whose(self) -> Option<String> {
        (!self.anybody).then(|| self.customer.into_string())
    }
}
