"""What was said and what was heard, as words.

The model sends its words without order against its audio, and faster than they are heard. So a reply that was cut off is cut in
proportion to the audio that the caller heard, at a word's boundary, and is marked `estimated`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class TranscriptLine(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance, as it stands in `transcript.json`.

    Attributes:
        who: `agent` for the model's words, `pickup` for a line of our own.
        n: the turn it belongs to, from 0 (the greeting).
        start: seconds after the call's start at which it began to be heard; None where it never was.
        end: seconds after the call's start at which it ended.
        text: all that was said.
        heard: the part of `text` that the other side heard.
        cut: whether it was cut off.
        estimated: whether `heard` is an estimate.
    """

    who: Literal["caller", "agent", "pickup"]
    n: int
    start: float | None
    end: float | None
    text: str
    heard: str
    cut: bool = False
    estimated: bool = False


def heard_words(text: str, heard: int, total: int) -> tuple[str, bool]:
    """The part of `text` that was heard when `heard` of its `total` samples were.

    Letters stand for time: a word was heard when its middle was.

    Returns:
        The heard words, and whether that is an estimate (only what was neither whole nor nothing is).
    """
    text = text.strip()
    if heard >= total:
        return text, False
    if heard <= 0 or not text:
        return "", False
    reached = len(text) * heard / total
    words: list[str] = []
    begin = 0
    for word in text.split():
        begin = text.index(word, begin)
        if begin + len(word) / 2 > reached:
            break
        words.append(word)
        begin += len(word)
    return " ".join(words), True
