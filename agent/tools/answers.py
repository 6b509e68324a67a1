"""What a tool gives back, as the model gets it: an object of plain JSON that is not too large."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.errors import ToolFailed

LARGEST = 65_536
"""Bytes of one answer as JSON: more than any answer on a telephone needs, and two seconds of what the session may be sent in words."""

DONE = {"result": "done"}
"""For a tool that gives nothing back: a model that gets an empty answer calls again."""


def presentable(name: str, value: Any) -> dict[str, Any]:
    """A tool's value as an object of plain JSON; what is no object becomes its `result`.

    Raises:
        ToolFailed: it is not JSON (the cause is for the log) or too large.
    """
    try:
        plain = msgspec.to_builtins(value, str_keys=True)
        size = len(msgspec.json.encode(plain))
    except (TypeError, ValueError, RecursionError) as error:
        said = f"{name} has run, but what it answered cannot be passed on."
        raise ToolFailed(said) from error
    if size > LARGEST:
        raise ToolFailed(
            too_large(name, f"{size / 1e6:.1f} MB" if size > 1e6 else f"{size // 1024} kB")
        )
    if plain is None or plain == {}:
        return DONE
    return plain if isinstance(plain, dict) else {"result": plain}


def too_large(name: str, size: str) -> str:
    """What the model is told of an answer that does not fit."""
    return (
        f"{name} has run, but answered with {size}, and at most {LARGEST // 1024} kB can be passed on. "
        "Ask for less."
    )
