//! `Enroll`: the one call that needs no credential.

use crate::auth::SECRET_BYTES;
use crate::domain::text::Text;
use crate::error::ApiError;
use crate::grpc::fields::Fields;
use crate::operations::Deps;
use crate::operations::fleet::{self, NewEnrolment};
use vendfleet_proto::v1;

/// Longest certificate request, bytes.
const MAX_CSR_BYTES: usize = 4096;

pub(super) async fn enroll(deps: &Deps, request: v1::EnrollRequest) -> Result<v1::EnrollResponse, ApiError> {
    let enrolled = fleet::enroll(deps, parse(request)?).await?;
    Ok(v1::EnrollResponse {
        machine_id: enrolled.machine.to_string(),
        credential_id: enrolled.credential.to_string(),
        certificate_der: enrolled.certificate_der,
        ca_pem: enrolled.ca_pem,
        server_time_ms: enrolled.server_time_ms,
    })
}

fn parse(request: v1::EnrollRequest) -> Result<NewEnrolment, ApiError> {
    let mut fields = Fields::default();
    let claim_token = fields.text("claim_token", &request.claim_token);
    let given = request.device_secret.len();
    let secret = <[u8; SECRET_BYTES]>::try_from(request.device_secret)
        .map_err(|_| format!("must be exactly {SECRET_BYTES} bytes, got {given}"));
    let secret = fields.take("device_secret", secret);
    let serial = fields.text("serial", &request.serial);
    let model = fields.text("model", &request.model);
    let _: Option<Text<0, 64>> = fields.text("firmware", &request.firmware);
    if request.csr_der.len() > MAX_CSR_BYTES {
        fields.broke("csr_der", format!("must be at most {MAX_CSR_BYTES} bytes"));
    }
    let csr_der = (!request.csr_der.is_empty()).then_some(request.csr_der);
    let parsed =
        claim_token.zip(secret).zip(serial.zip(model)).map(|((claim_token, secret), (serial, model))| {
            NewEnrolment { claim_token, secret, serial, model, csr_der }
        });
    fields.finish(parsed)
}
