"""A strict stand-in for Asterisk's `chan_websocket`: it connects to us as Asterisk does, and counts what we do that it would not take.

Source of every rule: "Asterisk: Configuration, Channel Drivers, WebSocket"
(https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket) and, where named, chan_websocket.c. JSON control messages,
`c(ulaw)`, `n`: the caller hears ringing until `ANSWER`. Asterisk itself has not been tried; this was written from its documents.

    MEDIA_START -> ... ringing ... <- ANSWER, then every 20 ms: one frame of the caller's out, one of its queue's to the caller's ear
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from agent.simulator.clock import Owner, now, sleep_until
from agent.simulator.phone import Manners, Phone

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from agent.simulator.earpiece import Earpiece, Sounds
    from agent.simulator.phone import Mouth, Utterance
    from agent.simulator.report import HeardUtterance, Underrun

FRAME_BYTES = 160
FRAME_SECONDS = 0.02
LARGEST_BYTES = 65_500
"""A larger message ends the call ("Max Message Size and Flow Control")."""
COMMAND_BYTES = 128
"""A text of this length is dropped with a warning (chan_websocket.c, `MAX_TEXT_MESSAGE_LEN`)."""
ON_ITS_WAY_SECONDS = 0.25
"""What comes within this time of `MEDIA_XOFF` was sent before it was read."""

COMMANDS: dict[str, frozenset[str]] = {
    "ANSWER": frozenset(),
    "HANGUP": frozenset(),
    "START_MEDIA_BUFFERING": frozenset(),
    "STOP_MEDIA_BUFFERING": frozenset({"correlation_id"}),
    "MARK_MEDIA": frozenset({"correlation_id"}),
    "FLUSH_MEDIA": frozenset(),
    "PAUSE_MEDIA": frozenset(),
    "CONTINUE_MEDIA": frozenset(),
    "GET_STATUS": frozenset(),
    "REPORT_QUEUE_DRAINED": frozenset(),
    "SET_MEDIA_DIRECTION": frozenset({"direction"}),
}
"""Every command and its parameters; names are case-sensitive."""


@dataclass(frozen=True)
class Levels:
    """How much waits in Asterisk's queue, in frames of 20 ms ("Max Message Size and Flow Control")."""

    most: int = 1000
    xoff: int = 900
    xon: int = 800


@dataclass(frozen=True, kw_only=True)
class AsteriskOptions:
    """A call and what its caller does.

    Attributes:
        url: our origin (http or https).
        user, password: HTTP Basic of websocket_client.conf.
        caller, called, id: what the dial plan says in `v(...)`; `more`: further parameters of it.
        variables: the channel's.
        utterances, manners: what is said, and how.
        max_seconds: the caller hangs up after this.
        levels: of the queue.
    """

    url: str
    user: str = "asterisk"
    password: str = field(default="", repr=False)
    caller: str = "+12025550143"
    called: str = "600"
    id: str = field(default_factory=lambda: f"pbx-{uuid4().hex[:12]}.1")
    more: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    utterances: tuple[Utterance, ...] = ()
    manners: Manners = Manners()
    max_seconds: float = 30.0
    levels: Levels = Levels()


@dataclass(frozen=True)
class Flush:
    """A `FLUSH_MEDIA`: when it came (seconds, monotonic), and how many frames it threw away."""

    at: float
    dropped: int


@dataclass
class AsteriskReport:
    """What a call showed.

    Attributes:
        status: of the upgrade; 101: it was accepted.
        rang_s: from `MEDIA_START` to `ANSWER`; None: it was not answered.
        answered_now_s: when that was (seconds, monotonic): the beginning of the caller's timeline.
        violations: rules that we broke, in the order in which we did.
        heard: what the caller heard of the agent, on his timeline.
        underruns: holes in it.
        audible: when each audible frame went to his ear (seconds, monotonic).
        flushes, marks, xoffs, dropped: what became of the queue; `dropped`: frames that found no room in it.
        ended: `agent` or `caller` hung up, or the socket was `lost`.
        close_code: of the socket.
    """

    status: int = 0
    rang_s: float | None = None
    answered_now_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    heard: list[HeardUtterance] = field(default_factory=list)
    underruns: list[Underrun] = field(default_factory=list)
    audible: list[float] = field(default_factory=list)
    flushes: list[Flush] = field(default_factory=list)
    marks: int = 0
    xoffs: int = 0
    dropped: int = 0
    ended: str = ""
    close_code: int = 0

    @property
    def first_word_s(self) -> float | None:
        """From `ANSWER` to the first audible frame."""
        return self.audible[0] - self.answered_now_s if self.audible else None


