//! Every value that the contract names and every key that the config has is somebody's: made or read in code that ships.
//!
//! What is promised and not kept yet is listed with its reason; an entry that is kept by now, or names nothing, fails too.
//! A value counts as made where its variant stands as an expression; in a pattern, a comparison, a table of all variants or a
//! test it is only looked at.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

use prost_reflect::DescriptorPool;
use server::config::keys::KEYS;
use server::domain::sync::VerdictReason;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const ROLLOUTS: &str = "rollouts answer UNIMPLEMENTED";

/// Values that nothing makes, and why.
const NOT_KEPT: &[(&str, &str)] = &[
    ("ALERT_TYPE_ROLLOUT_PAUSED", ROLLOUTS),
    ("ASSIGNMENT_CAUSE_ROLLOUT", ROLLOUTS),
    ("ROLLOUT_STATE_PAUSED", ROLLOUTS),
    ("ERROR_REASON_GROUP_NOT_FOUND", ROLLOUTS),
    ("ERROR_REASON_ROLLOUT_NOT_FOUND", ROLLOUTS),
    ("ERROR_REASON_ROLLOUT_NOT_IN_STATE", ROLLOUTS),
    ("ERROR_REASON_ROLLOUT_CONFLICT", ROLLOUTS),
    ("PAYMENT_MODE_GATEWAY", "callers ask for it; it is read and shown by its number"),
    ("PURCHASE_STATE_RESERVED", "the commit that takes the unit goes on to AUTHORISING or DISPENSING"),
];

/// Code that ships: path from the root, and its text without comments.
fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    for folder in folders {
        collect(root, &root.join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} files", found.len());
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "benches", "target"].contains(&name.as_str()) {
                collect(root, &path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap()).collect();
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), lines.join("\n"));
        }
    }
}

/// Whether `Something::Variant` stands in the text as an expression.
fn makes(text: &str, variant: &str) -> bool {
    let needle = format!("::{variant}");
    text.match_indices(&needle).any(|(at, _)| {
        let after = &text[at + needle.len()..];
        if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        let start =
            text[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).map_or(0, |n| n + 1);
        let before = text[..start].trim_end();
        let compared = before.ends_with("==") || before.ends_with("!=");
        let after = without_payload(after.trim_start());
        let after = after.trim_start_matches([')', ' ', '\n']);
        // A pattern ends in `=>`, `|` or, after `let`, in `=`; `==` and `!=` compare.
        let pattern = after.starts_with("=>")
            || (after.starts_with('|') && !after.starts_with("||"))
            || after.starts_with('=')
            || after.starts_with("!=")
            || after.starts_with("if ");
        !(compared || pattern)
    })
}

fn without_payload(text: &str) -> &str {
    let Some(close) = text.chars().next().and_then(|c| match c {
        '{' => Some('}'),
        '(' => Some(')'),
        _ => None,
    }) else {
        return text;
    };
    let open = text.chars().next().unwrap();
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return text[at + 1..].trim_start();
            }
        }
    }
    text
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect()
}

