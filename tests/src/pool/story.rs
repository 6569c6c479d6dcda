//! What sessions, purchases, machines, stock and money say, held against each other: pure. Every breach is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use vendfleet_proto::v1::{
    self, MachineKind, PaymentMode, PaymentStatus, PoolState, PurchaseState, SessionState, StockChangeCause,
    event::Data, inventory_event::Change,
};

use crate::orders::story::Charge;

/// What was read.
#[derive(Debug, Default, Clone)]
pub struct Pool {
    /// Every machine.
    pub machines: Vec<v1::Machine>,
    /// Every session that is kept, with its purchase.
    pub sessions: Vec<v1::MachineSession>,
    /// Completed purchases that are not kept any more.
    pub forgotten: Vec<Forgotten>,
    /// Every product.
    pub products: Vec<v1::Product>,
    /// What each began with, and what was added and taken by hand.
    pub initial: BTreeMap<String, i64>,
    /// Units that orders hold.
    pub ordered: BTreeMap<String, i64>,
    /// Every event about central stock.
    pub events: Vec<v1::Event>,
    /// What a gateway did, where there was one that keeps books: by purchase.
    pub charges: Option<BTreeMap<String, Charge>>,
}

/// Completed purchases of a product on a machine that retention has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The machine.
    pub machine_id: String,
    /// The product.
    pub product_id: String,
    /// How many.
    pub completed: u64,
}

/// Everything that does not add up.
pub fn breaches(pool: &Pool) -> Vec<String> {
    let mut found = Vec::new();
    one_holder_at_a_time(pool, &mut found);
    usage_counts_what_completed(pool, &mut found);
    sessions_and_purchases_agree(pool, &mut found);
    stock_adds_up(pool, &mut found);
    purchases_moved_the_unit_they_hold(pool, &mut found);
    money_matches(pool, &mut found);
    found
}

fn purchases(pool: &Pool) -> impl Iterator<Item = &v1::Purchase> {
    pool.sessions.iter().filter_map(|session| session.purchase.as_ref())
}

fn is_over(session: &v1::MachineSession) -> bool {
    !matches!(session.state(), SessionState::ChooseProduct | SessionState::Processing)
}

/// DESIGN 8.5: sessions of one machine never overlap, and the open one is the machine's.
fn one_holder_at_a_time(pool: &Pool, found: &mut Vec<String>) {
    let mut by_machine: BTreeMap<&str, Vec<&v1::MachineSession>> = BTreeMap::new();
    for session in &pool.sessions {
        by_machine.entry(&session.machine_id).or_default().push(session);
        if is_over(session) != (session.end_time_ms != 0) {
            found.push(format!("an end without an end time, or the other way round: {session:?}"));
        }
    }
    for machine in &pool.machines {
        let id = machine.machine_id.as_str();
        let mut sessions = by_machine.remove(id).unwrap_or_default();
        sessions.sort_by_key(|session| (session.create_time_ms, !is_over(session), session.end_time_ms));
        for pair in sessions.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            if !is_over(first) || first.end_time_ms > second.create_time_ms {
                found.push(format!("machine {id} had two holders at once: {first:?} and {second:?}"));
            }
        }
        let open: Vec<&str> =
            sessions.iter().filter(|s| !is_over(s)).map(|s| s.session_id.as_str()).collect();
        let shown = machine.pool.clone().unwrap_or_default();
        let named: Vec<&str> =
            Some(shown.session_id.as_str()).filter(|id| !id.is_empty()).into_iter().collect();
        if open != named {
            found.push(format!("machine {id} is in {named:?}, its open sessions are {open:?}"));
        }
        if named.is_empty() && matches!(shown.state(), PoolState::ChooseProduct | PoolState::Processing) {
            found.push(format!("machine {id} is {:?} in no session", shown.state()));
        }
    }
    for id in by_machine.keys() {
        found.push(format!("machine {id} has sessions and does not exist"));
    }
}

