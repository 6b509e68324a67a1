"""A phone line that misbehaves, by faults of the menu: what a server must outlive.

A fault is written `NAME[=VALUE][@SECONDS[xTIMES]]`: so long after the first frame (without it, half
a second for what happens once, and at once for what goes on), and only on the call's first TIMES
streams.

Pure: every message that the stand-in is about to send passes through `BadLine.distort`, which says
what is sent instead, and `release` gives what it kept back. Time is an argument; chance is drawn
from the seed, so the same seed goes wrong in the same way.
"""

from __future__ import annotations

import base64
import heapq
import math
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from agent.errors import UserError
from agent.simulator.faults import check_value, number, split_times
from agent.simulator.menu import Takes, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESET: Final = None
"""In place of a message: the connection is reset, without a close frame."""
FAULTY_CHUNK = 25
"""The media message, from 1, at which a fault of the audio comes: half a second in."""
CHUNKS_PER_SECOND = 50
HUGE_BYTES = 1024 * 1024
WAV_HEADER = b"RIFF\x24\x00\x00\x00WAVEfmt ".ljust(160, b"\x00")

Sent = str | bytes | None
"""A text message, a binary one, or a reset."""


class LineFault(NamedTuple):
    """One fault of the line.

    Attributes:
        name: Which, as in the menu.
        value: Its value, 0 where it takes none.
        chunk: The media message, from 1, at which it comes; 0 where no time was given.
        times: On how many streams of a call; 0: on every one.
    """

    name: str
    value: float = 0.0
    chunk: int = 0
    times: int = 0


class Message(NamedTuple):
    """A message of the stand-in's own making.

    Attributes:
        chunk: How many media messages there were, this one included.
    """

    text: str
    event: str
    chunk: int


def parse(text: str) -> LineFault:
    """Read a fault as it is written on the command line.

    Raises:
        UserError: no such fault, or its value or moment is wrong.
    """
    written, at, moment = text.partition("@")
    name, _, value = written.partition("=")
    menu = side("twilio")
    if name not in menu:
        raise UserError(f"no fault of the line is called {name!r}: {', '.join(menu)}")
    takes = menu[name].takes
    if (takes is Takes.NOTHING) == bool(value):
        raise UserError(f"fault {text!r}: {name} takes {takes.value or 'no value'}")
    check_value(takes, value, text)
    seconds, times = split_times(moment, text) if at else ("", 0)
    chunk = round(number(seconds, text) * CHUNKS_PER_SECOND) + 1 if seconds else 0
    return LineFault(name, float(value or 0), chunk, times)


# ------------------------------------------------------------------------ once, at a message


def _media(payload: str, stream_sid: str = "MZ" + "f" * 32) -> str:
    return (
        f'{{"event":"media","sequenceNumber":"1","streamSid":"{stream_sid}",'
        f'"media":{{"track":"inbound","chunk":"1","timestamp":"5","payload":"{payload}"}}}}'
    )


def _with_payload(text: str, payload: str) -> str:
    head, mark, _ = text.partition('"payload":"')
    return f'{head}{mark}{payload}"}}}}'


def _media_before_start(message: Message, _: int) -> list[Sent]:
    silence = base64.b64encode(b"\xff" * 160).decode()
    return [message.text, *([_media(silence)] if message.event == "connected" else [])]


def _two_starts(message: Message, _: int) -> list[Sent]:
    return [message.text] * (2 if message.event == "start" else 1)


def _no_start(message: Message, _: int) -> list[Sent]:
    return [message.text] if message.event == "connected" else []


def _no_stop(message: Message, _: int) -> list[Sent]:
    return [] if message.event == "stop" else [message.text]


def _at_chunk(replace: Callable[[str], list[Sent]]) -> Callable[[Message, int], list[Sent]]:
    def at_chunk(message: Message, faulty: int) -> list[Sent]:
        comes = message.event == "media" and message.chunk == faulty
        return replace(message.text) if comes else [message.text]

    return at_chunk


def _out_of_order(message: Message, faulty: int) -> list[Sent]:
    text, event, chunk = message
    if event != "media" or chunk != faulty:
        return [text]
    return [text, text.replace(f'"chunk":"{chunk}"', f'"chunk":"{max(1, chunk - 5)}"')]


