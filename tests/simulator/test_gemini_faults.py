"""The fault menu of the stand-in for Gemini Live, each fault in literal times."""

from __future__ import annotations

from typing import Any

import pytest

from agent.simulator.brain import Call
from agent.simulator.faults import NAMES, Fault, parse
from agent.simulator.gemini_session import Freeze, LatePongs
from agent.simulator.gemini_setup import Conduct
from agent.simulator.strict import INVALID
from tests.simulator.live_rig import (
    ANSWER,
    FUNCTION,
    GREETING,
    QUIET,
    SPEECH,
    Parrot,
    Rig,
    audio_frame,
    setup_frame,
)

TEXT = {"realtimeInput": {"text": "Greet the caller."}}
RESUMABLE: dict[str, Any] = {"sessionResumption": {}}
TRANSCRIBED: dict[str, Any] = {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
DEADLINE = (1011, "Deadline expired before operation could complete.")


def faulty(*texts: str, **changes: Any) -> Rig:
    """A rig whose stand-in has these faults; it is ready at 100.5."""
    given: dict[str, Any] = {
        "setup_seconds": 0.5,
        "model_delay_seconds": 0.25,
        "faults": tuple(map(parse, texts)),
    }
    return Rig(conduct=Conduct(**(given | changes)))


def closed_at(rig: Rig, until: float = 200.0) -> float | None:
    """When the session closes, to 10 ms."""
    while rig.close is None and rig.now < until:
        rig.wait(0.01)
    return round(rig.now, 2) if rig.close is not None else None


# ---------------------------------------------------------------------------- setup


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            "refuse=setup.generationConfig.temperature",
            (
                'Invalid JSON payload received. Unknown name "temperature" at'
                " 'setup.generation_config': Cannot find field."
            ),
        ),
        (
            "refuse=setup.inputAudioTranscription",
            (
                "Invalid JSON payload received. Unknown name \"inputAudioTranscription\" at 'setup':"
                " Cannot find field."
            ),
        ),
        (
            "refuse=setup.tools.functionDeclarations.behavior",
            (
                'Invalid JSON payload received. Unknown name "behavior" at'
                " 'setup.tools.function_declarations': Cannot find field."
            ),
        ),
        ("refuse-unnamed=setup.generationConfig.temperature", INVALID),
    ],
)
def test_a_setup_that_holds_the_path_is_refused(fault: str, reason: str) -> None:
    fields: dict[str, Any] = {
        "generationConfig": {"temperature": 0.7},
        "inputAudioTranscription": {},
        "tools": [{"functionDeclarations": [FUNCTION | {"behavior": "BLOCKING"}]}],
    }
    rig = faulty(fault)
    rig.send(setup_frame(**fields))
    rig.wait(0.15)
    early = rig.close
    rig.wait(0.02)
    assert early is None
    assert rig.close == (1007, reason[:123])
    assert not rig.violations
    assert rig.record.refused
    assert rig.record.faults == [fault.partition("=")[0]]
    plain = Rig(before=rig)
    plain.send(setup_frame())
    plain.wait(1)
    assert plain.named("setupComplete")


def test_a_refused_setup_that_is_sent_again_is_counted() -> None:
    first = faulty("refuse-unnamed=setup.sessionResumption")
    ways: tuple[dict[str, Any], ...] = (RESUMABLE, RESUMABLE | {"labels": {}})
    for fields in ways:
        for _ in range(2):
            rig = Rig(before=first)
            rig.send(setup_frame(**fields))
            rig.wait(1)
            assert rig.close is not None
    assert len(first.refused) == 4
    assert len(set(first.refused)) == 2


def test_a_setup_that_holds_the_path_may_never_be_answered() -> None:
    rig = faulty("silent-setup=setup.generationConfig.temperature")
    rig.send(setup_frame(generationConfig={"temperature": 0.7}))
    rig.wait(60)
    assert not rig.sent
    assert rig.close is None
    Rig(before=rig.over()).ready()


def test_a_setup_may_take_longer() -> None:
    rig = faulty("slow-setup=5")
    rig.send(setup_frame())
    rig.wait(5.49)
    assert not rig.sent
    rig.wait(0.02)
    assert rig.named("setupComplete")


def test_sessions_beyond_the_quota_are_refused_until_one_ends() -> None:
    first = faulty("quota=1").ready()
    second = Rig(before=first)
    second.send(setup_frame())
    second.wait(1)
    assert second.close is not None
    assert second.close.code == 1011
    assert second.close.reason.startswith("You exceeded your current quota, please check")
    first.over()
    Rig(before=second).ready()
    assert not first.violations