class Channel:
    """Asterisk's side of the socket, without I/O: the queue, the commands, and what they are answered.

    Args:
        levels: of the queue.
        report: filled.

    Attributes:
        out: messages for the socket, text ones; taken by whoever sends them.
        answered, hung_up: whether we said so.
    """

    def __init__(self, levels: Levels, report: AsteriskReport) -> None:
        self._levels = levels
        self._report = report
        self._queue: deque[bytes | str] = deque()  # frames, and marks by their id
        self._frames = 0
        self._full_since: float | None = None
        self._paused = False
        self.channel_id = f"pbx-{uuid4().hex[:10]}.2"
        self.out: list[str] = []
        self.answered = False
        self.hung_up = False

    def start(self, variables: dict[str, str]) -> None:
        """The first event of every socket; across lines, as JSON may be."""
        event = {
            "event": "MEDIA_START",
            "connection_id": str(uuid4()),
            "channel": "WebSocket/agent/0x1",
            "channel_id": self.channel_id,
            "format": "ulaw",
            "optimal_frame_size": FRAME_BYTES,
            "ptime": 20,
            "channel_variables": variables,
        }
        self.out.append(json.dumps(event, indent=2))

    def tell(self, event: str, **members: Any) -> None:
        self.out.append(json.dumps({"event": event, "channel_id": self.channel_id} | members))

    def binary(self, message: bytes, at: float) -> None:
        """Sound for the caller."""
        if len(message) > LARGEST_BYTES:
            self._broke("too-big", f"a message of {len(message)} bytes")
            self.hung_up = True
            return
        if len(message) % FRAME_BYTES or not message:
            self._broke("remainder", f"{len(message)} bytes are not whole frames")
        if self._full_since is not None and at - self._full_since > ON_ITS_WAY_SECONDS:
            self._broke("after-xoff", f"{len(message)} bytes after MEDIA_XOFF")
        for start in range(0, len(message) - FRAME_BYTES + 1, FRAME_BYTES):
            if self._frames >= self._levels.most:
                self._report.dropped += 1
                continue
            self._queue.append(message[start : start + FRAME_BYTES])
            self._frames += 1
        if self._frames >= self._levels.xoff and self._full_since is None:
            self._full_since = at
            self._report.xoffs += 1
            self.tell("MEDIA_XOFF")

    def text(self, message: str, at: float) -> None:
        """A command, if it is one."""
        if len(message.encode()) >= COMMAND_BYTES:
            self._broke("long-command", f"{len(message.encode())} bytes")
            return
        try:
            command = json.loads(message)
            name = command.pop("command")
        except (ValueError, AttributeError, KeyError, TypeError):
            self._broke("not-json", message[:40])
            return
        if name not in COMMANDS or set(command) - COMMANDS[name]:
            self._broke("unknown-command", message[:80])
            self.tell("ERROR", error_text="unknown command")
            return
        if not all(isinstance(value, str) for value in command.values()):
            self._broke("parameters", message[:80])
        self._carry_out(name, command, at)

    def _carry_out(self, name: str, command: dict[str, Any], at: float) -> None:
        match name:
            case "ANSWER":
                if self.answered:
                    self._broke("answered-twice", "ANSWER")
                self.answered = True
            case "HANGUP":
                self.hung_up = True
            case "MARK_MEDIA":
                self._queue.append(str(command.get("correlation_id", "")))
            case "FLUSH_MEDIA":
                self._report.flushes.append(Flush(at, self._frames))
                self._queue.clear()  # marks too: nobody hears of them any more
                self._frames = 0
                self._paused = False
            case "GET_STATUS":
                self.tell(
                    "STATUS",
                    queue_length=self._frames,
                    xon_level=self._levels.xon,
                    xoff_level=self._levels.xoff,
                    queue_full=self._full_since is not None,
                    bulk_media=False,
                    media_paused=self._paused,
                )
            case "PAUSE_MEDIA" | "CONTINUE_MEDIA":
                self._paused = name == "PAUSE_MEDIA"
            case _:
                self._broke("not-needed", f"{name} is nothing that this stand-in knows how to do")

    def tick(self) -> bytes | None:
        """20 ms have passed: the frame that goes to the caller now, if one waits."""
        frame = None
        self._pass_marks()
        if self._queue and not self._paused:
            frame = self._queue.popleft()
            self._frames -= 1
            self._pass_marks()
        if self._full_since is not None and self._frames < self._levels.xon:
            self._full_since = None
            self.tell("MEDIA_XON")
        assert not isinstance(frame, str)
        return frame

    def _pass_marks(self) -> None:
        """Marks that have reached the front of the queue."""
        while self._queue and isinstance(mark := self._queue[0], str):
            self._queue.popleft()
            self._report.marks += 1
            self.tell("MEDIA_MARK_PROCESSED", **({"correlation_id": mark} if mark else {}))

    def _broke(self, rule: str, detail: str) -> None:
        self._report.violations.append(f"{rule}: {detail}")


