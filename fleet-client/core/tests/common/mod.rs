//! A machine on a bench: it carries effects out as a device would, and can be cut off at any effect.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses a part

use std::collections::BTreeSet;
use vend_core::config::{Assignment, CashConfig, Config, OfflineBudget, Product, Slot, Tube};
use vend_core::counters;
use vend_core::id::{BootId, ConfigId, Epoch, ProductId, TransactionId};
use vend_core::machine::{Books, Commit, Effect, Input, Machine, PowerUp, Refusal, SlotUnits, State, Stored};
use vend_core::money::{Currency, Minor, Pieces, Purse};
use vend_core::record::{Body, Record, UnknownPolicy, Vend};
use vend_core::time::{ClockQuality, Now};

pub const EUR: &str = "EUR";
pub const EPOCH: Epoch = Epoch([7; 16]);

pub fn product(n: u8) -> ProductId {
    ProductId([n; 16])
}

pub fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

/// Slots 1 to 4 at 100, 150, 70 and 0; coins 10 to 200 and a bill of 500; tubes for 10, 20, 50 and 100.
pub fn config(id: u8) -> Config {
    let slot = |n: u8, price_minor| Slot {
        slot: u16::from(n),
        product: product(n),
        price_minor,
        capacity: 10,
        par: 8,
    };
    Config {
        id: ConfigId([id; 16]),
        currency: currency(EUR),
        products: (1..=4).map(|n| Product { id: product(n), name: format!("product {n}") }).collect(),
        slots: vec![slot(1, 100), slot(2, 150), slot(3, 70), slot(4, 0)],
        cash: CashConfig {
            accepted: vec![10, 20, 50, 100, 200, 500],
            tubes: [10, 20, 50, 100].map(|denomination| Tube { denomination, capacity: 20 }).to_vec(),
            max_credit_minor: 1_000,
        },
        offline_cashless: OfflineBudget {
            per_sale_minor: 200,
            total_minor: 400,
            count: 3,
            age_ms: 3_600_000,
        },
        unknown_policy: UnknownPolicy::Refund,
        selection_timeout_ms: 30_000,
    }
}

pub fn offer(number: u64, config: Config) -> Input {
    Input::ConfigOffered(Assignment { number, sha256: [0; 32], config })
}

pub fn purse(pieces: &[(Minor, u32)]) -> Purse {
    pieces.iter().map(|&(denomination, count)| Pieces { denomination, count }).collect()
}

/// Checks every effect as it is carried out, and every commit as it becomes durable.
pub struct Bench {
    pub machine: Machine,
    /// What is durable.
    pub stored: Stored,
    pub journal: Vec<Record>,
    /// Effects started, commits not among them.
    pub started: Vec<Effect>,
    pub now: Now,
    dispensed: BTreeSet<TransactionId>,
    paid: BTreeSet<(TransactionId, usize)>,
    lifetime: counters::Totals,
    next_id: u128,
    boots: u8,
}

impl Bench {
    /// Fresh from the factory, first boot carried out.
    pub fn factory() -> Self {
        let (machine, _) = Machine::new(power_up(0), Now::default(), &mut || TransactionId::default());
        let mut bench = Self {
            machine,
            stored: Stored::default(),
            journal: Vec::new(),
            started: Vec::new(),
            now: Now { uptime_ms: 0, wall_ms: 1_700_000_000_000, clock: ClockQuality::Synced },
            dispensed: BTreeSet::new(),
            paid: BTreeSet::new(),
            lifetime: counters::Totals::default(),
            next_id: 1,
            boots: 0,
        };
        bench.power_cut();
        bench
    }

    /// Config 1 in force, slots of 5 units, 10 coins in each tube.
    pub fn stocked() -> Self {
        let mut bench = Self::factory();
        bench.ok(offer(1, config(1)));
        let slots = (1..=4).map(|slot| SlotUnits { slot, units: 5 }).collect();
        bench.ok(Input::Refill { slots, tubes: purse(&[(10, 10), (20, 10), (50, 10), (100, 10)]) });
        bench
    }

    /// Handles an input; nothing is carried out yet. Checks that a refusal changed nothing.
    pub fn handle(&mut self, input: Input) -> Result<Vec<Effect>, Refusal> {
        let before = self.machine.clone();
        let next_id = &mut self.next_id;
        let answer = self.machine.handle(self.now, input, &mut || {
            *next_id += 1;
            TransactionId(next_id.to_be_bytes())
        });
        match &answer {
            Err(_) => assert_eq!(self.machine, before, "a refused input changed something"),
            Ok(effects) => self.check_shape(effects),
        }
        let books = Books::of(self.machine.durable());
        assert!(books.balance(), "{books:?} gaps {} {}", books.customer_gap(), books.box_gap());
        let _ = self.machine.view();
        answer
    }

    fn check_shape(&self, effects: &[Effect]) {
        let commits = effects.iter().filter(|e| matches!(e, Effect::Commit(_))).count();
        assert!(commits <= 1 && effects.iter().skip(1).all(|e| !matches!(e, Effect::Commit(_))));
        for e in effects.iter().filter_map(|e| if let Effect::Commit(c) = e { Some(c) } else { None }) {
            assert_eq!(&e.state, self.machine.durable(), "the commit holds what the machine holds");
        }
    }