def test_every_session_may_be_over_the_quota() -> None:
    rig = faulty("quota")
    rig.send(setup_frame())
    rig.wait(1)
    assert rig.close is not None


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("bad-key", 1007, "API key not valid. Please pass a valid API key."),
        ("model-gone", 1008, "models/gone is not found for API version v1beta, or is not "),
    ],
)
def test_a_setup_may_be_refused_for_good(fault: str, code: int, reason: str) -> None:
    rig = faulty(fault)
    rig.send(setup_frame())
    rig.wait(1)
    assert rig.close is not None
    assert rig.close.code == code
    assert rig.close.reason.startswith(reason)


def test_a_stale_handle_refuses_a_resume_and_no_other_setup() -> None:
    first = faulty("stale-handle").ready(**RESUMABLE)
    second = Rig(before=first.over())
    second.send(setup_frame(sessionResumption={"handle": first.handle()}))
    second.wait(1)
    assert second.close == (1008, "BidiGenerateContent session not found")
    assert not first.violations  # the stand-in's doing, not the client's
    Rig(before=second).ready(**RESUMABLE)


def test_a_resumed_session_may_have_forgotten_everything() -> None:
    first = faulty("forgets").ready(**RESUMABLE)
    first.send(TEXT)
    first.wait(4)
    second = first.over().resumed()
    second.say(SPEECH + QUIET)
    second.wait(6)
    assert second.audio() == GREETING.pcm  # again, in mid-call
    usage = second.named("usageMetadata")[0].message["usageMetadata"]
    assert usage["promptTokenCount"] == 25  # of the second of speech, and no more


def test_a_fault_may_come_in_the_first_sessions_only() -> None:
    first = faulty("no-setup@setupx1", "close=1006@1x1")
    first.send(setup_frame())
    first.wait(5)
    assert not first.sent
    second = Rig(before=first.over()).ready()
    second.wait(5)
    assert second.close == (1006, "")
    third = Rig(before=second).ready()
    third.wait(5)
    assert third.close is None


# ---------------------------------------------------------------------------- closing


@pytest.mark.parametrize(
    ("fault", "close"),
    [
        ("goaway=10@5", DEADLINE),
        ("goaway-then-aborted=10@5", (1008, "The operation was aborted.")),
        ("goaway-then-silence=10@5", DEADLINE),
    ],
)
def test_goaway_comes_and_the_close_after_the_time_left(fault: str, close: tuple[int, str]) -> None:
    rig = faulty(fault).ready()
    rig.until(105.6)
    [away] = rig.named("goAway")
    assert away.message == {"goAway": {"timeLeft": "10s"}}
    assert away.at == pytest.approx(105.5)
    rig.send(TEXT)
    assert closed_at(rig) == pytest.approx(115.5, abs=0.02)
    assert rig.close == close
    assert bool(rig.audio()) is ("silence" not in fault)


def test_a_session_limit_says_goaway_before_it_closes() -> None:
    rig = faulty(session_limit_seconds=45.0).ready()
    assert closed_at(rig) == pytest.approx(145.5, abs=0.02)
    assert rig.close == DEADLINE
    [away] = rig.named("goAway")
    assert away.message == {"goAway": {"timeLeft": "11.25s"}}
    assert away.at == pytest.approx(134.25)
    sooner = faulty(session_limit_seconds=45.0, goaway_seconds=5.0).ready()
    assert closed_at(sooner) == pytest.approx(145.5, abs=0.02)
    assert sooner.named("goAway")[0].at == pytest.approx(140.5)


@pytest.mark.parametrize(
    ("fault", "close"),
    [
        ("connection-lost", (1006, "")),
        ("clean-close", (1000, "")),
        ("invalid-argument", (1007, INVALID)),
        ("aborted", (1008, "The operation was aborted.")),
        ("session-not-found", (1008, "BidiGenerateContent session not found")),
        ("deadline-expired", DEADLINE),
        ("internal-error", (1011, "Internal error encountered.")),
        ("unavailable", (1011, "The service is currently unavailable.")),
    ],
)
def test_a_session_ends_without_a_goaway(fault: str, close: tuple[int, str]) -> None:
    rig = faulty(f"{fault}@3").ready()
    assert closed_at(rig, 104) == pytest.approx(103.5, abs=0.02)
    assert rig.close == close
    assert not rig.named("goAway")


def test_a_close_may_follow_the_first_audio() -> None:
    rig = faulty("invalid-argument@audio").ready()
    rig.send(TEXT)
    assert rig.close is None
    rig.send(audio_frame(bytes(640)))
    assert rig.close == (1007, INVALID)


