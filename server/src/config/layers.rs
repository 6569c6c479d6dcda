//! Defaults < file < environment < flags, and the refusals.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use toml::{Table, Value};

use super::{
    Config,
    keys::{self, KEYS, Rule},
    nearest::nearest,
};
use crate::domain::fleet::SILENT_AFTER_LEAST_MS;

/// Why a config was refused. The message names the key, where it was set, and the rule.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("config file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("config file {path} is not TOML: {cause}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// No such key.
    #[error("unknown key `{key}` in {origin}; did you mean `{nearest}`?")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it was set.
        origin: String,
        /// The known key most like it.
        nearest: String,
    },
    /// A value breaks its key's rule.
    #[error("`{key}` in {origin}: {rule}, not {value}")]
    BadValue {
        /// The key.
        key: String,
        /// Where it was set.
        origin: String,
        /// What it must be.
        rule: String,
        /// What it was; secrets left out.
        value: String,
    },
    /// Two values don't go together.
    #[error("{0}")]
    Conflict(String),
}

/// Where values come from, lowest first, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The config file, if one was named.
    pub file: Option<PathBuf>,
    /// The process environment: `VENDFLEET_<SECTION>__<KEY>`, upper case.
    pub environment: BTreeMap<String, String>,
    /// Command-line flags: path and value as text.
    pub flags: Vec<(String, String)>,
}

/// The environment variable that names the config file.
const CONFIG_VARIABLE: &str = "VENDFLEET_CONFIG";

/// `VENDFLEET_TEST_...` belongs to the test suite, not to the server.
const TEST_PREFIX: &str = "VENDFLEET_TEST_";

/// Lays the layers over the defaults and checks every key and value.
pub fn load(layers: &Layers) -> Result<Config, ConfigError> {
    let mut merged =
        Table::try_from(Config::default()).expect("the defaults are plain numbers, texts and lists");
    let file = layers.file.clone().or_else(|| layers.environment.get(CONFIG_VARIABLE).map(PathBuf::from));
    if let Some(path) = file {
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| ConfigError::Unreadable { path: path.clone(), cause })?;
        let table: Table = text
            .parse()
            .map_err(|cause| ConfigError::NotToml { path: path.clone(), cause: Box::new(cause) })?;
        let origin = format!("config file {}", path.display());
        lay_file(&mut merged, &table, &origin)?;
    }
    for (name, text) in &layers.environment {
        let Some(rest) = name.strip_prefix("VENDFLEET_") else { continue };
        if name == CONFIG_VARIABLE || name.starts_with(TEST_PREFIX) || is_stray(rest) {
            continue;
        }
        let path = rest.to_ascii_lowercase().replacen("__", ".", 1);
        if keys::find(&path).is_none() {
            return Err(ConfigError::UnknownKey {
                key: name.clone(),
                origin: "the environment".to_owned(),
                nearest: format!("VENDFLEET_{}", nearest(&path).to_ascii_uppercase().replacen('.', "__", 1)),
            });
        }
        lay_text(&mut merged, &path, text, &format!("environment variable {name}"))?;
    }
    for (path, text) in &layers.flags {
        lay_text(&mut merged, path, text, "the command line")?;
    }
    let config = Config::deserialize_from(merged)?;
    check_together(&config)?;
    Ok(config)
}

/// A name without a section is none of ours: Kubernetes puts `VENDFLEET_SERVICE_HOST` and its like into every pod beside a Service
/// of this name.
fn is_stray(rest: &str) -> bool {
    !rest.contains("__")
}

/// Variables that look like settings and are none, for a warning.
#[must_use]
pub fn stray_variables(environment: &BTreeMap<String, String>) -> Vec<&str> {
    let stray = |name: &&String| {
        let rest = name.strip_prefix("VENDFLEET_");
        *name != CONFIG_VARIABLE && !name.starts_with(TEST_PREFIX) && rest.is_some_and(is_stray)
    };
    environment.keys().filter(stray).map(String::as_str).collect()
}

impl Config {
    fn deserialize_from(table: Table) -> Result<Self, ConfigError> {
        // Every key and value was checked on its way in, so this can only fail on a type the rules forgot.
        table.try_into().map_err(|cause: toml::de::Error| ConfigError::Conflict(cause.to_string()))
    }
}

fn lay_file(merged: &mut Table, file: &Table, origin: &str) -> Result<(), ConfigError> {
    for (section, values) in file {
        let Value::Table(values) = values else {
            return Err(unknown(section, origin));
        };
        for (key, value) in values {
            lay(merged, &format!("{section}.{key}"), value.clone(), origin)?;
        }
        if !merged.contains_key(section) {
            return Err(unknown(section, origin));
        }
    }
    Ok(())
}

fn unknown(key: &str, origin: &str) -> ConfigError {
    ConfigError::UnknownKey {
        key: key.to_owned(),
        origin: origin.to_owned(),
        nearest: nearest(key).to_owned(),
    }
}

fn lay_text(merged: &mut Table, path: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
    let key = keys::find(path).ok_or_else(|| unknown(path, origin))?;
    let value = match key.rule {
        Rule::Int { .. } => text.parse().map(Value::Integer).ok(),
        Rule::Bool => text.parse().map(Value::Boolean).ok(),
        Rule::Address | Rule::Text { .. } | Rule::OneOf(_) => Some(Value::String(text.to_owned())),
        Rule::List { .. } => Some(Value::Array(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        )),
    };
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    lay(merged, path, value, origin)
}

