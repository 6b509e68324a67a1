"""What the model is told: who it is, how one speaks on a telephone, and when to speak first. Pure."""

from __future__ import annotations

from typing import Protocol


class Persona(Protocol):
    """What of the agent's file the model is told."""

    @property
    def name(self) -> str: ...
    @property
    def persona(self) -> str: ...
    @property
    def greeting(self) -> str: ...


MANNERS = """\
You are on a telephone call. The caller hears you and cannot see anything. Speak in short sentences, one thought at a time, and ask \
one question at a time. Say numbers, dates and times as people say them. Do not use lists, markup or emoji. If you did not \
understand, say so and ask again. If the caller is silent, wait. Never pretend to be a human."""

LEAVING = """\
When the caller says goodbye or needs nothing more, say goodbye and call `end_call` in the same turn."""


def system_instruction(agent: Persona) -> str:
    """The session's system instruction: persona, rules of conversation, tools (the order of Live API best practices)."""
    return "\n\n".join((f"You are {agent.name}.\n{agent.persona.strip()}", MANNERS, LEAVING))


def greeting_request(agent: Persona) -> str:
    """The message that makes the model speak first (Live API: it expects input before it responds)."""
    greeting = agent.greeting.strip()
    if not greeting:
        return "The caller is on the line. Greet them and ask how you can help."
    return f"The caller is on the line. Greet them now with exactly these words: {greeting}"
