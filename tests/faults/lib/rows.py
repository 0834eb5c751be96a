"""The lists of bad inputs and the figures of the project's plan for reliability, row by row: which test shows it.

A test is "file::name" of tests/program (all its parameters) or "file::name[parameter]", "unit NAME" of meson's, or a pass of tests/faults or
tests/fuzz, whose outcome stands in its own section. `tests/faults/run --only rows` runs those of tests/program."""
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from lib import results
from lib.world import SANITIZED, TREE

BAD, PICK, SMTPD, FORMS, ENDS = ("test_bad_inputs", "test_pickup", "test_smtpd", "test_web_forms", "test_web_endpoints")
GO = f"{PICK}::test_a_bad_file_goes_to_badmail_and_the_next_one_is_delivered"
HONEST = f"{BAD}::test_odd_but_honest_files_arrive_as_one_message_with_lines_that_fit"
NO = f"{BAD}::test_files_that_can_be_no_message_go_to_badmail_whole"
BADC = f"{SMTPD}::test_bad_clients_get_their_replies_and_nothing_comes_of_it"
ORDER = f"{BAD}::test_commands_out_of_order_and_odd_ones_get_their_code"
CONF = f"{BAD}::test_check_and_run_agree_about_a_bad_config"
VALUES = f"{FORMS}::test_what_a_visitor_types_is_never_a_header_or_an_address"
RULES = f"{FORMS}::test_requests_that_bend_the_rules_are_refused_and_send_nothing"

