"""The ninety bugs that must not return: for each the test that fails when it does, or the decision
that makes it impossible. A name that is no test any more fails here.
"""

import importlib

import pytest

ONE_OWNER = "only the session's actor has its record; a read is an immutable snapshot"
NO_LOCKS = "there are no locks: operations are messages to one mailbox"
ONE_PROCESS = "one process owns the directory (`greenroom.lock`), one writer its journal"
NO_SECOND = "the record is the only source: backups and snapshots are never read back"

A, B, C = "contract.test_01_accepted_means_durable", "contract.test_02_whole_snapshots", "contract."
DURABLE, SNAPSHOTS, DEBRIS = A, B, C + "test_03_no_temp_debris"
CHECKPOINT, SINGLE = C + "test_04_checkpoint_law", C + "test_05_single_turn"
TERMINAL, CANCEL = C + "test_06_exactly_one_terminal_event", C + "test_07_cancel_keeps_work"
STALE, ERRORS = C + "test_08_stale_results_are_inert", C + "test_09_errors_keep_the_prompt"
OPERATIONS, RESTART = C + "test_10_operations_during_a_turn", C + "test_11_restart_repair"
INDEX, ROTATION = C + "test_12_index_is_a_projection", C + "test_13_rotation"
TITLES, ALGEBRA = C + "test_14_title_law", C + "test_15_operation_algebra"
REFERENCE, SIDE, WAITING = (
    C + "test_reference_directories",
    C + "test_side_streams",
    C + "test_waiting",
)

PROMPT_KEPT = f"{DURABLE}.test_a_prompt_is_there_exactly_once_also_if_it_was_said_before"
MENDED = f"{RESTART}.test_what_was_interrupted_is_mended_once_and_nothing_else_is_touched"
STOPS = f"{OPERATIONS}.test_it_stops_the_turn_and_is_not_reverted"
LISTED = f"{INDEX}.test_after_any_operations_and_crashes_the_list_says_what_the_files_say"
STOPPED_KEPT = f"{CANCEL}.test_what_was_shown_stays_and_the_next_start_is_accepted_at_once"
STOPPED_MUTE = f"{STALE}.test_words_of_a_stopped_turn_reach_nobody"
FAILED_KEPT = f"{ERRORS}.test_a_failure_after_whatever_was_shown_keeps_it"
ENDS_ONCE = f"{TERMINAL}.test_however_a_turn_ends_its_stream_ends_once"
ROTATED = (
    f"{ROTATION}.test_on_request_the_session_goes_on_under_a_new_id_and_the_old_one_leads_there"
)
HALF_ROTATED = (
    f"{ROTATION}.test_a_crash_in_mid_rotation_or_in_mid_delete_leaves_one_session_or_none"
)
FOREIGN = f"{REFERENCE}.test_each_change_leaves_all_else_in_the_record_as_it_was"
RACED = f"{WAITING}.test_queued_messages_are_seen_everywhere_and_have_their_turns_in_order"

