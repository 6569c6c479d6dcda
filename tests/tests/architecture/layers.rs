//! Rules that the sources keep: directions inside the server, and where each technology may be named.

use crate::house::{House, Violation, identifiers, is_test_code, modules_reached};

const SERVER: &str = "server/src/";

/// What a module of the server must not reach. Every module may know `error`, `context` and `config`.
const FORBIDDEN_DIRECTIONS: [(&str, &[&str]); 4] = [
    ("grpc", &["store"]),
    ("operations", &["grpc", "http", "serve", "tls", "limits", "health"]),
    ("store", &["grpc", "operations", "http", "serve", "tls", "limits", "health", "auth"]),
    ("error", &["grpc", "operations", "store", "http", "serve"]),
];

/// Where tonic and the generated types may be named outside `proto` and `tests`, and why there.
const EDGE: [(&str, &str); 7] = [
    ("server/src/grpc/", "the services"),
    ("server/src/serve", "the composition root: builds and runs the gRPC server"),
    ("server/src/health/", "speaks grpc.health.v1"),
    ("fleet-client/src/transport/", "the client's transport"),
    ("wire/src/", "the record codec: bodies are generated types"),
    ("vendctl/src/", "a plain client of the public API"),
    ("src/", "the composition root of the binary"),
];

/// The one module that turns errors into statuses.
const STATUS_HOME: &str = "server/src/grpc/status.rs";

/// Where the bans of clippy.toml may be lifted outside tests, benches and build scripts.
const CONTEXT_HOMES: [&str; 3] =
    ["server/src/context.rs", "fleet-client/src/context.rs", "vendctl/src/context.rs"];

/// The bans that rule 5 names, by the path clippy knows them under.
const BANS: [&str; 6] = [
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "uuid::Uuid::new_v4",
    "uuid::Uuid::now_v7",
    "std::env::var",
    "std::env::var_os",
];

/// The aim is 400; past this, a file holds two ideas.
const FILE_LINES_MAX: usize = 600;

/// `grpc/ -> operations/ -> {domain/, store/}`: nothing points back up, and gRPC never reads the store past operations.
pub(crate) fn server_layers_point_one_way(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, tokens) in house.rust(SERVER) {
        let inner = &path[SERVER.len()..];
        let from = inner.split(['/', '.']).next().unwrap_or_default();
        let Some((_, forbidden)) = FORBIDDEN_DIRECTIONS.iter().find(|(module, _)| *module == from) else {
            continue;
        };
        for (to, line) in modules_reached(path, SERVER, &tokens) {
            if to == "*" || forbidden.contains(&to.as_str()) {
                found.push(Violation::at(path, line, format!("`{from}` must not reach `{to}`")));
            }
        }
    }
    found
}

/// `domain/` is pure: it reaches nothing of the server but itself, and knows no async, SQL, gRPC, clock or process.
pub(crate) fn domain_is_pure(house: &House) -> Vec<Violation> {
    const IMPURE: [&str; 18] = [
        "async",
        "await",
        "tokio",
        "tokio_stream",
        "tokio_util",
        "futures",
        "sqlx",
        "rusqlite",
        "tonic",
        "tonic_types",
        "prost",
        "prost_types",
        "vendfleet_proto",
        "axum",
        "hyper",
        "http",
        "tracing",
        "rand",
    ];
    let mut found = Vec::new();
    let folder = house.rust("server/src/domain/");
    for (path, tokens) in folder.chain(house.rust("server/src/domain.rs")) {
        for (line, name) in identifiers(&tokens, &IMPURE) {
            found.push(Violation::at(
                path,
                line,
                format!("`{name}` in domain, which decides and does nothing"),
            ));
        }
        for (to, line) in modules_reached(path, SERVER, &tokens) {
            if to != "domain" {
                found.push(Violation::at(path, line, format!("domain reaches `crate::{to}`")));
            }
        }
    }
    found
}

/// tonic and the generated types stay at the edge, so that no decision and no row is shaped by the wire. Tests may
/// compare a table of ours with the contract.
pub(crate) fn tonic_and_proto_stay_at_the_edge(house: &House) -> Vec<Violation> {
    const NAMES: [&str; 7] = [
        "tonic",
        "tonic_prost",
        "tonic_types",
        "tonic_health",
        "tonic_reflection",
        "tonic_web",
        "vendfleet_proto",
    ];
    let mut found = Vec::new();
    for (path, tokens) in
        house.rust("").filter(|(path, _)| !is_test_code(path) && !path.starts_with("proto/"))
    {
        if path.contains("/src/") && !EDGE.iter().any(|(place, _)| path.starts_with(place)) {
            for (line, name) in identifiers(&tokens, &NAMES) {
                found.push(Violation::at(path, line, format!("`{name}` outside the places EDGE lists")));
            }
        }
    }
    found
}

/// SQL is said in one place per side: sqlx in the server's store, rusqlite in the client's journal.
pub(crate) fn sql_stays_in_the_store(house: &House) -> Vec<Violation> {
    const DRIVERS: [(&str, &[&str]); 2] = [
        ("sqlx", &["server/src/store/"]),
        ("rusqlite", &["fleet-client/src/journal/", "fleet-client/src/journal.rs"]),
    ];
    let mut found = Vec::new();
    for (path, tokens) in house.rust("").filter(|(path, _)| !is_test_code(path)) {
        for (driver, homes) in DRIVERS {
            if !homes.iter().any(|home| path.starts_with(home)) {
                for (line, _) in identifiers(&tokens, &[driver]) {
                    found.push(Violation::at(path, line, format!("`{driver}` outside {}", homes[0])));
                }
            }
        }
    }
    found
}

