"""`pickup check`: whole calls with scripted callers, what is judged, and what is written of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from agent import cli
from agent.cli.parts.junit import junit
from agent.cli.parts.scenario_verdict import (
    CheckedScenario,
    CheckedTool,
    CheckedTurn,
    CheckReport,
    fits,
    judge,
    judge_call,
    said,
)
from agent.config.agent_files import EXAMPLES
from agent.config.scenario import Expected, ExpectedCall, parse_scenario

AGENT = """\
name: Desk
persona: You are a desk.
greeting: Hello.
disclosure: false
tools: [end_call, take_message, transfer_call]
transfer: {office: +15555550110}
"""
CALL = """\
name: A message
agent: desk
pace: 100
seconds: 20
expect: {ended: agent_hung_up, first_word_under: 5, no_tool: transfer_call}
turns:
  - expect: {says: hello}
    stand_in: {says: "Hello."}
  - say: Tell them Ada called.
    expect:
      says: [noted, /have it/]
      never_says: goodbye
      tool: {name: take_message, with: {message: /ada/, confirmed: true}}
    stand_in:
      says: Noted.
      tools: [{name: take_message, args: {message: Ada called., confirmed: true}}]
      then: They have it.
  - say: Bye.
    expect: {tool: end_call, first_word_under: 5}
    stand_in: {says: Goodbye., tools: end_call}
"""


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "agents" / "scenarios"
    folder.mkdir(parents=True)
    (tmp_path / "agents" / "desk.yaml").write_text(AGENT)
    (folder / "message.yaml").write_text(CALL)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "PICKUP_AGENTS", "DATA_DIR", "GEMINI_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("agent.server.floor.AFTER_TOOL", 0.8)  # the stand-in answers after 0.25 s
    monkeypatch.chdir(tmp_path)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["check", *words])
    return (int(left.value.code or 0), *capsys.readouterr())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_examples_pass_without_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the one that is spoken, through the stand-in's ears and its interruption."""
    monkeypatch.setenv("PICKUP_AGENTS", str(EXAMPLES))
    status, out, _ = command(capsys, "--concurrency", "6")
    assert status == 0, out
    assert f"{len(list((EXAMPLES / 'scenarios').glob('*.yaml')))} of " in out


def test_a_scripted_call_is_held_and_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """One call that does what is expected beside one that does not: tools run, in a folder of their own."""
    wrong = CALL.replace("A message", "Another").replace("says: hello", "says: good morning")
    Path("agents/scenarios/wrong.yaml").write_text(wrong.replace("agent_hung_up", "transferred"))
    status, out, err = command(capsys, "--json", "--junit", "out.xml")
    assert status == 1
    report = msgspec.json.decode(out, type=CheckReport)
    assert out.count("\n") == 1
    assert "the built-in stand-in answers" in err
    good, bad = report.scenarios
    assert (good.ok, good.ended, good.failures) == (True, "agent_hung_up", [])
    assert [turn.agent for turn in good.turns] == ["Hello.", "Noted. They have it.", "Goodbye."]
    ((taken,), (ended,)) = (turn.tools for turn in good.turns[1:])
    assert taken.response is not None
    assert "error" not in taken.response
    assert ended.name == "end_call"
    assert good.folder is not None
    assert Path(good.folder).parent == Path("data/check/calls").absolute()
    assert (Path(good.folder) / "transcript.json").exists()
    assert [turn.failures for turn in bad.turns] == [["did not say good morning"], [], []]
    assert bad.failures == ["ended agent_hung_up, not transferred"]
    suites = ElementTree.parse("out.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")


