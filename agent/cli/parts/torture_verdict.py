"""What a caller noticed of one fault, and whether that is good enough. Pure: evidence in, a verdict out.

Only what the two stand-ins saw on the wire is judged, so the rules hold for any server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.simulator import menu
from agent.simulator.report import Ended

if TYPE_CHECKING:
    from agent.simulator.menu import Entry
    from agent.simulator.records import Stats
    from agent.simulator.report import CallReport

SOON = 3.0
"""Seconds of silence that a caller may hear after a loss."""
DECIDED = 10.0
"""Seconds within which the server has decided: the longest silence at all."""
LEAVES = 5
"""Seconds in which a server lets go of its sessions after a call."""
PARKS = 12
"""The same where the line ended without `stop`: that may be a line that broke, and Twilio, which asks the server what comes next,
may bring the caller back. To keep the session for ten seconds is good service."""
FIRST_WORD = 5.0
"""Seconds from the answer to the first word."""


class Allowed(NamedTuple):
    """What a good server's caller may notice.

    Attributes:
        first_word: Seconds from the answer to the first word.
        silence: The longest silence on the line, in seconds.
        wait: The longest one behind the caller's own words, where that is another.
        may_end: The call may end before the caller has said everything.
        unheard: It may also end without a word.
        may_miss: The line swallows the caller's words: one may stay unanswered.
        greets_again: The model may greet twice.
        lets_go: Seconds until the server holds no session any more.
    """

    first_word: float = FIRST_WORD
    silence: float = SOON
    wait: float = float("inf")
    may_end: bool = False
    unheard: bool = False
    may_miss: bool = False
    greets_again: bool = False
    lets_go: int = LEAVES


NO_CALL = (Ended.VIOLATION, Ended.WEBHOOK_FAILED, Ended.STREAM_REFUSED)
"""Ends at which Twilio plays an error, or nothing."""

PLAIN = Allowed()
BY_NOTICE = {
    menu.NUDGED: Allowed(silence=DECIDED),
    menu.POLITE: Allowed(may_end=True),
    menu.DROPS: Allowed(DECIDED, DECIDED, may_end=True, unheard=True, may_miss=True),
}
"""By what the menu says that the caller notices; all others: `PLAIN`."""

BY_NAME: dict[tuple[str, str], Allowed] = {
    ("gemini", "slow-setup"): Allowed(
        DECIDED, DECIDED
    ),  # some of it after words of the server's own
    ("gemini", "quota"): Allowed(may_end=True),
    # A socket that is only half there looks like a slow model at first: a word in time, and then another session.
    ("gemini", "half-open"): Allowed(silence=DECIDED, wait=SOON),
    ("gemini", "forgets"): Allowed(greets_again=True),
    ("gemini", "short-words-unheard"): Allowed(silence=DECIDED),
    ("twilio", "stall"): Allowed(silence=SOON + 2.0),  # the line itself is silent for two
    ("twilio", "gap"): Allowed(silence=DECIDED, may_miss=True),
    ("twilio", "marks-lost"): Allowed(silence=DECIDED, may_end=True),
    ("twilio", "no-stop"): Allowed(lets_go=PARKS),
}
"""Faults of which the menu says something of their own."""


class Evidence(NamedTuple):
    """Everything that was seen of one call.

    Attributes:
        report: The caller's.
        stats: The stand-in's for the model.
        to_say: How many things the caller had to say.
        spoke_at: When the phone network itself spoke (<Say>, <Play>): seconds on the caller's timeline.
        over_at: When the call was over, on the same timeline.
        greetings: How often the caller heard the model's greeting; cut off and begun again counts once.
        left: Sessions that the server still held when it should have let go of them.
        hangs_up_after: The caller hangs up in mid-call after so many seconds on purpose; None: never.
    """

    report: CallReport
    stats: Stats
    to_say: int
    spoke_at: list[float]
    over_at: float
    greetings: int
    left: int
    hangs_up_after: float | None = None


class Noticed(msgspec.Struct, frozen=True):
    """What the caller noticed; seconds.

    Attributes:
        first_word_s: From the answer to the agent's first word; None: there was none.
        silence_s: The longest silence, and `silence_at_s` where it began.
        said, answered: What the caller said, and got an answer to, `of` so many things to say.
    """

    first_word_s: float | None
    silence_s: float
    silence_at_s: float
    said: int
    answered: int
    of: int
    greetings: int
    ended: str
    seconds: float

    def __str__(self) -> str:
        first = "never" if self.first_word_s is None else f"after {self.first_word_s:.1f} s"
        return (
            f"first word {first}, longest silence {self.silence_s:.1f} s (at {self.silence_at_s:.0f} s), "
            f"{self.answered} of {self.of} answered, greeted {_times(self.greetings)}, "
            f"{self.ended.replace('_', ' ')} after {self.seconds:.0f} s"
        )


class Verdict(msgspec.Struct, frozen=True):
    """One fault, judged.

    Attributes:
        passed: None: the fault never came, so nothing was tried.
        why: What was not good enough.
    """

    side: str
    name: str
    armed: list[str]
    passed: bool | None
    why: list[str]
    noticed: Noticed


def allowed(entry: Entry) -> Allowed:
    """What may be noticed of a fault of the menu."""
    return BY_NAME.get((entry.side, entry.name)) or BY_NOTICE.get(entry.notices, PLAIN)


def notice(evidence: Evidence) -> Noticed:
    """What the caller noticed."""
    report = evidence.report
    silence, at = _longest_silence(evidence)
    return Noticed(
        first_word_s=_first_word(evidence),
        silence_s=round(silence, 2),
        silence_at_s=round(at, 2),
        said=len(report.spoken),
        answered=sum(_answers(report)),
        of=evidence.to_say,
        greetings=evidence.greetings,
        ended=report.ended.value,
        seconds=round(report.seconds, 1),
    )


def judge(entry: Entry, armed: list[str], evidence: Evidence, plain_end: str) -> Verdict:
    """Judge one fault.

    Args:
        entry: The fault.
        armed: As it was armed.
        evidence: What was seen of the call.
        plain_end: How a call without a fault ends at this server (`Ended`).
    """
    may = allowed(entry)
    noticed = notice(evidence)
    why = [
        *_of_the_wait(may, noticed),
        *_behind_words(may, evidence),
        *_of_the_end(may, evidence, noticed, plain_end),
        *_of_the_words(may, evidence, noticed),
        *_of_the_rules(may, evidence),
    ]
    if entry.name == "late-audio" and (
        stale := sum(each.stale_ms for each in evidence.report.clears)
    ):
        why.append(f"{stale:.0f} ms of an interrupted reply were heard after it")
    passed = not why if _came(entry, evidence) else None
    return Verdict(entry.side, entry.name, armed, passed, why, noticed)


def judge_plain(evidence: Evidence) -> list[str]:
    """Why a call without a fault is no ground to judge others from; empty: it is one."""
    noticed = notice(evidence)
    if evidence.report.ended in NO_CALL:
        seen = [each.detail for each in evidence.report.notices]
        return seen or [str(broken) for broken in evidence.report.violations]
    if not evidence.stats.opened:
        return ["the server never asked the stand-in: is its model's address the one above?"]
    end = evidence.report.ended.value
    return [
        *_of_the_wait(PLAIN, noticed),
        *_of_the_end(PLAIN, evidence, noticed, end),
        *_of_the_words(PLAIN, evidence, noticed),
        *_of_the_rules(PLAIN, evidence),
    ]


def _came(entry: Entry, evidence: Evidence) -> bool:
    """Whether the fault came; the line's own always do."""
    if entry.side == "twilio":
        return True
    if entry.moment == "handshake":
        return evidence.stats.spoiled_handshakes > 0
    return any(entry.name in session.faults for session in evidence.stats.sessions)


