"""What only the deployment can tell of an agent's file: secrets, folders, modules, sounds, and numbers that two agents claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.config.agent_files import EXAMPLES, AgentFiles
from agent.config.settings import Settings
from agent.events import Pcm24k
from agent.server.inspection import Remark, inspect
from agent.server.lines import LineStore

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = "name: Desk\npersona: You answer.\n"


@pytest.fixture
def lines(tmp_path: Path) -> LineStore:
    return LineStore(tmp_path / "lines")


def remarks(
    folder: Path, lines: LineStore, text: str, environ: dict[str, str] | None = None
) -> list[Remark]:
    (folder / "desk.yaml").write_text(MINIMAL + text)
    files = AgentFiles(folder, pytest.fail)
    return inspect(files, Settings.load(environ or {}), lines)["desk"]


def test_the_examples_are_right(lines: LineStore) -> None:
    found = inspect(AgentFiles(EXAMPLES, pytest.fail), Settings.load({}), lines)
    assert {name: [each for each in some if each.grave] for name, some in found.items()} == (
        dict.fromkeys(found, [])
    )
    assert "front_desk" in found


def test_a_secret_that_is_not_set_is_named(tmp_path: Path, lines: LineStore) -> None:
    text = """\
tools:
  - end_call
  - http:
      name: find
      description: Finds.
      url: https://shop.example.com/
      auth: {secret: SHOP_TOKEN}
  - mcp: {name: crm, command: [crm], environment: [CRM_A, CRM_B]}
"""
    found = remarks(tmp_path, lines, text, {"CRM_A": "x"})
    assert found == [
        Remark(5, "tools[1] needs SHOP_TOKEN: set it in the environment"),
        Remark(10, "tools[2] needs CRM_B: set it in the environment"),
    ]
    everything = {"CRM_A": "x", "CRM_B": "x", "SHOP_TOKEN": "x"}
    assert remarks(tmp_path, lines, text, everything) == []


def test_a_module_that_does_not_load_is_told(tmp_path: Path, lines: LineStore) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    found = remarks(tmp_path, lines, "tools:\n  - python: broken\n  - python: absent\n")
    assert [(each.line, each.text.partition(":")[0]) for each in found] == [
        (4, "tools[0].python"),
        (5, "tools[1].python"),
    ]
    assert "nothing_of_that_name" in found[0].text


def test_an_endpoint_that_no_model_can_be_told_of_is_told(tmp_path: Path, lines: LineStore) -> None:
    text = """\
tools:
  - http:
      name: find
      description: Finds.
      url: https://shop.example.com/
      parameters: {type: object, properties: {what: {type: array}}}
"""
    told = "tools[0].http: http tool find: what is a list of nobody knows what"
    assert remarks(tmp_path, lines, text) == [Remark(4, told)]


def test_a_folder_of_knowledge_that_is_not_there_is_told(tmp_path: Path, lines: LineStore) -> None:
    (found,) = remarks(tmp_path, lines, "tools: [look_up]\nknowledge: texts\n")
    assert found == Remark(4, f"knowledge: no folder {tmp_path / 'texts'}")
    (tmp_path / "texts").mkdir()
    assert remarks(tmp_path, lines, "tools: [look_up]\nknowledge: texts\n") == []


def test_an_option_that_the_model_refuses_is_told(tmp_path: Path, lines: LineStore) -> None:
    text = "model: gemini-3.8-live\nmodel_options:\n  thinking_level: HIGH\n"
    (found,) = remarks(tmp_path, lines, text)
    assert (found.line, found.grave) == (5, True)
    assert "thinking_level: gemini-3.8-live does not accept this setting" in found.text


def test_a_line_without_sound_is_a_warning_until_it_has_some(
    tmp_path: Path, lines: LineStore
) -> None:
    text = "lines:\n  busy: Belegt.\n  moment: Moment.\ndisclosure: Ein Automat.\n"
    found = remarks(tmp_path, lines, text)
    assert [(each.line, each.grave, each.text.split()[0]) for each in found] == [
        (5, False, "lines.moment"),
        (6, False, "disclosure"),
    ]
    agent = AgentFiles(tmp_path, pytest.fail).get("desk")
    for _, words in lines.wanted(agent, "gemini-3.8-live"):
        lines.keep(agent, words, "gemini-3.8-live", Pcm24k(bytes(480)))
    assert remarks(tmp_path, lines, text) == []


def test_a_number_that_two_claim_is_told_of_the_later_one(tmp_path: Path, lines: LineStore) -> None:
    (tmp_path / "anna.yaml").write_text(MINIMAL + "numbers: +15550000001\n")
    (found,) = remarks(tmp_path, lines, "numbers:\n  - +15550000002\n  - +15550000001\n")
    assert found.line == 5
    assert found.text.startswith("numbers[1] is claimed by anna.yaml too")


def test_all_mistakes_of_a_file_that_cannot_be_read_are_told(
    tmp_path: Path, lines: LineStore
) -> None:
    found = remarks(tmp_path, lines, "voise: x\nlimits: {second: 1}\n")
    assert [each.line for each in found] == [3, 4]
    (tmp_path / "desk.yaml").write_bytes(b"\xff")
    (found_too,) = inspect(AgentFiles(tmp_path, pytest.fail), Settings.load({}), lines)["desk"]
    assert found_too.line == 0
    assert "cannot be read" in found_too.text
