"""What the demo says of its call: every figure from evidence, and each step that can fail, failing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cli.parts.demo_report import (
    BargeIn,
    DemoReport,
    DemoTurn,
    Evidence,
    barge_in,
    report,
    steps,
    turns,
)
from agent.cli.parts.follow import Follower
from agent.simulator.report import (
    CallReport,
    ClearReceived,
    Ended,
    HeardUtterance,
    Underrun,
    Violation,
)
from agent.simulator.softphone_report import SoftphoneReport

EXAMPLE = json.loads((Path(__file__).parent / "examples" / "demo.json").read_text())


def transcript(report: dict[str, Any] = EXAMPLE) -> dict[str, Any]:
    """The `transcript.json` that leads to a report's turns."""
    lines, rows = [], []
    for turn in report["turns"]:
        n = turn["n"]
        if turn["caller"] is not None:
            lines.append({"n": n, "who": "caller", "text": turn["caller"], "heard": turn["caller"]})
        lines.append({"n": n, "who": "agent", "text": turn["agent"], "heard": turn["heard"]})
        figures = ("latency_ms", "sent_ms", "model_ms", "out_ms")
        rows.append({"n": n, "frame_ms": 1.0} | {name: turn[name] for name in figures})
    lines.append({"n": 0, "who": "pickup", "text": "Our own line.", "heard": "Our own line."})
    return {"lines": lines, "turns": rows, "metrics": {}}


def evidence(folder: Path, **caller: Any) -> Evidence:
    """A call in which everything happened."""
    call = folder / "calls" / EXAMPLE["call_id"]
    follower = Follower(folder / "calls")
    call.mkdir(parents=True)
    for name in ("call.wav", "transcript.json", "events.jsonl"):
        (call / name).touch()
    follower.folder = call
    follower.clock = 50.0
    follower.events = [(12.0, "interrupted"), (30.0, "tool_called")]
    seen = CallReport(
        call_sid="CA1",
        ended=Ended.AGENT_HUNG_UP,
        start_now_s=51.0,
        first_word_ms=157.123,
        clears=[ClearReceived(at_s=11.0005, dropped_ms=300.0, marks=["m1"])],
    )
    for name, value in caller.items():
        setattr(seen, name, value)
    return Evidence(seen, follower, transcript(), [])


def failed(seen: Evidence, **options: Any) -> list[str]:
    options = {"answers": 4, "interrupts": True, "judged": True} | options
    return [step.name for step in steps(seen, **options) if not step.happened]


def test_the_report_has_exactly_the_fields_that_the_example_has() -> None:
    read = msgspec.convert(EXAMPLE, DemoReport, strict=True)
    assert msgspec.to_builtins(read) == EXAMPLE
    assert set(EXAMPLE) == set(DemoReport.__struct_fields__)
    assert set(EXAMPLE["barge_in"]) == set(BargeIn.__struct_fields__)
    for turn in EXAMPLE["turns"]:
        assert set(turn) == set(DemoTurn.__struct_fields__)
    assert EXAMPLE["v"] == 1


def test_a_call_in_which_everything_happened(tmp_path: Path) -> None:
    seen = evidence(tmp_path)
    assert failed(seen) == []
    found = report(seen, steps(seen, answers=4, interrupts=True, judged=True))
    assert found.ok
    assert found.call_id == EXAMPLE["call_id"]
    folder = tmp_path / "calls" / EXAMPLE["call_id"]
    assert found.recording == str(folder / "call.wav")
    assert found.transcript == str(folder / "transcript.json")
    assert found.events == str(folder / "events.jsonl")
    assert found.first_word_ms == 157.1
    assert msgspec.to_builtins(found.turns) == EXAMPLE["turns"]
    assert found.barge_in == BargeIn(0.5, 0.0)
    assert (found.lost_ms, found.underruns) == (0.0, 0)


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"ended": Ended.CALLER_HUNG_UP}, "hung up"),
        ({"clears": []}, "was interrupted and cleared the line"),
        ({"lost_ms": 20.0}, "lost no sound"),
        ({"clears": [ClearReceived(11.0, 0.0, [], stale_ms=20.0)]}, "was silent after that"),
        ({"violations": [Violation("rule", "doc", "detail")]}, "broke no rule of the wire"),
    ],
)
def test_a_step_that_the_phone_did_not_see_is_named(
    tmp_path: Path, change: dict[str, Any], step: str
) -> None:
    assert step in failed(evidence(tmp_path, **change))


@pytest.mark.parametrize("direction", ["dropped_up_ms", "dropped_down_ms"])
def test_sound_that_we_dropped_is_lost_too(tmp_path: Path, direction: str) -> None:
    seen = evidence(tmp_path, lost_ms=1.5)
    seen.transcript["metrics"] = {direction: 20.25}
    assert "lost no sound" in failed(seen)
    assert report(seen, []).lost_ms == pytest.approx(21.8, abs=0.06)


def test_the_models_side_may_not_be_broken_either(tmp_path: Path) -> None:
    seen = evidence(tmp_path)._replace(violations=["rate: 61 messages in a second"])
    (step,) = (s for s in steps(seen, answers=4, interrupts=True, judged=True) if not s.happened)
    assert step.name == "broke no rule of the wire"
    assert "61 messages" in step.look


