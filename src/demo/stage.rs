//! What the audience sees while it runs.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tokio::time::Instant;

/// The story, told on standard error so that standard output is the report's.
pub(super) struct Stage {
    started: Instant,
    bar: ProgressBar,
}

impl Stage {
    pub(super) fn open() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { started: Instant::now(), bar }
    }

    /// A new act begins.
    pub(super) fn act(&self, title: &str) {
        let at = Instant::now().duration_since(self.started).as_secs();
        self.say(&format!("\n[{at:>3} s] {title}"));
    }

    /// One line that stays.
    pub(super) fn tell(&self, line: &str) {
        self.say(&format!("        {line}"));
    }

    /// What is going on right now; the next one replaces it.
    pub(super) fn now(&self, text: String) {
        self.bar.set_message(text);
    }

    pub(super) fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        // Without a terminal the bar prints nothing at all.
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
