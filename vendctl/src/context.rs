//! What the process's surroundings give: environment, request ids, chance. The one place in this crate that asks for any
//! of them.

#![allow(clippy::disallowed_methods, reason = "the one home of the environment and of ids in this crate")]

use std::env;
use std::path::PathBuf;
use uuid::Uuid;

/// What the process's surroundings give.
pub struct Context {
    variables: Variables,
}

/// What is read from the environment. Flags go before it, the profile file comes after it.
#[derive(Clone, Default)]
pub struct Variables {
    /// `VENDCTL_SERVER`.
    pub server: Option<String>,
    /// `VENDCTL_CA`: path of a PEM file.
    pub ca: Option<PathBuf>,
    /// `VENDCTL_TOKEN`.
    pub token: Option<String>,
    /// `VENDCTL_CONFIG`, else `$XDG_CONFIG_HOME/vendctl/config.toml`, else `~/.config/vendctl/config.toml`.
    pub config: Option<PathBuf>,
}

impl Context {
    /// The process's own surroundings.
    #[must_use]
    pub fn process() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let config_home = || path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
        Self::with(Variables {
            server: text("VENDCTL_SERVER"),
            ca: path("VENDCTL_CA"),
            token: text("VENDCTL_TOKEN"),
            config: path("VENDCTL_CONFIG").or_else(|| Some(config_home()?.join("vendctl/config.toml"))),
        })
    }

    /// These surroundings and nothing of the process's own: `Variables::default()` for none at all.
    #[must_use]
    pub fn with(variables: Variables) -> Self {
        Self { variables }
    }

    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// A new request id.
    #[expect(clippy::unused_self, reason = "ids come from the context")]
    pub(crate) fn request_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// Somewhere in `0.0..1.0`.
    #[expect(clippy::unused_self, reason = "chance comes from the context")]
    pub(crate) fn chance(&self) -> f64 {
        rand::random()
    }
}