class _Call:
    """One call: the socket, the channel behind it, and the caller at its phone."""

    def __init__(self, options: AsteriskOptions, heard: Sounds | None) -> None:
        self.report = AsteriskReport()
        self._options = options
        self._phone = Phone(options.utterances, options.manners, heard=heard)
        self._channel = Channel(options.levels, self.report)

    async def run(self, socket: ClientConnection) -> None:
        self.report.status = 101
        if socket.subprotocol != "media":
            self.report.violations.append(f"subprotocol: {socket.subprotocol}, not media")
        began = now()
        self._channel.start(self._options.variables)
        try:
            await self._send(socket)
            async with Owner() as owner:
                owner.start(self._listen(socket, began), "asterisk reads")
                await self._clock(socket, began)
        except ConnectionClosed:
            self.report.ended = self.report.ended or "agent"
        await socket.wait_closed()
        self.report.close_code = socket.close_code or 0
        if self.report.close_code == 1006:
            self.report.ended = "lost"
        if self._phone.ear is not None:
            self._phone.ear.stream_gone(now())
            self.report.heard = self._phone.ear.attention.heard
            self.report.underruns = self._phone.ear.underruns

    async def _listen(self, socket: ClientConnection, began: float) -> None:
        channel = self._channel
        async for message in socket:
            at = now()
            if isinstance(message, bytes):
                channel.binary(message, at)
            else:
                channel.text(message, at)
            if channel.answered and self.report.rang_s is None:
                self.report.rang_s, self.report.answered_now_s = at - began, at
            await self._send(socket)
            if channel.hung_up:
                await socket.close()
        self.report.ended = self.report.ended or "agent"

    async def _clock(self, socket: ClientConnection, began: float) -> None:
        """Every 20 ms, by absolute deadlines."""
        deadline = began
        talk: tuple[Earpiece, Mouth] | None = None
        first = 0.0
        while not self.report.ended:
            deadline += FRAME_SECONDS
            await sleep_until(deadline)
            frame = self._channel.tick()
            if talk is None and self._channel.answered:
                talk, first = self._phone.connect(deadline), deadline
            if talk is not None:
                await self._talk(socket, talk, frame, deadline, round((deadline - first) * 8000))
            await self._send(socket)
            if now() - began > self._options.max_seconds:
                self.report.ended = "caller"
        await socket.close()

    async def _talk(
        self,
        socket: ClientConnection,
        talk: tuple[Earpiece, Mouth],
        frame: bytes | None,
        deadline: float,
        position: int,
    ) -> None:
        ear, mouth = talk
        if frame is not None:
            before = len(ear.attention.heard), ear.attention.last_voice_end
            ear.receive(frame, deadline)
            ear.attention.listen(ear.position(deadline) + FRAME_BYTES, deadline)
            if (len(ear.attention.heard), ear.attention.last_voice_end) != before:
                self.report.audible.append(now())
        else:
            ear.attention.listen(ear.position(deadline), deadline)
        said = mouth.frame(position)
        for digit in mouth.digits(position):
            self._channel.tell("DTMF_END", digit=digit)
        await socket.send(said)
        if mouth.wants_to_hang_up(position):
            self.report.ended = "caller"

    async def _send(self, socket: ClientConnection) -> None:
        out, self._channel.out = self._channel.out, []
        for message in out:
            await socket.send(message)


async def run_asterisk(options: AsteriskOptions, *, heard: Sounds | None = None) -> AsteriskReport:
    """Bring one call, and hold it to its end.

    Args:
        options: who calls, where, and what is said.
        heard: filled with what the caller heard; None keeps none of it.
    """
    named = {"caller": options.caller, "called": options.called, "id": options.id}
    credentials = b64encode(f"{options.user}:{options.password}".encode()).decode()
    call = _Call(options, heard)
    try:
        async with connect(
            f"{options.url.replace('http', 'ws', 1)}/asterisk/media?{urlencode(named | options.more)}",
            additional_headers={"Authorization": f"Basic {credentials}"},
            subprotocols=[Subprotocol("media")],
            compression=None,
            ping_interval=None,
            close_timeout=2.0,
        ) as socket:
            await call.run(socket)
    except InvalidStatus as refused:
        call.report.status = refused.response.status_code
    return call.report
