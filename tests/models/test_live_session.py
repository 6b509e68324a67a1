"""The driver of a model's session, over loopback: setup, sound, and every way in which it can end."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import serve

from agent.drive.socket import Closed
from agent.errors import Fate, OwnFault
from agent.events import (
    CloseModel,
    ModelAudio,
    ModelEnded,
    ModelEvent,
    ModelReady,
    Pcm16k,
    Pcm24k,
    SendAudio,
    SendText,
    SendToolResult,
    ToolsCancelled,
    TurnComplete,
)
from agent.models import socket as client
from agent.models.live import ConnectFailed
from agent.protocols.gemini import session as protocol
from agent.protocols.gemini.setup import setup_message
from tests.models.rig import KEY, OPTIONS, Rig, answer_setup, opened, server

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from agent.drive.socket import Socket

SILENCE = Pcm16k(bytes(640))


def speech(pcm: bytes) -> bytes:
    part = {
        "inlineData": {
            "mimeType": "audio/pcm;rate=24000",
            "data": base64.b64encode(pcm).decode(),
        }
    }
    return json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}}).encode()


async def until_closed(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


# ---- a conversation --------------------------------------------------------------------------------------------------


async def test_setup_greeting_and_sound_in_order() -> None:
    got: list[Any] = []

    async def gemini(connection: ServerConnection) -> None:
        assert connection.request is not None
        got.append(connection.request.path)
        got.append(connection.request.headers["x-goog-api-key"])
        got.append(json.dumps(await answer_setup(connection), separators=(",", ":")))
        got.append(json.loads(await connection.recv()))
        got.append(json.loads(await connection.recv()))
        for n in range(50):
            await connection.send(speech(bytes([n]) * 7))
        await connection.send('{"serverContent": {"turnComplete": true}}')  # text is read as well
        await until_closed(connection)
        got.append(connection.close_code)

    async with server(gemini) as origin, opened(origin) as rig:
        await rig.ready()
        rig.session.send(SendText("Greet the caller."))
        rig.session.send(SendAudio(SILENCE))
        await rig.watcher.until(TurnComplete)
        await rig.session.close()
        sound = b"".join(event.pcm for event in rig.watcher.of(ModelAudio))
        assert sound == b"".join(bytes([n]) * 7 for n in range(50))
        assert rig.watcher.of(ModelEnded) == []
    path, key, setup, greeting, audio, close_code = got
    assert path == ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent")
    assert key == KEY
    assert setup == setup_message(OPTIONS)
    assert "clientContent" in greeting
    assert audio["realtimeInput"]["audio"]["mimeType"] == "audio/pcm;rate=16000"
    assert close_code == 1000


async def test_the_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        await until_closed(connection)

    logging.getLogger("agent.models").setLevel(logging.DEBUG)
    quiet = logging.getLogger("test.server")
    quiet.propagate = False  # the server's own log shows what it received
    with caplog.at_level(logging.DEBUG):
        async with server(gemini, logger=quiet) as origin, opened(origin) as rig:
            await rig.ready()
            rig.session.send(SendAudio(SILENCE))
            await asyncio.sleep(0.02)
    assert KEY not in caplog.text
    assert "realtimeInput" not in caplog.text


async def test_sending_before_it_is_ready_is_our_mistake() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await until_closed(connection)

    async with server(gemini) as origin, opened(origin) as rig:
        with pytest.raises(OwnFault):
            rig.session.send(SendAudio(SILENCE))
        assert rig.watcher.events == []


# ---- it ends: the model's doing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [False, True], ids=["in setup", "after setup"])
@pytest.mark.parametrize(
    ("code", "reason", "in_setup", "after"),
    [
        (1000, "", Fate.RESUME, Fate.RESUME),
        (1006, "", Fate.RESUME, Fate.RESUME),
        (1007, "Request contains an invalid argument.", Fate.STEP_DOWN, Fate.FRESH),
        (1008, "The operation was aborted.", Fate.RESUME, Fate.RESUME),
        (1011, "Internal error encountered.", Fate.RESUME, Fate.RESUME),
    ],
)
async def test_a_close_is_told_once(
    code: int, reason: str, in_setup: Fate, after: Fate, ready: bool
) -> None:
    async def gemini(connection: ServerConnection) -> None:
        if ready:
            await answer_setup(connection)
        else:
            await connection.recv()
        if code == 1006:
            connection.transport.abort()
        else:
            await connection.close(code, reason)

    async with server(gemini) as origin, opened(origin) as rig:
        ended = await rig.watcher.ended()
        assert ended == ModelEnded(after if ready else in_setup, code, reason)
        assert len(rig.watcher.of(ModelReady)) == ready
        await rig.quiet()
        rig.session.send(SendAudio(SILENCE))  # goes nowhere, says nothing
        rig.session.send(SendAudio(SILENCE))
        assert rig.session.unsent == 2
        assert rig.tasks.failures == []


async def test_setup_that_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SETUP_SECONDS", 0.05)
    closes: list[int | None] = []

    async def gemini(connection: ServerConnection) -> None:
        await until_closed(connection)
        closes.append(connection.close_code)

    async with server(gemini) as origin, opened(origin) as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.STEP_DOWN, 1006)
        await rig.quiet()
    assert closes == [1000]


async def test_many_malformed_frames() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        for _ in range(20):
            await connection.send(b'{"serverContent":')
        await until_closed(connection)

    async with server(gemini) as origin, opened(origin) as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.RESUME, 1006)
        await rig.quiet()


class SlowToClose:
    """A socket whose peer takes its time to say goodbye."""

    def __init__(self) -> None:
        self.closed = False
        self._frames = [b'{"setupComplete": {}}', *[b"{"] * 5]

    async def receive(self) -> bytes:
        if not self._frames:
            await asyncio.sleep(60)
        return self._frames.pop(0)

    async def write(self, message: str | bytes) -> None:
        """Taken."""

    def offer(self, message: str | bytes) -> bool:
        return bool(message)

    async def close(self, code: int, reason: str) -> None:
        await asyncio.sleep(0.1)
        self.closed = True


async def test_who_waits_for_the_end_of_a_session_that_ended_by_itself_waits_for_its_socket() -> (
    None
):
    socket = SlowToClose()

    async def connect() -> SlowToClose:
        return socket

    async with opened("", connect=connect) as rig:
        await rig.watcher.until(ModelEnded)
        await asyncio.sleep(0.02)  # it is closing
        await rig.session.close()
        assert socket.closed
        rig.session.send(CloseModel())


async def test_a_message_above_four_megabytes() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        await connection.send(bytes(client.MAX_MESSAGE_BYTES + 1))
        await until_closed(connection)

    async with server(gemini) as origin, opened(origin) as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.FRESH, 1009)
        await rig.quiet()


# ---- it ends: no socket ----------------------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with opened(f"http://127.0.0.1:{port}") as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.RESUME, None)


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nowhere)
    monkeypatch.setenv("no_proxy", "*")
    async with opened("http://gemini.invalid") as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.RESUME, None)
        assert "Name or service not known" in ended.reason


async def test_a_server_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with opened(f"http://127.0.0.1:{deaf.getsockname()[1]}") as rig:
            ended = await rig.watcher.ended()
            assert ended == ModelEnded(Fate.RESUME, None, "not connected within 0.05 s")
            await rig.quiet()


async def test_the_librarys_own_time_out_is_the_same_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with opened(f"http://127.0.0.1:{deaf.getsockname()[1]}") as rig:
            ended = await rig.watcher.ended()
            assert (ended.fate, ended.code) == (Fate.RESUME, None)


@pytest.mark.parametrize(
    ("status", "fate"), [(403, Fate.FATAL), (404, Fate.FATAL), (503, Fate.RESUME)]
)
async def test_an_upgrade_that_is_refused(status: int, fate: Fate) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        del request
        return connection.respond(status, "no\n")

    async with server(until_closed, process_request=refuse) as origin, opened(origin) as rig:
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (fate, None)
        assert str(status) in ended.reason


async def test_the_key_is_not_carried_to_where_a_redirect_points() -> None:
    visitors: list[str] = []

    async def elsewhere(connection: ServerConnection) -> None:
        visitors.append(repr(connection.request))

    async with server(elsewhere) as target:

        def redirect(connection: ServerConnection, request: Request) -> Response:
            response = connection.respond(302, "there\n")
            response.headers["Location"] = target.replace("http", "ws") + request.path
            return response

        async with server(until_closed, process_request=redirect) as origin, opened(origin) as rig:
            ended = await rig.watcher.ended()
            assert (ended.fate, ended.code) == (Fate.RESUME, None)
    assert visitors == []


async def test_what_is_no_http_at_all() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}") as rig:
            ended = await rig.watcher.ended()
            assert (ended.fate, ended.code) == (Fate.RESUME, None)


# ---- it ends: our doing ----------------------------------------------------------------------------------------------


async def test_a_result_that_crosses_with_its_cancellation_goes_nowhere() -> None:
    frames: list[str | bytes] = []

    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        await connection.send('{"toolCall": {"functionCalls": [{"id": "1", "name": "end_call"}]}}')
        await connection.send('{"toolCallCancellation": {"ids": ["1"]}}')
        async for frame in connection:
            frames.append(frame)

    async with server(gemini) as origin, opened(origin) as rig:
        await rig.ready()
        await rig.watcher.until(ToolsCancelled)
        rig.session.send(SendToolResult("1", "end_call", {}))  # the call has not read it yet
        rig.session.send(CloseModel())
        await rig.quiet()
        assert rig.session.unsent == 1
    assert frames == []
    assert rig.tasks.failures == []


async def test_after_close_model_nothing_is_told_or_sent() -> None:
    frames: list[str | bytes] = []
    gone = asyncio.Event()

    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        async for frame in connection:
            frames.append(frame)
        gone.set()

    async with server(gemini) as origin, opened(origin) as rig:
        await rig.ready()
        rig.session.send(CloseModel())
        rig.session.send(CloseModel())
        rig.session.send(SendAudio(SILENCE))
        await asyncio.wait_for(gone.wait(), 2.0)
        await rig.quiet()
        assert [type(event) for event in rig.watcher.events] == [ModelReady]
        assert rig.session.unsent == 1
    assert frames == []


LOUD = b"\x00\x40" * 2


async def test_leaving_in_the_middle_of_a_message() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        content = json.loads(speech(LOUD))["serverContent"]
        content["turnComplete"] = True
        await connection.send(json.dumps({"serverContent": content}).encode())
        await until_closed(connection)

    async with server(gemini) as origin, opened(origin) as rig:

        def leave(event: ModelEvent) -> None:
            if isinstance(event, ModelAudio):
                rig.session.send(CloseModel())

        rig.watcher.answer = leave
        await rig.watcher.until(ModelAudio)
        await rig.quiet()
        assert rig.watcher.events[1:] == [ModelAudio(Pcm24k(LOUD))]


async def test_closing_from_within_its_own_events() -> None:
    """A call that ends on an event may close its session then and there; it does not wait for itself."""
    closing: list[asyncio.Task[None]] = []

    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        await until_closed(connection)

    async with server(gemini) as origin, opened(origin) as rig:
        rig.watcher.answer = lambda event: closing.append(
            rig.tasks.start("closer", rig.session.close())
        )
        await rig.ready()
        await rig.quiet()
        assert [task.done() for task in closing] == [True]


async def test_leaving_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with opened(f"http://127.0.0.1:{deaf.getsockname()[1]}") as rig:
            await asyncio.sleep(0.02)
            rig.session.send(CloseModel())
            await rig.quiet()
            assert rig.watcher.events == []


async def test_leaving_before_it_was_opened() -> None:
    async with server(until_closed) as origin, opened(origin) as rig:
        rig.session.send(CloseModel())
        await rig.quiet()
        assert rig.watcher.events == []


async def test_a_session_that_was_never_opened_closes_at_once() -> None:
    rig = Rig(never, OPTIONS)
    await rig.session.close()
    rig.session.send(SendAudio(SILENCE))
    assert (rig.watcher.events, rig.session.unsent) == ([], 1)


async def test_a_protocol_that_claims_to_be_ready_without_a_socket() -> None:
    rig = Rig(never, OPTIONS)
    rig.protocol.connecting(0.0)
    rig.protocol.opened(0.0)
    rig.protocol.receive(b'{"setupComplete": {}}', 0.0)
    with pytest.raises(OwnFault, match="never opened"):
        rig.session.send(SendAudio(SILENCE))


async def never() -> Socket:
    raise AssertionError("nobody opened this session")


async def test_a_call_that_fails_on_an_event_leaves_no_socket_open() -> None:
    gone = asyncio.Event()

    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        await until_closed(connection)
        gone.set()

    def fail(event: ModelEvent) -> None:
        raise OwnFault(f"no rule for {event}")

    async with server(gemini) as origin, opened(origin) as rig:
        rig.watcher.answer = fail
        await rig.ready()
        await asyncio.wait_for(gone.wait(), 2.0)
        await rig.quiet()
        [(child, error)] = rig.tasks.failures
        assert child == "model"
        assert isinstance(error, OwnFault)


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    """Two seconds of sound in our own queue, after the kernel's buffers are full."""
    done = asyncio.Event()

    async def gemini(connection: ServerConnection) -> None:
        await answer_setup(connection)
        connection.transport.pause_reading()
        await done.wait()
        connection.transport.abort()

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        async with (
            serve(gemini, sock=listening, close_timeout=0.2),
            opened(f"http://127.0.0.1:{port}") as rig,
        ):
            await rig.ready()
            sent = 0.0
            chunk = Pcm16k(bytes(3200))
            while not rig.watcher.of(ModelEnded):
                if sent < 60.0:
                    rig.session.send(SendAudio(chunk))
                    sent += chunk.seconds
                await asyncio.sleep(0.001)
            ended = await rig.watcher.ended()
            assert ended.fate is Fate.RESUME
            assert ended.reason == "more than 2000 ms of audio waited to be sent"
            assert sent < 15.0  # the kernel's share is bounded too
            await rig.quiet()  # although the peer does not answer our close either
            done.set()