fn lay(merged: &mut Table, path: &str, value: Value, origin: &str) -> Result<(), ConfigError> {
    let key = keys::find(path).ok_or_else(|| unknown(path, origin))?;
    if !fits(key.rule, &value) {
        let shown = if path == "database.url" { "what was given".to_owned() } else { value.to_string() };
        return Err(ConfigError::BadValue {
            key: path.to_owned(),
            origin: origin.to_owned(),
            rule: key.rule.to_string(),
            value: shown,
        });
    }
    let (section, name) = path.split_once('.').expect("every known path has a section");
    let section =
        merged.get_mut(section).and_then(Value::as_table_mut).expect("every known section has defaults");
    section.insert(name.to_owned(), value);
    Ok(())
}

fn fits(rule: Rule, value: &Value) -> bool {
    match (rule, value) {
        (Rule::Int { min, max, .. }, Value::Integer(number)) => (min..=max).contains(number),
        (Rule::Bool, Value::Boolean(_)) => true,
        (Rule::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
        (Rule::Text { min, max }, Value::String(text)) => (min..=max).contains(&text.len()),
        (Rule::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
        (Rule::List { max }, Value::Array(items)) => items.len() <= max && items.iter().all(Value::is_str),
        _ => false,
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int { min, max, unit } => write!(f, "a whole number from {min} to {max} ({unit})"),
            Self::Bool => f.write_str("true or false"),
            Self::Address => f.write_str("an address as ip:port; port 0 takes any free one"),
            Self::Text { min, max } => write!(f, "text of {min} to {max} bytes"),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::List { max } => write!(f, "a list of at most {max} texts"),
        }
    }
}

fn check_together(config: &Config) -> Result<(), ConfigError> {
    let conflict = |message: &str| Err(ConfigError::Conflict(message.to_owned()));
    if config.tls.cert_file.is_empty() != config.tls.key_file.is_empty() {
        return conflict("`tls.cert_file` and `tls.key_file` are set together or not at all");
    }
    if config.sync.keep_days >= config.retention.keep_days {
        return conflict(
            "`sync.keep_days` must be less than `retention.keep_days`: a machine never keeps a record longer than the \
             server",
        );
    }
    let silent_after_ms = i64::try_from(config.sync.silent_after_ms).unwrap_or(i64::MAX);
    if silent_after_ms != 0 && silent_after_ms < SILENT_AFTER_LEAST_MS {
        return conflict("`sync.silent_after_ms` must be 0 (never) or at least 60000");
    }
    if config.limits.rate_burst < config.limits.rate_per_s.div_ceil(10) {
        return conflict("`limits.rate_burst` must be at least a tenth of `limits.rate_per_s`");
    }
    if config.limits.service_rate_burst < config.limits.service_rate_per_s.div_ceil(10) {
        return conflict(
            "`limits.service_rate_burst` must be at least a tenth of `limits.service_rate_per_s`",
        );
    }
    check_limits(config)?;
    check_payments(config)?;
    let url = &config.database.url;
    if !["", "sqlite:", "postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url == scheme || (!scheme.is_empty() && url.starts_with(scheme)))
    {
        return conflict("`database.url` must start with postgres://, postgresql:// or sqlite:, or be empty");
    }
    debug_assert!(KEYS.iter().all(|key| key.path.contains('.')), "paths are section.key");
    Ok(())
}

fn check_limits(config: &Config) -> Result<(), ConfigError> {
    let conflict = |message: &str| Err(ConfigError::Conflict(message.to_owned()));
    let limits = &config.limits;
    if limits.stranger_streams + limits.person_streams + limits.service_streams >= limits.max_open_streams {
        return conflict(
            "`limits.max_open_streams` must be more than `limits.stranger_streams`, `limits.person_streams` and \
             `limits.service_streams` together: machines have what they leave",
        );
    }
    if limits.machine_rate_burst < limits.machine_rate_per_s.div_ceil(10) {
        return conflict(
            "`limits.machine_rate_burst` must be at least a tenth of `limits.machine_rate_per_s`",
        );
    }
    Ok(())
}

fn check_payments(config: &Config) -> Result<(), ConfigError> {
    let conflict = |message: &str| Err(ConfigError::Conflict(message.to_owned()));
    let (payments, worker) = (&config.payments, &config.worker);
    if payments.gateway == "http"
        && !payments.url.starts_with("https://")
        && !payments.url.starts_with("http://")
    {
        return conflict(
            "`payments.url` must start with https:// or http:// when `payments.gateway` is http",
        );
    }
    if payments.simulated_delay_min_ms > payments.simulated_delay_most_ms {
        return conflict(
            "`payments.simulated_delay_min_ms` must not exceed `payments.simulated_delay_most_ms`",
        );
    }
    if payments.backoff_first_ms > payments.backoff_most_ms {
        return conflict("`payments.backoff_first_ms` must not exceed `payments.backoff_most_ms`");
    }
    if worker.query_interval_ms > worker.query_interval_most_ms {
        return conflict("`worker.query_interval_ms` must not exceed `worker.query_interval_most_ms`");
    }
    // After the attempts one query may follow, and one void.
    let calls = u64::from(payments.attempts) + 2;
    let longest_ms = calls * payments.timeout_ms + u64::from(payments.attempts) * payments.backoff_most_ms;
    if worker.lease_ms <= longest_ms {
        return Err(ConfigError::Conflict(format!(
            "`worker.lease_ms` must be longer than all attempts together, {longest_ms} ms with these `payments` settings"
        )));
    }
    Ok(())
}
