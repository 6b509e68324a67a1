"""Which signs of the caller's stop the agent, and which do not.

Two do not. *The callee's "Hello?"*: who picks up a phone speaks, so a short word in the first moment of the greeting is no
interruption (google-gemini/gemini-live-api-examples#53). *A phantom*: the service says `interrupted` and our own meter has heard
nobody (pipecat-ai/pipecat#4131). The model hears the sound in any case, and what it has generated so far is still heard to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agent.audio.level import SpeechMeter


class BargeInOptions(msgspec.Struct, frozen=True):
    """What does not stop the agent; all in seconds.

    Attributes:
        shield: from the greeting's first sound; what the caller begins to say in there ...
        short: ... stops it only once it is as long as this.
        phantom: an `interrupted` after so long without a voice on the line is nobody's.
    """

    shield: float = 1.0
    short: float = 0.7
    phantom: float = 1.0


class BargeIn:
    """Judges the signs of one call. The meter is the line's own."""

    def __init__(self, options: BargeInOptions) -> None:
        self._options = options
        self._held: float | None = None  # when the utterance began that did not stop the greeting

    def phantom(self, meter: SpeechMeter, now: float) -> bool:
        """Whether nobody has interrupted."""
        last = meter.last_voiced
        return last is None or now - last > self._options.phantom

    def shielded(self, meter: SpeechMeter, greeting: float | None) -> bool:
        """Whether the greeting goes on; `greeting`: when its first sound was heard, None where another thing is."""
        if greeting is None or meter.started is None:
            return False
        early = abs(meter.started - greeting) <= self._options.shield
        if not early or self._long(meter):
            return False
        self._held = meter.started
        return True

    def outgrown(self, meter: SpeechMeter) -> bool:
        """Whether what did not stop the greeting is no short word any more; true once."""
        if self._held is None or (meter.started == self._held and not self._long(meter)):
            return False
        grown = meter.started == self._held
        self._held = None
        return grown

    def _long(self, meter: SpeechMeter) -> bool:
        began, last = meter.started, meter.last_voiced
        return began is not None and last is not None and last - began >= self._options.short
