#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::{keys::KEYS, *};

fn with_file(text: &str) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(&Layers { file: Some(file.path().to_owned()), ..Layers::default() })
}

fn with_env(name: &str, value: &str) -> Result<Config, ConfigError> {
    let environment = [(name.to_owned(), value.to_owned())].into();
    load(&Layers { environment, ..Layers::default() })
}

#[test]
fn every_setting_has_a_documented_key_and_every_key_a_setting() {
    let table = toml::Table::try_from(Config::default()).unwrap();
    let settings: BTreeSet<String> = table
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    let documented: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(settings, documented);
    assert_eq!(documented.len(), KEYS.len(), "a key is listed twice");
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[sync]\nbase_interval_ms = 1000\nkeep_days = 7\n[server]\ndrain_ms = 1\n")
        .unwrap();
    let layers = Layers {
        file: Some(file.path().to_owned()),
        environment: [
            ("VENDFLEET_SYNC__BASE_INTERVAL_MS".to_owned(), "2000".to_owned()),
            ("VENDFLEET_SYNC__KEEP_DAYS".to_owned(), "8".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ]
        .into(),
        flags: vec![("sync.base_interval_ms".to_owned(), "3000".to_owned())],
    };
    let config = load(&layers).unwrap();
    assert_eq!(config.sync.base_interval_ms, 3000);
    assert_eq!(config.sync.keep_days, 8);
    assert_eq!(config.server.drain_ms, 1);
    assert_eq!(config.limits, LimitsConfig::default());
}

#[test]
fn the_environment_can_name_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[commit]\nmax_batch_requests = 7\n").unwrap();
    let config = with_env("VENDFLEET_CONFIG", file.path().to_str().unwrap()).unwrap();
    assert_eq!(config.commit.max_batch_requests, 7);
}

#[test]
fn what_kubernetes_puts_into_a_pod_is_no_setting() {
    let names = ["VENDFLEET_SERVICE_HOST", "VENDFLEET_PORT", "VENDFLEET_PORT_7443_TCP_ADDR"];
    let environment = names.map(|name| (name.to_owned(), "tcp://10.0.0.1:7443".to_owned())).into();
    assert_eq!(super::stray_variables(&environment), {
        let mut sorted = names;
        sorted.sort_unstable();
        sorted
    });
    let layers = Layers { environment, ..Layers::default() };
    assert_eq!(load(&layers).unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = with_file("[sync]\nbase_interval = 5\n").unwrap_err().to_string();
    assert!(error.contains("unknown key `sync.base_interval`"), "{error}");
    assert!(error.contains("did you mean `sync.base_interval_ms`"), "{error}");

    let error = with_file("[snyc]\nkeep_days = 5\n").unwrap_err().to_string();
    assert!(error.contains("`snyc.keep_days`") && error.contains("`sync.keep_days`"), "{error}");

    let error = with_file("[empty_section]\n").unwrap_err().to_string();
    assert!(error.contains("`empty_section`"), "{error}");

    let error = with_file("listen = \"127.0.0.1:1\"\n").unwrap_err().to_string();
    assert!(error.contains("`listen`") && error.contains("server.listen"), "{error}");

    let error = with_env("VENDFLEET_SERVER__LISTN", "127.0.0.1:1").unwrap_err().to_string();
    assert!(
        error.contains("VENDFLEET_SERVER__LISTN") && error.contains("VENDFLEET_SERVER__LISTEN`"),
        "{error}"
    );

    let flags = vec![("server.nope".to_owned(), "1".to_owned())];
    let error = load(&Layers { flags, ..Layers::default() }).unwrap_err().to_string();
    assert!(error.contains("`server.nope`"), "{error}");
}

#[test]
fn a_value_out_of_range_is_refused_with_key_and_rule() {
    for (toml, key, rule) in [
        ("[limits]\ndeadline_ms = 0\n", "limits.deadline_ms", "from 10 to 600000 (ms)"),
        ("[limits]\ndeadline_ms = -1\n", "limits.deadline_ms", "from 10 to 600000 (ms)"),
        (
            "[retention]\npurchases_keep_days = 29\n",
            "retention.purchases_keep_days",
            "from 30 to 36500 (days)",
        ),
        ("[auth]\nleeway_s = 31\n", "auth.leeway_s", "from 0 to 30 (s)"),
        ("[sync]\nmax_records = \"many\"\n", "sync.max_records", "whole number"),
        ("[server]\nlisten = \"localhost\"\n", "server.listen", "ip:port"),
        ("[log]\nformat = \"xml\"\n", "log.format", "one of auto, json, pretty"),
        ("[web]\nreflection = 1\n", "web.reflection", "true or false"),
        ("[tls]\nsans = [1]\n", "tls.sans", "list"),
    ] {
        let error = with_file(toml).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(rule), "{toml}: {error}");
    }
    let error = with_env("VENDFLEET_SYNC__KEEP_DAYS", "soon").unwrap_err().to_string();
    assert!(error.contains("VENDFLEET_SYNC__KEEP_DAYS") && error.contains("soon"), "{error}");
}

#[test]
fn every_default_keeps_its_own_rule() {
    let printed = print(&Config::default());
    assert_eq!(with_file(&printed).unwrap(), Config::default());
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let error = with_file("[sync]\nkeep_days = 30\n[retention]\nkeep_days = 30\n").unwrap_err().to_string();
    assert!(error.contains("sync.keep_days") && error.contains("retention.keep_days"), "{error}");
    let error = with_file("[tls]\ncert_file = \"a.pem\"\n").unwrap_err().to_string();
    assert!(error.contains("tls.key_file"), "{error}");
    let error = with_file("[database]\nurl = \"mysql://root:hunter2@x/y\"\n").unwrap_err().to_string();
    assert!(error.contains("database.url") && !error.contains("hunter2"), "{error}");
}

#[test]
fn the_printed_config_has_no_password() {
    let mut config = Config::default();
    config.database.url = "postgres://vend:hunter2@db:5432/fleet?sslmode=require&password=hunter3".to_owned();
    let printed = print(&config);
    assert!(printed.contains("postgres://vend:***@db:5432/fleet?sslmode=require&password=***"), "{printed}");
    assert!(!printed.contains("hunter"), "{printed}");
    assert_eq!(redact("postgres://db/fleet"), "postgres://db/fleet");
}

#[test]
fn lists_come_from_the_environment_separated_by_commas() {
    let config = with_env("VENDFLEET_TLS__SANS", "fleet.example, 10.0.0.7").unwrap();
    assert_eq!(config.tls.sans, ["fleet.example", "10.0.0.7"]);
}