/// DESIGN 8.5: usage count = completed purchases, those that are kept and those that are not.
fn usage_counts_what_completed(pool: &Pool, found: &mut Vec<String>) {
    let mut completed: BTreeMap<&str, u64> = BTreeMap::new();
    for bought in purchases(pool).filter(|bought| bought.state() == PurchaseState::Completed) {
        *completed.entry(&bought.machine_id).or_default() += 1;
    }
    for gone in &pool.forgotten {
        *completed.entry(&gone.machine_id).or_default() += gone.completed;
    }
    for machine in &pool.machines {
        let usage = machine.pool.as_ref().map_or(0, |shown| shown.usage_count);
        let completed = completed.get(machine.machine_id.as_str()).copied().unwrap_or(0);
        if usage != completed {
            found.push(format!(
                "machine {}: usage {usage}, {completed} purchases completed",
                machine.machine_id
            ));
        }
    }
}

fn sessions_and_purchases_agree(pool: &Pool, found: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for session in &pool.sessions {
        let mut say = |what: &str| found.push(format!("{what}: {session:?}"));
        let Some(bought) = &session.purchase else {
            if matches!(
                session.state(),
                SessionState::Processing | SessionState::Completed | SessionState::Failed
            ) {
                say("a session that bought nothing");
            }
            continue;
        };
        if !names.insert(&bought.purchase_id) {
            say("one purchase in two sessions");
        }
        if (&bought.session_id, &bought.machine_id, &bought.customer_id)
            != (&session.session_id, &session.machine_id, &session.customer_id)
        {
            say("a purchase of another session, machine or customer");
        }
        let (state, failed) = (bought.state(), bought.failure() != v1::PurchaseFailure::Unspecified);
        let is_final = matches!(state, PurchaseState::Completed | PurchaseState::Failed);
        if is_final != (bought.end_time_ms != 0) {
            say("a purchase's end without an end time, or the other way round");
        }
        if failed != matches!(state, PurchaseState::Failed | PurchaseState::Voiding) {
            say("a failed purchase has a reason, another has none");
        }
        let fits = match session.state() {
            SessionState::Processing => !is_final,
            SessionState::Completed => matches!(state, PurchaseState::Completed | PurchaseState::Capturing),
            SessionState::Failed => matches!(state, PurchaseState::Failed | PurchaseState::Voiding),
            SessionState::Reset => true,
            _ => false,
        };
        if !fits {
            say("session and purchase tell two stories");
        }
    }
}

/// Whether a purchase holds, or has consumed, a unit of central stock.
fn has_unit(bought: &v1::Purchase) -> bool {
    !matches!(bought.state(), PurchaseState::Failed | PurchaseState::Voiding)
}

fn on_virtual(pool: &Pool) -> impl Iterator<Item = &v1::Purchase> {
    let sessions = pool.sessions.iter().filter(|session| session.machine_kind() == MachineKind::Virtual);
    sessions.filter_map(|session| session.purchase.as_ref())
}

fn forgotten_on_virtual(pool: &Pool) -> impl Iterator<Item = &Forgotten> {
    let is_virtual = |id: &str| {
        pool.machines.iter().any(|machine| machine.machine_id == id && machine.kind() == MachineKind::Virtual)
    };
    pool.forgotten.iter().filter(move |gone| is_virtual(&gone.machine_id))
}

/// DESIGN 8.3.
fn stock_adds_up(pool: &Pool, found: &mut Vec<String>) {
    let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
    for bought in on_virtual(pool).filter(|bought| has_unit(bought)) {
        *taken.entry(&bought.product_id).or_default() += 1;
    }
    for gone in forgotten_on_virtual(pool) {
        *taken.entry(&gone.product_id).or_default() += i64::try_from(gone.completed).unwrap_or(i64::MAX);
    }
    for product in &pool.products {
        let (id, stock) = (product.product_id.as_str(), product.stock);
        let of = |units: &BTreeMap<String, i64>| units.get(id).copied().unwrap_or(0);
        let (began, ordered) = (of(&pool.initial), of(&pool.ordered));
        let taken = taken.get(id).copied().unwrap_or(0);
        if stock < 0 || stock + ordered + taken != began {
            found.push(format!(
                "product {id}: {stock} in stock, {ordered} ordered, {taken} bought; it began with {began}"
            ));
        }
    }
}