    /// Carries out the first `count` effects; a cut drops the rest.
    pub fn carry_out(&mut self, effects: Vec<Effect>, count: usize) {
        for effect in effects.into_iter().take(count) {
            match &effect {
                Effect::Commit(commit) => {
                    self.commit(commit);
                    continue;
                }
                Effect::Dispense { transaction, slot } => {
                    let intent =
                        self.stored.durable.intent.as_ref().expect("an intent is durable before the motor");
                    assert_eq!((intent.transaction, intent.slot), (*transaction, *slot));
                    assert!(self.dispensed.insert(*transaction), "dispensed twice");
                }
                Effect::PayOut { transaction, coins } => {
                    let intent =
                        self.stored.durable.payout.as_ref().expect("a payout is durable before the coins");
                    assert_eq!((&intent.transaction, &intent.coins), (transaction, coins));
                    assert!(self.paid.insert((*transaction, self.journal.len())), "paid twice");
                }
                Effect::Authorise { transaction, .. } => {
                    assert!(self.stored.durable.cashless.iter().any(|c| c.transaction == *transaction));
                }
                Effect::Show(_) | Effect::Settle { .. } | Effect::Void { .. } => {}
            }
            self.started.push(effect);
        }
    }

    fn commit(&mut self, commit: &Commit) {
        for record in &commit.records {
            counters::apply(&mut self.lifetime, &record.body);
            if let Some(after) = &record.lifetime_after {
                assert_eq!(*after, self.lifetime, "counters are a checksum: {record:?}");
            }
            self.journal.push(record.clone());
        }
        assert_eq!(commit.state.counters.lifetime, self.lifetime);
        assert!(Books::of(&commit.state).balance());
        self.stored.durable = commit.state.clone();
        if let Some(configs) = &commit.configs {
            self.stored.configs = configs.clone();
        }
    }

    /// Power goes and comes back: only what was committed is left.
    pub fn power_cut(&mut self) {
        let effects = self.boot();
        self.carry_out(effects, usize::MAX);
    }

    pub fn boot(&mut self) -> Vec<Effect> {
        self.boots = self.boots.wrapping_add(1);
        self.now.uptime_ms = 0;
        let next_id = &mut self.next_id;
        let (machine, effects) =
            Machine::boot(self.stored.clone(), power_up(self.boots), self.now, &mut || {
                *next_id += 1;
                TransactionId(next_id.to_be_bytes())
            });
        self.machine = machine;
        self.check_shape(&effects);
        assert!(!effects.iter().any(|e| matches!(e, Effect::Dispense { .. })), "a boot never dispenses");
        effects
    }

    /// Takes an input and carries it out; the effects but commits.
    pub fn ok(&mut self, input: Input) -> Vec<Effect> {
        let asked = format!("{input:?}");
        let effects = self.handle(input).unwrap_or_else(|r| panic!("{asked} refused: {r}"));
        self.carry_out(effects.clone(), usize::MAX);
        effects
    }

    pub fn refused(&mut self, input: Input) -> Refusal {
        self.handle(input).unwrap_err()
    }

    pub fn coin(&mut self, denomination: Minor) -> Vec<Effect> {
        self.ok(Input::InsertMoney { denomination })
    }

    pub fn select(&mut self, slot: u16) -> Vec<Effect> {
        self.ok(Input::Select { slot })
    }

    pub fn motor(&mut self, motor: vend_core::machine::Motor) -> Vec<Effect> {
        let transaction = self.stored.durable.intent.as_ref().expect("a vend is in hand").transaction;
        self.ok(Input::DispenseResult { transaction, motor })
    }

    /// All coins asked for left the machine.
    pub fn pay_all(&mut self) {
        if let Some(payout) = self.stored.durable.payout.clone() {
            self.ok(Input::PayoutResult { transaction: payout.transaction, paid: payout.coins });
        }
    }

    pub fn wait(&mut self, ms: u64) {
        self.now.uptime_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
    }

    pub fn vends(&self) -> Vec<&Vend> {
        self.journal.iter().filter_map(|r| if let Body::Vend(v) = &r.body { Some(v) } else { None }).collect()
    }

    pub fn bodies(&self) -> Vec<&Body> {
        self.journal.iter().map(|r| &r.body).collect()
    }

    pub fn books(&self) -> Books {
        Books::of(self.machine.durable())
    }

    pub fn units(&self, slot: u16) -> u32 {
        self.machine.durable().slots.iter().find(|s| s.slot == slot).unwrap().units
    }

    pub fn is_idle(&self) -> bool {
        self.machine.state() == State::Idle
    }
}

pub fn commits(effects: &[Effect]) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Commit(_))).count()
}

pub fn power_up(boots: u8) -> PowerUp {
    PowerUp {
        boot: BootId([boots; 16]),
        epoch: EPOCH,
        firmware: "1.2.3".into(),
        parent: None,
        slots: (1..=6).collect(),
    }
}
