"""Scripts of the stand-in's conversations: what they may say, and what is said of a wrong one."""

from __future__ import annotations

import json
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr
import yaml

from agent.errors import UserError
from agent.simulator.brain import BenchBrain, Call, Reply, Say, speechlike
from agent.simulator.ears import Utterance
from agent.simulator.gemini_setup import Conduct
from agent.simulator.script import (
    SCRIPT_FOLDER,
    SPEECH_FOLDER,
    ScriptBrain,
    filled,
    load,
    read_clip,
)
from tests.simulator.live_rig import QUIET, Rig

if TYPE_CHECKING:
    from pathlib import Path

DEMO = load(SCRIPT_FOLDER / "demo.yaml")
STRANGER = Utterance(speechlike(2.4, 16_000), 16_000, 2.4)


def clip(name: str) -> Utterance:
    pcm, rate = read_clip(SPEECH_FOLDER / name)
    return Utterance(pcm, rate, len(pcm) / 2 / rate)


def words(reply: Reply) -> list[str]:
    return [step.text if isinstance(step, Say) else f"{step.name}()" for step in reply]


def test_the_demo_is_a_conversation() -> None:
    brain = ScriptBrain(DEMO)
    assert words(brain.prompted("Greet.")) == [
        "This is the front desk of Harbour Dental. How can I help you?"
    ]
    said = []
    for name in ("caller_open.wav", "caller_park.wav", "caller_cost.wav", "caller_bye.wav"):
        heard = brain.heard(clip(name))
        said.append((heard.text, words(heard.reply)))
    assert said[0] == (
        "Hi. What time do you open tomorrow?",
        ["We open at eight in the morning, and we close at six."],
    )
    assert said[1][0] == "And where can I park my car?"
    assert said[1][1][0].endswith("two dollars for every hour that you stay.")
    assert said[3] == (
        "Great, thank you. Goodbye.",
        ["You are welcome. Goodbye, and see you tomorrow.", "end_call()"],
    )
    assert brain.answered("end_call", {}) == ()


def test_the_demo_held_in_real_time_with_its_interruption() -> None:
    """The caller lets the agent finish, but for the second reply: it is interrupted after 1.5 s."""
    rig = Rig(conduct=Conduct(setup_seconds=0.4), brain=ScriptBrain(DEMO)).ready(
        inputAudioTranscription={},
        outputAudioTranscription={},
        tools=[{"functionDeclarations": [{"name": "end_call", "description": "Ends the call."}]}],
    )
    begun = rig.now
    rig.send({"realtimeInput": {"text": "Greet the caller."}})
    for n, name in enumerate(("caller_open", "caller_park", "caller_cost", "caller_bye")):
        while not rig.named("turnComplete" if n != 2 else "modelTurn"):
            rig.say(QUIET[:640])
        assert not rig.named("interrupted")
        rig.say(QUIET[: 2 * 24_000 if n == 2 else 2 * 9_600])  # 1.5 s, 0.6 s
        rig.sent.clear()
        pcm, rate = read_clip(SPEECH_FOLDER / f"{name}.wav")
        wide = np.asarray(soxr.resample(np.frombuffer(pcm, "<i2"), rate, 16_000), "<i2")
        rig.say(wide.tobytes())
        assert bool(rig.named("interrupted")) is (n == 2)
        if n == 2:
            assert rig.named("interrupted")[0].at < rig.now - len(wide) / 16_000 + 0.2
            assert rig.named("turnComplete")
            assert not rig.named("toolCallCancellation")
            rig.sent.clear()
    while not rig.named("turnComplete"):
        rig.say(QUIET[:640])
    assert rig.record.heard == [
        "Hi. What time do you open tomorrow?",
        "And where can I park my car?",
        "Sorry, is it free on Sundays?",
        "Great, thank you. Goodbye.",
    ]
    assert rig.text("outputTranscription") == "You are welcome. Goodbye, and see you tomorrow."
    assert rig.text("inputTranscription") == "Great, thank you. Goodbye."
    [call] = rig.named("toolCall")
    assert call.at < rig.now - 1.5  # long before the goodbye is over
    assert rig.now - begun < 30
    assert not rig.violations


def test_a_stranger_gets_the_turns_in_order_and_then_the_fallback() -> None:
    brain = ScriptBrain(DEMO)
    heard = [brain.heard(STRANGER) for _ in range(5)]
    assert {one.text for one in heard} == {"[speech 2.4 s]"}
    assert words(heard[0].reply) == ["We open at eight in the morning, and we close at six."]
    assert isinstance(heard[3].reply[1], Call)
    assert words(heard[4].reply) == ["I am sorry, I did not catch that. Could you say it again?"]
    assert words(brain.prompted("And now?")) == words(heard[4].reply)


def test_a_known_clip_takes_the_conversation_to_its_turn() -> None:
    brain = ScriptBrain(DEMO)
    assert brain.heard(clip("caller_cost.wav")).text == "Sorry, is it free on Sundays?"
    assert brain.heard(STRANGER).reply == DEMO.replies[3]


def test_two_conversations_do_not_share_their_place() -> None:
    first, second = ScriptBrain(DEMO), ScriptBrain(DEMO)
    first.heard(STRANGER)
    assert second.heard(STRANGER).reply == DEMO.replies[0]
    assert first.prompted("Hello") == DEMO.fallback


