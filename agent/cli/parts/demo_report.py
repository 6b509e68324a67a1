"""What the demo's call has shown: the figures, and whether every step happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.simulator.softphone_report import SoftphoneReport

if TYPE_CHECKING:
    from pathlib import Path

    from agent.cli.parts.follow import Follower
    from agent.simulator.report import CallReport

STALE_MS = 0.0
"""Interrupted audio that may be heard after `clear`."""

SILENT_MS = 300.0
"""By SIP: how long after `interrupted` the voice may still be heard on a busy machine, the phone's jitter buffer included; what the
line holds for us (400 ms) would be heard longer. What is heard later is stale."""

PACKET_MS = 20.0


class DemoTurn(msgspec.Struct, frozen=True):
    """One turn; the words as the record has them, the times in milliseconds.

    `heard` is the part of `agent` that the caller heard; latencies are None for the greeting.
    """

    n: int
    caller: str | None
    agent: str
    heard: str
    latency_ms: float | None
    sent_ms: float | None
    model_ms: float | None
    out_ms: float | None


class BargeIn(msgspec.Struct, frozen=True):
    """The interruption: `interrupted` read until `clear` was at the phone (by SIP: until nothing more was heard); what was heard after that."""

    clear_ms: float | None
    stale_ms: float | None


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `pickup demo --json` prints; paths are absolute."""

    v: int = 1
    ok: bool
    failed: list[str]
    call_id: str | None
    recording: str | None
    transcript: str | None
    events: str | None
    first_word_ms: float | None
    turns: list[DemoTurn]
    barge_in: BargeIn
    lost_ms: float
    underruns: int


class Step(NamedTuple):
    """One thing that has to happen, whether it did, and where to look if not."""

    name: str
    happened: bool
    look: str


class Evidence(NamedTuple):
    """Everything that was seen of the call.

    Attributes:
        caller: the phone network's report, or the softphone's.
        follower: the flight record.
        transcript: `transcript.json`, empty where there is none.
        violations: rules that our side broke, as the stand-in for the model counted them; None for a real model.
    """

    caller: CallReport | SoftphoneReport
    follower: Follower
    transcript: dict[str, Any]
    violations: list[str] | None


def turns(transcript: dict[str, Any]) -> list[DemoTurn]:
    """The conversation by turns."""
    spoken: dict[tuple[int, str], dict[str, Any]] = {}
    for line in transcript.get("lines", []):
        spoken.setdefault((line["n"], line["who"]), line)
    rows = []
    for turn in transcript.get("turns", []):
        n = turn["n"]
        caller, agent = spoken.get((n, "caller")), spoken.get((n, "agent"))
        rows.append(
            DemoTurn(
                n=n,
                caller=caller["text"] if caller else None,
                agent=agent["text"] if agent else "",
                heard=agent["heard"] if agent else "",
                latency_ms=turn["latency_ms"],
                sent_ms=turn["sent_ms"],
                model_ms=turn["model_ms"],
                out_ms=turn["out_ms"],
            )
        )
    return rows


def barge_in(evidence: Evidence) -> BargeIn:
    """How fast the agent fell silent."""
    if isinstance(evidence.caller, SoftphoneReport):
        return _fell_silent(evidence.caller, evidence.follower)
    clears = evidence.caller.clears
    if not clears:
        return BargeIn(None, None)
    stale_ms = round(sum(clear.stale_ms for clear in clears), 1)
    interrupted = evidence.follower.at("interrupted")
    if not interrupted or evidence.caller.start_now_s is None:
        return BargeIn(None, stale_ms)  # stopped by our own means: no `interrupted` to count from
    arrived = evidence.caller.start_now_s + clears[0].at_s
    read = evidence.follower.clock + interrupted[0]
    return BargeIn(round((arrived - read) * 1000, 1), stale_ms)


