//! Remote purchases, from outside: real servers in processes of their own, real TLS, a gateway with books of its own, and after
//! each test the checker of invariants 3 and 5 (DESIGN section 8). What the storage engine has a part in runs on both.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

#[path = "pool/holding.rs"]
mod holding;
#[path = "pool/killed.rs"]
mod killed;
#[path = "pool/lost.rs"]
mod lost;
#[path = "pool/replicas.rs"]
mod replicas;
#[path = "pool/resetting.rs"]
mod resetting;
#[path = "pool/unsettled.rs"]
mod unsettled;

macro_rules! promises {
    ($($module:ident: $($promise:ident),* $(,)?;)*) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$module::$promise(vendfleet_tests::fleet::Engine::Sqlite).await;
                }
            )*)*
        }

        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$module::$promise(vendfleet_tests::fleet::Engine::Postgres).await;
                }
            )*)*
        }
    };
}

promises! {
    holding:
        a_lease_that_is_over_frees_the_machine_and_the_late_choice_is_refused,
        a_machine_archived_before_anybody_noted_the_end_of_its_lease_leaves_no_session_open,
        a_caller_that_timed_out_and_asks_again_has_the_same_session,
        a_choice_whose_answer_was_lost_buys_once,
        where_machines_stand_is_in_the_metrics,
        usage_stays_fair,
        a_machine_that_keeps_failing_rests_and_comes_back,
        who_waits_is_served_in_order_and_told_when_the_wait_is_over,
        who_waits_at_a_server_that_drains_is_told_at_once;
    lost:
        a_lost_authorisation_is_let_go_and_nothing_comes_out,
        a_lost_capture_is_asked_again_and_taken_once,
        a_gateway_that_is_down_does_not_hold_the_machine,
        a_declined_purchase_gives_its_unit_back;
    unsettled:
        the_first_pause_is_the_configured_one_whatever_came_before,
        money_that_can_not_be_settled_is_an_alert_until_it_is,
        a_gateway_that_contradicts_itself_is_shown_to_a_person,
        a_webhook_about_a_purchase_has_the_gateway_asked_at_once;
    resetting:
        a_reset_ends_each_state,
        while_money_is_settled_there_is_no_session_to_reset_and_it_is_settled_all_the_same,
        a_late_job_of_a_reset_session_neither_completes_nor_counts,
        an_operators_words_are_kept_and_what_follows_carries_the_trace,
        resets_race_jobs_and_the_books_add_up;
    killed:
        killed_before_the_money_is_asked_for_it_is_asked_for_once_it_is_back,
        killed_while_the_money_is_asked_for_it_asks_again_and_holds_it_once,
        killed_while_the_machine_dispenses_it_completes_once,
        killed_while_the_money_is_taken_it_is_taken_once,
        killed_while_the_money_is_let_go_none_is_kept,
        killed_after_the_end_nobody_is_asked_again,
        killed_again_and_again_every_unit_and_cent_is_accounted_for;
}

/// Several replicas share a PostgreSQL database.
macro_rules! together {
    ($($promise:ident),* $(,)?) => {
        mod replicated {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::replicas::$promise().await;
                }
            )*
        }
    };
}

together! {
    two_replicas_never_give_one_machine_to_two_customers,
    what_a_killed_replica_had_in_hand_another_finishes,
    a_replica_frozen_past_its_claim_wakes_up_and_changes_nothing,
    who_waits_for_a_machine_that_another_replica_holds_keeps_nobody_else_waiting,
    a_choice_that_waits_for_another_replica_keeps_no_start_waiting,
}
