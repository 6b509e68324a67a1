"""Mistakes deep in an agent's file are told with their line, their path and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from agent.config.agent_file import AgentFile
from agent.config.agent_yaml import DEEPEST, WrongFile, parse_agent
from agent.config.hours import Span
from agent.protocols.gemini.setup import GeminiOptions

MINIMAL = "name: Desk\npersona: You answer.\n"

FULL = """\
name: Harbour Dental
persona: You are the desk of {{practice}}.
greeting:
  free: Greet {{ caller }} by name.
voice: Puck
language: en-GB
languages: [de-DE, fr-FR]
model: gemini-3.8-live
model_options:
  temperature: 0.7
  silence_ms: 600
  end_sensitivity: LOW
numbers:
  - +15551234567
  - sip:desk@example.com
variables:
  practice: Harbour Dental
  caller: ~
timezone: America/New_York
hours:
  monday: 08:00-18:00
  tuesday: [08:00-12:00, 13:00-18:00]
  friday: 22:00-02:00
  holidays: [2026-12-24, 12-25]
closed:
  transfer: night
consent: This call is recorded.
recording:
  on: true
  retention_days: 30
tools:
  - end_call
  - transfer_call
  - look_up
  - python: calendar_tools:book
  - http:
      name: find_order
      description: Find an order by its number.
      url: https://shop.example.com/orders/{id}
      parameters:
        type: object
        properties:
          id: {type: integer, minimum: 1, maximum: 9999}
        required: [id]
      auth: {secret: SHOP_TOKEN, scheme: header, header: X-Token}
      retries: 2
  - mcp:
      name: crm
      command: [crm-server, --stdio]
      environment: CRM_TOKEN
      allow: [find_customer]
transfer:
  night: +15557654321
  billing:
    sip: sip:billing@example.com
    mode: warm
    timeout: 30
    whisper: A caller with a question about a bill.
    description: Questions about bills.
fallback_number: +15551230000
knowledge: texts
filler_after: 2.5
limits: {seconds: 600, silence: 20, cost: 0.5, tool_seconds: 8}
silences: {nudge: 3, caller_again: 12.5}
lines:
  busy: Everybody is on the telephone.
  filler: One moment, I am looking.
outbound:
  caller_id: +15551234567
  voicemail: Say that {{caller}} may call back.
  attempts: 2
  retry_on: [busy]
  calling_hours: 09:00-20:00
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(WrongFile) as caught:
        parse_agent(text, "f")
    return [f"{line}: {told}" for line, told in caught.value.mistakes]


def test_every_key_at_once() -> None:
    agent = parse_agent(FULL, "f")
    assert agent.greeting.free == "Greet {{ caller }} by name."
    assert agent.model_options.temperature == 0.7
    assert agent.numbers == ("+15551234567", "sip:desk@example.com")
    assert agent.variables == {"practice": "Harbour Dental", "caller": None}
    assert agent.hours is not None
    assert agent.hours.tuesday == (Span(480, 720), Span(780, 1080))
    assert agent.closed is not None
    assert (agent.closed.say, agent.closed.transfer) == (None, "night")
    assert (agent.recording.on, agent.recording.retention_days) == (True, 30)
    assert [entry.builtin for entry in agent.tools[:3]] == ["end_call", "transfer_call", "look_up"]
    _, _, _, python, http, mcp = agent.tools
    assert python.python == "calendar_tools:book"
    assert http.http is not None
    assert http.http.parameters["properties"]["id"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9999,
    }
    assert mcp.mcp is not None
    assert (mcp.mcp.command, mcp.mcp.environment) == (("crm-server", "--stdio"), ("CRM_TOKEN",))
    assert agent.transfer["night"].address == "+15557654321"
    assert agent.transfer["billing"].address == "sip:billing@example.com"
    assert agent.lines.filler == "One moment, I am looking."
    assert (agent.limits.seconds, agent.limits.cost) == (600, 0.5)
    assert (agent.silences.nudge, agent.silences.caller_again) == (3.0, 12.5)
    assert agent.lines.busy == "Everybody is on the telephone."
    assert agent.outbound.calling_hours == Span(540, 1200)


def test_short_forms_stand_for_long_ones() -> None:
    short = parse_agent(f"{MINIMAL}greeting: Hi.\nrecording: true\nclosed: Bye.\n{OPEN}", "f")
    long = parse_agent(
        f"{MINIMAL}greeting: {{say: Hi.}}\nrecording: {{on: true}}\nclosed: {{say: Bye.}}\n{OPEN}",
        "f",
    )
    assert short.digest() == long.digest()
    assert [entry.builtin for entry in short.tools] == ["end_call"]


