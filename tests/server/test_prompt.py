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


def test_where_the_file_says_where_it_is_it_knows_the_time_and_whether_it_is_open() -> None:
    desk = AgentFile.model_validate(
        {
            "name": "Desk",
            "persona": "You answer.",
            "timezone": "America/New_York",
            "hours": {"tuesday": "08:00-18:00"},
        }
    )
    told = system_instruction(desk, wall=1_700_000_000.0)
    assert "It is Tuesday, 14 November 2023, 17:13 (America/New_York). You are open." in told
    later = system_instruction(desk, wall=1_700_003_600.0)
    assert "18:13 (America/New_York). You are closed now." in later
    always = desk.model_copy(update={"hours": None})
    assert system_instruction(always, wall=1_700_000_000.0).count("open") == 0
    assert "It is" not in system_instruction(DESK, wall=1_700_000_000.0)


def test_it_goes_on_in_the_callers_language_where_it_speaks_it() -> None:
    desk = DESK.model_copy(update={"languages": ("de-DE", "fr-FR")})
    assert "Begin in en-US. You also speak de-DE, fr-FR:" in system_instruction(desk)
    assert "Begin in" not in system_instruction(DESK)


def test_an_agent_without_end_call_is_not_told_to_use_it() -> None:
    assert "end_call" not in system_instruction(DESK.model_copy(update={"tools": ()}))