def _fell_silent(caller: SoftphoneReport, follower: Follower) -> BargeIn:
    """The same of a line that knows no `clear`: the utterance at the ear that the interruption fell into, and its end."""
    interrupted = follower.at("interrupted")
    if not interrupted or caller.start_now_s is None:
        return BargeIn(None, None)
    at_s = follower.clock + interrupted[0] - caller.start_now_s
    ends = [heard.end_s for heard in caller.heard if heard.start_s <= at_s]
    if not ends:
        return BargeIn(None, None)
    silent_ms = max(0.0, (ends[-1] - at_s) * 1000)
    return BargeIn(round(silent_ms, 1), round(max(0.0, silent_ms - SILENT_MS), 1))


def steps(evidence: Evidence, *, answers: int, interrupts: bool, judged: bool) -> list[Step]:
    """What a demo has to show.

    Args:
        evidence: what was seen.
        answers: replies to the caller that are expected at least.
        interrupts: whether the caller interrupts.
        judged: whether this was the stand-in, whose words and end are known.
    """
    caller, rows = evidence.caller, turns(evidence.transcript)
    answered = [row for row in rows if row.caller is not None and row.latency_ms is not None]
    stale = barge_in(evidence).stale_ms
    found = [
        Step("answered the phone", caller.start_now_s is not None, "the server's log above"),
        Step("greeted first", bool(rows) and bool(rows[0].heard or rows[0].agent), "events.jsonl"),
        Step(
            f"answered {answers} times", len(answered) >= answers, "transcript.json, events.jsonl"
        ),
    ]
    if interrupts:
        found += [
            Step("was interrupted and cleared the line", _cleared(evidence), "events.jsonl"),
            Step("was silent after that", stale is not None and stale <= STALE_MS, "call.wav"),
        ]
    if judged:
        last = rows[-1] if rows else None
        found += [
            Step("called end_call", bool(evidence.follower.at("tool_called")), "events.jsonl"),
            Step(
                "said goodbye to the end",
                last is not None and last.heard == last.agent != "",
                "call.wav",
            ),
            Step("hung up", caller.ended == "agent_hung_up", "events.jsonl"),
            Step("lost no sound", lost_ms(evidence) == 0, "transcript.json"),
        ]
    else:
        found.append(
            Step("ended", caller.ended in ("agent_hung_up", "caller_hung_up"), "events.jsonl")
        )
    broken = [] if isinstance(caller, SoftphoneReport) else [*map(str, caller.violations)]
    broken += evidence.violations or []
    found.append(Step("broke no rule of the wire", not broken, "; ".join(broken)))
    return found


def _cleared(evidence: Evidence) -> bool:
    if isinstance(evidence.caller, SoftphoneReport):
        return barge_in(evidence).clear_ms is not None
    return bool(evidence.caller.clears)


def lost_ms(evidence: Evidence) -> float:
    """Sound that was lost in either direction, in milliseconds."""
    caller = evidence.caller
    if isinstance(caller, SoftphoneReport):
        on_the_line = (caller.lost_sent + caller.lost_received) * PACKET_MS
    else:
        on_the_line = caller.lost_ms
    counted: dict[str, float] = evidence.transcript.get("metrics", {})
    dropped = counted.get("dropped_up_ms", 0.0) + counted.get("dropped_down_ms", 0.0)
    return round(on_the_line + dropped, 1)


def report(evidence: Evidence, found: list[Step]) -> DemoReport:
    """The figures of the call."""
    folder = evidence.follower.folder
    return DemoReport(
        ok=all(step.happened for step in found),
        failed=[step.name for step in found if not step.happened],
        call_id=folder.name if folder else None,
        recording=_path(folder, "call.wav"),
        transcript=_path(folder, "transcript.json"),
        events=_path(folder, "events.jsonl"),
        first_word_ms=_rounded(evidence.caller.first_word_ms),
        turns=turns(evidence.transcript),
        barge_in=barge_in(evidence),
        lost_ms=lost_ms(evidence),
        underruns=len(evidence.caller.underruns),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _path(folder: Path | None, name: str) -> str | None:
    if folder is None or not (folder / name).exists():
        return None
    return str((folder / name).absolute())