OPEN = "timezone: Europe/Berlin\nhours: {monday: 08:00-18:00}\n"
TOOL = f"{MINIMAL}tools:\n  - end_call\n  - http:\n      name: find\n      description: Finds.\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        # keys
        (
            f"{MINIMAL}limits:\n  second: 60\n",
            "4: unknown key limits.second: did you mean seconds?",
        ),
        (f"{MINIMAL}tools:\n- http: {{name: a}}\n- hhtp: 1\n", "5: unknown key tools[1].hhtp: did"),
        (f"{TOOL}      metod: GET\n", "5: tools[1].http.url is missing: an http or https URL"),
        (f"{MINIMAL}limits:\n  cost: 1\n  cost: 2\n", "5: limits.cost is given twice (first in"),
        # values
        (f"{MINIMAL}greeting: {{{{caller}}}}\n", "3: greeting: put text with braces or brackets"),
        (f"{MINIMAL}greeting: {{say: a, free: b}}\n", "3: greeting should be a line to be spoken"),
        (f"{MINIMAL}greeting: [a]\n", "3: greeting should be a line to be spoken"),
        (f"{MINIMAL}limits:\n  seconds: 5\n", "4: limits.seconds should be the longest call in"),
        (f"{MINIMAL}limits: 5\n", "3: limits should be what one call may take"),
        (f"{MINIMAL}model_options: {{thinking_level: HIHG}}\n", "3: model_options.thinking_level "),
        (f"{MINIMAL}numbers: [+49, +15551234567]\n", "3: numbers[0] should be a number such as"),
        (f"{MINIMAL}numbers: 5551234\n", "3: numbers should be a number such as +15551234567"),
        (f"{MINIMAL}variables: {{Name: x}}\n", "3: variables.Name should be called by a name of"),
        (f"{MINIMAL}timezone: Berlin\n", "3: timezone should be a time zone such as"),
        (f"{MINIMAL}timezone: Europe\n", "3: timezone should be a time zone such as"),
        (f"{MINIMAL}hours:\n  monday: 8-18\n", "4: hours.monday should be a range such as 08:00-"),
        (f"{MINIMAL}hours: {{monday: 08:00-08:00}}\n", "3: hours.monday should be a range such as"),
        (f"{MINIMAL}hours: {{holidays: [2026-02-30]}}\n", "3: hours.holidays[0] should be a day"),
        (
            f"{MINIMAL}closed: {{say: a, transfer: b}}\n",
            "3: closed should be a line to be spoken, or",
        ),
        (f"{MINIMAL}recording: {{retention_days: 0}}\n", "3: recording.retention_days should be a"),
        (f"{MINIMAL}consent: true\n", "3: consent should be a line to be spoken"),
        (f"{MINIMAL}transfer:\n  a: 555\n", "4: transfer.a should be a number such as"),
        (f"{MINIMAL}transfer:\n  a: {{mode: cold}}\n", "4: transfer.a should have a number or a"),
        (f"{MINIMAL}transfer:\n  My Desk: +15551234567\n", "4: transfer.My Desk should be called"),
        (
            f"{MINIMAL}outbound: {{calling_hours: 21:00-08:00}}\n",
            "3: outbound.calling_hours should",
        ),
        # tools
        (f"{MINIMAL}tools: [end_cal]\n", "3: tools[0] should be a built-in tool's name, or a map"),
        (f"{MINIMAL}tools:\n  - {{}}\n", "4: tools[0] should be a built-in tool's name or one of"),
        (f"{MINIMAL}tools:\n  - python: a b\n", "4: tools[0].python should be module or module:fu"),
        (f"{TOOL}      url: ftp://x\n", "8: tools[1].http.url should be an http or https URL"),
        (f"{TOOL}      url: https://{{host}}/a\n", "8: tools[1].http.url should be an http or htt"),
        (f"{TOOL}      url: https://x/{{id}}\n", "8: tools[1].http.url has {id}, which is not un"),
        (
            f"{TOOL}      url: https://x\n      method: POST\n      retries: 1\n",
            "10: tools[1].http.retries would repeat a POST",
        ),
        (
            f"{TOOL}      url: https://x\n      parameters: {{type: array}}\n",
            "9: tools[1].http.parameters should be of type object",
        ),
        (
            f"{TOOL}      url: https://x\n      parameters: {{properties: 1}}\n",
            "9: tools[1].http.parameters should have a mapping under properties",
        ),
        (
            f"{TOOL}      url: https://x\n      auth: {{secret: s3cret}}\n",
            "9: tools[1].http.auth.secret should be the name of the environment variable",
        ),
        (
            f"{MINIMAL}tools:\n- mcp: {{name: a}}\n",
            "4: tools[0].mcp should have a command or a url",
        ),
        (
            f"{MINIMAL}tools:\n- mcp: {{name: a, command: []}}\n",
            "4: tools[0].mcp.command should na",
        ),
        (
            f"{MINIMAL}tools:\n- mcp: {{name: a, command: [x], secret: KEY}}\n",
            "4: tools[0].mcp.command has no headers",
        ),
        (
            f"{MINIMAL}tools:\n- mcp: {{name: a, url: https://x/mcp, environment: KEY}}\n",
            "4: tools[0].mcp.url has no environment",
        ),
        # together
        (
            f"{MINIMAL}tools: [end_call, end_call]\n",
            "3: tools[1]: there is a tool end_call already",
        ),
        (f"{MINIMAL}tools: [transfer_call]\n", "3: tools[0]: transfer_call needs targets under"),
        (f"{MINIMAL}tools: [look_up]\n", "3: tools[0]: look_up needs a folder under knowledge"),
        (f"{MINIMAL}closed: Bye.\n", "3: closed is never said: there are no hours"),
        (f"{MINIMAL}hours: {{monday: 08:00-18:00}}\n", "3: hours need a timezone such as"),
        (f"{MINIMAL}{OPEN}closed: {{transfer: a}}\n", "5: closed.transfer: no target a (there: no"),
        (
            f"{MINIMAL}greeting: Hi {{{{who}}}}\n",
            "3: greeting asks for {{who}}, which is not under",
        ),
        (
            f"{MINIMAL}outbound:\n  voicemail: Hi {{{{a b}}}}\n",
            "4: outbound.voicemail asks for {{a b}}, which is not under variables (there: none)",
        ),
    ],
)
def test_a_mistake_inside_a_key_is_told_with_its_line_and_path(text: str, complaint: str) -> None:
    told = mistakes(text)
    assert any(line.startswith(complaint) for line in told), told
    assert not any("\n" in line for line in told)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tools: [transfer_cal]", "did you mean transfer_call?"),
        ("model_options: {end_sensitivity: HIHG}", "did you mean HIGH?"),
        ("model_options: {end_sensitivity: XYZ}", "(known are HIGH, LOW)"),
    ],
)
def test_a_word_that_is_nearly_one_of_the_choice_is_told_the_nearest(text: str, meant: str) -> None:
    (told,) = mistakes(f"{MINIMAL}{text}\n")
    assert told.endswith(meant)


