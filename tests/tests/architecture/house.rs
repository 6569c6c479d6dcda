//! The repository as the rules see it: file texts by path, Rust files as tokens, manifests as tables.
//!
//! Tokens, not text: a word in a comment or a string is no use of anything, and one in a macro call is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What a rule found, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

impl Violation {
    pub(crate) fn at(path: &str, line: usize, what: impl std::fmt::Display) -> Self {
        Self(format!("{path}:{line}: {what}"))
    }
}

/// Files by their path from the root, with `/`.
pub(crate) struct House {
    files: BTreeMap<String, String>,
}

/// What the rules look at; everything else is left out.
const EXTENSIONS: [&str; 4] = ["rs", "toml", "proto", "sql"];

impl House {
    /// The repository this test was built from.
    pub(crate) fn real() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
        let mut files = BTreeMap::new();
        collect(root, root, &mut files);
        assert!(files.contains_key("Cargo.toml"), "no repository at {}", root.display());
        Self { files }
    }

    /// A made-up one, to see a rule fail.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Path and text of every file under `prefix`.
    pub(crate) fn files(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(prefix))
            .map(|(p, t)| (p.as_str(), t.as_str()))
    }

    /// Path and tokens of every Rust file under `prefix`.
    pub(crate) fn rust(&self, prefix: &str) -> impl Iterator<Item = (&str, Vec<Token>)> {
        self.files(prefix)
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| (path, tokens(path, text)))
    }

    /// Every manifest of a package: its path and its table.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, toml::Table)> {
        self.files("").filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml")).map(
            |(path, text)| (path, text.parse().unwrap_or_else(|error| panic!("{path} is no TOML: {error}"))),
        )
    }
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a directory entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                collect(root, &path, files);
            }
        } else if path.extension().is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known)) {
            let key = path
                .strip_prefix(root)
                .expect("it was found under the root")
                .to_string_lossy()
                .replace('\\', "/");
            // A file that is gone again was an editor's.
            if let Ok(text) = fs::read_to_string(&path) {
                files.insert(key, text);
            }
        }
    }
}

/// One token: an identifier, a punctuation character, a delimiter, or a literal as written.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) is_ident: bool,
}

/// Lexes a file; groups become an opening and a closing token.
pub(crate) fn tokens(path: &str, text: &str) -> Vec<Token> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} does not lex: {error}"));
    let mut flat = Vec::new();
    flatten(stream, &mut flat);
    flat
}

fn flatten(stream: TokenStream, flat: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            // Doc comments arrive as attributes; what they say is no use of anything either.
            TokenTree::Group(group) if is_doc(&group) => {}
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                flat.push(Token { text: open.to_owned(), line, is_ident: false });
                flatten(group.stream(), flat);
                flat.push(Token {
                    text: close.to_owned(),
                    line: group.span_close().start().line,
                    is_ident: false,
                });
            }
            TokenTree::Ident(ident) => flat.push(Token { text: ident.to_string(), line, is_ident: true }),
            other => flat.push(Token { text: other.to_string(), line, is_ident: false }),
        }
    }
}

fn is_doc(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(ident)) if ident == "doc")
}

/// Lines on which one of `names` stands as an identifier, with the name.
pub(crate) fn identifiers<'t>(
    tokens: &'t [Token],
    names: &'t [&str],
) -> impl Iterator<Item = (usize, &'t str)> {
    tokens
        .iter()
        .filter(|t| t.is_ident && names.contains(&t.text.as_str()))
        .map(|t| (t.line, t.text.as_str()))
}

/// The first segments below the crate root that a file reaches: `crate::a::b`, `super::super::a`, `crate::{a, b::c}`.
pub(crate) fn modules_reached(path: &str, src: &str, tokens: &[Token]) -> BTreeSet<(String, usize)> {
    let home = module_of(path, src);
    let mut reached = BTreeSet::new();
    let mut at = 0;
    // Names of the inline modules around `at`, each with the brace depth it opened at.
    let (mut depth, mut inline) = (0_usize, Vec::<(usize, String)>::new());
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inline.push((depth, tokens[at - 1].text.clone()));
                }
            }
            "}" => {
                inline.retain(|(opened, _)| *opened != depth);
                depth = depth.saturating_sub(1);
            }
            "crate" | "super" | "self" if tokens[at].is_ident && !after_path_separator(tokens, at) => {
                let mut from = home.clone();
                from.extend(inline.iter().map(|(_, name)| name.clone()));
                follow(tokens, at, &from, &mut reached);
            }
            _ => {}
        }
        at += 1;
    }
    reached
}

fn after_path_separator(tokens: &[Token], at: usize) -> bool {
    at >= 2 && tokens[at - 1].text == ":" && tokens[at - 2].text == ":"
}

/// Follows one path from `at` until its segment below the crate root is known.
fn follow(tokens: &[Token], mut at: usize, from: &[String], reached: &mut BTreeSet<(String, usize)>) {
    let mut here = from.to_vec();
    loop {
        let Some(token) = tokens.get(at) else { return };
        match token.text.as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => {
                here.pop();
            }
            "{" => return follow_group(tokens, at, &here, reached),
            name if token.is_ident => here.push(name.to_owned()),
            // `crate::*`: every module, which no rule about modules can judge.
            "*" if here.is_empty() => here.push("*".to_owned()),
            _ => return,
        }
        let more = tokens.get(at + 1).is_some_and(|t| t.text == ":")
            && tokens.get(at + 2).is_some_and(|t| t.text == ":");
        let settled =
            here.first().is_some_and(|_| !matches!(token.text.as_str(), "crate" | "self" | "super"));
        if settled || !more {
            if settled {
                reached.insert((here[0].clone(), token.line));
            }
            return;
        }
        at += 3;
    }
}

fn follow_group(tokens: &[Token], open: usize, here: &[String], reached: &mut BTreeSet<(String, usize)>) {
    let (mut depth, mut at, mut starts) = (0_usize, open, true);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => starts = true,
            _ if depth == 1 && starts => {
                starts = false;
                follow(tokens, at, here, reached);
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
        at += 1;
    }
}

/// `server/src/grpc/status.rs` under `server/src/` is `[grpc, status]`.
fn module_of(path: &str, src: &str) -> Vec<String> {
    let inner = path.strip_prefix(src).unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Whether the file is a test, a bench or a build script rather than what is shipped.
pub(crate) fn is_test_code(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/build.rs")
}
