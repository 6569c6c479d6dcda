//! `FleetService`: each call is parsed, handed to its operation, and answered. Rollouts are not done yet and say so.

mod chains;
mod commands;
mod configs;
mod dead_letters;
mod identities;
mod machines;
mod out;
mod transactions;
mod upkeep;

pub(crate) use out::{epoch_out, machine_out, uuid_out};
pub(crate) use transactions::{settlement_out, transaction_out};
pub(crate) use upkeep::alert_out;

use crate::grpc::status::unimplemented;
use crate::operations::Deps;
use tonic::{Request, Response, Status};
use vendfleet_proto::v1::{self, fleet_service_server::FleetService};

/// The fleet, over gRPC.
#[derive(Clone, Debug)]
pub struct FleetGrpc {
    deps: Deps,
}

impl FleetGrpc {
    /// The service over these.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

fn not_done<T>(method: &str) -> Result<Response<T>, Status> {
    Err(unimplemented(&format!("vendfleet.v1.FleetService/{method}")).into())
}

#[tonic::async_trait]
impl FleetService for FleetGrpc {
    async fn create_machine(
        &self,
        request: Request<v1::CreateMachineRequest>,
    ) -> Result<Response<v1::CreateMachineResponse>, Status> {
        Ok(Response::new(machines::create_machine(&self.deps, request).await?))
    }

    async fn get_machine(
        &self,
        request: Request<v1::GetMachineRequest>,
    ) -> Result<Response<v1::GetMachineResponse>, Status> {
        Ok(Response::new(machines::get_machine(&self.deps, request).await?))
    }

    async fn list_machines(
        &self,
        request: Request<v1::ListMachinesRequest>,
    ) -> Result<Response<v1::ListMachinesResponse>, Status> {
        Ok(Response::new(machines::list_machines(&self.deps, request).await?))
    }

    async fn update_machine(
        &self,
        request: Request<v1::UpdateMachineRequest>,
    ) -> Result<Response<v1::UpdateMachineResponse>, Status> {
        Ok(Response::new(machines::update_machine(&self.deps, request).await?))
    }

    async fn archive_machine(
        &self,
        request: Request<v1::ArchiveMachineRequest>,
    ) -> Result<Response<v1::ArchiveMachineResponse>, Status> {
        Ok(Response::new(machines::archive_machine(&self.deps, request).await?))
    }

    async fn list_machine_groups(
        &self,
        request: Request<v1::ListMachineGroupsRequest>,
    ) -> Result<Response<v1::ListMachineGroupsResponse>, Status> {
        Ok(Response::new(machines::list_machine_groups(&self.deps, request).await?))
    }

    async fn create_claim_token(
        &self,
        request: Request<v1::CreateClaimTokenRequest>,
    ) -> Result<Response<v1::CreateClaimTokenResponse>, Status> {
        Ok(Response::new(identities::create_claim_token(&self.deps, request).await?))
    }

    async fn list_claim_tokens(
        &self,
        request: Request<v1::ListClaimTokensRequest>,
    ) -> Result<Response<v1::ListClaimTokensResponse>, Status> {
        Ok(Response::new(identities::list_claim_tokens(&self.deps, request).await?))
    }

    async fn revoke_claim_token(
        &self,
        request: Request<v1::RevokeClaimTokenRequest>,
    ) -> Result<Response<v1::RevokeClaimTokenResponse>, Status> {
        Ok(Response::new(identities::revoke_claim_token(&self.deps, request).await?))
    }

    async fn list_credentials(
        &self,
        request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        Ok(Response::new(identities::list_credentials(&self.deps, request).await?))
    }

    async fn revoke_credential(
        &self,
        request: Request<v1::RevokeCredentialRequest>,
    ) -> Result<Response<v1::RevokeCredentialResponse>, Status> {
        Ok(Response::new(identities::revoke_credential(&self.deps, request).await?))
    }

    async fn split_machine(
        &self,
        request: Request<v1::SplitMachineRequest>,
    ) -> Result<Response<v1::SplitMachineResponse>, Status> {
        Ok(Response::new(machines::split_machine(&self.deps, request).await?))
    }

    async fn create_config(
        &self,
        request: Request<v1::CreateConfigRequest>,
    ) -> Result<Response<v1::CreateConfigResponse>, Status> {
        Ok(Response::new(configs::create_config(&self.deps, request).await?))
    }