def test_all_mistakes_are_found_in_the_order_of_their_lines() -> None:
    told = mistakes(f"{MINIMAL}voise: x\nlimits: {{cost: a, seconds: b}}\ntools:\n  - endcall\n")
    assert [line.partition(":")[0] for line in told] == ["3", "4", "4", "6"]


def test_a_file_that_is_nested_without_end_is_refused() -> None:
    (told,) = mistakes(f"{MINIMAL}tools: {'[' * (DEEPEST + 5)}{']' * (DEEPEST + 5)}\n")
    assert told == "3: not YAML: nested too deep"


def test_every_model_option_is_one_of_the_sessions() -> None:
    options = parse_agent(MINIMAL, "f").model_options
    assert set(type(options).model_fields) < set(GeminiOptions.__struct_fields__)


SOME_KEYS = (
    ["say", "free", "on", "http", "mcp", "python", "builtin", "number", "sip", "monday", "holidays"]
    + ["url", "parameters", "properties", "auth", "secret", "command", "allow", "seconds", "office"]
    + ["description", "headers", "busy", "voicemail", "retry_on", "calling_hours", "temperature"]
)
WORDS = [
    "+15551234567",
    "08:00-18:00",
    "2026-12-24",
    "end_call",
    "transfer_call",
    "https://x/{id}",
] + ["sip:a@b", "office", "Europe/Berlin", "{{who}}", "LOW", "module:function", "CRM_TOKEN", "GET"]
KEYS = st.one_of(
    st.sampled_from(sorted({*AgentFile.model_fields, *SOME_KEYS})), st.text(max_size=6)
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5000), st.sampled_from(WORDS), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(AgentFile.model_fields)), VALUES, max_size=4))
def test_whatever_stands_there_is_an_agent_or_mistakes_with_lines(values: dict[str, Any]) -> None:
    text = yaml.safe_dump({"name": "Desk", "persona": "You answer.", **values}, allow_unicode=True)
    try:
        parse_agent(text, "f")
    except WrongFile as error:
        count = len(text.splitlines())
        assert all(0 < line <= count for line, _ in error.mistakes)
        assert all(told.isprintable() for _, told in error.mistakes)
