//! Orders, from outside: real servers in processes of their own, real TLS, a gateway with books of its own, and after each
//! test the checker of invariants 3 and 4 (DESIGN section 8). What the storage engine has a part in runs on both.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

#[path = "orders/asking.rs"]
mod asking;
#[path = "orders/keys.rs"]
mod keys;
#[path = "orders/killed.rs"]
mod killed;
#[path = "orders/patience.rs"]
mod patience;
#[path = "orders/paying.rs"]
mod paying;
#[path = "orders/racing.rs"]
mod racing;
#[path = "orders/replicas.rs"]
mod replicas;
#[path = "orders/telling.rs"]
mod telling;

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

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed_between_answer_and_commit_it_asks_again_and_charges_once() {
                super::killed::killed_between_answer_and_commit_it_asks_again_and_charges_once(
                    vendfleet_tests::fleet::Engine::Postgres,
                )
                .await;
            }
        }
    };
}

promises! {
    asking:
        what_cannot_be_ordered_is_refused_by_name_and_takes_nothing,
        rubbish_in_an_order_names_field_and_rule,
        a_hundred_lines_and_the_dearest_order_there_can_be,
        a_customer_sees_its_own_orders_and_no_other,
        pages_are_newest_first_and_bound_to_their_filter,
        what_the_customer_was_shown_is_what_it_pays,
        a_customer_has_only_so_many_open_orders_and_holds_only_so_much;
    keys:
        the_same_key_with_other_lines_is_refused_and_what_it_made_stands,
        lines_are_merged_before_anything_else,
        a_refusal_leaves_no_key_behind,
        a_key_is_its_customers_own,
        a_repeat_gives_the_order_as_it_is_now_at_the_price_it_had;
    racing:
        fifty_callers_race_for_the_last_unit_and_one_has_it,
        a_thousand_callers_on_the_last_unit_are_told_at_once,
        fifty_callers_with_one_key_have_one_order,
        five_cancels_at_once_give_stock_back_once,
        a_mixed_crowd_leaves_books_that_add_up,
        callers_that_go_away_leave_one_order_or_none_per_key;
    telling:
        who_watches_misses_nothing_between_two_streams,
        who_follows_the_events_of_a_busy_server_is_told_all_of_them_in_order,
        a_cursor_that_leads_nowhere_says_so,
        the_checker_sees_what_does_not_add_up;
    paying:
        an_order_with_nothing_to_pay_is_paid_and_no_gateway_hears_of_it,
        an_order_is_paid_once_or_fails_and_gives_its_stock_back,
        a_lost_answer_is_asked_for_again_and_charged_once,
        an_order_without_a_definite_answer_is_listed_and_settles_by_a_query,
        a_late_webhook_settles_an_unsettled_order_once,
        an_operator_redrives_what_was_set_aside,
        money_that_comes_after_an_order_failed_is_given_back,
        a_gateway_that_contradicts_itself_moves_nothing_and_alerts,
        a_webhook_nobody_signed_is_not_believed,
        a_gateway_that_is_down_is_left_alone_and_orders_can_be_cancelled,
        a_breaker_lets_one_try_through_and_then_all,
        a_cancel_and_a_worker_race_and_one_of_them_has_it,
        one_customers_slow_payments_keep_nobody_waiting;
    killed:
        killed_before_the_gateway_is_asked_it_asks_once_it_is_back,
        killed_while_the_gateway_is_asked_it_asks_again_and_charges_once,
        killed_after_the_commit_it_asks_nobody_again,
        killed_again_and_again_each_caller_has_one_order_and_pays_once;
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
    two_and_three_replicas_sell_the_last_unit_once,
    a_mixed_crowd_at_three_replicas_with_lanes_leaves_books_that_add_up,
    one_key_at_three_replicas_is_one_order,
    three_replicas_have_every_order_paid_once,
    what_a_killed_replica_had_in_hand_another_finishes,
    a_replica_frozen_past_its_lease_wakes_up_and_changes_nothing,
    nothing_is_lost_or_paid_twice_when_everything_goes_wrong_at_once,
    a_replica_killed_mid_commit_leaves_each_caller_one_order_per_key,
    a_database_restarted_under_load_costs_time_and_nothing_else,
}
