"""Answering-machine detection as Twilio sells it: one verdict for a call, some seconds after the answer.

Pure. Source: Twilio, "Answering Machine Detection": `Enable` tells a machine as soon as it is known
for one, `DetectMessageEnd` waits for the end of its greeting; a human or a fax is told at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.simulator.callee import Verdict

if TYPE_CHECKING:
    from agent.simulator.callee import Callee

BEEP_S = 0.5
"""Length of a machine's beep."""
HUMAN_S = 1.0
"""A short greeting, and the silence behind it."""
FAX_S = 1.5


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What a call's order asked for.

    Attributes:
        mode: `Enable` or `DetectMessageEnd`.
        asynchronous: the call goes on meanwhile, and `url` is told.
        timeout_s: when detection gives up.
        speech_threshold_ms: speech that is longer is a machine's.
        speech_end_ms: silence that ends a greeting.
    """

    mode: str
    asynchronous: bool = False
    url: str = ""
    timeout_s: float = 30.0
    speech_threshold_ms: int = 2400
    speech_end_ms: int = 1200


def verdict(callee: Callee, detection: Detection) -> Verdict:
    """What is found, and when: seconds after the answer."""
    found = callee.verdict or _found(callee, detection)
    if found.at_s > detection.timeout_s:
        return Verdict(detection.timeout_s, "unknown")
    return found


def _found(callee: Callee, detection: Detection) -> Verdict:
    if callee.kind == "human":
        return Verdict(HUMAN_S, "human")
    if callee.kind == "fax":
        return Verdict(FAX_S, "fax")
    if detection.mode == "Enable":
        return Verdict(
            min(callee.greeting_s, detection.speech_threshold_ms / 1000), "machine_start"
        )
    if callee.beep_s is not None:
        return Verdict(callee.beep_s + BEEP_S, "machine_end_beep")
    return Verdict(callee.greeting_s + detection.speech_end_ms / 1000, "machine_end_silence")