/// One module makes every `tonic::Status`, so one table decides what a caller sees of an error. `Status::from` is that
/// module's own conversion, as nobody else may write one; the other names read a status and make none with an error.
pub(crate) fn one_module_makes_every_status(house: &House) -> Vec<Violation> {
    const MAKES_NO_ERROR: [&str; 6] = ["from", "ok", "code", "message", "metadata", "from_header_map"];
    let mut found = Vec::new();
    let shipped = house.rust(SERVER).chain(house.rust("src/")).filter(|(path, _)| !is_test_code(path));
    for (path, tokens) in
        shipped.filter(|(path, _)| *path != STATUS_HOME && EDGE.iter().any(|(e, _)| path.starts_with(e)))
    {
        for (at, token) in tokens.iter().enumerate().filter(|(_, t)| t.is_ident && t.text == "Status") {
            let next = |n: usize| tokens.get(at + n).map_or("", |t| t.text.as_str());
            let called = next(1) == ":" && next(2) == ":" && next(3).starts_with(char::is_lowercase);
            let makes = called && !MAKES_NO_ERROR.contains(&next(3));
            let renames = next(1) == "as";
            let converts = before_path(&tokens[..at]) == "for" && next(1) == "{";
            if makes || renames || converts {
                found.push(Violation::at(
                    path,
                    token.line,
                    format!("a Status is made outside {STATUS_HOME}"),
                ));
            }
        }
    }
    found
}

/// The word before a path that ends where `tokens` ends: `for` in `for tonic::`.
fn before_path(mut tokens: &[crate::house::Token]) -> &str {
    while let [rest @ .., name, first, second] = tokens {
        if first.text != ":" || second.text != ":" || !name.is_ident {
            break;
        }
        tokens = rest;
    }
    tokens.last().map_or("", |token| token.text.as_str())
}

/// Time, ids and the environment come from one file per crate; clippy bans them and only that file lifts the ban.
pub(crate) fn time_and_ids_have_one_home(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    let bans =
        house.text("clippy.toml").and_then(|text| text.parse::<toml::Table>().ok()).unwrap_or_default();
    let listed =
        bans.get("disallowed-methods").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    for ban in BANS {
        let entry = listed.iter().find(|entry| entry.get("path").and_then(toml::Value::as_str) == Some(ban));
        if entry.is_none_or(|entry| entry.get("reason").is_none()) {
            found.push(Violation::at(
                "clippy.toml",
                1,
                format!("`{ban}` must be banned, with its replacement as the reason"),
            ));
        }
    }
    for (path, tokens) in
        house.rust("").filter(|(path, _)| !is_test_code(path) && !CONTEXT_HOMES.contains(path))
    {
        for (line, _) in identifiers(&tokens, &["disallowed_methods"]) {
            found.push(Violation::at(path, line, "the bans of clippy.toml are lifted outside CONTEXT_HOMES"));
        }
    }
    found
}

/// A file is one idea.
pub(crate) fn no_file_is_too_long(house: &House) -> Vec<Violation> {
    let long = |text: &str| text.lines().count() > FILE_LINES_MAX;
    let code = house.files("").filter(|(path, _)| !path.ends_with(".toml"));
    code.filter(|(_, text)| long(text))
        .map(|(path, _)| {
            Violation::at(path, FILE_LINES_MAX, "longer than FILE_LINES_MAX: which two ideas does it hold?")
        })
        .collect()
}

/// What Citus does not take stays out of the SQL: correctness never rests on an advisory lock.
pub(crate) fn sql_needs_no_advisory_lock(house: &House) -> Vec<Violation> {
    const WORDS: [&str; 2] = ["pg_advisory", "pg_try_advisory"];
    let mut found = Vec::new();
    for (path, tokens) in house.rust(SERVER) {
        for token in tokens.iter().filter(|t| !t.is_ident && WORDS.iter().any(|word| t.text.contains(word))) {
            found.push(Violation::at(path, token.line, "an advisory lock: lock a row instead"));
        }
    }
    for (path, text) in house.files("migrations/") {
        for (line, _) in
            text.lines().enumerate().filter(|(_, text)| WORDS.iter().any(|word| text.contains(word)))
        {
            found.push(Violation::at(path, line + 1, "an advisory lock: lock a row instead"));
        }
    }
    found
}

/// The two engines move through the same steps, file by file.
pub(crate) fn both_engines_have_the_same_migrations(house: &House) -> Vec<Violation> {
    const ENGINES: [&str; 2] = ["migrations/sqlite/", "migrations/postgres/"];
    let mut found = Vec::new();
    for (one, other) in [(ENGINES[0], ENGINES[1]), (ENGINES[1], ENGINES[0])] {
        for (path, _) in house.files(one) {
            let twin = format!("{other}{}", &path[one.len()..]);
            if house.text(&twin).is_none() {
                found.push(Violation::at(path, 1, format!("has no twin {twin}")));
            }
        }
    }
    found
}
