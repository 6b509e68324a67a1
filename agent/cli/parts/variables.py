"""`--var name=value`, as several commands take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable


def variables(given: Iterable[str]) -> dict[str, str]:
    """The values by name. Raises UserError for what is no name=value."""
    pairs = [each.partition("=") for each in given]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise UserError(f"--var {name}: write name=value")
    return {name: value for name, _, value in pairs}
