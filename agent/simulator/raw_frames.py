"""Frames of the stand-in for Gemini Live that no well-behaved server would send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024


def _malformed(value: str) -> list[bytes | str]:
    return [b'{"serverContent": {"modelTurn": '] * int(value or 1)


def _unknown_fields(value: str) -> list[bytes | str]:
    del value
    content = {"vibe": {"mood": "fine"}, "modelTurn": {"parts": [{"hologram": 1}], "role": "model"}}
    return [json.dumps({"serverContent": content, "surprise": [1, 2]}).encode()]


def _null_parts(value: str) -> list[bytes | str]:
    del value
    turns = [{"parts": None}, {"parts": [None, {"inlineData": None}]}, None]
    return [json.dumps({"serverContent": {"modelTurn": turn}}).encode() for turn in turns]


def _text_frame(value: str) -> list[bytes | str]:
    del value
    return ['{"usageMetadata": {"totalTokenCount": 1}}']


def _huge_frame(value: str) -> list[bytes | str]:
    return [b'{"surprise": "' + b"x" * (int(value) * MIB) + b'"}']


RAW: dict[str, Callable[[str], list[bytes | str]]] = {
    "malformed": _malformed,
    "unknown-fields": _unknown_fields,
    "null-parts": _null_parts,
    "text-frame": _text_frame,
    "huge-frame": _huge_frame,
}
"""Each such fault of the menu: its value -> the frames."""


def raw_frames(fault: str, value: str) -> list[bytes | str]:
    """Return the frames of a fault in `RAW`."""
    return RAW[fault](value)
