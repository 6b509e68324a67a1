"""What the model is told."""

from __future__ import annotations

from agent.config.agent_file import AgentFile
from agent.config.agent_parts import Greeting
from agent.server.prompt import greeting_request, system_instruction

DESK = AgentFile(
    name="Harbour Dental",
    persona="You are the front desk.\n\n",
    greeting=Greeting(say="How can I help?"),
)


def test_the_instruction_says_who_how_and_when_to_hang_up_in_this_order() -> None:
    text = system_instruction(DESK)
    parts = [text.index(part) for part in ("Harbour Dental", "front desk", "caller hears")]
    assert parts == sorted(parts)
    assert text.index("end_call") > parts[-1]
    assert "\n\n\n" not in text


def test_the_instruction_names_the_tool_that_is_declared() -> None:
    assert "`end_call`" in system_instruction(DESK)


def test_the_model_is_asked_to_greet_with_the_words_of_the_file() -> None:
    assert greeting_request(DESK).endswith("exactly these words: How can I help?")


def test_a_free_greeting_is_in_its_own_words() -> None:
    free = DESK.model_copy(update={"greeting": Greeting(free="Wish a good day.")})
    assert "in your own words: Wish a good day." in greeting_request(free)
    assert "exactly" not in greeting_request(free)
