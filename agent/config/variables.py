"""`{{name}}` in an agent's words: what a call brings is data, filled in once and never read as a template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.config.agent_file import AgentFile

LONGEST = 500
"""Characters of a value that a call brings."""

PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def places(text: str | None) -> Iterator[str]:
    """The names of the variables that a text asks for."""
    return (found[1] for found in PLACE.finditer(text or ""))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into a text, once: braces in a value stay braces."""
    return PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def fitting(agent: AgentFile, brought: Mapping[str, str]) -> dict[str, str]:
    """What of that which a stranger brings are values of the agent's variables; the rest is left out."""
    return {
        name: value
        for name, value in brought.items()
        if name in agent.variables and len(value) <= LONGEST and value.isprintable()
    }


def with_variables(agent: AgentFile, given: Mapping[str, str], *, must: bool = True) -> AgentFile:
    """The agent of one call: its words with the call's values in them.

    Args:
        agent: as its file describes it.
        given: what the call brings, by name.
        must: whether every variable needs a value; otherwise one without is left empty.

    Raises:
        UserError: a value has no variable, is too long or no single line, or a variable has no value.
    """
    for name, value in given.items():
        if name not in agent.variables:
            known = ", ".join(agent.variables) or "none"
            raise UserError(f"{agent.name} has no variable {name!r} (it has: {known})")
        if len(value) > LONGEST or not value.isprintable():
            raise UserError(f"variable {name}: one line of at most {LONGEST} characters")
    values = {**agent.variables, **given}
    missing = [name for name, value in values.items() if value is None]
    if missing and must:
        raise UserError(f"{agent.name} needs a value for {', '.join(missing)}")
    if not values:
        return agent
    return agent.spoken_in({name: value or "" for name, value in values.items()})
