"""The fault menu: everything that can go wrong with the two stand-ins, by name.

A fault is armed in one line, `NAME[=VALUE][@MOMENT[xTIMES]]` (`faults.py` for Gemini Live's side,
`bad_line.py` for Twilio's). Whatever is left to chance is drawn from the stand-in's seed, so the
same seed goes wrong in the same way.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Literal

import msgspec

Side = Literal["gemini", "twilio"]


class Takes(Enum):
    """What a fault's value is."""

    NOTHING = ""
    SECONDS = "SECONDS"
    MILLISECONDS = "MS"
    COUNT = "N"
    SHARE = "SHARE"  # 0 to 1
    PERCENT = "PERCENT"
    PATH = "PATH"  # dotted, as in `setup.generationConfig.temperature`
    CLOSE = "CODE[:REASON]"
    REASON = "REASON"


class Entry(msgspec.Struct, frozen=True):
    """One fault of the menu.

    Attributes:
        side: Which stand-in has it.
        name: As it is armed.
        happens: What goes wrong, in one sentence.
        notices: What the caller of a good server notices of it.
        arm: A `--fault` that shows it.
        takes: What its value is.
        default: The value where none is given; None: one has to be given.
        moment: Its moment where none is given; `setup` and `handshake` are its only one.
        means: The fault that this is another name for.
    """

    side: Side
    name: str
    happens: str
    notices: str
    arm: str
    takes: Takes = Takes.NOTHING
    default: str | None = None
    moment: str = "0"
    means: str = ""

    @property
    def usage(self) -> str:
        """Its name and its value's kind: `stall=SECONDS`, `malformed[=N]`."""
        if self.takes is Takes.NOTHING:
            return self.name
        value = f"={self.takes.value}"
        return self.name + (value if self.default is None else f"[{value}]")


NOTHING = "Nothing."
HOP = "Nothing: the call hops to a new session in a pause."
BACK = "At most 3 s until the agent, or a line of the server's own, is heard; no word is lost."
FRESH = "At most 3 s until the agent is heard again; what was said before is remembered."
POLITE = "A line of the server's own within 3 s, then goodbye or a transfer."
SLOW_START = "An agent within 5 s of the answer; later calls are not delayed."
HALF = "A line of the server's own within 3 s of the last word, an answer within 10 s; no word is lost."
NUDGED = "A pause, which a nudge, a resend, a hop or a line of the server's own ends in time."
CUT = "The reply stops, and the agent speaks again."
DROPS = "Nothing, or the call ends: the server neither hangs nor leaves anything behind."


_gemini = partial(Entry, "gemini")
_twilio = partial(Entry, "twilio")

_CONNECTING = (
    _gemini(
        "handshake-refused",
        "The WebSocket handshake is answered with HTTP 503.",
        SLOW_START,
        "handshake-refused@handshakex1",
        moment="handshake",
    ),
    _gemini(
        "handshake-hangs",
        "The WebSocket handshake is answered so late.",
        SLOW_START,
        "handshake-hangs=30@handshakex1",
        Takes.SECONDS,
        moment="handshake",
    ),
    _gemini(
        "no-setup",
        "`setupComplete` never comes.",
        SLOW_START,
        "no-setup@setupx1",
        moment="setup",
    ),
    _gemini(
        "silent-setup",
        "`setupComplete` never comes for a setup that holds the path.",
        SLOW_START,
        "silent-setup=setup.generationConfig.temperature",
        Takes.PATH,
        moment="setup",
    ),
    _gemini(
        "slow-setup",
        "`setupComplete` comes so much later than it would.",
        "The first word comes later; nothing that the caller said meanwhile is lost. A server may give up after 5 s.",
        "slow-setup=3",
        Takes.SECONDS,
        moment="setup",
    ),
    _gemini(
        "refuse",
        "1007 names the last field of the path, where the setup holds it.",
        SLOW_START,
        "refuse=setup.generationConfig.temperature",
        Takes.PATH,
        moment="setup",
    ),
    _gemini(
        "refuse-unnamed",
        "1007 says only that an argument is invalid, where the setup holds the path.",
        SLOW_START,
        "refuse-unnamed=setup.generationConfig.temperature",
        Takes.PATH,
        moment="setup",
    ),
    _gemini(
        "quota",
        "A session beyond N at once is refused with 1011 and the quota's reason; 0: every one.",
        "A new call hears the busy line; live ones go on.",
        "quota=0",
        Takes.COUNT,
        "0",
        moment="setup",
    ),
    _gemini(
        "bad-key",
        "The API key is refused with 1007.",
        POLITE,
        "bad-key",
        moment="setup",
        means="close=1007:API key not valid. Please pass a valid API key.",
    ),
    _gemini(
        "model-gone",
        "The model is refused with 1008.",
        POLITE,
        "model-gone",
        moment="setup",
        means="close=1008:models/gone is not found for API version v1beta, or is not supported"
        " for bidiGenerateContent.",
    ),
    _gemini(
        "stale-handle",
        "A resume is refused with 1008: session not found.",
        FRESH,
        "stale-handle",
        moment="setup",
    ),
    _gemini(
        "forgets",
        "A resumed session has forgotten everything: no tokens, and it greets again.",
        "Nothing, or a second greeting cut short: memory is verified and told again.",
        "forgets",
        moment="setup",
    ),
)

