"""Follows a call's flight record while it is written: who says what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Said(NamedTuple):
    """Something that a person watching the call wants to see.

    Attributes:
        t: seconds after the call's start.
        who: `caller`, `agent`, or empty for what happened to the call.
        text: the words.
    """

    t: float
    who: str
    text: str


class Follower:
    """Reads a call's `events.jsonl` as it grows.

    Args:
        calls: the folder of all calls; the first one that appears in it from now on is followed.
    """

    def __init__(self, calls: Path) -> None:
        self.folder: Path | None = None
        self.clock = 0.0
        self.events: list[tuple[float, str]] = []
        self._calls = calls
        self._before = set(calls.iterdir()) if calls.is_dir() else set()
        self._read = 0
        self._rest = b""
        self._caller = ""
        self._agent = ""

    def news(self) -> Iterator[Said]:
        """What was written since the last time."""
        for line in self._lines():
            entry = msgspec.json.decode(line)
            kind = entry["kind"]
            if kind == "call_started":
                self.clock = entry["clock"]
            if kind not in ("line_audio", "tick", "line_mark"):
                self.events.append((entry["t"], kind))
                yield from self._told(entry["t"], kind, entry)

    def at(self, kind: str) -> list[float]:
        """When events of a kind happened, in seconds after the call's start."""
        return [t for t, each in self.events if each == kind]

    def _lines(self) -> list[bytes]:
        if self.folder is None and self._calls.is_dir():
            fresh = sorted(set(self._calls.iterdir()) - self._before)
            self.folder = fresh[0] if fresh else None
        path = self.folder / "events.jsonl" if self.folder else None
        if path is None or not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole

    def _told(self, t: float, kind: str, entry: dict[str, Any]) -> Iterator[Said]:
        match kind:
            case "caller_said":
                self._caller += entry["text"]
            case "agent_said":
                self._agent += entry["text"]
            case "model_audio" if self._caller:
                yield from self._flush_caller(t)
            case "interrupted":
                yield from self._flush_agent(t, " ...")
                yield Said(t, "", "the caller interrupts")
            case "turn_complete":
                yield from self._flush_agent(t, "")
            case "tool_called":
                yield from self._flush_caller(t)
                yield Said(t, "", f"the model calls {entry['name']}")
            case "model_ready":
                yield Said(t, "", f"the model is ready after {entry['setup_seconds']:.2f} s")
            case "line_started":
                yield Said(t, "", "the caller hears us")
            case "line_ended" | "model_ended" | "call_abandoned":
                yield from self._flush_caller(t)
                yield from self._flush_agent(t, "")
                yield Said(t, "", f"{kind.replace('_', ' ')}: {entry['reason']}")
            case _:
                pass

    def _flush_caller(self, t: float) -> Iterator[Said]:
        if self._caller.strip():
            yield Said(t, "caller", self._caller.strip())
        self._caller = ""

    def _flush_agent(self, t: float, end: str) -> Iterator[Said]:
        if self._agent.strip():
            yield Said(t, "agent", self._agent.strip() + end)
        self._agent = ""
