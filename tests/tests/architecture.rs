//! The rules of the house, kept: each test is one rule that ARCHITECTURE.md names.
//!
//! A rule is a function from the repository to what breaks it. Its test first shows the rule small made-up repositories,
//! one it must refuse per way of breaking it and one it must let pass, and only then the real one: a rule that can't
//! fail would be worse than none. To add one: write the function in `layers` or `crates`, add a test here.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "architecture/crates.rs"]
mod crates;
#[path = "architecture/house.rs"]
mod house;
#[path = "architecture/layers.rs"]
mod layers;

use house::{House, Violation};

type Files<'a> = &'a [(&'a str, &'a str)];

/// Holds a rule against made-up repositories and then against this one.
#[track_caller]
fn keep(rule: fn(&House) -> Vec<Violation>, fine: Files<'_>, broken: &[Files<'_>]) {
    assert_eq!(rule(&House::of(fine)), [], "the rule refuses what is fine");
    for (at, files) in broken.iter().enumerate() {
        // What breaks a rule is laid over what is fine, so that nothing but the breach can be what it finds.
        let mut house: Vec<(&str, &str)> =
            fine.iter().filter(|(p, _)| !files.iter().any(|(q, _)| p == q)).copied().collect();
        house.extend_from_slice(files);
        assert_ne!(rule(&House::of(&house)), [], "the rule does not notice breach {at}: {files:?}");
    }
    let found = rule(&House::real());
    let lines: Vec<&str> = found.iter().map(|violation| violation.0.as_str()).collect();
    assert!(lines.is_empty(), "{} broken:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn crates_know_only_their_neighbours() {
    keep(
        crates::crates_know_only_their_neighbours,
        &[
            ("server/Cargo.toml", "package.name = 'server'\ndependencies.vend-core.workspace = true"),
            ("Cargo.toml", "package.name = 'vendfleet'\n[dependencies]\nserver = {}\nfleet-client = {}"),
        ],
        &[
            &[("server/Cargo.toml", "package.name = 'server'\ndependencies.fleet-client.workspace = true")],
            &[(
                "server/Cargo.toml",
                "package.name = 'server'\ndev-dependencies.fleet-client.workspace = true",
            )],
            &[(
                "server/Cargo.toml",
                "package.name = 'server'\ntarget.'cfg(unix)'.dependencies.fleet-client.path = '..'",
            )],
            &[(
                "server/Cargo.toml",
                "package.name = 'server'\ndependencies.x = { package = 'fleet-client', path = '..' }",
            )],
            &[
                (
                    "Cargo.toml",
                    "workspace.dependencies.x = { package = 'fleet-client', path = 'fleet-client' }",
                ),
                ("server/Cargo.toml", "package.name = 'server'\ndependencies.x.workspace = true"),
            ],
            &[(
                "proto/Cargo.toml",
                "package.name = 'vendfleet-proto'\ndependencies.vend-core.workspace = true",
            )],
            &[(
                "fleet-client/core/Cargo.toml",
                "package.name = 'vend-core'\ndev-dependencies.vendfleet-wire = {}",
            )],
            &[("extra/Cargo.toml", "package.name = 'a-stranger'")],
        ],
    );
}

#[test]
fn vend_core_is_no_std() {
    const MANIFEST: &str = "fleet-client/core/Cargo.toml";
    const ROOT: &str = "fleet-client/core/src/lib.rs";
    keep(
        crates::vend_core_is_no_std,
        &[
            (MANIFEST, "package.name = 'vend-core'\ndev-dependencies.proptest = '1'"),
            (ROOT, "//! No std here.\n#![no_std]\nextern crate alloc;"),
            ("fleet-client/core/src/tests.rs", "extern crate std;"),
        ],
        &[
            &[(MANIFEST, "package.name = 'vend-core'\ndependencies.uuid = '1'")],
            &[(ROOT, "//! #![no_std]\nextern crate alloc;")],
            &[("fleet-client/core/src/money.rs", "use std::fmt;")],
            &[("fleet-client/core/src/machine.rs", "async fn wait() {}")],
        ],
    );
}

#[test]
fn unsafe_has_a_named_crate() {
    const ROOT: &str = "workspace.lints.rust.unsafe_code = 'forbid'";
    keep(
        crates::unsafe_has_a_named_crate,
        &[
            ("Cargo.toml", ROOT),
            ("server/Cargo.toml", "package.name = 'server'\nlints.workspace = true"),
            ("proto/Cargo.toml", "package.name = 'vendfleet-proto'\nlints.rust.unsafe_code = 'forbid'"),
            ("server/src/lib.rs", "#![doc = \"unsafe\"] // unsafe"),
        ],
        &[
            &[("Cargo.toml", "workspace.lints.rust.unsafe_code = 'warn'")],
            &[("server/Cargo.toml", "package.name = 'server'")],
            &[("server/Cargo.toml", "package.name = 'server'\nlints.rust.unsafe_code = 'forbid'")],
            &[("proto/Cargo.toml", "package.name = 'vendfleet-proto'")],
            &[("server/src/lib.rs", "fn f() { unsafe { g() } }")],
        ],
    );
}

#[test]
fn server_layers_point_one_way() {
    keep(
        layers::server_layers_point_one_way,
        &[
            (
                "server/src/grpc/catalog.rs",
                "use crate::{error::Error, operations::{Store, store}}; use super::status;",
            ),
            ("server/src/operations/catalog.rs", "use crate::{domain, store::Store}; // crate::grpc"),
            ("server/src/store/mod.rs", "use crate::domain::Product; mod grpc { use super::sqlite; }"),
        ],
        &[
            &[("server/src/grpc/catalog.rs", "use crate::store::Store;")],
            &[("server/src/grpc/catalog.rs", "use crate::{error::Error, store::{Store, X}};")],
            &[("server/src/grpc/catalog.rs", "use crate::error::Error; use super::super::store;")],
            &[("server/src/grpc/catalog.rs", "use super::{super::store::Store, status};")],
            &[("server/src/grpc/mod.rs", "mod inner { fn f() { super::super::store::open() } }")],
            &[("server/src/grpc/mod.rs", "use crate::*;")],
            &[("server/src/operations/sync.rs", "fn f() -> crate::grpc::Reply { panic!() }")],
            &[("server/src/operations/sync.rs", "fn f() { call!(crate::grpc::reply) }")],
            &[("server/src/store/sqlite.rs", "use crate::operations::sync;")],
            &[("server/src/store.rs", "use self::super::operations;")],
            &[("server/src/error.rs", "use crate::grpc::status;")],
        ],
    );
}

#[test]
fn domain_is_pure() {
    keep(
        layers::domain_is_pure,
        &[(
            "server/src/domain/stock.rs",
            "//! No async.\nuse crate::domain::Count; use super::ids; use vend_core::Money;",
        )],
        &[
            &[("server/src/domain/stock.rs", "pub async fn load() {}")],
            &[("server/src/domain/stock.rs", "#[derive(sqlx::FromRow)] struct Row;")],
            &[("server/src/domain/stock.rs", "use vendfleet_proto::v1::Product;")],
            &[("server/src/domain/stock.rs", "fn wait() { tokio::spawn(f) }")],
            &[("server/src/domain/stock.rs", "use crate::store::Row;")],
            &[("server/src/domain.rs", "use crate::context::Context;")],
            &[("server/src/domain/mod.rs", "use super::config;")],
        ],
    );
}

#[test]
fn tonic_and_proto_stay_at_the_edge() {
    keep(
        layers::tonic_and_proto_stay_at_the_edge,
        &[
            ("server/src/grpc/catalog.rs", "use tonic::Request;"),
            ("server/src/operations/catalog.rs", "//! Nothing of tonic.\nconst NOTE: &str = \"tonic\";"),
            ("fleet-client/tests/agent.rs", "use tonic::Request;"),
            ("server/src/auth/tests.rs", "use vendfleet_proto::FILE_DESCRIPTOR_SET;"),
        ],
        &[
            &[("server/src/operations/catalog.rs", "use vendfleet_proto::v1::Product;")],
            &[("server/src/auth/mod.rs", "fn f(metadata: &tonic::metadata::MetadataMap) {}")],
            &[("server/src/store/rows.rs", "use tonic as t;")],
            &[("fleet-client/src/agent/mod.rs", "use tonic_types::StatusExt as _;")],
            &[("fleet-client/core/src/lib.rs", "use vendfleet_proto as p;")],
        ],
    );
}

#[test]
fn sql_stays_in_the_store() {
    keep(
        layers::sql_stays_in_the_store,
        &[
            ("server/src/store/mod.rs", "use sqlx::Row;"),
            ("fleet-client/src/journal/mod.rs", "use rusqlite::Connection;"),
            ("tests/src/postgres.rs", "use sqlx::Row;"),
        ],
        &[
            &[("server/src/operations/mod.rs", "fn f() { sqlx::query(\"\") }")],
            &[("server/src/health/mod.rs", "use sqlx as s;")],
            &[("fleet-client/src/agent/mod.rs", "use rusqlite::Connection;")],
            &[("server/src/store/mod.rs", "use rusqlite::Connection;")],
        ],
    );
}

#[test]
fn one_module_makes_every_status() {
    keep(
        layers::one_module_makes_every_status,
        &[
            (
                "server/src/grpc/status.rs",
                "fn f() -> Status { Status::new(c, m) } impl From<E> for Status { }",
            ),
            (
                "server/src/grpc/catalog.rs",
                "use tonic::{Request, Status}; fn f() -> Result<(), Status> { Err(status(e)) }",
            ),
            ("server/src/grpc/tests.rs", "fn f() { Status::new(c, m) }"),
            (
                "server/src/grpc/layers.rs",
                "fn f() { r.map_err(Status::from); Status::from_header_map(h).map(Status::code) }",
            ),
            ("server/src/domain/order.rs", "enum Status { New } fn f() { Status::parse(x) }"),
        ],
        &[
            &[("server/src/grpc/catalog.rs", "fn f() { Status::not_found(\"\") }")],
            &[("server/src/grpc/catalog.rs", "fn f() { tonic::Status::new(c, m) }")],
            &[("server/src/grpc/catalog.rs", "fn f() { r.map_err(Status::from_error) }")],
            &[("server/src/grpc/catalog.rs", "use tonic::Status as S;")],
            &[("server/src/grpc/catalog.rs", "impl From<Error> for tonic::Status { }")],
            &[("src/main.rs", "fn f() { tonic::Status::internal(\"\") }")],
        ],
    );
}

#[test]
fn time_and_ids_have_one_home() {
    let clippy = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../clippy.toml")).unwrap();
    let without_one = clippy.replace("std::time::SystemTime::now", "std::time::SystemTime::then");
    let without_reasons = clippy.replace("reason =", "because =");
    keep(
        layers::time_and_ids_have_one_home,
        &[
            ("clippy.toml", &clippy),
            ("server/src/context.rs", "#![allow(clippy::disallowed_methods)]"),
            ("server/src/domain/tests.rs", "#![allow(clippy::disallowed_methods)]"),
            ("proto/build.rs", "#![allow(clippy::disallowed_methods)]"),
        ],
        &[
            &[("clippy.toml", "")],
            &[("clippy.toml", &without_one)],
            &[("clippy.toml", &without_reasons)],
            &[("server/src/store/mod.rs", "#[allow(clippy::disallowed_methods)] fn f() {}")],
            &[("server/src/lib.rs", "#![expect(clippy::disallowed_methods, reason = \"\")]")],
        ],
    );
}

#[test]
fn no_file_is_too_long() {
    let long = "\n".repeat(601);
    keep(
        layers::no_file_is_too_long,
        &[("server/src/lib.rs", &long[..600]), ("Cargo.toml", &long)],
        &[
            &[("server/src/lib.rs", &long)],
            &[("migrations/sqlite/0001.sql", &long)],
            &[("proto/a.proto", &long)],
        ],
    );
}

#[test]
fn sql_needs_no_advisory_lock() {
    keep(
        layers::sql_needs_no_advisory_lock,
        &[(
            "server/src/store/postgres.rs",
            "//! No pg_advisory_lock.\nconst Q: &str = \"SELECT 1 FOR UPDATE\";",
        )],
        &[
            &[("server/src/store/postgres.rs", "const Q: &str = \"SELECT pg_advisory_xact_lock(1)\";")],
            &[("server/src/store/postgres.rs", "const Q: &str = r#\"SELECT pg_try_advisory_lock(1)\"#;")],
            &[("migrations/postgres/0001.sql", "SELECT 1;\nSELECT pg_advisory_lock(1);")],
        ],
    );
}

#[test]
fn both_engines_have_the_same_migrations() {
    keep(
        layers::both_engines_have_the_same_migrations,
        &[("migrations/sqlite/0001_a.sql", ""), ("migrations/postgres/0001_a.sql", "")],
        &[&[("migrations/sqlite/0002_b.sql", "")], &[("migrations/postgres/0002_b.sql", "")]],
    );
}