_CLOSING = (
    _gemini(
        "close",
        "The session is closed with the code; 1006 drops the connection.",
        "What the code deserves.",
        "close=1011@5x1",
        Takes.CLOSE,
    ),
    _gemini(
        "goaway",
        "`goAway`, and after the time left 1011, deadline expired.",
        HOP,
        "goaway=10@5x1",
        Takes.SECONDS,
    ),
    _gemini(
        "goaway-then-aborted",
        "`goAway`, and after the time left 1008, aborted.",
        HOP,
        "goaway-then-aborted=10@5x1",
        Takes.SECONDS,
    ),
    _gemini(
        "goaway-then-silence",
        "`goAway`; from then on nothing is heard or said until the close after the time left.",
        HOP,
        "goaway-then-silence=10@5x1",
        Takes.SECONDS,
    ),
    _gemini(
        "connection-lost",
        "The connection is dropped: no goAway, no close frame (1006).",
        BACK,
        "connection-lost@reply2+0.5x1",
        means="close=1006",
    ),
    _gemini(
        "half-open",
        "The socket stays open, but nothing is read or sent any more, not even a pong.",
        HALF,
        "half-open=60@speech2x1",
        Takes.SECONDS,
        "60",
    ),
    _gemini(
        "invalid-argument",
        "1007 after the setup: an unnamed argument is invalid.",
        FRESH,
        "invalid-argument@audiox1",
        means="close=1007",
    ),
    _gemini(
        "aborted",
        "1008: the operation was aborted.",
        BACK,
        "aborted@8x1",
        means="close=1008:The operation was aborted.",
    ),
    _gemini(
        "session-not-found",
        "1008 in mid-session: session not found.",
        FRESH,
        "session-not-found@8x1",
        means="close=1008:BidiGenerateContent session not found",
    ),
    _gemini(
        "deadline-expired",
        "1011 without a goAway: deadline expired.",
        BACK,
        "deadline-expired@8x1",
        means="close=1011:Deadline expired before operation could complete.",
    ),
    _gemini(
        "internal-error",
        "1011: internal error.",
        BACK,
        "internal-error@8x1",
        means="close=1011:Internal error encountered.",
    ),
    _gemini(
        "unavailable",
        "1011: the service is unavailable.",
        BACK,
        "unavailable@8x1",
        means="close=1011:The service is currently unavailable.",
    ),
    _gemini("clean-close", "1000 in mid-call.", BACK, "clean-close@8x1", means="close=1000"),
)

_TALKING = (
    _gemini("empty-turn", "A reply is a `turnComplete` and no more.", NUDGED, "empty-turn"),
    _gemini(
        "rejected",
        "A reply is a `turnComplete` with a `turnCompleteReason`.",
        NUDGED,
        "rejected",
        Takes.REASON,
        "RESPONSE_REJECTED",
    ),
    _gemini(
        "no-reply",
        "An utterance is transcribed and never answered.",
        NUDGED,
        "no-reply@heard1",
    ),
    _gemini(
        "unheard",
        "An utterance gets no transcription and no reply.",
        NUDGED,
        "unheard@heard1",
    ),
    _gemini(
        "short-words-unheard",
        "Utterances shorter than that get neither, unless an audioStreamEnd follows.",
        "A short word is understood after a moment.",
        "short-words-unheard=0.6",
        Takes.SECONDS,
    ),
    _gemini("deaf", "The next written message is ignored.", NUDGED, "deaf"),
    _gemini(
        "stall",
        "The reply that is going on, or the next one, pauses for so long.",
        "A filler within 3 s, then the rest of the reply.",
        "stall=4@reply2+0.2",
        Takes.SECONDS,
    ),
    _gemini(
        "silent-reply",
        "A reply of full length is digital silence.",
        NUDGED,
        "silent-reply@heard1",
    ),
    _gemini(
        "phantom-interrupted",
        "`interrupted` although nobody spoke.",
        CUT,
        "phantom-interrupted@reply2+0.2x1",
    ),
    _gemini(
        "late-audio",
        "From now on a reply's audio goes on after its `interrupted`.",
        "Nothing: what was interrupted is not heard again.",
        "late-audio",
    ),
    _gemini(
        "late-transcription",
        "From now on transcriptions come up to so much later, in no order towards the audio.",
        NOTHING,
        "late-transcription=3",
        Takes.SECONDS,
    ),
    _gemini(
        "duplicate-tool-call",
        "From now on every `toolCall` comes twice, under the same id.",
        "Nothing: what the tool does is done once.",
        "duplicate-tool-call",
    ),
)

