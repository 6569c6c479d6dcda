//! What every bench prints, and how it counts.
#![allow(dead_code, reason = "each bench uses its part")]

pub mod cpu;
pub mod home;
pub mod postgres;
pub mod raw_codec;

use serde_json::{Map, Value, json};

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a bench has at least one round");
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value below which `share` (0 to 1) of the sorted values lie.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

/// One line for people, one line of JSON for programs.
pub struct Report {
    bench: &'static str,
    fields: Map<String, Value>,
}

impl Report {
    /// A result of this bench.
    pub fn of(bench: &'static str) -> Self {
        Self { bench, fields: Map::new() }
    }

    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a number, rounded to what means something.
    pub fn number(self, name: &str, value: f64) -> Self {
        let rounded = if value.abs() >= 100.0 { value.round() } else { (value * 1000.0).round() / 1000.0 };
        self.with(name, rounded)
    }

    /// Prints the JSON line.
    pub fn print(self) {
        let mut line = json!({ "bench": self.bench });
        if let Some(object) = line.as_object_mut() {
            object.extend(self.fields);
        }
        println!("{line}");
    }
}

/// Processor time this process has used, all threads, seconds. Unlike the clock on the wall it means the same beside
/// neighbours that are busy.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold anything; the 14th and 15th fields are user and system time in ticks.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Whether this process runs without optimisation: figures of such a build mean nothing.
pub fn refuse_debug_build() {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: run it as `cargo bench -p vendfleet-tests --bench NAME`");
        std::process::exit(2);
    }
}