def _of_the_wait(may: Allowed, noticed: Noticed) -> list[str]:
    first, silence = noticed.first_word_s, noticed.silence_s
    if first is None:
        return [] if may.unheard else ["the caller heard nothing at all"]
    why = []
    if first > may.first_word:
        why.append(f"the first word came after {first:.1f} s (at most {may.first_word:g})")
    if silence > may.silence:
        at = noticed.silence_at_s
        why.append(f"{silence:.1f} s of silence from {at:.1f} s on (at most {may.silence:g})")
    return why


def _behind_words(may: Allowed, evidence: Evidence) -> list[str]:
    sounds = [heard.start_s for heard in evidence.report.heard]
    sounds += [spoken.start_s for spoken in evidence.report.spoken]
    sounds += evidence.spoke_at
    why = []
    for spoken in evidence.report.spoken:
        until = min((at for at in sounds if at > spoken.start_s), default=evidence.over_at)
        if (wait := until - spoken.end_s) > may.wait:
            asked = f"what the caller said as number {spoken.n}"
            why.append(f"nothing was heard for {wait:.1f} s behind {asked} (at most {may.wait:g})")
    return why


def _of_the_end(may: Allowed, evidence: Evidence, noticed: Noticed, plain_end: str) -> list[str]:
    ended = evidence.report.ended
    how = ended.replace("_", " ")
    if ended in NO_CALL:
        return [f"the call ended by {how}", *(each.detail for each in evidence.report.notices)]
    if ended is Ended.LINE_LOST and not may.unheard:
        return ["the server dropped the line without a close frame"]
    if evidence.hangs_up_after is not None:
        early = ended is not Ended.CALLER_HUNG_UP
        return [f"the call ended before the caller hung up: {how}"] if early else []
    if noticed.said < evidence.to_say and ended is not Ended.CALLER_HUNG_UP:
        said = f"{noticed.said} of {evidence.to_say} things were said"
        return [] if may.may_end else [f"the call ended too soon ({how}): {said}"]
    if ended is Ended.CALLER_HUNG_UP and (plain_end != ended or noticed.said < evidence.to_say):
        return [f"nobody ended the call: the caller gave up after {noticed.seconds:.0f} s"]
    return []