def test_the_words_of_the_script_are_the_words_of_the_clips() -> None:
    sources = (SPEECH_FOLDER / "SOURCES.md").read_text(encoding="utf-8")
    spoken = yaml.safe_load((SCRIPT_FOLDER / "demo.yaml").read_text(encoding="utf-8"))
    lines = [spoken["greeting"], spoken["fallback"]]
    lines += [turn[who] for turn in spoken["turns"] for who in ("caller", "agent")]
    for line in lines:
        assert f"| `{line['clip']}` | {line['text']} |" in sources


GOOD: dict[str, Any] = {
    "name": "Test",
    "greeting": {"clip": "agent_greeting.wav", "text": "Hello."},
    "turns": [
        {
            "caller": {"clip": "caller_open.wav", "text": "When?"},
            "agent": {"clip": "agent_open.wav", "text": "At eight."},
        }
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes), encoding="utf-8")
    return path


def test_a_script_needs_no_fallback(tmp_path: Path) -> None:
    brain = ScriptBrain(load(written(tmp_path)))
    brain.heard(STRANGER)
    assert brain.heard(STRANGER).reply == ()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"turns": []}, "a script needs at least one turn - at `$.turns`"),
        ({"turn": []}, "Object contains unknown field `turn`"),
        ({"greeting": {"clip": "a.wav"}}, "missing required field `text` - at `$.greeting`"),
        ({"turns": [{"caller": 1}]}, "Expected `object`, got `int` - at `$.turns[0].caller`"),
        (
            {"greeting": {"clip": "nobody.wav", "text": "Hello."}},
            "nobody.wav: no such clip, nor is one of that name shipped",
        ),
        (
            {"greeting": {"clip": "caller_open.wav", "text": "Hello."}},
            "caller_open.wav: an agent's clip is 24000 Hz, this has 8000",
        ),
    ],
)
def test_a_wrong_script_is_told_what_is_wrong(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, **changes))
    assert complaint in str(caught.value)
    assert str(tmp_path) in str(caught.value) or "caller_open" in complaint


def test_what_is_no_script_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the script: No such file"):
        load(tmp_path / "missing.yaml")
    path = tmp_path / "broken.yaml"
    path.write_bytes(b"name: [unclosed")
    with pytest.raises(UserError, match="not YAML: while parsing"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not YAML"):
        load(path)


def test_what_is_no_clip_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF....")
    with pytest.raises(UserError, match="not a WAV file"):
        read_clip(path)
    for channels, width, frames in ((2, 2, 8000), (1, 1, 8000), (1, 2, 100)):
        with wave.open(str(path), "wb") as out:
            out.setparams((channels, width, 8000, 0, "NONE", ""))
            out.writeframes(bytes(frames * channels * width))
        with pytest.raises(UserError, match="mono 16-bit PCM of 50 ms at least"):
            read_clip(path)


def test_a_clip_beside_the_script_goes_before_a_shipped_one(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "agent_greeting.wav"), "wb") as out:
        out.setparams((1, 2, 24_000, 0, "NONE", ""))
        out.writeframes(speechlike(0.5))
    [greeting] = load(written(tmp_path)).greeting
    assert isinstance(greeting, Say)
    assert greeting.pcm == speechlike(0.5)


def test_the_bench_answers_everything_at_the_same_length() -> None:
    brain = BenchBrain(2.0, greeting_seconds=1.0)
    [greeting] = brain.prompted("Greet.")
    [reply] = brain.heard(STRANGER).reply
    assert isinstance(greeting, Say)
    assert isinstance(reply, Say)
    assert (greeting.seconds, reply.seconds) == (1.0, 2.0)
    assert reply.text == "word word word word word"
    assert brain.answered("end_call", {}) == ()
    assert len(BenchBrain(0.0).prompted("")[0]) == 2


TOOLS: dict[str, Any] = {
    "name": "Booking",
    "greeting": {"text": "Hello."},
    "turns": [
        {"caller": {"text": "when"}, "agent": {"text": "A moment."}, "tools": [{"name": "free"}]},
        {
            "caller": {"text": "that one"},
            "agent": {"text": "I book it."},
            "tools": [
                {"name": "book", "args": {"at": "$free.times.1", "days": ["$free.day"], "n": 1}},
                {"name": "tell"},
            ],
            "then": {"text": "Done."},
        },
    ],
}


def test_words_without_a_clip_are_a_sound_of_their_length(tmp_path: Path) -> None:
    path = tmp_path / "tools.yaml"
    path.write_text(json.dumps(TOOLS | {"pace": 10}))
    (greeting,) = load(path).greeting
    assert isinstance(greeting, Say)
    assert greeting.text == "Hello."
    assert greeting.seconds == pytest.approx(0.6)


def test_a_tool_may_be_given_what_another_one_found_and_be_spoken_about(tmp_path: Path) -> None:
    path = tmp_path / "tools.yaml"
    path.write_text(json.dumps(TOOLS))
    brain = ScriptBrain(load(path))
    brain.prompted("Greet.")
    assert brain.prompted("When?")[1:] == (Call("free", {}),)
    assert brain.answered("free", {"times": ["9:00", "9:30"], "day": "Monday"}) == ()
    assert brain.prompted("That one.")[1:] == (
        Call("book", {"at": "9:30", "days": ["Monday"], "n": 1}),
        Call("tell", {}),
    )
    assert brain.answered("book", {}) == ()
    (done,) = brain.answered("tell", {})
    assert isinstance(done, Say)
    assert done.text == "Done."
    assert filled("$free.times.7", {"free": {"times": []}}) is None