_UNKNOWN = '{"event":"surprise","sequenceNumber":"26","streamSid":"MZ","surprise":{}}'

FAULTS: dict[str, Callable[[Message, int], list[Sent]]] = {
    "media-before-start": _media_before_start,
    "two-starts": _two_starts,
    "no-start": _no_start,
    "no-stop": _no_stop,
    "reset": _at_chunk(lambda _: [RESET]),
    "bad-base64": _at_chunk(lambda text: [_with_payload(text, "#not base64#")]),
    "file-header": _at_chunk(
        lambda text: [_with_payload(text, base64.b64encode(WAV_HEADER).decode())]
    ),
    "huge-frame": _at_chunk(lambda text: [_with_payload(text, "/" * HUGE_BYTES)]),
    "unknown-event": _at_chunk(lambda text: [_UNKNOWN, text]),
    "not-json": _at_chunk(lambda text: [text[:40]]),
    "binary-frame": _at_chunk(lambda text: [text.encode()]),
    "out-of-order": _out_of_order,
}
"""Faults that are the same every time: (message, the faulty chunk) -> what is sent instead."""


# ------------------------------------------------------------------------ by chance, or going on


def _media_only(change: Callable[[str], list[Sent]], since: int) -> Callable[[Message], list[Sent]]:
    def distort(message: Message) -> list[Sent]:
        if message.event != "media" or message.chunk < since:
            return [message.text]
        return change(message.text)

    return distort


def _loss(fault: LineFault, dice: Random) -> Callable[[Message], list[Sent]]:
    return _media_only(lambda text: [] if dice.random() < fault.value else [text], fault.chunk)


def _duplication(fault: LineFault, dice: Random) -> Callable[[Message], list[Sent]]:
    return _media_only(lambda text: [text] * (1 + (dice.random() < fault.value)), fault.chunk)


def _reordering(fault: LineFault, dice: Random) -> Callable[[Message], list[Sent]]:
    waiting: list[Sent] = []

    def swap(text: str) -> list[Sent]:
        if waiting:
            return [text, waiting.pop()]
        if dice.random() < fault.value:
            waiting.append(text)
            return []
        return [text]

    return _media_only(swap, fault.chunk)


def _gap(fault: LineFault, dice: Random) -> Callable[[Message], list[Sent]]:
    del dice
    first = fault.chunk or FAULTY_CHUNK
    gone = range(first, first + round(fault.value * CHUNKS_PER_SECOND))
    return lambda message: (
        [] if message.event == "media" and message.chunk in gone else [message.text]
    )


def _marks_lost(fault: LineFault, dice: Random) -> Callable[[Message], list[Sent]]:
    del dice
    return lambda message: (
        [] if message.event == "mark" and message.chunk >= fault.chunk else [message.text]
    )


class _Drift:
    """A caller's clock that is too fast or too slow: frames more or fewer, numbered as they go."""

    def __init__(self, fault: LineFault, dice: Random) -> None:
        del dice
        self._share = fault.value / 100
        self._since = fault.chunk
        self._owed = 0.0
        self._sequence = self._chunk = self._timestamp_ms = 0

    def __call__(self, message: Message) -> list[Sent]:
        if message.event == "connected":
            return [message.text]
        copies = 1
        if message.event == "media" and message.chunk >= self._since:
            self._owed += self._share
            more = int(self._owed + math.copysign(1e-9, self._share))
            copies += more
            self._owed -= more
        return [self._numbered(msgspec.json.decode(message.text)) for _ in range(copies)]

    def _numbered(self, message: dict[str, Any]) -> str:
        self._sequence += 1
        message["sequenceNumber"] = str(self._sequence)
        if "media" in message:
            media = message["media"]
            self._chunk += 1
            self._timestamp_ms = (
                self._timestamp_ms + 20 if self._chunk > 1 else int(media["timestamp"])
            )
            media |= {"chunk": str(self._chunk), "timestamp": str(self._timestamp_ms)}
        return msgspec.json.encode(message).decode()


