//! `EventService`.

mod json;
mod out;
mod stream;

pub use json::data_json;
pub use out::event_out;
pub(crate) use out::order_event_out;
pub(crate) use stream::{Outgoing, cursor, stream};

use crate::domain::event::{Categories, Category, EventFilter};
use crate::domain::ids::MachineId;
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::operations::Deps;
use crate::operations::events::{Delivery, Happened, Start};
use tonic::{Request, Response, Status};
use vend_core::id::ProductId;
use vendfleet_proto::v1::{self, event_service_server::EventService};

/// What happened, over gRPC.
#[derive(Clone, Debug)]
pub struct EventsGrpc {
    deps: Deps,
}

impl EventsGrpc {
    /// The service over these.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[tonic::async_trait]
impl EventService for EventsGrpc {
    type StreamEventsStream = Outgoing<v1::StreamEventsResponse>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let (filter, start) = parse(request.get_ref())?;
        let reader = self.deps.events.open(filter, start, true).await?;
        let context = self.deps.context.clone();
        let to = move |delivery: Delivery| {
            let message = match &delivery.what {
                Happened::Event(event) => {
                    v1::stream_events_response::Message::Event(event_out(event, delivery.cursor.incarnation))
                }
                Happened::Nothing => v1::stream_events_response::Message::Heartbeat(v1::StreamHeartbeat {
                    server_time_ms: context.now_ms(),
                }),
            };
            v1::StreamEventsResponse { cursor: delivery.cursor.to_text(), message: Some(message) }
        };
        Ok(Response::new(stream(reader, *self.deps.events.settings(), to)))
    }
}

fn parse(message: &v1::StreamEventsRequest) -> Result<(EventFilter, Start), ApiError> {
    let mut fields = Fields::default();
    let start = start(&mut fields, message);
    let categories = categories(&mut fields, &message.categories);
    let machine = fields.optional_uuid("machine_id", &message.machine_id);
    let product = fields.optional_uuid("product_id", &message.product_id);
    let customer = fields.optional_text::<128>("customer_id", &message.customer_id);
    let parsed = start.zip(categories).zip(machine.zip(product)).zip(customer);
    let (((start, categories), (machine, product)), customer) = fields.finish(parsed)?;
    let filter = EventFilter {
        categories,
        machine: machine.map(MachineId),
        product: product.map(|id| ProductId(id.into_bytes())),
        customer: customer.map(crate::domain::text::Text::into_string),
        order: None,
    };
    Ok((filter, start))
}

fn start(fields: &mut Fields, message: &v1::StreamEventsRequest) -> Option<Start> {
    let Ok(start) = v1::StreamStart::try_from(message.start) else {
        fields.broke("start", "must be one of the enum's values");
        return None;
    };
    if message.cursor.is_empty() {
        return Some(if start == v1::StreamStart::Oldest { Start::Oldest } else { Start::Now });
    }
    if start != v1::StreamStart::Unspecified {
        fields.broke("start", "must be STREAM_START_UNSPECIFIED with a cursor");
    }
    cursor(fields, &message.cursor).map(Start::After)
}

fn categories(fields: &mut Fields, asked: &[i32]) -> Option<Categories> {
    if asked.is_empty() {
        return Some(Categories::ALL);
    }
    let mut wanted = Categories::NONE;
    for (index, number) in asked.iter().enumerate() {
        let field = format!("categories[{index}]");
        let category = fields.required_member(&field, *number, |n| Category::from_number(i64::from(n)))?;
        if wanted.has(category) {
            fields.broke(field, "must be named once");
            return None;
        }
        wanted = wanted.with(category);
    }
    Some(wanted)
}
