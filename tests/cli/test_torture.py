"""`pickup torture`: the verdict from evidence made by hand, what is chosen; and some faults for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli import main, torture
from agent.cli.parts import torture_call, torture_verdict
from agent.cli.parts.torture_verdict import Evidence, allowed, judge, judge_plain, notice
from agent.errors import UserError
from agent.simulator import bad_line, faults
from agent.simulator.caller import SPEECH
from agent.simulator.menu import MENU, Entry
from agent.simulator.records import Ledger, Stats, UtteranceCounts, Violation
from agent.simulator.report import (
    CallReport,
    ClearReceived,
    Ended,
    HeardUtterance,
    Notice,
    SpokenUtterance,
    Violation as LineViolation,
)
from agent.simulator.wav import read_phone_wav

ROOT = Path(__file__).parents[2]
PLAIN_END = Ended.AGENT_HUNG_UP.value
HEARD = [(1.0, 4.0), (7.0, 10.0), (13.0, 16.0)]
SPOKEN = [(4.6, 6.0), (10.6, 12.0)]


def fault(name: str, side: str = "gemini") -> Entry:
    return next(entry for entry in MENU if (entry.name, entry.side) == (name, side))


def stats(name: str = "", *broken: Violation, **counts: int) -> Stats:
    """Of one session in which that fault came."""
    ledger = Ledger()
    record = ledger.open()
    record.close_code = 1000
    record.utterances = UtteranceCounts(**counts)
    if name:
        record.fault(name)
    for violation in broken:
        ledger.violated(violation)
    return ledger.stats()


def evidence(
    seen: Stats,
    heard: list[tuple[float, float]] = HEARD,
    spoken: list[tuple[float, float]] = SPOKEN,
    *,
    report: dict[str, Any] | None = None,
    **more: Any,
) -> Evidence:
    """A call of two things to say, on the caller's timeline; by default a good one."""
    plain: dict[str, Any] = {
        "ended": Ended.AGENT_HUNG_UP,
        "seconds": 17.0,
        "start_now_s": 0.0,
        "start_delay_ms": 200.0,
        "first_word_ms": heard[0][0] * 1000 if heard else None,
        "heard": [HeardUtterance(start, end, 0.0) for start, end in heard],
        "spoken": [
            SpokenUtterance(n, "words", start, end, interrupts=False)
            for n, (start, end) in enumerate(spoken, 1)
        ],
    }
    whole: dict[str, Any] = {
        "to_say": 2,
        "spoke_at": [],
        "over_at": 16.5,
        "greetings": 1,
        "left": 0,
    } | more
    return Evidence(
        report=CallReport(call_sid="CA1", **(plain | (report or {}))), stats=seen, **whole
    )


def why(name: str, seen: Evidence, side: str = "gemini", plain_end: str = PLAIN_END) -> list[str]:
    verdict = judge(fault(name, side), [name], seen, plain_end)
    assert verdict.passed is (not verdict.why)
    return verdict.why


# ---------------------------------------------------------------------------- what is good


@pytest.mark.parametrize("entry", MENU, ids=lambda entry: f"{entry.side}-{entry.name}")
def test_a_call_on_which_nothing_was_noticed_passes_every_fault(entry: Entry) -> None:
    seen = stats(entry.name)
    seen.spoiled_handshakes = 1
    assert judge(entry, [entry.arm], evidence(seen), PLAIN_END).passed


def test_a_fault_that_never_came_is_no_pass() -> None:
    for name in ("aborted", "handshake-refused"):
        assert judge(fault(name), [name], evidence(stats()), PLAIN_END).passed is None
    assert judge(fault("loss", "twilio"), ["loss=1"], evidence(stats()), PLAIN_END).passed


def test_what_was_noticed_is_told_in_one_line() -> None:
    line = str(notice(evidence(stats(), greetings=2)))
    assert line == (
        "first word after 1.0 s, longest silence 1.0 s (at 6 s), 2 of 2 answered, greeted twice, "
        "agent hung up after 17 s"
    )
    assert "\n" not in line


# ---------------------------------------------------------------------------- silence

LATE = [(1.0, 4.0), (10.1, 11.0), (13.0, 16.0)]
LATER = [(1.0, 4.0), (16.5, 17.0), (20.0, 21.0)]


@pytest.mark.parametrize(
    ("name", "heard", "spoken", "bad"),
    [
        ("aborted", LATE, [(4.6, 6.0), (11.6, 12.5)], True),  # 4.1 s after a loss
        ("no-reply", LATE, [(4.6, 6.0), (11.6, 12.5)], False),  # the model was silent: 10 s
        ("no-reply", LATER, [(4.6, 6.0), (17.6, 18.5)], True),
    ],
)
def test_a_silence_may_last_as_long_as_the_fault_deserves(
    name: str, heard: list[tuple[float, float]], spoken: list[tuple[float, float]], bad: bool
) -> None:
    over = heard[-1][1] + 0.5
    found = why(name, evidence(stats(name), heard, spoken, over_at=over))
    assert [("of silence from 6.0 s on" in line) for line in found] == [True] * bad