_MESSAGES = (
    _gemini("malformed", "Frames that are not JSON.", NOTHING, "malformed=5@3", Takes.COUNT, "1"),
    _gemini(
        "unknown-fields", "A message of fields that nobody knows.", NOTHING, "unknown-fields@3"
    ),
    _gemini("null-parts", "A message whose parts are null.", NOTHING, "null-parts@3"),
    _gemini("text-frame", "A message in a text frame.", NOTHING, "text-frame@3"),
    _gemini(
        "huge-frame",
        "A message of so many MiB.",
        BACK,
        "huge-frame=16@3x1",
        Takes.COUNT,
        "16",
    ),
    _gemini(
        "late-pong",
        "From now on a ping is answered so late.",
        NOTHING,
        "late-pong=30",
        Takes.SECONDS,
    ),
)

_LINE = (
    _twilio(
        "loss", "A share of the caller's frames never comes.", NOTHING, "loss=0.05", Takes.SHARE
    ),
    _twilio(
        "duplication",
        "A share of the frames comes twice.",
        NOTHING,
        "duplication=0.05",
        Takes.SHARE,
    ),
    _twilio(
        "reordering",
        "A share of the frames comes after the one behind it.",
        NOTHING,
        "reordering=0.05",
        Takes.SHARE,
    ),
    _twilio(
        "jitter",
        "Each frame comes up to so many ms late, in order, at steps of 20 ms.",
        NOTHING,
        "jitter=200",
        Takes.MILLISECONDS,
    ),
    _twilio(
        "stall",
        "No message for so long, then all of them at once.",
        "A late answer at most: no delay that stays.",
        "stall=2@3",
        Takes.SECONDS,
    ),
    _twilio(
        "gap",
        "The frames of so many seconds never come.",
        "What was said in it was not heard, and no more.",
        "gap=2@3",
        Takes.SECONDS,
    ),
    _twilio(
        "drift",
        "The caller's clock is so much too fast, or with a minus too slow.",
        NOTHING,
        "drift=0.1",
        Takes.PERCENT,
    ),
    _twilio("marks-lost", "No mark comes back.", "Nothing, or a goodbye: no hang.", "marks-lost"),
    _twilio(
        "marks-late",
        "Every mark comes back so late.",
        NOTHING,
        "marks-late=1.5",
        Takes.SECONDS,
    ),
    _twilio("reset", "The connection is reset without a close frame.", DROPS, "reset@2"),
    _twilio("no-stop", "The stream ends without `stop`.", NOTHING, "no-stop"),
    _twilio("no-start", "`start` and all that follows never comes.", DROPS, "no-start"),
    _twilio("two-starts", "`start` comes twice.", DROPS, "two-starts"),
    _twilio("media-before-start", "A frame comes before `start`.", NOTHING, "media-before-start"),
    _twilio("bad-base64", "A payload is not base64.", NOTHING, "bad-base64"),
    _twilio("file-header", "A payload begins with a file's header.", NOTHING, "file-header"),
    _twilio("huge-frame", "A message of 1 MiB.", DROPS, "huge-frame"),
    _twilio("unknown-event", "An event that nobody knows.", NOTHING, "unknown-event"),
    _twilio("not-json", "A message is cut off in the middle.", NOTHING, "not-json"),
    _twilio("binary-frame", "A message comes in a binary frame.", NOTHING, "binary-frame"),
    _twilio(
        "out-of-order", "A frame comes again under an earlier number.", NOTHING, "out-of-order"
    ),
)

MENU: tuple[Entry, ...] = (*_CONNECTING, *_CLOSING, *_TALKING, *_MESSAGES, *_LINE)
"""Every fault, in the order in which it is listed."""


def side(of: Side) -> dict[str, Entry]:
    """Return one stand-in's faults by name."""
    return {entry.name: entry for entry in MENU if entry.side == of}


def describe(of: Side) -> str:
    """Return one stand-in's part of the menu as text, for a person."""
    lines: list[str] = []
    for entry in side(of).values():
        lines += [entry.usage, f"    {entry.happens}", f"    the caller: {entry.notices}"]
        lines.append(f"    for example: --fault '{entry.arm}'")
    return "\n".join(lines)
