"""Keys of the caller's reach the model as words or a tool as a number; keys of the agent's are pressed between its words."""

from __future__ import annotations

from agent import events as e
from agent.audio.dtmf import dial
from agent.call.keypad import MOST, Keypad
from tests.call.calls import Bench, say, talking


def press(bench: Bench, keys: str, gap: float = 0.3) -> None:
    for key in keys:
        bench.tell(e.LineDigit(key))
        bench.run(gap)


def told(bench: Bench) -> list[str]:
    texts = [command.text for command in bench.all(e.SendText) if isinstance(command, e.SendText)]
    return [text for text in texts if "keypad" in text]


def answers(bench: Bench) -> list[e.SendToolResult]:
    return [c for c in bench.all(e.SendToolResult) if isinstance(c, e.SendToolResult)]


def collecting(**wanted: object) -> Bench:
    bench = talking()
    bench.tell(e.ToolCalled("1", "collect_digits", {}))
    effect = e.CollectKeys(most=wanted.pop("most", 4), **wanted)  # type: ignore[arg-type]
    bench.tell(e.ToolFinished("1", "collect_digits", {"error": "no"}, effect))
    return bench


def test_keys_that_are_pressed_together_are_told_together() -> None:
    bench = talking()
    press(bench, "42")
    assert not told(bench)
    bench.run(0.5)
    assert told(bench) == ["(On the keypad the caller pressed: 4 2)"]


def test_keys_are_words_of_the_transcript() -> None:
    bench = talking()
    press(bench, "5")
    bench.run(0.5)
    bench.answer(0.5, "You chose five.")
    bench.run(1.0)
    caller, agent = bench.machine.turns.lines(100.0)[-2:]
    assert (caller.text, agent.heard) == ("[5]", "You chose five.")


def test_a_key_stops_an_agent_who_is_only_still_heard() -> None:
    bench = talking()
    say(bench, 0.5, "What can I choose?")
    bench.answer(5.0, "For opening hours press one, for directions press two.")
    bench.run(1.0)
    press(bench, "1", 0.0)
    assert bench.unplayed == 0
    assert isinstance(bench.all(e.Clear)[-1], e.Clear)


def test_a_tool_gets_the_number_that_ends_with_a_hash() -> None:
    bench = collecting(most=8)
    press(bench, "1234#")
    assert answers(bench) == [
        e.SendToolResult("1", "collect_digits", {"digits": "1234", "complete": True})
    ]
    assert not told(bench)


def test_a_tool_gets_the_number_as_soon_as_it_is_long_enough() -> None:
    bench = collecting(most=3)
    press(bench, "123")
    assert answers(bench)[0].response == {"digits": "123", "complete": True}


def test_keys_that_were_pressed_ahead_are_the_number_s() -> None:
    bench = talking()
    press(bench, "12#", 0.1)
    bench.tell(e.ToolCalled("1", "collect_digits", {}))
    bench.tell(e.ToolFinished("1", "collect_digits", {}, e.CollectKeys(most=8)))
    assert answers(bench)[0].response == {"digits": "12", "complete": True}


def test_a_caller_who_stops_pressing_is_waited_for_once() -> None:
    bench = collecting(most=8, within=5.0)
    bench.run(4.5)
    press(bench, "12", 0.1)
    bench.run(4.7)
    assert not answers(bench)
    bench.run(0.5)
    assert answers(bench)[0].response == {"digits": "12", "complete": False}


def test_a_caller_who_presses_nothing_is_told_of() -> None:
    bench = collecting(within=5.0)
    bench.run(5.1)
    assert "error" in answers(bench)[0].response
    assert not bench.machine.turns.all[-1].own  # nobody was told to wait a moment


def test_an_agent_that_wants_no_number_any_more_gets_none() -> None:
    bench = collecting()
    bench.tell(e.ToolsCancelled(["1"]))
    press(bench, "1234")
    bench.run(1.0)
    assert not answers(bench)
    assert told(bench)


