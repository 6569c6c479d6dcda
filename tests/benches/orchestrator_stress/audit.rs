//! Whether every unit is accounted for and every machine had one holder at a time, from what the public API says.

use crate::crowd::Visited;
use crate::deployment::{Deployment, UNITS};
use std::collections::BTreeMap;
use std::time::Duration;
use vendfleet_proto::v1::{self, PurchaseState, SessionState};

/// What was found, over all rounds of a deployment.
#[derive(Default)]
pub struct Audit {
    sessions: Vec<v1::MachineSession>,
}

impl Audit {
    /// Waits until nothing is under way, then adds up. Frees what is held without a purchase.
    pub async fn round(&mut self, deployment: &Deployment, products: &[String], visited: &Visited) {
        let sessions = loop {
            let sessions = deployment.sessions(&visited.sessions).await;
            if sessions.iter().all(|session| session.state() != SessionState::Processing) {
                break sessions;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let left = deployment.left(products).await;
        let (mut completed, mut held) = (BTreeMap::new(), BTreeMap::new());
        for purchase in sessions.iter().filter_map(|session| session.purchase.as_ref()) {
            let units = match purchase.state() {
                PurchaseState::Completed => &mut completed,
                PurchaseState::Failed => continue,
                _ => &mut held,
            };
            *units.entry(purchase.product_id.clone()).or_insert(0_i64) += 1;
        }
        for (product, stock) in &left {
            let of = |units: &BTreeMap<String, i64>| units.get(product).copied().unwrap_or(0);
            let there = stock + of(&held) + of(&completed);
            assert_eq!(
                there, UNITS,
                "product {product}: {stock} in stock, {held:?} held, {completed:?} sold"
            );
        }
        deployment.reset(&sessions).await;
        let ids: Vec<String> = sessions.into_iter().map(|session| session.session_id).collect();
        self.sessions.extend(deployment.sessions(&ids).await);
    }

    /// Holders one after the other, usage = completed purchases, and nobody picked more often than is fair.
    pub async fn whole(&self, deployment: &Deployment) -> String {
        let mut by_machine: BTreeMap<&str, Vec<&v1::MachineSession>> = BTreeMap::new();
        for session in &self.sessions {
            by_machine.entry(&session.machine_id).or_default().push(session);
        }
        for sessions in by_machine.values_mut() {
            sessions.sort_by_key(|session| (session.create_time_ms, session.end_time_ms));
            for pair in sessions.windows(2) {
                let (first, second) = (&pair[0], &pair[1]);
                assert!(
                    first.end_time_ms != 0 && first.end_time_ms <= second.create_time_ms,
                    "two holders at once: {first:?} and {second:?}"
                );
            }
        }
        let mut usage = 0;
        for machine in deployment.machines().await {
            let pool = machine.pool.unwrap();
            let done = by_machine.get(machine.machine_id.as_str()).map_or(0, |sessions| {
                sessions.iter().filter(|session| session.state() == SessionState::Completed).count()
            });
            assert_eq!(pool.usage_count, done as u64, "machine {}", machine.machine_id);
            usage += done;
        }
        let sessions = self.sessions.len();
        format!("{sessions} sessions, {usage} completed: every unit accounted for, one holder per machine")
    }
}