def _of_the_words(may: Allowed, evidence: Evidence, noticed: Noticed) -> list[str]:
    counts = evidence.stats.utterances
    unanswered = [
        str(spoken.n)
        for spoken, answered in zip(evidence.report.spoken, _answers(evidence.report), strict=True)
        if not answered
    ]
    why = []
    if unanswered and not (may.may_miss or may.may_end or evidence.hangs_up_after is not None):
        why.append(f"not answered: what the caller said as number {', '.join(unanswered)}")
    if counts.missing:
        why.append(f"{counts.missing} utterances never reached the model again")
    if counts.answered_twice:
        why.append(f"{counts.answered_twice} utterances were answered twice")
    if counts.answers_lost:
        why.append(f"{counts.answers_lost} answers were cut off by the server's own message")
    if noticed.greetings > 1 and not may.greets_again:
        why.append(f"the caller was greeted {_times(noticed.greetings)}")
    return why


def _of_the_rules(may: Allowed, evidence: Evidence) -> list[str]:
    counted = {"utterance-missing", "utterance-answered-twice"}  # told already, in words
    why = [f"a rule of Media Streams: {broken}" for broken in evidence.report.violations]
    why += [
        f"a rule of the Live API: {broken.rule}: {broken.detail}"
        for broken in evidence.stats.violations
        if broken.rule not in counted
    ]
    if evidence.left:
        left = f"{evidence.left} sessions with the model were left"
        why.append(f"{left} {may.lets_go} s after the call")
    return why


def _first_word(evidence: Evidence) -> float | None:
    """From the answer to the first word, whoever spoke it: the agent or the phone network."""
    report = evidence.report
    agents = report.first_word_ms
    times = [] if agents is None else [agents / 1000]
    if evidence.spoke_at:
        times.append(max(0.0, evidence.spoke_at[0] + (report.start_delay_ms or 0.0) / 1000))
    return round(min(times), 2) if times else None


def _longest_silence(evidence: Evidence) -> tuple[float, float]:
    """The longest time in which nobody spoke, and where it began, on the caller's timeline.

    Not before the first sound, and not while the caller waits to hang up: both have rules of their own.
    """
    report = evidence.report
    sounds = [(heard.start_s, heard.end_s) for heard in report.heard]
    sounds += [(spoken.start_s, spoken.end_s) for spoken in report.spoken]
    sounds += [(at, at) for at in evidence.spoke_at]
    sounds.sort()
    if report.ended is not Ended.CALLER_HUNG_UP:
        sounds.append((evidence.over_at, evidence.over_at))
    longest, began, quiet_from = 0.0, 0.0, sounds[0][0] if sounds else 0.0
    for start, end in sounds:
        if start - quiet_from > longest:
            longest, began = start - quiet_from, quiet_from
        quiet_from = max(quiet_from, end)
    return longest, began


def _answers(report: CallReport) -> list[bool]:
    """Of each thing that was said, whether the agent was heard before the caller spoke again."""
    ends = [*(spoken.start_s for spoken in report.spoken[1:]), float("inf")]
    return [
        any(heard.end_s > spoken.end_s and heard.start_s < end for heard in report.heard)
        for spoken, end in zip(report.spoken, ends, strict=False)
    ]


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
