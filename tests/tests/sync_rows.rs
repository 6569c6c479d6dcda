//! Each row of the sync table (DESIGN section 4): a real server in a process of its own, real TLS, and machines with real
//! journals and agents. Rows that the storage engine has a part in run on both.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

#[path = "e2e/exactly_once.rs"]
mod exactly_once;

macro_rules! rows {
    ($($module:ident: $($row:ident),* $(,)?;)*) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $row() {
                    super::$module::$row(vendfleet_tests::fleet::Engine::Sqlite).await;
                }
            )*)*
        }

        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $row() {
                    super::$module::$row(vendfleet_tests::fleet::Engine::Postgres).await;
                }
            )*)*
        }
    };
}

rows! {
    exactly_once:
        a_lost_reply_is_not_a_second_sale;
}
