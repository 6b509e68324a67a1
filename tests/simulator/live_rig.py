"""A session of the stand-in for Gemini Live on a clock of the test's own."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.simulator.brain import SPEECH_RATE_HZ, Call, Heard, Say, described, speechlike
from agent.simulator.gemini_session import Door, House, LiveSession
from agent.simulator.gemini_setup import Conduct
from agent.simulator.handles import Handles
from agent.simulator.records import Ledger, Violation
from agent.simulator.refusals import Close

if TYPE_CHECKING:
    from agent.simulator.brain import Brain, Reply
    from agent.simulator.ears import Utterance
    from agent.simulator.gemini_session import Freeze, LatePongs, Out

MIME = "audio/pcm;rate=16000"
SPEECH = speechlike(1.0, 16_000)
QUIET = bytes(2 * 16_000)
FUNCTION = {"name": "end_call", "description": "Ends the call."}
GREETING = Say(speechlike(2.0, SPEECH_RATE_HZ), "Hello there, how are you today?")
ANSWER = Say(speechlike(3.0, SPEECH_RATE_HZ), "Here is what you asked for.")


class Parrot:
    """A brain for tests: greets, answers, and calls tools where it is told to."""

    def __init__(self, *calls: Call, after: Reply = ()) -> None:
        self.calls = calls
        self.after = after
        self.prompts: list[str] = []

    def prompted(self, text: str) -> Reply:
        self.prompts.append(text)
        return (GREETING,)

    def heard(self, utterance: Utterance) -> Heard:
        return Heard(described(utterance), (ANSWER, *self.calls))

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        assert isinstance(response, dict)
        assert tool
        return self.after


class Sent(NamedTuple):
    """A server message, and when it was sent."""

    at: float
    message: dict[str, Any]


def audio_frame(pcm: bytes, mime: str = MIME) -> dict[str, Any]:
    data = base64.b64encode(pcm).decode()
    return {"realtimeInput": {"audio": {"data": data, "mimeType": mime}}}


def setup_frame(model: str = "gemini-3.8-live", **fields: Any) -> dict[str, Any]:
    return {"setup": {"model": f"models/{model}", **fields}}


class Rig:
    """Speaks to one session, advances its time and keeps what it sends."""

    def __init__(
        self,
        *,
        conduct: Conduct | None = None,
        brain: Brain | None = None,
        door: Door | None = None,
        seed: int = 1,
        handles: Handles | None = None,
        before: Rig | None = None,
    ) -> None:
        """Open a session.

        Args:
            conduct: The stand-in's; None: half a second to set up, a quarter to answer.
            brain: Who answers; None: a `Parrot`.
            door: What the request said.
            seed: Of the stand-in's choices.
            handles: Shared with another rig.
            before: The rig of an earlier session of the same stand-in, whose time goes on.
        """
        self.now: float = 100.0 if before is None else before.now
        self.parrot = Parrot()
        self.brain: Brain = brain or self.parrot
        self.violations: list[Violation] = []
        self.sent: list[Sent] = []
        self.raw: list[bytes] = []
        self.updates: list[Sent] = []
        self.other: list[str | Freeze | LatePongs] = []
        self.close: Close | None = None
        self.refused: list[bytes] = []
        self.ledger: Ledger = Ledger() if before is None else before.ledger
        self.record = self.ledger.open()
        if before is None:
            self.house = House(
                conduct or Conduct(setup_seconds=0.5, model_delay_seconds=0.25),
                lambda: self.brain,
                handles or Handles(),
                self.violations.append,
                self.refused.append,
            )
        else:
            self.house, self.violations = before.house, before.violations
        self.session = LiveSession(
            door or Door("v1beta", "key"), self.house, self.record, Random(seed)
        )

    def send(self, message: dict[str, Any] | str | bytes) -> None:
        frame = json.dumps(message) if isinstance(message, dict) else message
        self._keep(self.session.receive(frame, self.now))

    def until(self, time: float) -> None:
        """Let the session run until `time` of the rig's clock."""
        while self.session.due <= time:
            self.now = max(self.now, self.session.due)
            self._keep(self.session.tick(self.now))
        self.now = time

    def wait(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def say(self, pcm: bytes, chunk: int = 640) -> None:
        """Send audio in real time."""
        for at in range(0, len(pcm), chunk):
            part = pcm[at : at + chunk]
            self.wait(len(part) / 32_000)
            self.send(audio_frame(part))

    def ready(self, model: str = "gemini-3.8-live", **fields: Any) -> Rig:
        """Go through the setup."""
        self.send(setup_frame(model, **fields))
        self.wait(1.0)
        assert self.named("setupComplete"), self.violations
        self.sent.clear()
        return self

    def handle(self) -> str:
        """The last handle that the session can be resumed from."""
        updates = [sent.message["sessionResumptionUpdate"] for sent in self.updates]
        return str([update["newHandle"] for update in updates if update.get("resumable")][-1])

    def over(self, code: int = 1000) -> Rig:
        """The client closes the connection."""
        self.session.ended(code, "", self.now)
        return self

    def resumed(self, handle: str | None = None, **fields: Any) -> Rig:
        """Open a session of the same stand-in that resumes from a handle: the last of this one."""
        rig = Rig(before=self, seed=self.record.session + 1)
        given = self.handle() if handle is None else handle
        return rig.ready(**{"sessionResumption": {"handle": given}} | fields)

    def named(self, name: str) -> list[Sent]:
        """The server messages, or the contents of serverContent, that have a field `name`."""
        return [
            sent
            for sent in self.sent
            if name in sent.message or name in sent.message.get("serverContent", {})
        ]

    def text(self, name: str) -> str:
        """All fragments of a transcription."""
        return "".join(
            sent.message["serverContent"][name]["text"]
            for sent in self.sent
            if name in sent.message.get("serverContent", {})
        )

    def audio(self) -> bytes:
        """All audio that was sent."""
        return b"".join(
            base64.b64decode(part["inlineData"]["data"])
            for sent in self.named("modelTurn")
            for part in sent.message["serverContent"]["modelTurn"]["parts"]
        )

    def rules(self) -> list[str]:
        return [violation.rule for violation in self.violations]

    def _keep(self, outs: list[Out]) -> None:
        for out in outs:
            if isinstance(out, Close):
                assert self.close is None
                self.close = out
                continue
            if not isinstance(out, bytes):
                self.other.append(out)
                continue
            self.raw.append(out)
            try:
                sent = Sent(self.now, json.loads(out))
            except json.JSONDecodeError:
                continue
            self.sent.append(sent)
            if "sessionResumptionUpdate" in sent.message:
                self.updates.append(sent)
