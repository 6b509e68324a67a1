"""Figures of one call: how long the caller waited in each turn, and what was lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.call.hops import Hop

if TYPE_CHECKING:
    from agent.errors import Fate
    from agent.events import ModelUsage


class TurnLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one turn; None where a step did not happen.

    Attributes:
        latency_ms: last sample of the caller's speech until the first sample of the reply was heard.
        sent_ms: of these, until that last sample was on its way to the model.
        model_ms: until the model's first byte of audio; the model's own wait for the end of speech is in here.
        out_ms: until the first sample was heard.
        frame_ms: of `out_ms`, until the first frame was on its way to the line.
    """

    latency_ms: float | None
    sent_ms: float | None
    model_ms: float | None
    out_ms: float | None
    frame_ms: float | None


def span_ms(begin: float | None, end: float | None) -> float | None:
    """Milliseconds from `begin` to `end` (seconds), None where either did not happen."""
    if begin is None or end is None:
        return None
    return round((end - begin) * 1000, 1)


class CallMetrics(msgspec.Struct, kw_only=True):
    """Counters of one call; they stand on its record.

    Attributes:
        merged_up_ms: caller's audio that went to the model in longer messages than usual, after a backlog.
        delayed_up_ms: caller's audio that went to it more than 100 ms after it was spoken, or once more.
        dropped_up_ms: caller's audio that a full buffer kept from the model.
        unsaid: words and tool results that a full queue kept from the model.
        dropped_down_ms: agent's audio that a full buffer kept from the caller.
        underruns: holes inside a reply that the provider's buffer had, by our clock.
        refused_ms: audio of interrupted generations that was kept from the caller.
        barge_ins: how often the caller stopped the agent.
        stopped: how often a voice over the agent's words, heard by our own detector, stopped them at once ...
        spoken_on: ... and how often nobody confirmed it, so that the agent went on.
        rescued: short words that the model had not understood, and heard again.
        listened: seconds of sound that our own detector has listened to.
        tools: tool calls that were answered.
        dead_air: seconds in which neither side was heard although it was the agent's turn, by cause.
        hops: each session that took the place of another, and what that cost the caller; the first 200.
        forgotten: resumed sessions that had forgotten the call, and were left for one that was told it again.
        lost_sessions: sessions that ended by no wish of ours, by what that meant (`Fate`).
        prompt_tokens, response_tokens: as billed, summed over turns.
    """

    merged_up_ms: float = 0.0
    delayed_up_ms: float = 0.0
    dropped_up_ms: float = 0.0
    unsaid: int = 0
    dropped_down_ms: float = 0.0
    underruns: int = 0
    refused_ms: float = 0.0
    barge_ins: int = 0
    stopped: int = 0
    spoken_on: int = 0
    rescued: int = 0
    listened: float = 0.0
    tools: int = 0
    dead_air: dict[str, float] = {}
    hops: list[Hop] = msgspec.field(default_factory=list)
    forgotten: int = 0
    lost_sessions: dict[str, int] = msgspec.field(default_factory=dict)
    prompt_tokens: int = 0
    response_tokens: int = 0

    def session_lost(self, fate: Fate) -> None:
        """A session ended by no wish of ours."""
        self.lost_sessions[fate] = self.lost_sessions.get(fate, 0) + 1

    def bill(self, usage: ModelUsage) -> None:
        """Usage is per turn, not cumulative (Live API: `usageMetadata`), so it is summed."""
        self.prompt_tokens += usage.prompt
        self.response_tokens += usage.response