def test_the_first_sound_after_a_half_open_socket_comes_soon_and_the_answer_in_time() -> None:
    told = [(1.0, 4.0), (8.6, 9.4), (14.0, 15.0), (18.0, 19.0)]
    spoken = [(4.6, 6.0), (15.6, 17.0)]
    assert why("half-open", evidence(stats("half-open"), told, spoken, over_at=19.5)) == []
    late = [(1.0, 4.0), (10.1, 11.0), (18.0, 19.0)]
    assert why("half-open", evidence(stats("half-open"), late, spoken, over_at=19.5)) == [
        "nothing was heard for 4.1 s behind what the caller said as number 1 (at most 3)"
    ]


def test_the_phone_networks_own_words_end_a_silence() -> None:
    seen = stats("aborted")
    spoken = [(4.6, 6.0), (11.6, 12.5)]
    assert why("aborted", evidence(seen, LATE, spoken, spoke_at=[8.0])) == []


def test_the_silence_before_the_lines_end_counts() -> None:
    assert why("aborted", evidence(stats("aborted"), over_at=20.0)) == [
        "4.0 s of silence from 16.0 s on (at most 3)"
    ]


@pytest.mark.parametrize(("name", "bad"), [("refuse", True), ("slow-setup", False)])
def test_the_first_word_comes_in_time(name: str, bad: bool) -> None:
    found = why(name, evidence(stats(name), report={"first_word_ms": 6000.0}))
    assert found == ["the first word came after 6.0 s (at most 5)"] * bad


def test_silence_in_all_is_passed_only_where_the_line_itself_is_gone() -> None:
    gone = evidence(stats(), [], [], over_at=1.0, report={"ended": Ended.LINE_LOST})
    assert why("reset", gone, "twilio") == []
    dumb = evidence(stats("bad-key"), [], [], over_at=1.0)
    assert why("bad-key", dumb) == ["the caller heard nothing at all"]
    said = evidence(stats("bad-key"), [], [], over_at=2.0, spoke_at=[1.0])
    assert why("bad-key", said) == []
    assert notice(said).first_word_s == 1.2


# ---------------------------------------------------------------------------- words


@pytest.mark.parametrize("count", ["missing", "answered_twice", "answers_lost"])
def test_the_stand_ins_account_counts(count: str) -> None:
    [line] = why("aborted", evidence(stats("aborted", **{count: 2})))
    assert line.startswith("2 ")


def test_what_was_said_and_not_answered_is_named() -> None:
    only_first = [(1.0, 4.0), (7.0, 10.0)]
    found = why("aborted", evidence(stats("aborted"), only_first, over_at=12.5))
    assert found == ["not answered: what the caller said as number 2"]
    assert why("gap", evidence(stats(), only_first, over_at=12.5), "twilio") == []


def test_a_second_greeting_is_told_and_forgiven_to_one_who_forgot() -> None:
    assert why("aborted", evidence(stats("aborted"), greetings=2)) == [
        "the caller was greeted twice"
    ]
    assert why("forgets", evidence(stats("forgets"), greetings=2)) == []


def test_interrupted_words_that_are_heard_again_fail_late_audio_only() -> None:
    clears: dict[str, Any] = {"clears": [ClearReceived(8.0, 500.0, [], 120.0)]}
    assert why("late-audio", evidence(stats("late-audio"), report=clears)) == [
        "120 ms of an interrupted reply were heard after it"
    ]
    assert why("aborted", evidence(stats("aborted"), report=clears)) == []


# ---------------------------------------------------------------------------- rules and ends


def test_every_broken_rule_fails() -> None:
    own = Violation("setup_first", "doc", "audio came first", 1)
    told = Violation("utterance-missing", "doc", "told in words already", 1)
    assert why("aborted", evidence(stats("aborted", own, told))) == [
        "a rule of the Live API: setup_first: audio came first"
    ]
    line = {"violations": [LineViolation("not-json", "doc", "{")]}
    assert len(why("aborted", evidence(stats("aborted"), report=line))) == 1


def test_sessions_that_are_left_fail() -> None:
    [line] = why("aborted", evidence(stats("aborted"), left=1))
    assert "left 5 s after" in line
    # Who ends without a word may have been cut off: the server may wait for them.
    assert allowed(fault("no-stop", "twilio")).lets_go == 12


@pytest.mark.parametrize(
    "ended", [Ended.VIOLATION, Ended.WEBHOOK_FAILED, Ended.STREAM_REFUSED, Ended.LINE_LOST]
)
def test_no_end_of_that_kind_is_honest(ended: Ended) -> None:
    for name in ("aborted", "bad-key"):
        assert why(name, evidence(stats(name), report={"ended": ended}))


def test_a_call_may_end_too_soon_only_where_it_cannot_go_on() -> None:
    def hung_up(name: str) -> Evidence:
        return evidence(stats(name), HEARD[:2], SPOKEN[:1], over_at=10.5)

    assert why("aborted", hung_up("aborted")) == [
        "the call ended too soon (agent hung up): 1 of 2 things were said"
    ]
    assert why("bad-key", hung_up("bad-key")) == []


