//! `OrchestratorService`.

mod out;
mod parse;

use crate::domain::ids::{MachineId, PurchaseId, SessionId};
use crate::domain::pool::Resolution;
use crate::grpc::fields::Fields;
use crate::grpc::fleet::machine_out;
use crate::grpc::orders::Acting;
use crate::grpc::request::{person, request_key};
use crate::operations::{Deps, pool};
use out::{purchase_out, session_out};
use tonic::{Request, Response, Status};
use vendfleet_proto::v1::{self, orchestrator_service_server::OrchestratorService};

/// Longest note of an operator, bytes.
const MAX_NOTE_BYTES: usize = 256;

/// The orchestrator, over gRPC.
#[derive(Clone, Debug)]
pub struct OrchestratorGrpc {
    deps: Deps,
}

impl OrchestratorGrpc {
    /// The service over these.
    #[must_use]
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

#[tonic::async_trait]
impl OrchestratorService for OrchestratorGrpc {
    async fn start_work(
        &self,
        request: Request<v1::StartWorkRequest>,
    ) -> Result<Response<v1::StartWorkResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let acting = Acting::parse(&mut fields, &caller, &message.customer_id)?;
        let customer = acting.map(|acting| acting.own().into_string());
        let request_id = std::mem::take(&mut message.request_id);
        let wait = parse::wait(&mut fields, std::mem::take(&mut message.wait_ms));
        let pick = parse::pick(&mut fields, &mut message);
        // For whom it is, not how that was said; and who asks again may have less time left.
        message.customer_id = customer.clone().unwrap_or_default();
        let key = request_key(&mut fields, &caller, "StartWork", &request_id, &message);
        let new = key
            .zip(customer)
            .zip(pick.zip(wait))
            .map(|((key, customer), (pick, wait))| pool::NewStart { key, customer, pick, wait });
        let begun = pool::start_work(&self.deps, fields.finish(new)?).await?;
        Ok(Response::new(v1::StartWorkResponse {
            session: Some(session_out(&begun.now)),
            session_token: begun.token,
            already_existed: begun.already,
        }))
    }

    async fn choose_product(
        &self,
        request: Request<v1::ChooseProductRequest>,
    ) -> Result<Response<v1::ChooseProductResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "ChooseProduct", &request_id, &message);
        let new = parse::choice(&mut fields, key, &message);
        let (made, now, already_existed) = pool::choose_product(&self.deps, fields.finish(new)?).await?;
        Ok(Response::new(v1::ChooseProductResponse {
            purchase: Some(purchase_out(&made)),
            session: Some(session_out(&now)),
            already_existed,
        }))
    }

    async fn get_machine_session(
        &self,
        request: Request<v1::GetMachineSessionRequest>,
    ) -> Result<Response<v1::GetMachineSessionResponse>, Status> {
        let mut fields = Fields::default();
        let name = parse::session_name(&mut fields, request.get_ref());
        let now = pool::get_session(&self.deps, fields.finish(name)?).await?;
        Ok(Response::new(v1::GetMachineSessionResponse { session: Some(session_out(&now)) }))
    }

    async fn reset_machine(
        &self,
        request: Request<v1::ResetMachineRequest>,
    ) -> Result<Response<v1::ResetMachineResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "ResetMachine", &request_id, &message);
        let machine = fields.uuid("machine_id", &message.machine_id).map(MachineId);
        let session = fields.uuid("session_id", &message.session_id).map(SessionId);
        let note = fields.text::<0, MAX_NOTE_BYTES>("note", &message.note);
        let ((key, machine), (session, note)) = fields.finish(key.zip(machine).zip(session.zip(note)))?;
        let moment = self.deps.moment().await?;
        let done = pool::reset_machine(&self.deps, key, machine, session, note.into_string()).await?;
        Ok(Response::new(v1::ResetMachineResponse {
            session: Some(session_out(&done.now)),
            machine: Some(machine_out(done.machine, moment)),
            units_returned: done.units_returned,
        }))
    }

    async fn resolve_purchase(
        &self,
        request: Request<v1::ResolvePurchaseRequest>,
    ) -> Result<Response<v1::ResolvePurchaseResponse>, Status> {
        let caller = person(request.extensions())?;
        let mut message = request.into_inner();
        let mut fields = Fields::default();
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut fields, &caller, "ResolvePurchase", &request_id, &message);
        let purchase = fields.uuid("purchase_id", &message.purchase_id).map(PurchaseId);
        let resolution = fields.required_member("resolution", message.resolution, |number| match number {
            1 => Some(Resolution::Dispensed),
            2 => Some(Resolution::NotDispensed),
            _ => None,
        });
        let note = fields.text::<1, MAX_NOTE_BYTES>("note", &message.note);
        let parsed = key.zip(purchase).zip(resolution.zip(note));
        let ((key, purchase), (resolution, note)) = fields.finish(parsed)?;
        let now = pool::resolve_purchase(&self.deps, key, purchase, resolution, note.into_string()).await?;
        Ok(Response::new(v1::ResolvePurchaseResponse { purchase: Some(purchase_out(&now)) }))
    }
}