class Chatterbox:
    """A socket whose peer talks all the time and never reads."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.setup = False

    async def receive(self) -> str | bytes:
        await asyncio.sleep(0)
        if not self.setup:
            self.setup = True
            return '{"setupComplete": {}}'
        return b"{}"

    async def write(self, message: str | bytes) -> None:
        del message
        await self.gone.wait()
        raise Closed(1000, "")

    def offer(self, message: str | bytes) -> bool:
        del message
        return False

    async def close(self, code: int, reason: str) -> None:
        del code, reason
        self.gone.set()


async def test_a_peer_that_talks_and_does_not_read_is_given_up_too() -> None:
    chatterbox = Chatterbox()

    async def connect() -> Socket:
        return chatterbox

    async with opened("", connect=connect) as rig:
        await rig.ready()
        for _ in range(110):
            rig.session.send(SendAudio(SILENCE))
        assert rig.watcher.of(ModelEnded) == []  # never inside the call's own command
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.RESUME, 1006)
        assert chatterbox.gone.is_set()


# ---- the adapter -----------------------------------------------------------------------------------------------------


async def test_a_frame_is_handed_over_at_once_while_there_is_room_and_never_on_a_closed_connection() -> (
    None
):
    got: list[str | bytes] = []
    reads, full = asyncio.Event(), 0

    async def slow(connection: ServerConnection) -> None:
        await reads.wait()
        async for message in connection:
            got.append(message)

    async with server(slow, max_queue=1) as origin:
        socket = await client.open_socket(origin.replace("http", "ws"), {})
        while socket.offer(f"{full} " + "x" * 10_000):
            full += 1
        assert full > 1  # and then the kernel takes no more of a peer that does not read
        writing = asyncio.ensure_future(socket.write("the last"))
        reads.set()
        await writing
        async with asyncio.timeout(5):
            while not got or got[-1] != "the last":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert [str(each).split()[0] for each in got[:-1]] == [str(n) for n in range(full)]
        await socket.close(1000, "")
        assert not socket.offer("too late")


async def test_writing_to_a_closed_socket_says_so() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await connection.close(1011, "Internal error encountered.")

    async with server(gemini) as origin:
        open_socket = await client.open_socket(origin.replace("http", "ws"), {})
        with pytest.raises(Closed) as receiving:
            await open_socket.receive()
        with pytest.raises(Closed) as writing:
            await open_socket.write("{}")
        assert (receiving.value.code, receiving.value.reason) == (
            1011,
            "Internal error encountered.",
        )
        assert writing.value.code == 1011
        await open_socket.close(1000, "")  # harmless


async def test_text_and_binary_arrive_as_bytes() -> None:
    async def gemini(connection: ServerConnection) -> None:
        await connection.send("text")
        await connection.send(b"binary")
        await until_closed(connection)

    async with server(gemini) as origin:
        open_socket = await client.open_socket(origin.replace("http", "ws"), {})
        assert await open_socket.receive() == b"text"
        assert await open_socket.receive() == b"binary"
        await open_socket.close(1000, "")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("generativelanguage.googleapis.com", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_reached_without_a_proxy(host: str, loopback: bool) -> None:
    assert client.is_loopback(host) is loopback


def test_a_failure_says_why() -> None:
    failure = ConnectFailed(403, "the upgrade was answered with HTTP 403")
    assert (failure.status, str(failure)) == (403, failure.reason)