def test_an_answer_that_is_missing_is_named(tmp_path: Path) -> None:
    assert failed(evidence(tmp_path), answers=5) == ["answered 5 times"]


def test_a_goodbye_that_was_not_heard_whole_is_named(tmp_path: Path) -> None:
    seen = evidence(tmp_path)
    seen.transcript["lines"][-2]["heard"] = "You are"
    assert failed(seen) == ["said goodbye to the end"]


def test_a_tool_that_was_not_called_is_named(tmp_path: Path) -> None:
    seen = evidence(tmp_path)
    seen.follower.events = [(12.0, "interrupted")]
    assert failed(seen) == ["called end_call"]


def test_a_call_that_never_was_fails_and_says_null_where_nothing_happened(tmp_path: Path) -> None:
    nothing = CallReport(call_sid="CA1", ended=Ended.WEBHOOK_FAILED)
    seen = Evidence(nothing, Follower(tmp_path), {}, [])
    assert {"answered the phone", "greeted first", "answered 4 times", "hung up"} <= set(
        failed(seen)
    )
    found = report(seen, steps(seen, answers=4, interrupts=True, judged=True))
    assert not found.ok
    assert (found.call_id, found.recording, found.transcript, found.events) == (None,) * 4
    assert (found.first_word_ms, found.turns) == (None, [])
    assert found.barge_in == BargeIn(None, None)
    assert json.loads(msgspec.json.encode(found))["first_word_ms"] is None


def test_a_real_model_is_not_judged_by_its_words(tmp_path: Path) -> None:
    seen = evidence(tmp_path, ended=Ended.CALLER_HUNG_UP)._replace(violations=None)
    seen.transcript["lines"][-2]["heard"] = "You are"
    seen.follower.events = [(12.0, "interrupted")]
    assert failed(seen, answers=2, judged=False) == []
    assert failed(
        seen._replace(caller=evidence(tmp_path / "x", ended=Ended.LINE_LOST).caller),
        answers=2,
        judged=False,
    ) == ["ended"]


def test_an_agent_that_fell_silent_by_our_own_means_was_silent_all_the_same(tmp_path: Path) -> None:
    seen = evidence(tmp_path)
    seen.follower.events = [(30.0, "tool_called")]
    assert barge_in(seen) == BargeIn(None, 0.0)
    assert failed(seen) == []


def test_a_caller_who_does_not_interrupt_is_not_expected_to(tmp_path: Path) -> None:
    assert failed(evidence(tmp_path, clears=[]), interrupts=False) == []


def test_holes_are_counted(tmp_path: Path) -> None:
    seen = evidence(tmp_path, underruns=[Underrun(3.0, 40.0), Underrun(4.0, 20.0)])
    assert report(seen, []).underruns == 2


def test_a_turn_without_an_agent_is_a_turn() -> None:
    row = {"n": 1, "latency_ms": None, "sent_ms": None, "model_ms": None, "out_ms": None}
    found = turns({"lines": [{"n": 1, "who": "caller", "text": "Hi."}], "turns": [row]})
    assert found == [DemoTurn(1, "Hi.", "", "", None, None, None, None)]


# ---- by SIP


def by_sip(folder: Path, **caller: Any) -> Evidence:
    """The same call from the softphone's side: interrupted 11 s into it, silent 50 ms later."""
    seen = SoftphoneReport(
        to="sip:agent@127.0.0.1:5070",
        ended=Ended.AGENT_HUNG_UP,
        start_now_s=51.0,
        first_word_ms=74.25,
        heard=[HeardUtterance(0.1, 3.0, 2900.0), HeardUtterance(9.0, 11.05, 2050.0)],
    )
    for name, value in caller.items():
        setattr(seen, name, value)
    return evidence(folder)._replace(caller=seen)


def test_the_same_steps_are_asked_of_a_call_by_sip(tmp_path: Path) -> None:
    seen = by_sip(tmp_path)
    found = steps(seen, answers=4, interrupts=True, judged=True)
    assert len(found) == 10
    assert [step.name for step in found if not step.happened] == []
    assert report(seen, found).barge_in == BargeIn(50.0, 0.0)


@pytest.mark.parametrize(
    ("caller", "step"),
    [
        ({"heard": [HeardUtterance(9.0, 11.35, 2350.0)]}, "was silent after that"),
        ({"heard": []}, "was interrupted and cleared the line"),
        ({"start_now_s": None}, "answered the phone"),
        ({"ended": Ended.LINE_LOST}, "hung up"),
        ({"lost_received": 1}, "lost no sound"),
    ],
)
def test_what_did_not_happen_by_sip_is_named(
    tmp_path: Path, caller: dict[str, Any], step: str
) -> None:
    assert step in failed(by_sip(tmp_path, **caller))


def test_lost_packets_are_lost_sound(tmp_path: Path) -> None:
    seen = by_sip(tmp_path, lost_received=2, lost_sent=1)
    assert report(seen, []).lost_ms == 60.0
