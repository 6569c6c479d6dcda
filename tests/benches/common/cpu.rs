//! Who used the processors: the load generator and the server share them with the database, and only the whole has a limit.

use std::fs;

/// Names of the runtimes' threads.
pub const CLIENT: &str = "bench-client";
pub const SERVER: &str = "bench-server";

/// Processor time used so far, seconds.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    client: f64,
    /// The server's runtime, its blocking threads included.
    server: f64,
    /// Other threads of this process: SQLite's, most of all.
    other: f64,
    /// Every process of this machine: PostgreSQL, and whoever else is about.
    machine: f64,
}

impl Cpu {
    pub fn now() -> Self {
        let mut cpu = Self { machine: machine(), ..Self::default() };
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let Some((name, rest)) = stat.rsplit_once(')') else { continue };
            let name = name.split_once('(').map_or("", |(_, name)| name);
            let ticks: f64 =
                rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
            let used = match name {
                CLIENT => &mut cpu.client,
                SERVER => &mut cpu.server,
                _ => &mut cpu.other,
            };
            *used += ticks / 100.0;
        }
        cpu
    }

    /// Used since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            client: self.client - before.client,
            server: self.server - before.server,
            other: self.other - before.other,
            machine: self.machine - before.machine,
        }
    }

    /// Processor time since then for each of `count` calls, in words.
    pub fn per_call(self, before: Self, count: usize) -> String {
        self.since(before).shared_by(count)
    }

    /// Processor time for each of `count` calls, in words.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn shared_by(self, count: usize) -> String {
        let each = |used: f64| used * 1e6 / count.max(1) as f64;
        let (client, server, other) = (each(self.client), each(self.server), each(self.other));
        let outside = each(self.machine) - client - server - other;
        format!(
            "µs each: client {client:.0}, server {server:.0}, its other threads {other:.0}, outside {outside:.0}"
        )
    }
}

/// User, nice, system, irq and softirq of all processors.
fn machine() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum::<f64>() / 100.0
}

impl std::ops::AddAssign for Cpu {
    fn add_assign(&mut self, more: Self) {
        self.client += more.client;
        self.server += more.server;
        self.other += more.other;
        self.machine += more.machine;
    }
}