@pytest.mark.slow
def test_a_transfer_that_fails_brings_the_caller_back(capsys: pytest.CaptureFixture[str]) -> None:
    Path("agents/scenarios/message.yaml").write_text(
        """\
name: Busy
agent: desk
pace: 100
transfers: busy
expect: {transferred: office, ended: caller_hung_up}
turns:
  - stand_in: {says: Hello.}
  - say: The office, please.
    stand_in: {says: One moment., tools: [{name: transfer_call, args: {target: office}}]}
  - say: Then not.
    expect: {says: pity}
    stand_in: {says: What a pity.}
  - hangs_up: true
"""
    )
    status, out, _ = command(capsys)
    assert status == 0, out
    assert out.startswith("ok ")
    assert "1 of 1 scenarios" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.yaml"], "none.yaml: cannot be read"),
        (["--agent", "nobody", "agents/scenarios/message.yaml"], "no agent 'nobody'"),
        (["--agent", "other"], "no scenario is for the agent other"),
        (["nameless.yaml"], "says no agent: write `agent: NAME`, or give --agent"),
        (["mute.yaml"], "a turn has no `stand_in`"),
        (["clip.yaml"], "clip.yaml: "),
        (["variable.yaml"], "Desk has no variable 'x'"),
    ],
)
def test_a_mistake_is_one_line_and_no_call(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nameless.yaml").write_text(CALL.replace("agent: desk\n", ""))
    Path("mute.yaml").write_text("name: Mute\nagent: desk\nturns: [{say: Hello}]\n")
    spoken = CALL.replace("  - say: Bye.", "  - clip: nowhere.wav")
    Path("clip.yaml").write_text(spoken)
    Path("variable.yaml").write_text(CALL.replace("pace: 100", "variables: {x: y}"))
    status, out, err = command(capsys, *words)
    assert (status, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
    assert not Path("data").exists()


def test_without_a_scenario_it_says_where_to_put_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("agents/scenarios/message.yaml").unlink()
    assert command(capsys)[0] == 2


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = command(capsys, "--schema")
    assert status == 0
    assert json.loads(out)["title"] == "A scenario of Pickup"


# ---- the judgement


def turn(agent: str = "", *tools: CheckedTool, first: float | None = 1.0) -> CheckedTurn:
    return CheckedTurn(
        n=1, caller="", agent=agent, first_word_seconds=first, tools=list(tools), failures=[]
    )


def expected(text: str) -> Expected:
    written = f"name: n\nturns: [{{say: x, expect: {text}}}]"
    return parse_scenario(written, "s").turns[0].expect


BOOKED = CheckedTool("book", {"day": "2026-11-23", "seats": 2, "who": {"name": "Ada"}}, {}, 0.1)


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ("{says: EIGHT in the morning}", []),
        ("{says: [/at (eight|8)/, nine]}", ["did not say nine"]),
        ("{says: eigh}", ["did not say eigh"]),
        ("{never_says: /morning/}", ["said /morning/"]),
        ("{tool: book}", []),
        ("{tool: {name: book, with: {day: '/^2026/', seats: 2, who: {name: ada}}}}", []),
        ("{tool: end_call}", ["did not call end_call"]),
        ("{no_tool: [book, cancel]}", ["called book"]),
        ("{first_word_under: 1.5}", []),
        ("{first_word_under: 0.5}", ["first word after 1.00 s, not under 0.5 s"]),
    ],
)
def test_an_answer_is_held_against_what_was_expected(wanted: str, wrong: list[str]) -> None:
    assert judge(expected(wanted), turn("We open at eight, in the morning.", BOOKED)) == wrong


def test_other_arguments_and_silence_are_told() -> None:
    (told,) = judge(expected("{tool: {name: book, with: {seats: 3}}}"), turn("", BOOKED))
    assert told.startswith('called book with {"day"')
    assert told.endswith('not {"seats":3}')
    (silent,) = judge(expected("{first_word_under: 1}"), turn(first=None))
    assert silent == "no sound, and it should come within 1 s"


@pytest.mark.parametrize(
    ("wanted", "got", "fit"),
    [
        ([1, "/b/"], [1, "abc"], True),
        ([1], [1, 2], False),
        ([1], 1, False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {}, False),
        ({"a": 1}, "a", False),
        (True, 1, False),
        (True, True, True),
        (2, 2.0, True),
        (None, None, True),
        ("2", 2, True),
        ("/^[0-9]$/", 2, True),
        ("ada", "Ada", True),
    ],
)
def test_arguments_fit_as_far_as_they_are_written(wanted: Any, got: Any, fit: bool) -> None:
    assert fits(wanted, got) is fit


def test_words_are_whole_words() -> None:
    assert said("good bye", "Good-bye!")
    assert not said("eight", "eighteen")


def test_a_call_is_judged_by_all_that_was_said_in_it() -> None:
    wanted = ExpectedCall(says=("Ada",), ended=("agent_hung_up",), transferred="office")
    turns = [turn("Hello Ada."), turn("", BOOKED)]
    right = judge_call(
        wanted, turns, first_word=1.0, ended="agent_hung_up", transferred=["desk", "office"]
    )
    assert right == []
    wrong = judge_call(wanted, turns, first_word=1.0, ended="", transferred=[])
    assert wrong == ["ended never, not agent_hung_up", "put through to nobody, not to office"]


def test_junit_holds_what_xml_can_hold() -> None:
    broken = turn("Bell \x07 & <tag>", CheckedTool("book", {}, {"error": "no"}, 0.1))
    scenario = CheckedScenario(
        name="A \x00 name",
        file="/x/a.yaml",
        agent="desk",
        ok=False,
        seconds=1.0,
        first_word_seconds=None,
        ended=None,
        transferred=[],
        folder=None,
        turns=[msgspec.structs.replace(broken, failures=["did not say x"])],
        failures=["ended never"],
    )
    report = CheckReport(
        ok=False, answered_by="stand-in", seconds=1.0, junit=None, scenarios=[scenario]
    )
    case = ElementTree.fromstring(junit(report)).find("testsuite/testcase")
    assert case is not None
    assert (case.get("name"), case.get("classname")) == ("A � name", "desk.a.yaml")
    failure, out = case.find("failure"), case.findtext("system-out")
    assert failure is not None
    assert failure.text == "turn 1: did not say x\nended never"
    assert out == "agent   Bell � & <tag>\n        book({}): no"