LISTS = {
    "Pickup, 25 bad inputs": [
        ("0 bytes", [GO + "[empty]"]),
        ("a writer that sleeps in the middle", [f"{PICK}::test_pitfall_46_a_file_open_for_writing_is_not_taken"]),
        ("a header only, no blank line, no last line end", [HONEST + "[headers_only]"]),
        ("a symbolic link to a secret", [f"{PICK}::test_pitfall_47_what_is_no_plain_file_is_refused_or_left"]),
        ("a hard link to another's file", [f"{PICK}::test_pitfall_47_what_is_no_plain_file_is_refused_or_left"]),
        ("a FIFO, a socket, a device", [f"{PICK}::test_pitfall_47_what_is_no_plain_file_is_refused_or_left"]),
        ("a folder that is named as a file", [f"{PICK}::test_pitfall_47_what_is_no_plain_file_is_refused_or_left"]),
        ("a good file and a link, exchanged over and over", [
            f"{BAD}::test_a_file_that_becomes_a_link_and_back_shows_nothing_of_what_it_leads_to"]),
        ("names with line ends, ESC, %n, 255 octets", [f"{PICK}::test_pitfall_49_hostile_names_forge_nothing"]),
        ("no recipient anywhere", [GO + "[no_recipient]"]),
        ("no From and no X-Sender", [GO + "[no_sender]"]),
        ("a receiver with a line end in it, folded variants", [NO]),
        ("three good recipients and a malformed one", [f"{PICK}::test_good_recipients_among_bad_ones_are_delivered"]),
        ("more recipients than allowed", [GO + "[fifty_thousand_recipients]"]),
        ("an octet over the limit; a sparse terabyte", [
            NO + "[one_octet_too_many]", f"{BAD}::test_a_sparse_file_of_a_terabyte_is_refused_unread"]),
        ("a header line of 100 MB; a million fields", [GO + "[header_of_100_megabytes]", GO + "[header_of_a_million_fields]"]),
        ("a body line of a megabyte; 10,000 levels; 100,000 parts", [HONEST + "[a_body_line_of_a_megabyte]", HONEST + "[ten_thousand_levels]",
                                                                   HONEST + "[a_hundred_thousand_parts]"]),
        ("dots at the begin of lines", [HONEST + "[dots]"]),
        ("a second message behind false ends; bare CR", [HONEST + "[a_second_message_behind_false_ends]"]),
        ("NUL in the header; in the body", [GO + "[nul_in_header]", f"{BAD}::test_a_nul_in_a_body_cuts_nothing_off"]),
        ("a UTF-8 address where nobody speaks SMTPUTF8", [f"{BAD}::test_an_address_that_needs_smtputf8_bounces_where_nobody_speaks_it"]),
        ("a file that may not be read, then may", [f"{PICK}::test_unreadable_files_stay_and_are_told_once"]),
        ("Pickup can't be changed: nothing is sent", [f"{BAD}::test_what_cannot_be_removed_from_pickup_is_not_sent"]),
        ("many files while it is stopped; a name used again", [f"{PICK}::test_pitfall_46_files_found_at_the_start_and_after_an_overflow",
                                                             f"{PICK}::test_a_reused_name_is_a_new_message"]),
        ("101 hops; two messages in one file; a file of 1970 or 2106", [
            f"{PICK}::test_pitfall_34_too_many_hops_is_a_loop", "test_writers::test_django_s_filebased_backend_is_refused_by_name",
            f"{BAD}::test_a_file_of_any_age_is_taken_at_once"]),
    ],
    "SMTP, 15 bad inputs": [
        ("false ends of content, cut anywhere", [f"{BAD}::test_no_false_end_of_content_begins_a_second_message_wherever_it_is_cut"]),
        ("commands behind STARTTLS in one segment", ["unit smtpd-server"]),
        ("commands out of order", [ORDER]),
        ("a line without end", [BADC + "[sends_a_megabyte_without_an_end]"]),
        ("BDAT of 2^64, of -1, without an envelope", [BADC + "[sends_a_chunk_of_2_to_the_64]", BADC + "[sends_a_negative_chunk]",
                                                       BADC + "[sends_a_chunk_without_an_envelope]",
                                                       f"{BAD}::test_a_chunk_that_is_refused_leaves_no_half_message"]),
        ("recipients without end", [f"{SMTPD}::test_messages_and_recipients_are_limited", BADC + "[talks_nonsense_without_end]"]),
        ("forms of relaying", [BADC + "[relays_from_outside]", BADC + "[names_a_route]", BADC + "[hides_a_domain_behind_a_percent]"]),
        ("addresses for a shell", ["unit smtpd-server", "unit sandbox-sandbox"]),
        ("NUL and line ends in arguments", [BADC + "[is_binary]", BADC + "[hides_a_line_end_in_xtext]"]),
        ("AUTH in the clear, no base64, guessing", [BADC + "[tries_a_password_in_the_clear]", BADC + "[sends_what_is_no_base64]",
                                                     f"{SMTPD}::test_passwords_are_not_guessed"]),
        ("a UTF-8 address without SMTPUTF8", ["unit smtpd-server"]),
        ("an octet every 30 s; a handshake that stalls", [f"{SMTPD}::test_slow_clients_are_told_so",
                                                           f"{SMTPD}::test_tls_garbage_and_half_a_handshake_hold_up_nobody"]),
        ("a client that goes at any octet", [f"{BAD}::test_a_client_that_goes_at_any_octet_leaves_a_whole_message_or_none"]),
        ("HTTP, a TLS hello, a PROXY line that is not wanted", [BADC + "[posts_a_form]", f"{SMTPD}::test_xclient_and_proxy_tell_the_real_client"]),
        ("SIZE that lies; long lines", [BADC + "[lies_about_the_size]", BADC + "[sends_more_than_it_said]", BADC + "[sends_a_long_line]"]),
    ],
    "Forms, 15 bad inputs": [
        ("line ends in a value", [VALUES]),
        ("line ends in a field's name", [VALUES]),
        ("recipients that are posted", [VALUES]),
        ("a redirect to elsewhere", [f"{ENDS}::test_plain_html_is_sent_once_and_thanked_on_the_own_site"]),
        ("markup in every field", [
            f"{FORMS}::test_a_confirmation_page_gets_the_values_escaped", f"{ENDS}::test_what_is_typed_is_never_a_header_or_markup"]),
        ("100,000 fields; 50 MB; a name of 10,000 octets", [RULES]),
        ("multipart without an end", [RULES]),
        ("uploads with paths; too large ones", [
            f"{FORMS}::test_uploads_are_attached_under_their_base_names", f"{ENDS}::test_files_are_taken_as_the_config_says"]),
        ("two lengths; a length and chunks", [RULES]),
        ("the same token twice", [f"{ENDS}::test_plain_html_is_sent_once_and_thanked_on_the_own_site"]),
        ("no token, a foreign Origin", [f"{ENDS}::test_robots_are_refused_with_a_reason"]),
        ("1,000 posts a minute", [f"{FORMS}::test_an_address_that_posts_too_much_is_told_to_wait"]),
        ("a charset that lies", [f"{ENDS}::test_N7_what_a_page_of_an_older_charset_posts_is_read"]),
        ("the mail can't be kept", [f"{FORMS}::test_no_thank_you_when_the_mail_cant_be_kept"]),
        ("a slow post, a client that goes", [f"{FORMS}::test_a_post_that_trickles_is_closed_at_its_deadline"]),
    ],
    "Config, 10 bad inputs": [
        ("an unknown key", [CONF + "[unknown_key]"]),
        ("no file", [f"{BAD}::test_a_missing_config_is_said_by_name"]),
        ("numbers out of range", [CONF + "[out_of_range]", CONF + "[negative]", CONF + "[two_to_the_64]"]),
        ("relaying for everybody", [CONF + "[relay_for_everybody]"]),
        ("the admin page for the network", [f"{FORMS}::test_a_config_that_would_open_the_admin_page_is_refused"]),
        ("a key that does not fit", [f"{BAD}::test_a_key_that_does_not_fit_its_certificate_is_refused",
                                     "test_web_api::test_a_certificate_that_is_none_stops_the_start"]),
        ("folders that others may write to", ["test_commands::test_check_looks_at_the_folders"]),
        ("NUL, 100 MB, brackets, CRLF, BOM, UTF-16", [CONF + f"[{name}]" for name in (
            "nul", "a_line_of_a_hundred_megabytes", "open_brackets", "crlf", "byte_order_mark", "utf16")]),
        ("a queue on another file system; a second relay", ["test_commands::test_a_second_relay_is_refused", "unit pickup-folder"]),
        ("a reload with a mistake", ["test_commands::test_sighup_takes_the_new_config_and_refuses_a_bad_one",
                                     f"{SMTPD}::test_a_reload_takes_new_settings_and_keeps_the_old_ones_on_a_mistake"]),
    ],
    "Figures": [
        ("F1 killed at every call", ["tests/faults kill", "test_crash::test_kill_9_during_a_drain"]),
        ("F2 power cuts", ["tests/faults power", "tests/faults images"]),
        ("F3 calls that fail", ["tests/faults failing"]),
        ("F4 memory that is not there", ["tests/faults failing"]),
        ("F5 a full disk", ["test_trouble::test_a_full_disk_delivers_what_it_has_takes_nothing_and_recovers",
                            "test_trouble::test_a_disk_without_inodes_takes_nothing_and_recovers", f"{SMTPD}::test_no_space_is_452_and_nothing_is_left"]),
        ("F6 clocks that jump", ["test_trouble::test_a_clock_that_is_set_lets_nothing_expire_and_holds_nothing_up"]),
        ("F7 10,000 slow clients", [f"{SMTPD}::test_ten_thousand_half_open_sessions_hold_up_nobody",
                                    "test_load::test_slow_clients_are_gone_by_their_deadline_and_cost_little"]),
        ("F8 a deep queue", ["test_crowd::test_the_loop_answers_while_the_whole_queue_is_read", "tests/bench"]),
        ("F9 durable intake's rate", ["tests/bench"]),
        ("F10 two relays", ["test_commands::test_a_second_relay_is_refused", "tests/faults sharpness"]),
        ("F11 hours of mixed load", ["not measured here"]),
        ("F12 simulation", ["lab (its own seeds)"]),
        ("F13 coverage", ["tests/fuzz/coverage, of parsers alone"]),
        ("F14 fuzzing", ["tests/fuzz"]),
        ("F15 sessions against a model", ["tests/fuzz", f"{SMTPD}::test_chasquids_dialogs_get_the_right_replies"]),
        ("F16 smuggling", [f"{BAD}::test_no_false_end_of_content_begins_a_second_message_wherever_it_is_cut",
                           HONEST + "[a_second_message_behind_false_ends]"]),
        ("F17 TLS can't be talked away", ["test_tls_policy::test_row"]),
        ("F18 DNS", ["test_dns::test_dns", "test_dns::test_odd_answers"]),
        ("F19 relaying", [BADC + "[relays_from_outside]", "unit smtpd-policy"]),
        ("F20 injection", [VALUES, "unit message-compose"]),
        ("F21 bombs", [HONEST + "[a_hundred_thousand_empty_attachments]", GO + "[header_of_a_million_fields]"]),
        ("F22 privileges", ["test_confinement::test_the_relay_is_confined", "test_confinement::test_no_setuid_anywhere"]),
        ("F23 calls that are allowed", ["unit sandbox-sandbox"]),
        ("F24 how it is built", ["test_confinement::test_the_shipped_program_is_hardened"]),
        ("F25 no warnings", ["tests/lint"]),
        ("F26 the systemd unit", ["tests/lint, packaging/test-deb"]),
        ("F27 logs and notices", ["unit base-base", "test_load::test_a_storm_of_bounces_ends_in_one_notice_each_and_none_of_a_notice",
                                  "test_load::test_two_relays_that_point_at_each_other_stop_with_one_notice"]),
        ("F28 the admin page", ["test_web_api::test_A1_another_page_changes_nothing", "test_web_api::test_A2_other_names_get_no_answer"]),
        ("F29 local users", [f"{BAD}::test_a_file_that_becomes_a_link_and_back_shows_nothing_of_what_it_leads_to",
                             f"{PICK}::test_many_writers_in_a_sticky_folder"]),
        ("F30 guessing passwords", [f"{SMTPD}::test_passwords_are_not_guessed"]),
    ],
}