def test_one_number_is_typed_at_a_time() -> None:
    bench = collecting()
    bench.tell(e.ToolCalled("2", "collect_digits", {"most": 9}))
    bench.tell(e.ToolFinished("2", "collect_digits", {"error": "no"}, e.CollectKeys(most=4)))
    assert answers(bench) == [e.SendToolResult("2", "collect_digits", {"error": "no"})]
    press(bench, "1234")
    assert answers(bench)[-1].response == {"digits": "1234", "complete": True}


def test_a_secret_number_is_in_no_record() -> None:
    bench = collecting(secret=True)
    machine = bench.machine
    assert machine.hides(e.LineDigit("7")) == e.LineDigit("x")
    assert machine.hides(e.LineDigit("#")) == e.LineDigit("#")
    assert machine.hides(None) is None
    press(bench, "77#")
    [answer] = answers(bench)
    assert answer.response == {"digits": "77", "complete": True}
    kept = machine.hidden([answer, e.Clear()])
    assert kept == [
        e.SendToolResult("1", "collect_digits", {"digits": "xx", "complete": True}, secret=True),
        e.Clear(),
    ]
    assert machine.hides(e.LineDigit("7")) == e.LineDigit("7")


def test_a_record_without_the_secret_replays_to_itself() -> None:
    bench = collecting(secret=True)
    press(bench, "xx#")
    assert bench.machine.hidden(list(answers(bench))) == answers(bench)


def test_a_session_that_asks_again_gets_the_secret_answer_as_a_secret() -> None:
    bench = collecting(secret=True, most=2)
    bench.machine._call.tools.session_gone()
    press(bench, "77")
    bench.tell(e.ToolCalled("9", "collect_digits", {}))
    [answer] = answers(bench)
    assert (answer.id, answer.secret) == ("9", True)


def test_more_keys_than_anybody_presses_are_dropped() -> None:
    keypad = Keypad()
    for _ in range(MOST + 5):
        keypad.press("1")
    assert keypad.told() == "1" * MOST
    assert keypad.typed() is None


def test_keys_of_the_agent_s_follow_what_it_is_saying_as_tones() -> None:
    bench = talking()
    say(bench, 0.5, "Please enter the code.")
    bench.answer(0.5, "I press the keys.", complete=False)
    bench.tell(e.ToolCalled("1", "send_digits", {}))
    bench.tell(e.ToolFinished("1", "send_digits", {"result": "ok"}, e.PressKeys("12")))
    bench.run(0.2)
    assert not any(turn.own for turn in bench.machine.turns.all)
    bench.tell(e.GenerationComplete())
    bench.run(0.4)
    bench.caller_talks(0.4)  # the other side's menu does not stop them
    bench.run(1.5)
    assert bytes(dial("12")) in bytes(bench.heard)
    assert bench.machine.turns.lines(100.0)[-1].text == "(keys)"


def test_a_line_that_presses_keys_itself_is_told_to_when_all_is_heard() -> None:
    bench = talking()
    bench.disconnect("closed")
    bench._frame_at = bench.now
    bench.tell(e.LineStarted(2, sends_digits=True))
    bench.answer(0.5, "I press the keys.")
    bench.tell(e.ToolCalled("1", "send_digits", {}))
    bench.tell(e.ToolFinished("1", "send_digits", {}, e.PressKeys("12")))
    bench.run(0.3)
    assert not bench.all(e.Digits)
    bench.run(0.5)
    assert bench.all(e.Digits) == [e.Digits("12")]


def test_a_number_that_is_not_wanted_any_more_leaves_nothing_behind() -> None:
    bench = collecting(within=5.0)
    assert bench.machine.hidden([e.Clear()]) == [e.Clear()]
    bench.tell(e.ToolsCancelled(["1"]))
    bench.run(6.0)
    assert not answers(bench)
    assert not told(bench)