    async fn get_config(
        &self,
        request: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::GetConfigResponse>, Status> {
        Ok(Response::new(configs::get_config(&self.deps, request).await?))
    }

    async fn list_configs(
        &self,
        request: Request<v1::ListConfigsRequest>,
    ) -> Result<Response<v1::ListConfigsResponse>, Status> {
        Ok(Response::new(configs::list_configs(&self.deps, request).await?))
    }

    async fn assign_config(
        &self,
        request: Request<v1::AssignConfigRequest>,
    ) -> Result<Response<v1::AssignConfigResponse>, Status> {
        Ok(Response::new(configs::assign_config(&self.deps, request).await?))
    }

    async fn list_config_statuses(
        &self,
        request: Request<v1::ListConfigStatusesRequest>,
    ) -> Result<Response<v1::ListConfigStatusesResponse>, Status> {
        Ok(Response::new(configs::list_config_statuses(&self.deps, request).await?))
    }

    async fn create_rollout(
        &self,
        _: Request<v1::CreateRolloutRequest>,
    ) -> Result<Response<v1::CreateRolloutResponse>, Status> {
        not_done("CreateRollout")
    }

    async fn get_rollout(
        &self,
        _: Request<v1::GetRolloutRequest>,
    ) -> Result<Response<v1::GetRolloutResponse>, Status> {
        not_done("GetRollout")
    }

    async fn list_rollouts(
        &self,
        _: Request<v1::ListRolloutsRequest>,
    ) -> Result<Response<v1::ListRolloutsResponse>, Status> {
        not_done("ListRollouts")
    }

    async fn start_rollout(
        &self,
        _: Request<v1::StartRolloutRequest>,
    ) -> Result<Response<v1::StartRolloutResponse>, Status> {
        not_done("StartRollout")
    }

    async fn pause_rollout(
        &self,
        _: Request<v1::PauseRolloutRequest>,
    ) -> Result<Response<v1::PauseRolloutResponse>, Status> {
        not_done("PauseRollout")
    }

    async fn resume_rollout(
        &self,
        _: Request<v1::ResumeRolloutRequest>,
    ) -> Result<Response<v1::ResumeRolloutResponse>, Status> {
        not_done("ResumeRollout")
    }

    async fn roll_back_rollout(
        &self,
        _: Request<v1::RollBackRolloutRequest>,
    ) -> Result<Response<v1::RollBackRolloutResponse>, Status> {
        not_done("RollBackRollout")
    }

    async fn send_command(
        &self,
        request: Request<v1::SendCommandRequest>,
    ) -> Result<Response<v1::SendCommandResponse>, Status> {
        Ok(Response::new(commands::send_command(&self.deps, request).await?))
    }

    async fn list_commands(
        &self,
        request: Request<v1::ListCommandsRequest>,
    ) -> Result<Response<v1::ListCommandsResponse>, Status> {
        Ok(Response::new(commands::list_commands(&self.deps, request).await?))
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        Ok(Response::new(transactions::list_transactions(&self.deps, request).await?))
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        Ok(Response::new(transactions::get_transaction(&self.deps, request).await?))
    }

    async fn get_machine_totals(
        &self,
        request: Request<v1::GetMachineTotalsRequest>,
    ) -> Result<Response<v1::GetMachineTotalsResponse>, Status> {
        Ok(Response::new(transactions::get_machine_totals(&self.deps, request).await?))
    }

    async fn get_machine_inventory(
        &self,
        request: Request<v1::GetMachineInventoryRequest>,
    ) -> Result<Response<v1::GetMachineInventoryResponse>, Status> {
        Ok(Response::new(upkeep::get_machine_inventory(&self.deps, request).await?))
    }

    async fn list_inventory_discrepancies(
        &self,
        request: Request<v1::ListInventoryDiscrepanciesRequest>,
    ) -> Result<Response<v1::ListInventoryDiscrepanciesResponse>, Status> {
        Ok(Response::new(upkeep::list_inventory_discrepancies(&self.deps, request).await?))
    }

    async fn list_epochs(
        &self,
        request: Request<v1::ListEpochsRequest>,
    ) -> Result<Response<v1::ListEpochsResponse>, Status> {
        Ok(Response::new(chains::list_epochs(&self.deps, request).await?))
    }

    async fn list_gaps(
        &self,
        request: Request<v1::ListGapsRequest>,
    ) -> Result<Response<v1::ListGapsResponse>, Status> {
        Ok(Response::new(chains::list_gaps(&self.deps, request).await?))
    }

    async fn list_quarantine_branches(
        &self,
        request: Request<v1::ListQuarantineBranchesRequest>,
    ) -> Result<Response<v1::ListQuarantineBranchesResponse>, Status> {
        Ok(Response::new(chains::list_quarantine_branches(&self.deps, request).await?))
    }

    async fn list_quarantined_records(
        &self,
        request: Request<v1::ListQuarantinedRecordsRequest>,
    ) -> Result<Response<v1::ListQuarantinedRecordsResponse>, Status> {
        Ok(Response::new(chains::list_quarantined_records(&self.deps, request).await?))
    }

    async fn adopt_branch(
        &self,
        request: Request<v1::AdoptBranchRequest>,
    ) -> Result<Response<v1::AdoptBranchResponse>, Status> {
        Ok(Response::new(chains::adopt_branch(&self.deps, request).await?))
    }

    async fn discard_branch(
        &self,
        request: Request<v1::DiscardBranchRequest>,
    ) -> Result<Response<v1::DiscardBranchResponse>, Status> {
        Ok(Response::new(chains::discard_branch(&self.deps, request).await?))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        Ok(Response::new(dead_letters::list_dead_letters(&self.deps, request).await?))
    }

    async fn get_dead_letter(
        &self,
        request: Request<v1::GetDeadLetterRequest>,
    ) -> Result<Response<v1::GetDeadLetterResponse>, Status> {
        Ok(Response::new(dead_letters::get_dead_letter(&self.deps, request).await?))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<v1::RedriveDeadLetterRequest>,
    ) -> Result<Response<v1::RedriveDeadLetterResponse>, Status> {
        Ok(Response::new(dead_letters::redrive_dead_letter(&self.deps, request).await?))
    }

    async fn list_alerts(
        &self,
        request: Request<v1::ListAlertsRequest>,
    ) -> Result<Response<v1::ListAlertsResponse>, Status> {
        Ok(Response::new(upkeep::list_alerts(&self.deps, request).await?))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<v1::AcknowledgeAlertRequest>,
    ) -> Result<Response<v1::AcknowledgeAlertResponse>, Status> {
        Ok(Response::new(upkeep::acknowledge_alert(&self.deps, request).await?))
    }

    async fn resolve_alert(
        &self,
        request: Request<v1::ResolveAlertRequest>,
    ) -> Result<Response<v1::ResolveAlertResponse>, Status> {
        Ok(Response::new(upkeep::resolve_alert(&self.deps, request).await?))
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        Ok(Response::new(upkeep::get_server_info(&self.deps, request).await?))
    }
}