GOING_ON: dict[str, Callable[[LineFault, Random], Callable[[Message], list[Sent]]]] = {
    "loss": _loss,
    "duplication": _duplication,
    "reordering": _reordering,
    "gap": _gap,
    "drift": _Drift,
    "marks-lost": _marks_lost,
}
"""Faults that change which messages come: (the fault, dice) -> what does it."""


# ------------------------------------------------------------------------ late


class _Delay:
    """Faults that change when messages come: `jitter`, `stall` and `marks-late`."""

    def __init__(self, fault: LineFault, dice: Random) -> None:
        self._fault = fault
        self._dice = dice
        self._until = float("-inf")  # nothing behind comes before
        self._stalled = False

    def until(self, message: Message, now: float) -> float:
        """When the message goes out."""
        name, value, since, _ = self._fault
        if name == "marks-late":
            return now + value if message.event == "mark" else now
        if message.event == "media" and name == "jitter" and message.chunk >= since:
            self._until = max(self._until, now + self._dice.uniform(0, value / 1000))
        if name == "stall" and not self._stalled and message.chunk >= (since or FAULTY_CHUNK):
            self._stalled = True
            self._until = now + value
        return max(now, self._until)


DELAYS = ("jitter", "stall", "marks-late")


class _Numbers:
    """Numbers messages as they leave: a mark that comes back late is told late, and one connection swaps nothing."""

    def __init__(self) -> None:
        self._sequence = 0

    def __call__(self, text: str) -> str:
        if "sequenceNumber" not in text:
            return text
        message = msgspec.json.decode(text)
        self._sequence += 1
        message["sequenceNumber"] = str(self._sequence)
        return msgspec.json.encode(message).decode()


class BadLine:
    """Distorts one stream's messages.

    What is kept back is bounded by the faults: seconds of frames at most. `stop` lets all of it go.
    """

    def __init__(self, faults: Iterable[str], seed: str = "", stream: int = 1) -> None:
        """Choose faults.

        Args:
            faults: As they are written.
            seed: Of what is left to chance.
            stream: Number of the stream in its call, from 1.

        Raises:
            UserError: one of them is no fault of the line.
        """
        read = [parse(text) for text in faults]
        chosen = [fault for fault in read if not fault.times or stream <= fault.times]
        self._stages: list[Callable[[Message], list[Sent]]] = []
        self._delays: list[_Delay] = []
        for at, fault in enumerate(chosen):
            dice = Random(f"{seed}:{stream}:{at}")
            if fault.name in DELAYS:
                self._delays.append(_Delay(fault, dice))
            elif fault.name in GOING_ON:
                self._stages.append(GOING_ON[fault.name](fault, dice))
            else:
                self._stages.append(_once(fault))
        late = any(fault.name == "marks-late" for fault in chosen)
        self._numbers = _Numbers() if late else None
        self._held: list[tuple[float, int, Sent]] = []
        self._chunk = 0
        self._count = 0

    def distort(self, text: str, now: float) -> list[Sent]:
        """What goes out now in place of `text`, a message of the stand-in's own making."""
        event = text.split('"', 4)[3]
        if event == "media":
            self._chunk += 1
        messages: list[Sent] = [text]
        for stage in self._stages:
            messages = [
                out
                for message in messages
                for out in (
                    stage(Message(message, event, self._chunk))
                    if isinstance(message, str)
                    else [message]
                )
            ]
        if not self._delays:
            return messages
        first = Message(text, event, self._chunk)
        at = max(delay.until(first, now) for delay in self._delays)
        for message in messages:
            self._count += 1
            heapq.heappush(self._held, (at, self._count, message))
        return self.release(float("inf") if event == "stop" else now)

    def release(self, now: float) -> list[Sent]:
        """What was kept back and goes out now."""
        due: list[Sent] = []
        while self._held and self._held[0][0] <= now:
            message = heapq.heappop(self._held)[2]
            if self._numbers is not None and isinstance(message, str):
                message = self._numbers(message)
            due.append(message)
        return due


def _once(fault: LineFault) -> Callable[[Message], list[Sent]]:
    change, faulty = FAULTS[fault.name], fault.chunk or FAULTY_CHUNK
    return lambda message: change(message, faulty)
