"""The JSON Schema of an agent's file, for editors: it completes keys, shows what they mean and underlines mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.agent_file import AgentFile
from agent.config.scenario import Scenario

if TYPE_CHECKING:
    from agent.config.shapes import Part

SCENARIO_SCHEMA = Path(__file__).parent / "scenario.schema.json"
"""That of a scenario; `pickup check --schema` prints it."""

SCHEMA = Path(__file__).parent / "agent.schema.json"
"""The published schema; `pickup agents schema --write agent/config/agent.schema.json` makes it anew."""


def agent_schema() -> str:
    """The schema as JSON (draft 2020-12)."""
    return _schema(AgentFile, "An agent of Pickup")


def scenario_schema() -> str:
    """That of a scenario's file."""
    return _schema(Scenario, "A scenario of Pickup")


def _schema(kind: type[Part], title: str) -> str:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kind.model_json_schema(mode="validation"),
    }
    tidy = {name: title if name == "title" else _tidy(each) for name, each in schema.items()}
    return json.dumps(tidy, indent=1) + "\n"


def _tidy(part: Any) -> Any:
    """Leave out what says nothing (titles made of names), and close mappings whose keys have a pattern."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, dict):
        return part
    title = part.get("title")
    made_up = isinstance(title, str)
    tidy = {name: _tidy(each) for name, each in part.items() if not (made_up and name == "title")}
    if "patternProperties" in tidy:
        tidy.setdefault("additionalProperties", False)
    return tidy


def with_schema(text: str, schema: str) -> str:
    """An agent's file that tells editors where its schema is (the YAML language server's modeline)."""
    modeline = f"# yaml-language-server: $schema={schema}\n"
    if text.startswith("# yaml-language-server:"):
        return modeline + text.partition("\n")[2]
    return modeline + text
