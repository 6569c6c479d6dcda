//! A pool in memory: machines, one product, and what a store would keep between batches.

use crate::domain::catalog::Product;
use crate::domain::ids::{Ids, MachineId, PurchaseId, SessionId};
use crate::domain::pool::{
    Answer, Bound, Choose, Command, JobDone, MachineKind, Mode, NEVER, Offer, Pick, Pooled, Purchase, Report,
    Reset, Settings, Standing, Start, View, Writes, claim, fold, hand_out,
};
use crate::domain::stock::Shelf;
use uuid::Uuid;
use vend_core::id::{BootId, Epoch, ProductId};
use vend_core::money::Currency;

pub(super) const PRODUCT: ProductId = ProductId([7; 16]);
pub(super) const LEASE_MS: i64 = 1_000;
pub(super) const SETTINGS: Settings =
    Settings { lease_ms: LEASE_MS, reservation_ms: 5_000, rest_after: 3, rest_ms: 10_000 };

#[derive(Default)]
pub(super) struct Counter(pub(super) u128);

impl Ids for Counter {
    fn uuid_v7(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

pub(super) struct World {
    pub(super) view: View,
    pub(super) ids: Counter,
    /// Of the last command.
    pub(super) writes: Writes,
    /// Slots' reservations, as the store would sum them.
    pub(super) reserved: i64,
}

impl World {
    pub(super) fn virtual_machines(count: u128, stock: i64) -> Self {
        Self::of(MachineKind::Virtual, count, stock)
    }

    /// Real machines with so many units in slot 11 of each.
    pub(super) fn real_machines(count: u128, units: i64) -> Self {
        let mut world = Self::of(MachineKind::Real, count, 0);
        let machines: Vec<MachineId> = world.view.pool.keys().copied().collect();
        for id in machines {
            let offer =
                Offer { slot: 11, product: PRODUCT, price_minor: 150, currency: euro(), available: units };
            world.view.offers.insert(id, vec![offer]);
            let bound = Bound {
                epoch: Epoch([1; 16]),
                boot: BootId([2; 16]),
                uptime_ms: 60_000,
                last_command: 0,
                cloned: false,
                last_sync_ms: 1,
            };
            world.view.bound.insert(id, bound);
        }
        world
    }

    fn of(kind: MachineKind, count: u128, stock: i64) -> Self {
        let pool = (1..=count).map(|n| {
            let id = MachineId(Uuid::from_u128(n));
            let pooled = Pooled {
                id,
                kind,
                standing: Standing::Idle,
                session: None,
                purchase: None,
                usage: 0,
                last_picked_ms: 0,
                failures: 0,
                free_at_ms: 0,
                connected_until_ms: NEVER,
                fit: true,
                fence: 0,
                group: String::new(),
                delay_ms: 100,
            };
            (id, pooled)
        });
        let pool: std::collections::HashMap<_, _> = pool.collect();
        let mut everyone: Vec<MachineId> = pool.keys().copied().collect();
        everyone.sort();
        let product = Product {
            id: PRODUCT,
            sku: "COLA".to_owned(),
            name: "Cola".to_owned(),
            description: String::new(),
            currency: euro(),
            price_minor: 150,
            stock,
            low_stock_threshold: 0,
            version: 1,
            created_at_ms: 1,
            updated_at_ms: 1,
            archived_at_ms: 0,
        };
        let view = View {
            candidates: [(Pick::default(), everyone.into())].into(),
            pool,
            shelf: Shelf::new([product]),
            clock_ms: 1_000_000,
            ..View::default()
        };
        Self { view, ids: Counter(1_000), writes: Writes::default(), reserved: 0 }
    }

    pub(super) fn tell(&mut self, command: &Command) -> Answer {
        self.writes = Writes::default();
        self.view.put_in_order();
        let answer = fold(&mut self.view, command, &SETTINGS, &mut self.ids, &mut self.writes);
        self.reserved += self.writes.reserved.values().sum::<i64>();
        answer
    }

    pub(super) fn start(&mut self, request: u128) -> Answer {
        let session = SessionId(self.ids.uuid_v7());
        self.tell(&Command::Start(Start {
            session,
            customer: "anna".to_owned(),
            pick: Pick::default(),
            caller: "service:shop".to_owned(),
            request_id: Uuid::from_u128(request),
            fingerprint: [1; 32],
            at_ms: self.view.clock_ms,
            trace_id: String::new(),
        }))
    }

    /// The session and its machine, when a machine was idle.
    pub(super) fn started(&mut self, request: u128) -> Option<(SessionId, MachineId)> {
        match self.start(request) {
            Answer::Started { session, .. } => Some((session.id, session.machine)),
            _ => None,
        }
    }

    pub(super) fn choose(&mut self, session: SessionId, mode: Mode, request: u128) -> Answer {
        let purchase = PurchaseId(self.ids.uuid_v7());
        let machine = self.view.sessions.get(&session).map(|session| session.machine);
        let pooled = machine.and_then(|machine| self.view.pool.get(&machine));
        self.tell(&Command::Choose(Choose {
            purchase,
            session,
            on: pooled.map(|pooled| (pooled.id, pooled.kind)),
            product: PRODUCT,
            expected_price: None,
            mode,
            caller: "service:shop".to_owned(),
            request_id: Uuid::from_u128(request),
            fingerprint: [2; 32],
            at_ms: self.view.clock_ms,
            trace_id: "bought".to_owned(),
            traceparent: "00-bought".to_owned(),
        }))
    }

    /// A purchase on the lowest machine.
    pub(super) fn bought(&mut self, mode: Mode, request: u128) -> Purchase {
        let (session, _) = self.started(request).unwrap();
        match self.choose(session, mode, request) {
            Answer::Chosen { purchase, .. } => purchase,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claim(&mut self, id: PurchaseId) -> Option<Purchase> {
        claim(&mut self.view, id, 30_000, &mut self.writes)
    }

    pub(super) fn report(&mut self, claimed: &Purchase, done: JobDone) -> Answer {
        let (purchase, fence, at_ms) = (claimed.id, claimed.fence, self.view.clock_ms);
        self.tell(&Command::Report(Report { purchase, fence, attempts: 1, done, at_ms }))
    }

    /// Claims what is due and says what came of it.
    pub(super) fn work(&mut self, id: PurchaseId, done: JobDone) -> Answer {
        let claimed = self.claim(id).unwrap();
        self.report(&claimed, done)
    }

    /// Likewise, once it is due.
    pub(super) fn work_when_due(&mut self, id: PurchaseId, done: JobDone) -> Answer {
        self.view.clock_ms = self.view.clock_ms.max(self.purchase(id).due_at_ms);
        self.work(id, done)
    }

    pub(super) fn is_real(&self) -> bool {
        self.view.pool.values().any(|pooled| pooled.kind == MachineKind::Real)
    }

    /// A Sync answers with the purchase's command, if there is one to hand out.
    pub(super) fn hand_out(&mut self, id: PurchaseId) {
        let clock_ms = self.view.clock_ms;
        let Some(purchase) = self.view.purchases.get_mut(&id) else { return };
        let Some(pooled) = self.view.pool.get_mut(&purchase.machine) else { return };
        hand_out(purchase, pooled, 6_000, clock_ms, clock_ms);
    }

    pub(super) fn reset(&mut self, machine: MachineId, session: SessionId) -> Answer {
        let at_ms = self.view.clock_ms;
        self.tell(&Command::Reset(Reset {
            machine,
            session,
            note: "stuck".to_owned(),
            at_ms,
            trace_id: "by-hand".to_owned(),
            traceparent: "00-by-hand".to_owned(),
        }))
    }

    /// What alerts of this kind that the last command raised or ended follow from.
    pub(super) fn traces_of(&self, kind: &str) -> Vec<(&str, &str)> {
        let alerts = self.writes.alerts.iter().filter(|alert| alert.kind == kind);
        alerts.map(|alert| (alert.trace_id.as_str(), alert.traceparent.as_str())).collect()
    }

    /// From now on the product costs so much.
    pub(super) fn priced(&mut self, price_minor: i64) {
        let mut product = self.view.shelf.get(PRODUCT).unwrap().clone();
        product.price_minor = price_minor;
        self.view.shelf = Shelf::new([product]);
    }

    pub(super) fn stock(&self) -> i64 {
        self.view.shelf.get(PRODUCT).unwrap().stock
    }

    pub(super) fn machine(&self, id: MachineId) -> &Pooled {
        &self.view.pool[&id]
    }

    pub(super) fn purchase(&self, id: PurchaseId) -> &Purchase {
        &self.view.purchases[&id]
    }
}

pub(super) fn euro() -> Currency {
    Currency::parse("EUR").unwrap()
}