def test_a_caller_who_gives_up_is_fine_only_where_the_server_never_hangs_up() -> None:
    gave_up = evidence(stats("aborted"), report={"ended": Ended.CALLER_HUNG_UP}, over_at=28.0)
    assert len(why("aborted", gave_up)) == 1
    assert why("aborted", gave_up, plain_end=Ended.CALLER_HUNG_UP.value) == []


def test_a_caller_who_hangs_up_on_purpose_is_heard_to() -> None:
    seen = evidence(stats(), HEARD[:2], SPOKEN[:1], hangs_up_after=12.0, over_at=12.0)
    assert why("no-stop", seen, "twilio") == [
        "the call ended before the caller hung up: agent hung up"
    ]
    report = seen.report
    report.ended = Ended.CALLER_HUNG_UP
    assert why("no-stop", seen._replace(report=report), "twilio") == []


def test_a_call_without_a_fault_has_to_be_good_and_to_reach_the_stand_in() -> None:
    assert judge_plain(evidence(stats())) == []
    assert len(judge_plain(evidence(stats(), greetings=3))) == 1
    [line] = judge_plain(evidence(Ledger().stats()))
    assert "never asked the stand-in" in line
    refused = {"ended": Ended.WEBHOOK_FAILED, "notices": [Notice(11200, "HTTP 403 from there")]}
    assert judge_plain(evidence(Ledger().stats(), [], [], report=refused)) == [
        "HTTP 403 from there"
    ]


# ---------------------------------------------------------------------------- what is armed


@pytest.mark.parametrize("entry", MENU, ids=lambda entry: f"{entry.side}-{entry.name}")
def test_every_fault_can_be_armed(entry: Entry) -> None:
    models, lines = torture_call.arms(entry)
    assert [faults.parse(text).called for text in models][:1] == (
        [entry.name] if entry.side == "gemini" else []
    )
    assert [bad_line.parse(text).name for text in lines] == (
        [entry.name] if entry.side == "twilio" else []
    )


def test_tables_name_faults_of_the_menu() -> None:
    names = {entry.name for entry in MENU}
    for table in (torture_call.MORE, torture_call.HANGS_UP):
        assert set(table) <= names
    both = {(entry.side, entry.name) for entry in MENU}
    assert {*torture_verdict.BY_NAME, *torture_call.OTHERWISE} <= both


def test_the_whole_menu_is_chosen_and_what_ends_calls_comes_last() -> None:
    every = torture.choose([], None)
    assert len(every) == len(MENU)
    assert every[-1].name == "quota"
    assert [each.side for each in torture.choose(["stall"], None)] == ["gemini", "twilio"]
    assert [each.side for each in torture.choose(["stall"], torture.Side.TWILIO)] == ["twilio"]
    with pytest.raises(UserError, match="'aborted'"):
        torture.choose(["aborted"], torture.Side.TWILIO)


def test_greetings_are_counted_by_their_sound() -> None:
    clip = read_phone_wav(SPEECH / "agent_greeting.wav")
    other = read_phone_wav(SPEECH / "agent_park.wav")
    quiet = np.zeros(4000, np.int16)
    twice = np.concatenate([quiet, clip, other, quiet, clip[:12_000] // 2])
    assert torture_call.greetings(twice, clip) == 2
    begun_again = np.concatenate([quiet, clip[:12_000], quiet, clip, other])
    assert torture_call.greetings(begun_again, clip) == 1
    assert torture_call.greetings(other, clip) == 0
    assert torture_call.greetings(quiet, clip) == 0


def test_a_short_word_is_short_and_sounds() -> None:
    (_, word, *rest) = torture_call.short_spoken()
    assert 0.2 < (word.last - word.first) / 8000 < 0.6
    assert len(rest) == 2


def test_what_does_not_start_leaves_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(desk: torture_call.Desk, port: int, faults: list[str]) -> None:
        assert (port, faults) == (torture.MODEL_PORT, [])
        desk.log.write(b"no such module\n")
        raise UserError("`pickup simulate gemini` did not start (exit status 1)")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torture, "stand_in", fails)
    with pytest.raises(SystemExit, match="2"):
        main(["torture", "http://127.0.0.1:1", "--json"])
    told = capsys.readouterr()
    assert told.out == ""
    [log] = (tmp_path / "data").glob("torture-*/log")
    assert log.read_bytes() == b"no such module\n"
    assert "did not start" in told.err


# ---------------------------------------------------------------------------- for real


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_our_own_server_outlives_some_of_it(tmp_path: Path) -> None:
    wanted = ("connection-lost", "bad-key", "reset")
    words = [word for name in wanted for word in ("--only", name)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "agent", "torture", "--json", *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(run.stdout)
    failed = [each for each in told["faults"] if not each["passed"]]
    assert (run.returncode, failed) == (0, []), run.stderr
    assert sorted(each["name"] for each in told["faults"]) == sorted(wanted)
    assert len(run.stdout.splitlines()) == 1
    assert list((tmp_path / "data").iterdir()) == []  # nothing is kept of what went well
