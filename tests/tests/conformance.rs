//! What the store promises, each promise one function, each run on both engines.
//!
//! A promise is a function over a [`stage::Stage`]: a fresh, migrated database of either engine. The list below runs it as
//! `sqlite::...` and `postgres::...`; without a PostgreSQL the second fails and says what to do.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock and make ids of their own")]

#[path = "conformance/alerts.rs"]
mod alerts;
#[path = "conformance/chain.rs"]
mod chain;
#[path = "conformance/concurrency.rs"]
mod concurrency;
#[path = "conformance/events.rs"]
mod events;
#[path = "conformance/failures.rs"]
mod failures;
#[path = "conformance/forgetting.rs"]
mod forgetting;
#[path = "conformance/leases.rs"]
mod leases;
#[path = "conformance/orders.rs"]
mod orders;
#[path = "conformance/pool.rs"]
mod pool;
#[path = "conformance/records.rs"]
mod records;
#[path = "conformance/retention.rs"]
mod retention;
#[path = "conformance/schema.rs"]
mod schema;
#[path = "conformance/shop.rs"]
mod shop;
#[path = "conformance/stage.rs"]
mod stage;
#[path = "conformance/told.rs"]
mod told;
#[path = "conformance/views.rs"]
mod views;

macro_rules! promises {
    ($($module:ident: $($promise:ident),* $(,)?;)*) => {
        mod sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$module::$promise(&super::stage::Stage::sqlite().await).await;
                }
            )*)*
        }

        mod postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$module::$promise(&super::stage::Stage::postgres().await).await;
                }
            )*)*
        }
    };
}

promises! {
    pool:
        sessions_and_purchases_read_back_as_they_were_written,
        a_request_id_begins_one_session_and_its_rival_leaves_nothing,
        a_due_purchase_goes_to_one_worker,
        held_candidates_are_passed_by_and_then_waited_for,
        a_reservation_never_falls_below_zero;
    views:
        a_view_reads_back_as_it_was_written,
        a_machine_that_does_not_exist_is_left_out,
        an_echoed_verdict_is_gone,
        a_branch_keeps_what_an_operator_did_with_it,
        an_open_alert_is_counted_up_and_one_that_is_over_is_raised_anew,
        an_assignment_knows_what_the_machine_did_with_it,
        the_machine_row_remembers_what_the_device_said_it_holds;
    records:
        records_are_kept_byte_for_byte,
        a_large_batch_is_written_whole,
        a_transaction_counts_once_and_its_batch_leaves_nothing,
        what_counts_already_is_loaded_when_asked_for,
        the_hashes_that_an_overlap_needs_are_loaded,
        dead_letters_and_gaps_have_the_ids_that_can_be_derived,
        a_number_beyond_63_bits_is_refused_and_nothing_is_written;
    concurrency:
        two_batches_on_one_machine_follow_each_other,
        batches_in_opposite_order_never_deadlock,
        a_batch_waits_for_the_machines_it_shares_only,
        a_lost_race_is_typed_counted_and_tried_again,
        stock_is_never_oversold;
    failures:
        a_caller_that_goes_away_leaves_no_open_transaction,
        a_batch_that_is_dropped_leaves_nothing,
        a_refusal_leaves_nothing_behind,
        a_panic_in_a_write_leaves_nothing_and_the_store_works_on,
        a_killed_connection_loses_its_batch_and_no_other,
        connections_that_died_while_idle_are_replaced, a_transaction_that_the_engine_ended_costs_no_other_call,
        a_full_disk_is_told_as_one_and_heals_with_its_room, sessions_that_turned_read_only_are_not_used_again,
        stock_below_zero_is_refused_by_the_database,
        taken_keys_are_told_apart;
    events:
        positions_follow_commits_and_leave_no_hole_behind_a_reader,
        a_batch_that_fails_gives_its_positions_back,
        events_of_a_batch_keep_their_order,
        trimmed_events_are_said_to_be_gone;
    orders:
        an_order_reads_back_as_it_was_decided,
        a_batch_of_orders_is_whole_or_nothing,
        a_key_makes_one_order_however_many_use_it_at_once,
        opposite_orders_and_adjustments_never_deadlock,
        an_order_is_claimed_by_one_worker,
        a_lease_that_is_over_is_claimed_anew_with_a_higher_fence,
        a_steady_stream_of_new_orders_keeps_no_old_one_waiting,
        what_is_given_back_fits_above_the_limit_of_adjustments,
        a_claim_and_a_cancel_can_not_both_win,
        a_fact_is_noted_once,
        orders_are_listed_by_their_filter_in_pages;
    alerts:
        a_batch_tells_of_alerts_that_begin_or_end_and_of_no_other,
        causes_that_a_machine_makes_up_are_some_alerts_and_one_that_counts_the_rest,
        what_people_do_with_an_alert_is_told_once;
    leases:
        a_lease_has_one_holder_and_its_state_is_handed_on,
        a_lease_that_is_over_is_taken_by_one_of_many;
    told:
        a_hand_out_does_to_a_purchase_what_the_domain_says,
        a_machines_word_does_to_a_purchase_what_the_domain_says;
    retention:
        old_records_go_and_marks_stay,
        a_sweep_is_made_of_bounded_steps,
        a_record_with_an_open_dead_letter_stays;
    forgetting:
        a_session_that_is_over_goes_with_all_that_is_its_own,
        what_something_unfinished_refers_to_stays,
        sessions_go_oldest_first_in_bounded_steps_and_around_what_stays,
        sweeps_at_once_forget_and_count_each_once,
        commands_of_operators_go_when_they_are_over_and_old,
        a_late_vend_of_a_forgotten_purchase_is_a_sale;
    schema:
        migrating_twice_or_at_once_is_migrating_once,
        a_database_of_a_newer_server_is_refused,
        the_incarnation_lasts_until_it_is_renewed,
        the_store_answers_a_ping_until_it_is_closed;
}
