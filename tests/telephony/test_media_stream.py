"""How a stream is driven: what the call is told, what is written, and how the socket is closed."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from agent.events import (
    Answer,
    Clear,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineEvent,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)
from agent.protocols.base import LineFacts
from agent.telephony.media_stream import Ending, MediaStreamLine
from tests.telephony.fakes import CONNECTED, START, STOP, Scene, media, settle, virtually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.events import LineCommand
    from agent.protocols.base import StreamStart


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        virtually(test())

    del run.__wrapped__  # or pytest-asyncio takes it for its own
    return run


def speech(seconds: float) -> Play:
    return Play(Pcm8k(bytes(2 * round(8000 * seconds))))


# ---- from the line ---------------------------------------------------------------------------


@virtual
async def test_a_call_hears_its_line_from_start_to_stop() -> None:
    scene = Scene()
    await scene.connected()
    scene.socket.says(media(2), '{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}', STOP)
    assert await scene.ending() == Ending("stopped", 1000, "line stopped")
    (start,) = scene.starts
    assert (start.call_id, start.parameters) == ("CA1", {"token": "t"})
    assert scene.heard == [LineAudio(Pcm8k(bytes(2))), LineMark("m"), LineEnded("stopped")]
    assert scene.socket.closed == [(1000, "line stopped")]
    assert len(scene.tasks) == 0
    assert scene.tasks.failures == []


@virtual
async def test_what_comes_while_the_token_is_spent_is_heard_afterwards() -> None:
    heard: list[LineEvent] = []

    async def admit(
        start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        await asyncio.sleep(0.2)
        line.send(Mark("first"))
        return heard.append

    scene = Scene(admit)
    scene.socket.says(CONNECTED, START, media(2), media(3), STOP)
    await scene.ending()
    assert [type(event) for event in heard] == [LineAudio, LineAudio, LineEnded]


@virtual
async def test_a_stream_that_nobody_knows_is_closed_with_1008() -> None:
    async def admit(
        start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        return None

    scene = Scene(admit)
    scene.socket.says(CONNECTED, START, media(2))
    assert await scene.ending() == Ending("lost", 1008, "unknown call")
    assert scene.socket.closed == [(1008, "unknown call")]


@virtual
async def test_a_socket_that_never_starts_is_closed_after_five_seconds() -> None:
    scene = Scene()
    scene.socket.says(CONNECTED)
    ending = await scene.ending()
    assert 5.0 <= asyncio.get_running_loop().time() < 5.02
    assert ending.code == 1008
    assert scene.socket.closed == [(1008, "Twilio: no start within 5 s")]
    assert scene.heard == []


@virtual
async def test_a_second_start_ends_the_line_with_1008() -> None:
    scene = Scene()
    await scene.connected()
    scene.socket.says(START)
    await scene.ending()
    assert scene.socket.closed == [(1008, "Twilio: a second start")]
    assert scene.heard == [LineEnded("lost")]


@virtual
async def test_twenty_silent_seconds_lose_the_line_and_every_message_puts_them_off() -> None:
    scene = Scene()
    await scene.connected()
    for number in range(2, 1502):  # 30 s
        scene.socket.says(media(number))
        await asyncio.sleep(0.02)
    assert len(scene.heard) == 1500
    await scene.ending()
    assert 49.9 <= asyncio.get_running_loop().time() < 50.1
    assert scene.heard[-1] == LineEnded("lost")
    assert scene.wakeups._serial <= 10  # not one wake-up per message


@pytest.mark.parametrize(
    ("code", "told"), [(1000, "closed"), (1001, "closed"), (1005, "closed"), (1006, "lost")]
)
def test_a_socket_that_closes_without_stop(code: int, told: str) -> None:
    async def scenario() -> None:
        scene = Scene()
        await scene.connected()
        scene.socket.closes(code, "bye")
        assert (await scene.ending())[:2] == (told, code)
        assert scene.heard == [LineEnded(told)]  # type: ignore[arg-type]
        assert scene.socket.closed == []  # there is nobody to close it to

    virtually(scenario())


@virtual
async def test_stop_before_start_is_no_call() -> None:
    scene = Scene()
    scene.socket.says(CONNECTED, STOP)
    assert (await scene.ending()).event == "stopped"
    assert scene.starts == []


# ---- to the line -----------------------------------------------------------------------------


@virtual
async def test_commands_are_written_in_their_order() -> None:
    scene = Scene()
    line = await scene.connected()
    for command in (speech(0.4), Mark("a"), speech(0.02), Mark("b")):
        line.send(command)
    await settle()
    assert scene.socket.kinds == ["media", "mark", "media", "mark"]
    scene.socket.says(STOP)
    await scene.ending()


@virtual
async def test_what_the_socket_takes_at_once_waits_for_no_task_and_overtakes_nothing() -> None:
    scene = Scene()
    line = await scene.connected()
    line.send(Mark("first"))  # not taken
    scene.socket.takes = True
    line.send(Mark("second"))
    assert scene.socket.written == []
    await settle()
    line.send(Mark("third"))
    assert [each["mark"]["name"] for each in scene.socket.written] == ["first", "second", "third"]


@virtual
async def test_clear_takes_back_what_is_not_written_and_nothing_old_follows_it() -> None:
    scene = Scene()
    line = await scene.connected()
    scene.socket.reads.clear()
    line.send(speech(0.2))
    await settle()  # this one is with the transport already
    for command in (speech(0.2), Mark("old"), speech(0.2), Clear(), speech(0.02), Mark("new")):
        line.send(command)
    scene.socket.reads.set()
    await settle()
    assert scene.socket.kinds == ["media", "mark", "clear", "media", "mark"]
    assert [m["mark"]["name"] for m in scene.socket.written if "mark" in m] == ["old", "new"]
    assert len(scene.socket.written[3]["media"]["payload"]) == 216  # 160 bytes in base64
    scene.socket.says(STOP)
    await scene.ending()


@virtual
async def test_a_hang_up_closes_with_1000_after_the_last_word() -> None:
    scene = Scene()
    line = await scene.connected()
    for command in (speech(1.0), Mark("goodbye"), HangUp(), speech(0.02), HangUp()):
        line.send(command)
    assert await scene.ending() == Ending("closed", 1000, "hung up")
    assert scene.socket.kinds == ["media", "mark"]
    assert scene.socket.closed == [(1000, "hung up")]
    assert scene.heard == [LineEnded("closed")]


@virtual
async def test_a_hang_up_waits_two_seconds_for_a_peer_that_reads_nothing() -> None:
    scene = Scene()
    line = await scene.connected()
    scene.socket.reads.clear()
    line.send(speech(1.0))
    line.send(HangUp())
    for number in range(2, 102):
        scene.socket.says(media(number))
        await asyncio.sleep(0.02)
    ending = await scene.ending()
    assert ending.text == "hung up before everything was written"
    assert asyncio.get_running_loop().time() == pytest.approx(
        3.0, abs=0.05
    )  # 2 s, and 1 s to close
    assert len(scene.heard) == 101
    assert scene.heard[-1] == LineEnded("lost")


@virtual
async def test_two_seconds_of_unwritten_sound_lose_the_line() -> None:
    scene = Scene()
    line = await scene.connected()
    scene.socket.reads.clear()
    for _ in range(7):  # one is with the transport, six are queued
        line.send(speech(0.4))
        await settle()
    assert (await scene.ending()).code == 1008
    scene.socket.reads.set()
    await settle()
    assert scene.heard == [LineEnded("lost")]
    assert scene.socket.written == []
    assert len(scene.tasks) == 0


@virtual
async def test_the_call_is_not_told_in_the_middle_of_its_own_command() -> None:
    scene = Scene()
    line = await scene.connected()
    line.send(speech(2.02))
    assert scene.heard == []
    await scene.ending()
    assert scene.heard == [LineEnded("lost")]


@virtual
async def test_nothing_is_written_after_the_end() -> None:
    scene = Scene()
    line = await scene.connected()
    scene.socket.reads.clear()
    line.send(speech(0.2))
    line.send(speech(0.2))
    scene.socket.says(STOP)
    await settle()
    scene.socket.reads.set()
    line.send(speech(0.2))
    await scene.ending()
    line.send(Clear())
    line.send(HangUp())
    await settle()
    assert scene.socket.written == []


@virtual
async def test_a_transport_that_breaks_while_we_write_loses_the_line() -> None:
    scene = Scene()
    line = await scene.connected()

    async def broken(message: str | bytes) -> None:
        scene.socket.closes(1006)
        await scene.socket.receive()

    scene.socket.write = broken  # type: ignore[method-assign]
    line.send(Mark("m"))
    assert (await scene.ending())[:2] == ("lost", 1006)
    assert scene.heard == [LineEnded("lost")]


# ---- faults of our own -----------------------------------------------------------------------


@virtual
async def test_a_call_that_fails_loses_its_line_and_its_owner_is_told() -> None:
    told: list[LineEvent] = []

    def sink(event: LineEvent) -> None:
        told.append(event)
        if isinstance(event, LineAudio):
            raise ZeroDivisionError

    async def admit(
        start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        return sink

    scene = Scene(admit)
    scene.socket.says(CONNECTED, START, media(2))
    assert (await scene.ending()).code == 1011
    assert told[-1] == LineEnded("lost")
    assert [child for child, _ in scene.tasks.failures] == ["line-reader"]


@virtual
async def test_an_admission_that_fails_closes_the_stream() -> None:
    async def admit(
        start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        raise ZeroDivisionError

    scene = Scene(admit)
    scene.socket.says(START)
    assert (await scene.ending()).code == 1011
    assert scene.socket.closed == [(1011, "internal error")]


@virtual
async def test_an_admission_that_takes_for_ever_is_given_up_with_the_line() -> None:
    given_up = False

    async def admit(
        start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        nonlocal given_up
        try:
            await asyncio.sleep(3600)
        finally:
            given_up = True
        raise AssertionError

    scene = Scene(admit)
    scene.socket.says(START)
    assert (await scene.ending()).event == "lost"
    assert given_up


@virtual
async def test_a_server_that_goes_away_tells_the_call() -> None:
    scene = Scene()
    await scene.connected()
    scene.serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scene.serving
    assert scene.heard == [LineEnded("lost")]
    await settle()
    assert len(scene.tasks) == 0


@virtual
async def test_a_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    scene = Scene()
    line = await scene.connected()
    line.end(Ending("lost", 1008, "é" * 100))
    await scene.ending()
    assert scene.socket.closed == [(1008, "é" * 61)]


# ---- another provider --------------------------------------------------------------------------


class Curt:
    """A provider without marks that talks before its stream has started."""

    facts: ClassVar[LineFacts] = LineFacts(rate=8000, frame=0.02, marks_confirmed=False)

    def receive(self, message: str | bytes, now: float) -> list[StreamStart | LineEvent]:
        return [LineDigit("1")] if message == b"early" else [LineEnded("stopped")]

    def send(self, command: LineCommand | Answer) -> str | None:
        return None

    def replies(self) -> list[str | bytes]:
        return []

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> list[LineEvent]:
        return []

    def counts(self) -> dict[str, int]:
        return {}


@virtual
async def test_a_provider_may_have_no_message_for_a_command_and_no_deadline() -> None:
    scene = Scene(protocol=Curt())
    line = MediaStreamLine(scene.socket, Curt(), scene.wakeups)
    line.send(Mark("m"))
    scene.socket.says(b"early", b"stop")
    assert (await scene.ending()).event == "stopped"
    assert scene.socket.written == []
    assert scene.starts == []
    assert scene.heard == []
