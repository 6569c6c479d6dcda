//! Rules that the manifests keep: who may depend on whom, and which lints hold where.

use crate::house::{House, Violation, identifiers};

/// Every package and which of our own packages it may know. The root and the tests may know all of them.
const NEIGHBOURS: [(&str, Option<&[&str]>); 10] = [
    ("vendfleet-proto", Some(&[])),
    ("vend-core", Some(&[])),
    ("no-std-proof", Some(&["vend-core"])),
    ("vendfleet-wire", Some(&["vend-core", "vendfleet-proto"])),
    ("vendfleet-faultfs", Some(&[])),
    // The medium is a dev-dependency: journal tests run on it.
    ("fleet-client", Some(&["vend-core", "vendfleet-wire", "vendfleet-proto", "vendfleet-faultfs"])),
    ("server", Some(&["vend-core", "vendfleet-wire", "vendfleet-proto"])),
    ("vendctl", Some(&["vendfleet-proto"])),
    ("vendfleet", None),
    ("vendfleet-tests", None),
];

/// What `vend-core` may link besides core and alloc, and why it builds without std.
const CORE_DEPENDENCIES: [(&str, &str); 1] =
    [("thiserror", "derives core::error::Error; its `std` feature is off")];

/// Packages that may say `unsafe`, each with the reason. FFI gets a crate of its own.
const UNSAFE_PACKAGES: [(&str, &str); 2] = [
    ("no-std-proof", "a program without std brings its own entry point and allocator"),
    ("vendfleet-faultfs", "SQLite's VFS is a table of C functions; tests only"),
];

/// The contract is generated code: the workspace's style lints don't fit it, and it forbids `unsafe` by itself.
const OWN_LINTS: [&str; 1] = ["vendfleet-proto"];

/// `proto` and `vend-core` know nobody; `server` and `fleet-client` never know each other.
pub(crate) fn crates_know_only_their_neighbours(house: &House) -> Vec<Violation> {
    let renamed = renames(house);
    let mut found = Vec::new();
    for (path, manifest) in house.manifests() {
        let Some(name) = package_name(&manifest) else { continue };
        let Some((_, allowed)) = NEIGHBOURS.iter().find(|(known, _)| *known == name) else {
            found.push(Violation::at(
                path,
                1,
                format!("package `{name}` has no place in the house: add it to NEIGHBOURS"),
            ));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for dependency in dependencies(&manifest, &renamed) {
            let ours = NEIGHBOURS.iter().any(|(known, _)| *known == dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                found.push(Violation::at(path, 1, format!("`{name}` must not know `{dependency}`")));
            }
        }
    }
    found
}

/// `vend-core` builds where there is no operating system: no dependency that needs one, `#![no_std]`, no word of std.
pub(crate) fn vend_core_is_no_std(house: &House) -> Vec<Violation> {
    const SRC: &str = "fleet-client/core/src/";
    let mut found = Vec::new();
    for (path, manifest) in house.manifests() {
        if package_name(&manifest).as_deref() == Some("vend-core") {
            for table in ["dependencies", "build-dependencies"] {
                let named = manifest
                    .get(table)
                    .and_then(toml::Value::as_table)
                    .into_iter()
                    .flat_map(toml::Table::keys);
                for name in named.filter(|name| !CORE_DEPENDENCIES.iter().any(|(known, _)| known == name)) {
                    found.push(Violation::at(path, 1, format!("`{name}` is not in CORE_DEPENDENCIES")));
                }
            }
        }
    }
    let root = format!("{SRC}lib.rs");
    if !house.rust(&root).any(|(_, tokens)| {
        tokens.windows(3).any(|t| t[0].text == "!" && t[1].text == "[" && t[2].text == "no_std")
    }) {
        found.push(Violation::at(&root, 1, "the crate does not say #![no_std]"));
    }
    for (path, tokens) in house.rust(SRC).filter(|(path, _)| !crate::house::is_test_code(path)) {
        for (line, name) in identifiers(&tokens, &["std", "async", "await"]) {
            found.push(Violation::at(
                path,
                line,
                format!("`{name}` in vend-core: it has core and alloc only"),
            ));
        }
    }
    found
}

/// `unsafe` stands only in the packages named for it, and no package slips out of the workspace's lints.
pub(crate) fn unsafe_has_a_named_crate(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut excused = Vec::new();
    for (path, manifest) in house.manifests() {
        if path == "Cargo.toml" && !forbids_unsafe(manifest.get("workspace").and_then(|w| w.get("lints"))) {
            found.push(Violation::at(path, 1, "the workspace must forbid unsafe_code"));
        }
        let Some(name) = package_name(&manifest) else { continue };
        let lints = manifest.get("lints");
        let inherits = lints.and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool) == Some(true);
        let own = OWN_LINTS.contains(&name.as_str()) && forbids_unsafe(lints);
        if UNSAFE_PACKAGES.iter().any(|(known, _)| *known == name) {
            excused.push(path.trim_end_matches("Cargo.toml").to_owned());
        } else if !inherits && !own {
            found.push(Violation::at(path, 1, format!("`{name}` must inherit the workspace's lints")));
        }
    }
    for (path, tokens) in house.rust("") {
        if !excused.iter().any(|dir| path.starts_with(dir.as_str())) {
            for (line, _) in identifiers(&tokens, &["unsafe"]) {
                found.push(Violation::at(
                    path,
                    line,
                    "`unsafe` outside the packages named in UNSAFE_PACKAGES",
                ));
            }
        }
    }
    found
}

fn forbids_unsafe(lints: Option<&toml::Value>) -> bool {
    lints.and_then(|l| l.get("rust")).and_then(|r| r.get("unsafe_code")).and_then(toml::Value::as_str)
        == Some("forbid")
}

fn package_name(manifest: &toml::Table) -> Option<String> {
    manifest.get("package")?.get("name")?.as_str().map(str::to_owned)
}

/// `[workspace.dependencies]` may give a package another name.
fn renames(house: &House) -> Vec<(String, String)> {
    let root = house.manifests().find(|(path, _)| *path == "Cargo.toml");
    let shared =
        root.and_then(|(_, manifest)| manifest.get("workspace")?.get("dependencies")?.as_table().cloned());
    shared
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.get("package")?.as_str()?.to_owned())))
        .collect()
}

/// The packages a manifest names in any of its dependency tables, dev and per target included.
fn dependencies(manifest: &toml::Table, renamed: &[(String, String)]) -> Vec<String> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let per_target = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    let mut names = Vec::new();
    for tables in std::iter::once(manifest).chain(per_target) {
        for table in TABLES.iter().filter_map(|name| tables.get(*name)?.as_table()) {
            for (key, value) in table {
                let own = value.get("package").and_then(toml::Value::as_str);
                let shared = renamed.iter().find(|(from, _)| from == key).map(|(_, to)| to.as_str());
                names.push(own.or(shared).unwrap_or(key).to_owned());
            }
        }
    }
    names
}
