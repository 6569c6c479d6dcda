//! Who may do what only one replica may do, and how far it is.

use crate::stage::Stage;
use server::store::Store;
use server::store::leases::{Lease, advance, release, state, take};
use tokio::task::JoinSet;

const NAME: &str = "test";
const LONG_MS: i64 = 3_600_000;

async fn taken(store: &Store, holder: &str, lease_ms: i64) -> Option<Lease> {
    take(store, NAME, holder, lease_ms).await.unwrap()
}

pub(crate) async fn a_lease_has_one_holder_and_its_state_is_handed_on(stage: &Stage) {
    let store = &stage.store;
    let mut session = store.read().await.unwrap();
    assert_eq!(state(&mut session, NAME).await.unwrap(), "");
    let first = taken(store, "a", LONG_MS).await.unwrap();
    assert_eq!(first, Lease { fence: 1, state: String::new() });
    assert!(taken(store, "b", LONG_MS).await.is_none());
    assert!(taken(store, "a", LONG_MS).await.is_none(), "a name is no proof of being the same process");

    assert!(advance(store, NAME, first.fence, "at 7", LONG_MS).await.unwrap());
    release(store, NAME, first.fence).await.unwrap();
    let second = taken(store, "b", LONG_MS).await.unwrap();
    assert_eq!(second, Lease { fence: 2, state: "at 7".to_owned() });

    assert!(
        !advance(store, NAME, first.fence, "at 6", LONG_MS).await.unwrap(),
        "a lost lease writes nothing"
    );
    release(store, NAME, first.fence).await.unwrap();
    assert!(taken(store, "c", LONG_MS).await.is_none(), "nor does it give away another's");
    assert_eq!(state(&mut session, NAME).await.unwrap(), "at 7");
}

pub(crate) async fn a_lease_that_is_over_is_taken_by_one_of_many(stage: &Stage) {
    let store = &stage.store;
    let stale = taken(store, "dead", 0).await.unwrap();
    let mut heirs = JoinSet::new();
    for n in 0..8 {
        let store = store.clone();
        heirs.spawn(async move { taken(&store, &format!("heir {n}"), LONG_MS).await });
    }
    let won: Vec<Lease> = heirs.join_all().await.into_iter().flatten().collect();
    assert_eq!(won, [Lease { fence: stale.fence + 1, state: String::new() }]);
    assert!(!advance(store, NAME, stale.fence, "late", LONG_MS).await.unwrap());
}