def test_a_close_may_come_in_the_middle_of_the_second_reply() -> None:
    rig = faulty("connection-lost@reply2+0.3").ready()
    rig.send(TEXT)
    rig.wait(5)
    rig.sent.clear()
    rig.send(TEXT)
    asked = rig.now
    assert closed_at(rig) == pytest.approx(asked + 0.25 + 0.3, abs=0.02)
    assert 0 < len(rig.audio()) < len(GREETING.pcm)


@pytest.mark.parametrize("event", ["speech", "heard", "tool"])
def test_a_close_may_follow_what_happens_in_the_talk(event: str) -> None:
    rig = faulty(f"connection-lost@{event}")
    rig.brain = Parrot(Call("end_call", {}))
    rig.ready(tools=[{"functionDeclarations": [FUNCTION]}])
    rig.say(SPEECH[: 2 * 8000])
    assert (rig.close is not None) is (event == "speech")
    if event != "speech":
        rig.say(QUIET)
        assert (rig.close is not None) is (event == "heard")
        rig.wait(5)
    assert rig.close == (1006, "")
    assert bool(rig.named("toolCall")) is (event == "tool")


def test_a_half_open_connection_is_silent_until_it_is_dropped_and_may_be_resumed() -> None:
    rig = faulty("half-open=60@3").ready(**RESUMABLE)
    handle = rig.handle()
    rig.until(103.6)
    assert rig.other == [Freeze()]
    assert rig.ledger.stats().live == 0  # as far as the service knows
    sent = len(rig.sent)
    rig.send(TEXT)
    rig.wait(30)
    assert len(rig.sent) == sent
    Rig(before=rig).ready(sessionResumption={"handle": handle})
    assert closed_at(rig) == pytest.approx(163.5, abs=0.02)
    assert rig.close == (1006, "")


def test_pongs_may_come_late() -> None:
    rig = faulty("late-pong=30").ready()
    assert rig.other == [LatePongs(30.0)]


# ---------------------------------------------------------------------------- the talk


def test_a_reply_may_be_rejected() -> None:
    rig = faulty("rejected", "rejected=MALFORMED_FUNCTION_CALL").ready()
    for reason in ("RESPONSE_REJECTED", "MALFORMED_FUNCTION_CALL"):
        rig.sent.clear()
        rig.send(TEXT)
        rig.wait(2)
        assert [sent.message for sent in rig.sent] == [
            {"serverContent": {"turnComplete": True, "turnCompleteReason": reason}}
        ]


def test_an_utterance_may_be_transcribed_and_never_answered() -> None:
    rig = faulty("no-reply@heard2").ready(**TRANSCRIBED)
    for replies in (1, 1, 2):
        rig.say(SPEECH + QUIET)
        rig.wait(6)
        assert rig.record.replies == replies
    assert rig.text("inputTranscription") == "[speech 1.0 s]" * 3
    assert (rig.record.utterances.heard, rig.record.utterances.answered) == (3, 2)


def test_an_utterance_may_get_nothing_at_all() -> None:
    rig = faulty("unheard@heard").ready(**TRANSCRIBED)
    rig.say(SPEECH + QUIET)
    rig.wait(6)
    assert not rig.sent
    rig.say(SPEECH + QUIET)
    rig.wait(6)
    assert rig.audio() == ANSWER.pcm


SHORT = SPEECH[: 2 * 4800]  # 300 ms


def test_a_short_word_gets_nothing_unless_the_stream_ends() -> None:
    rig = faulty("short-words-unheard=0.6").ready(**TRANSCRIBED)
    rig.say(SHORT + QUIET)
    rig.wait(3)
    assert not rig.sent
    rig.say(SHORT)
    rig.send({"realtimeInput": {"audioStreamEnd": True}})
    rig.wait(5)
    assert rig.audio() == ANSWER.pcm
    rig.sent.clear()
    rig.say(SPEECH + QUIET)  # 1 s is not short
    rig.wait(5)
    assert rig.audio() == ANSWER.pcm


@pytest.mark.parametrize(("later", "answered"), [(0.9, True), (1.1, False)])
def test_the_streams_end_may_come_after_the_short_word_was_let_pass(
    later: float, answered: bool
) -> None:
    rig = faulty("short-words-unheard=0.6").ready()
    rig.say(SHORT + QUIET[: 2 * 8000])
    rig.wait(later)
    rig.send({"realtimeInput": {"audioStreamEnd": True}})
    rig.wait(5)
    assert bool(rig.audio()) is answered


def test_a_stall_in_the_middle_of_a_reply_leaves_nothing_out() -> None:
    rig = faulty("stall=4@reply+0.2").ready()
    rig.send(TEXT)
    rig.wait(8)
    times = [sent.at for sent in rig.named("modelTurn")]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert max(gaps) == pytest.approx(4, abs=0.1)
    assert rig.audio() == GREETING.pcm


