"""What the stand-in was told to do with a setup instead of completing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.simulator.gemini_messages import snake
from agent.simulator.strict import INVALID, REASON_BYTES, UNKNOWN, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.simulator.faults import Fault

QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more"
    " information on this error, head to: h"
)
"""As the field saw it, cut off by the close frame's end."""
NOT_FOUND = "BidiGenerateContent session not found"


class Close(NamedTuple):
    """End the connection; 1006 drops it without a close frame."""

    code: int
    reason: str


class Verdict(NamedTuple):
    """What happens to a setup.

    Attributes:
        close: It is refused.
        soon: At once, not when the service would have looked at it.
        never: It is never answered.
        later: `setupComplete` comes so many seconds later.
        forgets: A resumed session knows nothing.
    """

    close: Close | None = None
    soon: bool = False
    never: bool = False
    later: float = 0.0
    forgets: bool = False


def judge(
    message: dict[str, Any],
    faults: Iterable[Fault],
    others: int,
    strikes: Callable[[Fault], bool],
) -> Verdict:
    """Say what happens to a setup message.

    Args:
        message: The whole message, names in camelCase.
        faults: Those whose moment is the setup, in order: the first that refuses it decides.
        others: Sessions that are connected beside this one.
        strikes: Asked, and told, when a fault would have its effect: whether it has.
    """
    verdict = Verdict()
    for fault in faults:
        effect = _effect(message, fault, others)
        if effect is None or not strikes(fault):
            continue
        if effect.close is not None:
            return effect
        verdict = Verdict(
            never=verdict.never or effect.never,
            later=verdict.later + effect.later,
            forgets=verdict.forgets or effect.forgets,
        )
    return verdict


def _effect(message: dict[str, Any], fault: Fault, others: int) -> Verdict | None:
    if fault.name == "quota":
        return Verdict(Close(1011, QUOTA)) if others >= int(fault.value) else None
    if fault.name in WITH_PATH:
        return WITH_PATH[fault.name](fault.value) if _holds(message, fault.value) else None
    if fault.name in OF_RESUMING:
        return OF_RESUMING[fault.name] if _resumes(message) else None
    return ALWAYS[fault.name](fault)


def _named(path: str) -> Verdict:
    parent, _, name = path.rpartition(".")
    reason = UNKNOWN.format(name=name, path=".".join(map(snake, parent.split("."))))
    return Verdict(Close(1007, reason.encode()[:REASON_BYTES].decode(errors="ignore")))


WITH_PATH: dict[str, Callable[[str], Verdict]] = {
    "refuse": _named,
    "refuse-unnamed": lambda _: Verdict(Close(1007, INVALID)),
    "silent-setup": lambda _: Verdict(never=True),
}
OF_RESUMING = {
    "stale-handle": Verdict(Close(1008, NOT_FOUND)),
    "forgets": Verdict(forgets=True),
}
ALWAYS: dict[str, Callable[[Fault], Verdict]] = {
    "close": lambda fault: Verdict(Close(*fault.closing), soon=True),
    "no-setup": lambda _: Verdict(never=True),
    "slow-setup": lambda fault: Verdict(later=float(fault.value)),
}


def _holds(message: dict[str, Any], path: str) -> bool:
    return any(True for _ in found(message, path))


def _resumes(message: dict[str, Any]) -> bool:
    return bool(message["setup"].get("sessionResumption", {}).get("handle"))