# Number in the list of bugs -> a test's name under `tests`, or a decision.
BUGS: dict[int, str] = {
    1: PROMPT_KEPT,
    2: f"{CHECKPOINT}.test_one_increment_is_saved_once_and_the_index_left_alone",
    3: f"{DEBRIS}.test_concurrent_saves_never_fail_and_leave_nothing_behind",
    4: f"{SNAPSHOTS}.test_every_image_on_disk_is_one_committed_state",
    5: NO_LOCKS,
    6: NO_LOCKS,
    7: NO_LOCKS,
    8: NO_LOCKS,
    9: STOPPED_KEPT,
    10: f"{ROTATION}.test_near_the_models_limit_a_turn_begins_with_a_summary_under_a_new_id",
    11: ROTATED,
    12: f"{ALGEBRA}.test_many_at_once_do_what_as_many_in_turn_do",
    13: RACED,
    14: f"{INDEX}.test_pinned_rows_come_first_empty_ones_hide_and_pages_fit_together",
    15: LISTED,
    16: STOPPED_KEPT,
    17: STOPPED_KEPT,
    18: ROTATED,
    19: PROMPT_KEPT,
    20: MENDED,
    21: MENDED,
    22: ONE_OWNER,
    23: f"{INDEX}.test_an_index_that_is_lost_or_damaged_is_made_anew",
    24: f"{SINGLE}.test_one_start_wins_and_nothing_is_left_of_the_others",
    25: f"{TERMINAL}.test_sigterm_gives_a_turn_a_moment_and_ends_the_streams_of_all",
    26: ENDS_ONCE,
    27: f"{RESTART}.test_a_crash_after_a_turn_had_ended_and_before_its_stream_had_adds_no_marker",
    28: "the page shows the answer to its latest question for the list, and no other",
    29: MENDED,
    30: f"{ERRORS}.test_a_provider_that_refuses_is_told_of_once_and_never_to_a_model",
    31: MENDED,
    32: "session.test_state.test_the_latest_usage_stands_and_silence_changes_nothing",
    33: f"{TITLES}.test_the_model_names_the_session_after_done_and_before_the_end",
    34: "there are no goal turns; what a turn has to say is in its feed before it ends",
    35: f"{SIDE}.test_the_session_hears_of_a_turn_that_another_tab_began_and_of_its_end",
    36: STOPPED_MUTE,
    37: f"{CANCEL}.test_a_cancel_that_crosses_completion_wins_or_changes_nothing",
    38: f"{STALE}.test_an_end_that_crosses_its_successor_is_the_turns_own_or_nobodys",
    39: LISTED,
    40: HALF_ROTATED,
    41: ROTATED,
    42: ROTATED,
    43: f"{ERRORS}.test_a_failure_after_whatever_was_shown_keeps_it",
    44: ONE_OWNER,
    45: f"{SIDE}.test_what_happened_before_it_listened_is_told_first",
    46: f"{RESTART}.test_a_repair_moves_no_session_in_the_list",
    47: MENDED,
    48: MENDED,
    49: ONE_PROCESS + ": at its start no turn can be alive, and none is called dead later",
    50: MENDED,
    51: f"{RESTART}.test_the_same_prompt_interrupted_again_and_again_is_there_as_often",
    52: STOPS,
    53: RACED,
    54: f"{ROTATION}.test_every_id_of_a_long_chain_leads_to_the_session_also_after_a_restart",
    55: ROTATED,
    56: ONE_OWNER,
    57: NO_LOCKS,
    58: f"{WAITING}.test_interrupt_keeps_what_was_shown_and_goes_on_with_the_new_message",
    59: MENDED,
    60: ONE_OWNER + ", and " + ONE_PROCESS,
    61: f"{RESTART}.test_the_same_prompt_interrupted_again_and_again_is_there_as_often",
    62: FAILED_KEPT,
    63: f"{SNAPSHOTS}.test_every_image_on_disk_is_one_committed_state",
    64: f"{ERRORS}.test_a_prompt_that_failed_is_asked_again_once",
    65: f"{OPERATIONS}.test_it_applies_at_once_in_every_phase_and_is_not_reverted",
    66: "session.test_actor.test_a_shell_in_which_nothing_was_said_goes_after_half_an_hour",
    67: NO_SECOND,
    68: LISTED,
    69: "the list's actor makes the list anew itself: no second rebuild can register",
    70: f"{TERMINAL}.test_after_a_kill_each_stream_has_the_one_end_that_it_lacked",
    71: STOPS,
    72: f"{ROTATION}.test_undo_and_clear_after_a_compression_leave_nothing_of_it_behind",
    73: "the page empties the composer only when the start was answered with success",
    74: "session.test_faults.test_a_disk_that_fills_during_an_answer_ends_it_and_loses_nothing",
    75: PROMPT_KEPT,
    76: f"{ROTATION}.test_what_changes_the_transcript_meanwhile_wins_over_the_compression",
    77: f"{STALE}.test_an_end_that_crosses_its_successor_is_the_turns_own_or_nobodys",
    78: "session.test_state.test_an_answer_is_made_again_only_for_the_transcript_that_was_meant",
    79: FOREIGN,
    80: MENDED,
    81: ONE_PROCESS,
    82: ENDS_ONCE,
    83: STOPS,
    84: STOPS,
    85: STOPS,
    86: ONE_OWNER,
    87: f"{SIDE}.test_a_question_by_the_way_leaves_no_trace",
    88: f"{CANCEL}.test_a_cancel_may_come_before_the_provider_was_asked",
    89: ENDS_ONCE,
    90: "projects.test_projects.test_of_a_hundred_projects_made_at_once_none_is_lost",
}


def test_every_bug_of_the_list_is_in_the_table():
    assert sorted(BUGS) == list(range(1, 91))


@pytest.mark.parametrize("number", BUGS)
def test_what_stands_against_it_is_there(number):
    answer = BUGS[number]
    module, _, name = answer.rpartition(".test_")
    if " " in answer:
        return  # a decision, said in words
    assert callable(getattr(importlib.import_module(f"tests.{module}"), f"test_{name}"))
