//! `--print-config`: what is in force, as a TOML file that can be used as one, without its secrets.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{Config, keys::KEYS};

/// The effective config as TOML. Each key has its meaning and bounds above it; passwords are `***`.
pub fn print(config: &Config) -> String {
    let table = Table::try_from(config).expect("a config is plain numbers, texts and lists");
    let mut out = String::from("# Effective configuration: defaults < file < environment < flags.\n");
    let mut open = "";
    for key in KEYS {
        let (section, name) = key.path.split_once('.').expect("paths are section.key");
        if section != open {
            let _ = write!(out, "\n[{section}]\n");
            open = section;
        }
        let value = table.get(section).and_then(|values| values.get(name));
        let value = value.expect("a test keeps KEYS and Config equal");
        let shown = match value {
            Value::String(text) => Value::String(redact(text)),
            other => other.clone(),
        };
        let _ = write!(out, "# {} [{}]\n{name} = {shown}\n", key.doc, key.rule);
    }
    out
}

/// A URL without its password: `postgres://user:***@host/db`. Other text comes back as it is.
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let mut out = format!("{scheme}://");
    match rest.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or(login, |(user, _)| user);
            out.push_str(user);
            if login.contains(':') {
                out.push_str(":***");
            }
            out.push('@');
            out.push_str(host);
        }
        None => out.push_str(rest),
    }
    // libpq takes the password as a parameter too; the others (sslmode and the like) are no secret but rarely of use.
    if let Some(query) = query {
        let shown: Vec<_> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if name.contains("password") => format!("{name}=***"),
                _ => pair.to_owned(),
            })
            .collect();
        let _ = write!(out, "?{}", shown.join("&"));
    }
    out
}