def test_a_reply_may_be_silent_at_its_full_length() -> None:
    rig = faulty("silent-reply").ready(**TRANSCRIBED)
    rig.send(TEXT)
    rig.wait(4)
    assert rig.audio() == bytes(len(GREETING.pcm))
    assert rig.text("outputTranscription") == GREETING.text
    rig.sent.clear()
    rig.send(TEXT)
    rig.wait(4)
    assert rig.audio() == GREETING.pcm


def test_a_phantom_interrupts_a_reply_or_nothing() -> None:
    rig = faulty("phantom-interrupted@1", "phantom-interrupted@reply+0.2").ready()
    rig.wait(1)
    assert [sent.message["serverContent"] for sent in rig.sent] == [
        {"interrupted": True},
        {"turnComplete": True},
    ]
    rig.sent.clear()
    rig.send(TEXT)
    rig.wait(4)
    assert rig.named("interrupted")[0].at == pytest.approx(102.0 + 0.25 + 0.2, abs=0.02)
    assert len(rig.audio()) < len(GREETING.pcm)
    assert rig.named("turnComplete")


def test_transcriptions_may_come_late_and_in_their_order() -> None:
    latest = []
    for seed in range(8):
        rig = faulty("late-transcription=3")
        rig = Rig(conduct=rig.house.conduct, seed=seed).ready(**TRANSCRIBED)
        rig.say(SPEECH + QUIET)
        rig.wait(10)
        assert rig.text("outputTranscription") == ANSWER.text
        assert rig.text("inputTranscription") == "[speech 1.0 s]"
        spoken = rig.named("generationComplete")[0].at
        latest.append(rig.named("outputTranscription")[-1].at - spoken)
        latest.append(rig.named("inputTranscription")[-1].at - spoken)
    assert max(latest) > 1.5
    assert max(latest) < 4


def test_a_tool_call_may_come_twice_under_one_id() -> None:
    rig = faulty("duplicate-tool-call")
    rig.brain = Parrot(Call("end_call", {}))
    rig.ready(tools=[{"functionDeclarations": [FUNCTION]}])
    rig.say(SPEECH + QUIET)
    rig.wait(4)
    one, two = rig.named("toolCall")
    assert one.message == two.message
    assert rig.record.tools.issued == 1
    answer = {"id": "function-call-1", "name": "end_call", "response": {}}
    rig.send({"toolResponse": {"functionResponses": [answer]}})
    assert not rig.violations


# ---------------------------------------------------------------------------- messages


def test_frames_that_are_no_json_may_come_five_times() -> None:
    rig = faulty("malformed=5@1").ready()
    rig.wait(2)
    assert rig.raw[-5:] == [b'{"serverContent": {"modelTurn": '] * 5


@pytest.mark.parametrize(
    ("fault", "field"), [("unknown-fields", "vibe"), ("null-parts", "modelTurn")]
)
def test_odd_messages_may_come(fault: str, field: str) -> None:
    rig = faulty(f"{fault}@1").ready()
    rig.wait(2)
    assert rig.named(field)


def test_a_text_frame_or_a_huge_one_may_come() -> None:
    rig = faulty("text-frame@1", "huge-frame=2@1").ready()
    rig.wait(2)
    assert rig.other == ['{"usageMetadata": {"totalTokenCount": 1}}']
    assert len(rig.raw[-1]) > 2 * 1024 * 1024


@pytest.mark.slow
def test_every_fault_of_the_menu_comes_by_its_example() -> None:
    """Each is armed as the menu shows, and the talk goes on until it came."""
    for entry in NAMES.values():
        fault = parse(entry.arm)
        if fault.after == "handshake":
            continue
        rig = faulty(entry.arm)
        rig.brain = Parrot(Call("end_call", {}))
        rig.send(setup_frame(generationConfig={"temperature": 1.0}, **RESUMABLE))
        rig.wait(1)
        if rig.named("setupComplete"):
            turn = SPEECH + 4 * QUIET
            for at in range(0, 3 * len(turn), 640):
                if rig.close is None:
                    rig.say((3 * turn)[at : at + 640])
        if fault.name in ("stale-handle", "forgets"):
            again = Rig(before=rig.over())
            again.send(setup_frame(sessionResumption={"handle": rig.handle()}))
            rig = again
        assert rig.record.faults[:1] == [entry.name]
        assert not rig.violations


def test_a_fault_of_the_setup_does_nothing_later() -> None:
    rig = faulty().ready()
    assert rig.session.inject(Fault("quota", "0", after="setup"), rig.now) == []
    assert rig.close is None