def all_tests():
    return sorted({test for table in LISTS.values() for _, tests in table for test in tests})


def missing():
    """Tests that are named and are not there."""
    found = []
    for test in all_tests():
        match = re.fullmatch(r"(test_\w+)::(test_\w+)(\[(\w+)\])?", test)
        if match:
            path = TREE / "tests" / "program" / f"{match[1]}.py"
            text = path.read_text() if path.exists() else ""
            if f"def {match[2]}(" not in text or (match[4] and f'"{match[4]}"' not in text):
                found.append(test)
    return found


def run(seconds):
    """(counts, findings): the outcome of each."""
    names = sorted({test.replace("::", ".py::", 1).split("[")[0] for test in all_tests() if "::" in test})
    units = [test.split()[1] for test in all_tests() if test.startswith("unit ")]
    outcomes, binary = {}, pathlib.Path(SANITIZED)
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "junit.xml")
        try:
            subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
                            *(f"tests/program/{name}" for name in names)], cwd=TREE, stdout=sys.stderr, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            print("the tests of the rows took too long", file=sys.stderr)
        cases = xml.etree.ElementTree.parse(report).iter("testcase") if report.exists() else ()
        for case in cases:
            name = f"{case.get('classname').split('.')[-1]}::{case.get('name')}"
            bad = case.find("failure") is not None or case.find("error") is not None
            outcomes[name] = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
    for unit in units:
        program = binary.parent / unit
        if program.exists():
            done = subprocess.run([program], capture_output=True, check=False, cwd=TREE)
            outcomes[f"unit {unit}"] = "passed" if done.returncode == 0 else "failed"
    findings = [f"{name} failed" for name, outcome in outcomes.items() if outcome == "failed"] + [f"no such test: {name}" for name in missing()]
    return {"outcomes": outcomes, "run": len(outcomes)}, findings


def outcome_of(test, outcomes):
    whole = test.split("[")[0]  # a test that goes through its table by itself
    if test in outcomes or whole in outcomes:
        return outcomes.get(test) or outcomes[whole]
    rows = [outcome for name, outcome in outcomes.items() if name.startswith(test + "[")]
    if rows:
        return "failed" if "failed" in rows else f"passed ({len(rows)} rows)" if "passed" in rows else "skipped"
    return "see there" if "::" not in test and not test.startswith("unit") else "not run"


def text(folder):
    found = results.passes(folder, "rows")
    outcomes = found[-1]["counts"]["outcomes"] if found else {}
    out = "\n## Bad inputs and figures, row by row\n"
    if found:
        out += f"Outcomes by `tests/faults/run --only rows`, from {results.of(found[-1:])}.\n"
    for title, table in LISTS.items():
        out += f"\n### {title}\n| | what | test | outcome |\n| --- | --- | --- | --- |\n"
        for number, (what, tests) in enumerate(table, 1):
            shown = "<br>".join(f"`{test}`" for test in tests)
            ends = "<br>".join(outcome_of(test, outcomes) for test in tests)
            out += f"| {number} | {what} | {shown} | {ends} |\n"
    return out
