//! No call is open by accident.
#![allow(clippy::unwrap_used, missing_docs)]

mod shell_support;

use http::uri::PathAndQuery;
use prost::Message as _;
use server::{
    auth::{CredentialState, Role},
    error::Reason,
};
use shell_support::{Bench, assert_reason, authorize, machine_header};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

/// Calls a method with an empty message; the answer's content is nobody's business here.
async fn call(channel: &Channel, path: &str, authorization: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(value) = authorization {
        authorize(&mut request, value);
    }
    let path = PathAndQuery::try_from(path).unwrap();
    grpc.unary(request, path, ProstCodec::<(), ()>::default()).await.map(|_| ())
}

/// Every method of the contract, from its descriptors.
fn contract() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "vendfleet.v1");
    let services = files.flat_map(|file| &file.service);
    services
        .flat_map(|s| s.method.iter().map(|m| format!("/vendfleet.v1.{}/{}", s.name(), m.name())))
        .collect()
}

#[tokio::test]
async fn every_call_without_a_credential_is_refused_but_enroll() {
    let bench = Bench::start(|_| {}).await;
    let channel = bench.channel().await;
    let mut refused = 0;
    for path in contract() {
        let answer = call(&channel, &path, None).await;
        if path.ends_with("/Enroll") {
            answer.unwrap();
            continue;
        }
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        assert_reason(&status, Reason::Unauthenticated);
        refused += 1;
    }
    assert!(refused > 50);
}

#[tokio::test]
async fn a_call_that_is_not_in_the_table_is_refused_whoever_calls() {
    let bench = Bench::start(|_| {}).await;
    let channel = bench.channel().await;
    for path in ["/vendfleet.v1.CatalogService/Nope", "/x.Y/Z", "/"] {
        for authorization in [None, Some(bench.token(Role::Operator))] {
            let status = call(&channel, path, authorization.as_deref()).await.unwrap_err();
            let details = assert_reason(&status, Reason::Unimplemented);
            assert_eq!(details.error_info().unwrap().metadata["method"], path.trim_start_matches('/'));
        }
    }
}

#[tokio::test]
async fn each_role_makes_its_calls_and_no_others() {
    let bench = Bench::start(|_| {}).await;
    let channel = bench.channel().await;
    let get = "/vendfleet.v1.CatalogService/GetProduct";
    let create = "/vendfleet.v1.CatalogService/CreateProduct";
    let sync = "/vendfleet.v1.MachineSyncService/Sync";
    for role in Role::ALL {
        let token = bench.token(role);
        call(&channel, get, Some(&token)).await.unwrap();
        let status = call(&channel, sync, Some(&token)).await.unwrap_err();
        let details = assert_reason(&status, Reason::PermissionDenied);
        assert_eq!(details.error_info().unwrap().metadata["required_scope"], "machine");
        if role != Role::Operator {
            let status = call(&channel, create, Some(&token)).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{role:?}");
        }
    }
    call(&channel, sync, Some(&machine_header())).await.unwrap();
    call(&channel, get, Some(&machine_header())).await.unwrap();
    assert_reason(
        &call(&channel, create, Some(&machine_header())).await.unwrap_err(),
        Reason::PermissionDenied,
    );
}

#[tokio::test]
async fn a_wrong_credential_is_refused_also_where_none_is_needed() {
    let bench = Bench::start(|_| {}).await;
    let channel = bench.channel().await;
    let good = bench.token(Role::Operator);
    let (head, _) = good.rsplit_once('.').unwrap();
    for wrong in [
        "Bearer ",
        "Bearer a.b.c",
        &format!("{head}."),
        &format!("{head}.AAAA"),
        "Basic YTpi",
        "Machine x.y",
        "nonsense",
    ] {
        for path in ["/vendfleet.v1.CatalogService/GetProduct", "/vendfleet.v1.MachineSyncService/Enroll"] {
            let status = call(&channel, path, Some(wrong)).await.unwrap_err();
            assert_reason(&status, Reason::Unauthenticated);
        }
    }
    let mut request = Request::new(());
    authorize(&mut request, &good);
    request.metadata_mut().append("authorization", machine_header().parse().unwrap());
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/vendfleet.v1.CatalogService/GetProduct");
    let twice = grpc.unary(request, path, ProstCodec::<(), ()>::default()).await.unwrap_err();
    assert_reason(&twice, Reason::Unauthenticated);
}

#[tokio::test]
async fn a_revoked_machine_is_refused_within_seconds_and_its_stream_ends() {
    let bench = Bench::start(|config| config.auth.credential_cache_ms = 100).await;
    let mut stream = bench.watch().await.unwrap();
    stream.message().await.unwrap().unwrap();
    bench.levers.credential.lock().unwrap().as_mut().unwrap().state = CredentialState::Revoked;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), stream.message()).await.unwrap();
    assert_reason(&ended.unwrap_err(), Reason::MachineRevoked);
    let status =
        call(&bench.channel().await, "/vendfleet.v1.MachineSyncService/Sync", Some(&machine_header())).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = status.get_error_details();
    assert!(info.error_info().unwrap().metadata.contains_key("credential_id"));
}
