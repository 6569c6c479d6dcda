//! Each row of the sync table (DESIGN section 4): a real server in a process of its own, real TLS, and machines with real
//! journals and agents. Rows that the storage engine has a part in run on both.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

#[path = "e2e/boards.rs"]
mod boards;
#[path = "e2e/commands.rs"]
mod commands;
#[path = "e2e/configs.rs"]
mod configs;
#[path = "e2e/dead_letters.rs"]
mod dead_letters;
#[path = "e2e/desk.rs"]
mod desk;
#[path = "e2e/doors.rs"]
mod doors;
#[path = "e2e/exactly_once.rs"]
mod exactly_once;
#[path = "e2e/forks.rs"]
mod forks;
#[path = "e2e/gaps.rs"]
mod gaps;
#[path = "e2e/greedy.rs"]
mod greedy;
#[path = "e2e/purchases.rs"]
mod purchases;
#[path = "e2e/races.rs"]
mod races;
#[path = "e2e/restored.rs"]
mod restored;
#[path = "e2e/storm.rs"]
mod storm;

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

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_command_sent_at_another_replica_reaches_its_device() {
                super::commands::a_command_sent_at_another_replica_reaches_its_device().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_purchase_at_another_replica_reaches_its_machine() {
                super::purchases::a_purchase_at_another_replica_reaches_its_machine().await;
            }
        }
    };
}

rows! {
    boards:
        a_lost_journal_opens_an_epoch_and_shows_the_step,
        a_swapped_board_is_the_same_machine_and_the_old_one_only_uploads,
        a_revoked_machine_drains_into_quarantine_and_is_then_refused,
        a_hard_revocation_names_what_is_known_unsent;
    commands:
        a_command_reaches_its_device_by_a_hint_and_its_result_comes_back,
        a_lost_reply_hands_the_command_out_again_and_it_is_carried_out_once,
        a_command_that_is_never_fetched_expires_and_never_travels,
        a_repeated_request_sends_one_command,
        a_device_with_another_journal_is_not_told_what_the_old_one_was_to_do,
        a_restart_between_two_syncs_changes_nothing_for_a_command_of_any_boot,
        clones_get_no_commands_and_nobody_can_send_them_any,
        what_can_not_be_commanded_is_refused_by_name,
        a_device_is_connected_while_its_stream_is_open;
    configs:
        a_price_change_waits_for_the_sale_in_hand_and_shows_in_the_next,
        a_config_the_machine_cannot_take_is_refused_by_name_and_the_old_one_stays;
    dead_letters:
        a_bad_record_spoils_nothing_but_itself,
        what_a_newer_server_can_read_counts_once_redriven,
        counters_that_disagree_name_the_first_record_where_they_part;
    doors:
        a_lost_reply_to_enroll_kills_no_machine,
        a_client_certificate_stands_for_the_secret,
        a_wrong_secret_opens_nothing,
        rubbish_in_a_sync_names_field_and_rule_and_stores_nothing,
        rubbish_in_an_enroll_names_field_and_rule_and_uses_no_token_up;
    exactly_once:
        a_lost_a_doubled_and_a_changed_record_are_each_seen_by_the_checker,
        a_lost_reply_is_not_a_second_sale,
        a_repeated_batch_and_an_overlapping_one_get_their_answer_and_nothing_twice,
        a_request_that_never_arrived_is_sent_again,
        a_power_cut_anywhere_loses_nothing_and_uses_no_number_twice;
    forks:
        a_journal_restored_from_an_old_image_forks_and_goes_on,
        a_branch_that_an_operator_adopts_counts,
        a_lost_tail_opens_a_new_epoch_and_changes_nothing_else,
        clones_are_told_nothing_and_what_they_say_is_kept_apart,
        a_split_heals_both_clones;
    gaps:
        a_gap_is_filled_by_resend,
        a_server_that_never_heard_of_the_past_takes_all_that_is_held,
        what_the_device_no_longer_holds_is_a_named_gap,
        one_device_ahead_of_the_server_is_healed_alone_with_an_alert,
        a_gap_that_nobody_can_fill_is_named_and_the_queue_goes_on;
    greedy:
        dead_letters_above_a_machines_budget_are_not_taken,
        journals_above_a_machines_budget_are_not_opened,
        forks_above_a_machines_room_for_branches_wait_for_an_operator,
        a_long_backlog_of_an_honest_machine_is_no_greed;
    purchases:
        a_remote_purchase_is_dispensed_once_and_completes,
        a_machine_is_free_once_its_vend_is_told_though_the_money_is_still_to_be_taken,
        a_lost_reply_leaves_a_doubt_that_the_next_sync_ends_with_one_vend,
        a_person_who_uses_the_machine_goes_first,
        the_last_unit_goes_to_whoever_stands_there_and_the_purchase_is_given_back,
        a_command_that_nobody_fetches_lapses_and_the_unit_is_free_again,
        a_restart_before_the_command_arrived_gives_the_purchase_back,
        a_power_cut_at_the_motor_stays_in_doubt_until_a_person_says,
        a_vend_that_comes_after_a_reset_is_a_sale_with_an_alert,
        what_was_reset_before_the_machine_heard_of_it_is_recalled,
        a_lost_journal_leaves_the_doubt_to_a_person,
        a_draining_board_spoils_no_purchase_on_the_one_that_took_its_place;
    restored:
        what_was_dispensed_before_a_restore_is_not_dispensed_again;
    races:
        a_reset_that_races_the_hand_out_gives_back_or_dispenses_and_never_both,
        a_reset_that_races_the_result_counts_the_sale_once,
        a_server_killed_with_a_command_handed_out_dispenses_it_once,
        a_command_that_was_out_when_its_machine_was_cloned_is_carried_out_once_after_the_split,
        a_doubt_that_was_resolved_while_its_machine_was_cloned_is_recalled_after_the_split,
        a_choice_on_a_machine_that_was_cloned_meanwhile_is_refused_and_takes_nothing,
        a_choice_of_a_product_that_was_archived_meanwhile_is_refused_and_takes_nothing;
    storm:
        a_server_killed_again_and_again_loses_and_doubles_nothing,
        a_server_put_back_from_an_older_copy_is_told_again;
}
