//! One table reason -> code -> retry: in code, in the contract's comments and in docs/errors.md, all the same.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::{fmt::Write as _, path::Path};

use prost::Message as _;
use server::error::Reason;

struct Documented {
    name: String,
    code: String,
    when: String,
    metadata: String,
    retry: String,
}

/// The values of `ErrorReason` with what their comments say, in the form that the contract fixes.
fn contract() -> Vec<Documented> {
    let set = prost_types::FileDescriptorSet::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let file = set.file.iter().find(|file| file.name().ends_with("error_reason.proto")).unwrap();
    let values = &file.enum_type[0].value;
    let comments = &file.source_code_info.as_ref().unwrap().location;
    let comment = |index: usize| {
        let path = [5, 0, 2, i32::try_from(index).unwrap()];
        let found = comments.iter().find(|location| location.path == path).unwrap();
        found.leading_comments().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let parse = |(index, value): (usize, &prost_types::EnumValueDescriptorProto)| {
        let text = comment(index);
        let (code, rest) = text.split_once(". ").unwrap();
        let (when, rest) = rest.split_once(" Metadata: ").unwrap();
        let (metadata, retry) = rest.split_once(". Retry: ").unwrap();
        Documented {
            name: value.name().strip_prefix("ERROR_REASON_").unwrap().to_owned(),
            code: code.to_owned(),
            when: when.to_owned(),
            metadata: metadata.to_owned(),
            retry: retry.trim_end_matches('.').to_owned(),
        }
    };
    values.iter().enumerate().skip(1).map(parse).collect()
}

#[test]
fn code_and_contract_agree_on_every_reason() {
    let contract = contract();
    let names: Vec<_> = contract.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>());
    for (row, reason) in contract.iter().zip(Reason::ALL) {
        assert_eq!(row.code, reason.code().name(), "{}", row.name);
        assert_eq!(row.retry, reason.retry().name(), "{}", row.name);
    }
}

/// `VENDFLEET_TEST_WRITE=1 cargo test -p server --test error_table` writes the page anew.
#[test]
fn the_page_shows_the_table() {
    let mut page = String::from(
        "# Errors\n\nEvery status other than OK carries `google.rpc.ErrorInfo` with `domain` `vendfleet.dev`, a `reason` \
         of this table and, in `metadata`, `trace_id` and the keys named here. `INVALID_FIELD` also carries \
         `google.rpc.BadRequest` with the path of each field. Where the retry is BACKOFF there is a \
         `google.rpc.RetryInfo`. The message is for people and may change; reason, code and metadata keys don't.\n\n\
         | retry | means |\n|---|---|\n\
         | NO | the same call fails again: change the request or the credential |\n\
         | BACKOFF | the same call, with the same key or request id, may succeed later; `RetryInfo` says when |\n\
         | REREAD | the state stands against it: read it again, then decide on a new call |\n\n\
         Made from `proto/vendfleet/v1/error_reason.proto` and `server/src/error.rs` by \
         `VENDFLEET_TEST_WRITE=1 cargo test -p server --test error_table`; a test keeps the three equal.\n\n\
         | reason | code | HTTP | retry | metadata | when |\n|---|---|---|---|---|---|\n",
    );
    for (row, reason) in contract().iter().zip(Reason::ALL) {
        let (code, http, retry) = (reason.code().name(), reason.code().http(), reason.retry().name());
        let when = row.when.replace('|', "\\|");
        writeln!(page, "| `{}` | {code} | {http} | {retry} | {} | {when} |", row.name, row.metadata).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::env::var_os("VENDFLEET_TEST_WRITE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/errors.md is not the table; see the comment of this test");
}
