"""Whether a session that was resumed remembers the call.

A snapshot may come back empty: the model greets in the middle of the call, and what it is billed for falls from 2,758 tokens of audio
to 351 (livekit/agents-js#2346). So the first bill and the first words of a resumed session are compared with what was before. One that
has forgotten is left, and the next one is told the whole call.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.events import ModelUsage

LEAST = 250
"""Tokens below which nothing can be told from them: ten seconds of sound (Gemini API: understand and count tokens)."""

COMPRESSED = 8000
"""Tokens that are left where the service compresses the context (our setup's own target): that is no loss of memory."""

SHARE = 0.25
"""Of the tokens before; a session with less of them has forgotten the call."""

WORDS = 4
"""Words of a greeting below which it cannot be told from an answer."""

GREETING = 0.75
"""Share of the greeting, from its beginning, that make it one: a goodbye may begin with as many, and then goes on otherwise."""


class Memory:
    """Watches what the sessions of one call remember."""

    def __init__(self) -> None:
        self._billed = 0  # tokens of the last turn
        self._bill = False  # whether the present session's first bill is to be judged ...
        self._letters: str | None = None  # ... and its first words, so far

    def opened(self, *, resumed: bool) -> None:
        """Another session is ready; `resumed`: from a snapshot."""
        self._bill, self._letters = resumed, "" if resumed else None

    def billed(self, usage: ModelUsage) -> bool:
        """A turn was billed; says whether the session has forgotten the call."""
        tokens = usage.prompt_by.get("AUDIO", 0) or usage.prompt
        if tokens == 0:
            return False
        before, self._billed = self._billed, tokens
        judged, self._bill = self._bill and before >= LEAST, False
        return judged and tokens < SHARE * min(before, COMPRESSED)

    def said(self, text: str, greeting: str) -> bool:
        """The agent says something; says whether it is the call's greeting again, so that it has forgotten the call.

        Letters are compared: the fragments in which a transcription comes may end in the middle of a word.
        """
        if self._letters is None:
            return False
        self._letters += _letters(text)
        first = _letters(greeting)
        enough = math.ceil(GREETING * len(first))
        begun = self._letters[:enough]
        if len(greeting.split()) < WORDS or not first.startswith(begun):
            self._letters = None
        return self._letters is not None and len(begun) == enough


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text.casefold())