fn screaming(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[test]
fn a_value_in_a_pattern_is_not_made() {
    for made in
        ["x(Reason::Lost)", "Reason::Lost { at: 1 }, y", "A => v1::Kind::Lost,", "Some(Kind::Lost)\n}"]
    {
        assert!(makes(made, "Lost"), "{made}");
    }
    let looked_at = [
        "Kind::Lost => 1",
        "Kind::Lost { at } => 1",
        "Some(Kind::Lost) => 1",
        "Kind::Lost | Kind::Found => 1",
        "kind == Kind::Lost",
        "if let Kind::Lost = x",
        "Kind::LostAndFound",
    ];
    for text in looked_at {
        assert!(!makes(text, "Lost"), "{text}");
    }
}

#[test]
fn every_value_of_the_contract_is_made_somewhere() {
    let pool = DescriptorPool::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let sources = sources(&["server/src", "wire/src", "fleet-client"]);
    let mut not_made = BTreeSet::new();
    let mut values = 0;
    for kind in pool.all_enums().filter(|e| e.package_name() == "vendfleet.v1") {
        let prefix = format!("{}_", screaming(kind.name()));
        for value in kind.values().filter(|value| value.number() != 0) {
            let variant = camel(value.name().strip_prefix(&prefix).unwrap());
            values += 1;
            // Where a row of a table is read back, every variant is named: that makes none.
            let made = sources
                .iter()
                .filter(|(path, _)| !path.ends_with("store/sync/codes.rs"))
                .any(|(_, text)| makes(text, &variant));
            if !made {
                not_made.insert(value.name().to_owned());
            }
        }
    }
    assert!(values > 200, "{values}");
    let listed: BTreeSet<String> = NOT_KEPT.iter().map(|(name, _)| (*name).to_owned()).collect();
    let broken: Vec<_> = not_made.difference(&listed).collect();
    assert!(broken.is_empty(), "promised, and made by nothing: {broken:?}");
    let stale: Vec<_> = listed.difference(&not_made).collect();
    assert!(stale.is_empty(), "listed as not kept, but kept or gone: {stale:?}");
}

/// A kind of alert is a constant or a variant that a table maps to the contract: each is named by code besides its
/// definition and such tables, and not only to end it or to look it up.
#[test]
fn every_kind_of_alert_is_raised_somewhere() {
    let sources = sources(&["server/src"]);
    let tables = ["server/src/grpc/fleet/upkeep.rs", "server/src/domain/fleet/upkeep.rs"];
    let table = &sources[tables[0]];
    let rows = table.split("const ALERT_TYPES").nth(1).unwrap().split("];").next().unwrap();
    let mut kinds = 0;
    for row in rows.lines().filter(|line| line.trim_start().starts_with('(')) {
        let name =
            row.trim().trim_start_matches('(').split(',').next().unwrap().trim_end_matches(".as_str()");
        kinds += 1;
        let raised = sources.iter().filter(|(path, _)| !tables.contains(&path.as_str())).any(|(_, text)| {
            text.lines().any(|line| {
                let line = line.trim();
                let table = line.starts_with("use ")
                    || line.starts_with("pub use ")
                    || line.contains("const ")
                    || ["over(", "end(", "args"].iter().any(|ends| line.contains(ends))
                    || line.contains(&format!("{name} =>"));
                !table && has_word(line, name) && !is_name_list(line)
            })
        });
        assert!(raised, "nothing raises {name}");
    }
    assert!(kinds > 15, "{kinds}");
}

/// A line of a longer `use`.
fn is_name_list(line: &str) -> bool {
    line.ends_with(',') && line.split(", ").count() > 2 && !line.contains("::") && !line.contains('(')
}

fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        edge(line[..at].chars().next_back()) && edge(line[at + name.len()..].chars().next())
    })
}

#[test]
fn every_key_of_the_config_is_read_somewhere() {
    let sources = sources(&["server/src", "src"]);
    for key in KEYS {
        let field = key.path.rsplit('.').next().unwrap();
        let read = sources
            .iter()
            .filter(|(path, _)| !path.starts_with("server/src/config/"))
            .any(|(_, text)| has_word_after_dot(text, field));
        assert!(read, "{} is read by nothing", key.path);
    }
}

fn has_word_after_dot(text: &str, field: &str) -> bool {
    let needle = format!(".{field}");
    text.match_indices(&needle)
        .any(|(at, _)| !text[at + needle.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// What a device is told is a name that the contract has, and every such name is told.
#[test]
fn verdicts_have_the_names_of_the_contract() {
    let told: BTreeSet<&str> = VerdictReason::ALL.into_iter().map(VerdictReason::wire_name).collect();
    let pool = DescriptorPool::decode(vendfleet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let named = pool.get_enum_by_name("vendfleet.v1.VerdictReason").unwrap();
    let named: Vec<String> =
        named.values().filter(|v| v.number() != 0).map(|v| v.name().to_owned()).collect();
    let named: BTreeSet<&str> = named.iter().map(|n| n.strip_prefix("VERDICT_REASON_").unwrap()).collect();
    assert_eq!(told, named);
    assert_eq!(told.len(), VerdictReason::ALL.len());
}
