"""What a client's setup asked for, as far as the stand-in acts on it; and how it conducts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from agent.simulator.ears import Hearing
from agent.simulator.faults import Fault
from agent.simulator.strict import found

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from agent.simulator.agenda import Agenda
    from agent.simulator.handles import Handles
    from agent.simulator.records import SessionRecord

INTERRUPTING = "START_OF_ACTIVITY_INTERRUPTS"
DEFAULT_SILENCE_MS = 500
DEFAULT_PREFIX_MS = 60
LOW_SENSITIVITY_DB = 6.0


class Conduct(msgspec.Struct, frozen=True):
    """How the stand-in behaves where the service leaves room.

    Attributes:
        setup_seconds: From `setup` to `setupComplete`; None: 0.3 to 1.8 s, as measured.
        model_delay_seconds: From the end of the caller's speech, as the stand-in's voice
            detection found it, to the reply's first message.
        speed: How many times faster than real time a reply is sent.
        interrupts: Whether the caller's speech interrupts until assumed playback has ended, or
            only while the reply is being generated. Both were seen.
        voice_activity: Whether `voiceActivity` messages are sent.
        idle_seconds: Without input for so long, the session ends.
        trace: Whether time and length of every chunk of audio are kept, both ways.
        session_limit_seconds: So long after `setupComplete` the session ends, deadline expired.
        goaway_seconds: So long before that a `goAway` comes, but never before a quarter of the
            limit is left.
        bad_key: An API key that is refused; empty: none is.
        faults: What goes wrong.
    """

    setup_seconds: float | None = None
    model_delay_seconds: float = 0.25
    speed: float = 4.0
    interrupts: Literal["playback", "generation"] = "playback"
    voice_activity: bool = False
    idle_seconds: float = 150.0
    trace: bool = False
    session_limit_seconds: float | None = None
    goaway_seconds: float = 50.0
    bad_key: str = ""
    faults: tuple[Fault, ...] = ()


class Surroundings(NamedTuple):
    """What a conversation shares with its session.

    Attributes:
        send: Takes a server message.
        happened: Told of each of `faults.EVENTS`.
        violated: Told the rule and the detail of what the client did wrong and is not closed for.
    """

    conduct: Conduct
    agenda: Agenda
    handles: Handles
    record: SessionRecord
    dice: Random
    send: Callable[[dict[str, Any]], None]
    happened: Callable[[str, float], None]
    violated: Callable[[str, str], None]


class Wishes(NamedTuple):
    """A setup message, read.

    Attributes:
        manual: Voice detection is off: the client signals activity.
        interrupting: The caller's speech interrupts the model.
        functions: The tools that may be called.
        blocking: Those whose results the model waits for.
        instruction: What the model is told at the start: persona, and memory where it is seeded.
    """

    model: str
    hearing: Hearing
    manual: bool
    interrupting: bool
    input_transcription: bool
    output_transcription: bool
    resumption: bool
    handle: str
    initial_history: bool
    functions: frozenset[str]
    blocking: frozenset[str]
    instruction: str


def wishes(setup: dict[str, Any]) -> Wishes:
    """Read a setup that was already checked."""
    realtime = setup.get("realtimeInputConfig", {})
    detection = realtime.get("automaticActivityDetection", {})
    resumption = setup.get("sessionResumption")
    low = detection.get("startOfSpeechSensitivity") == "START_SENSITIVITY_LOW"
    declared = {
        function["name"]: function.get("behavior", "")
        for tool in setup.get("tools", [])
        for function in tool.get("functionDeclarations", [])
    }
    return Wishes(
        model=setup["model"].removeprefix("models/"),
        hearing=Hearing(
            silence_seconds=max(20, detection.get("silenceDurationMs", DEFAULT_SILENCE_MS)) / 1000,
            prefix_seconds=max(20, detection.get("prefixPaddingMs", DEFAULT_PREFIX_MS)) / 1000,
            extra_db=LOW_SENSITIVITY_DB if low else 0.0,
        ),
        manual=detection.get("disabled", False),
        interrupting=realtime.get("activityHandling", INTERRUPTING) != "NO_INTERRUPTION",
        input_transcription="inputAudioTranscription" in setup,
        output_transcription="outputAudioTranscription" in setup,
        resumption=resumption is not None,
        handle=(resumption or {}).get("handle", ""),
        initial_history=setup.get("historyConfig", {}).get("initialHistoryInClientContent", False),
        functions=frozenset(declared),
        blocking=frozenset(name for name, how in declared.items() if how == "BLOCKING"),
        instruction="\n".join(found({"setup": setup}, "setup.systemInstruction.parts.text")),
    )