/// Each took one unit, once, and gave it back, once, if nothing came out.
fn purchases_moved_the_unit_they_hold(pool: &Pool, found: &mut Vec<String>) {
    let mut moves: BTreeMap<&str, Vec<(i64, StockChangeCause, &str)>> = BTreeMap::new();
    for event in &pool.events {
        if let Some(Data::Inventory(v1::InventoryEvent { change: Some(Change::Stock(change)) })) = &event.data
            && !change.purchase_id.is_empty()
        {
            let moved = (change.delta, change.cause(), change.product_id.as_str());
            moves.entry(&change.purchase_id).or_default().push(moved);
        }
    }
    for bought in on_virtual(pool) {
        let product = bought.product_id.as_str();
        let mut expected = vec![(-1, StockChangeCause::PurchaseCreated, product)];
        if !has_unit(bought) {
            expected.push((1, StockChangeCause::PurchaseFailed, product));
        }
        let told = moves.remove(bought.purchase_id.as_str()).unwrap_or_default();
        if told != expected {
            found.push(format!("purchase {}: moved {told:?}, not {expected:?}", bought.purchase_id));
        }
    }
    // Events may be kept longer than what they tell of: no more of them than is known to be forgotten.
    let mut room: BTreeMap<&str, u64> = BTreeMap::new();
    for gone in forgotten_on_virtual(pool) {
        *room.entry(&gone.product_id).or_default() += gone.completed;
    }
    for (purchase, told) in moves {
        if let [(-1, StockChangeCause::PurchaseCreated, taken), (1, StockChangeCause::PurchaseFailed, back)] =
            told.as_slice()
            && taken == back
            && !pool.forgotten.is_empty()
        {
            continue;
        }
        let completed = match told.as_slice() {
            [(-1, StockChangeCause::PurchaseCreated, product)] => {
                room.get_mut(product).filter(|left| **left > 0)
            }
            _ => None,
        };
        match completed {
            Some(left) => *left -= 1,
            None => found.push(format!("purchase {purchase} moved {told:?} and is on no virtual machine")),
        }
    }
}

/// Money is taken once for what came out, and not kept for what did not.
fn money_matches(pool: &Pool, found: &mut Vec<String>) {
    for bought in purchases(pool) {
        let required = bought.payment() == PaymentMode::Gateway;
        let right = match bought.state() {
            PurchaseState::Completed if required => bought.payment_status() == PaymentStatus::Captured,
            PurchaseState::Failed => !matches!(
                bought.payment_status(),
                PaymentStatus::Captured | PaymentStatus::Authorised | PaymentStatus::Unknown
            ),
            _ => required || bought.payment_status() == PaymentStatus::NotRequired,
        };
        if !right {
            found.push(format!("state and payment tell two stories: {bought:?}"));
        }
    }
    let Some(charges) = &pool.charges else { return };
    for bought in purchases(pool) {
        let charge = charges.get(&bought.purchase_id).copied().unwrap_or_default();
        let right = match (bought.state(), bought.payment()) {
            (_, PaymentMode::None) => charge == Charge::default(),
            (PurchaseState::Completed, _) => charge == Charge { taken: 1, given_back: 0 },
            (PurchaseState::Failed, _) => charge.taken == charge.given_back,
            // Nothing came out yet for certain, so nothing is taken.
            (PurchaseState::Capturing, _) => charge.taken <= 1 && charge.given_back == 0,
            _ => charge.taken == charge.given_back,
        };
        if !right {
            found.push(format!("the gateway did {charge:?} for {bought:?}"));
        }
    }
    let known: BTreeSet<&str> = purchases(pool).map(|bought| bought.purchase_id.as_str()).collect();
    let mut left: u64 = pool.forgotten.iter().map(|gone| gone.completed).sum();
    for (id, charge) in charges.iter().filter(|(id, _)| !known.contains(id.as_str())) {
        if *charge == (Charge { taken: 1, given_back: 0 }) && left > 0 {
            left -= 1;
        } else {
            found.push(format!("the gateway was asked for money for {id}, which is no purchase"));
        }
    }
}

#[cfg(test)]
mod tests;
