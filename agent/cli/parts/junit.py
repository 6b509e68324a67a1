"""Results as JUnit XML, which every build server reads (the format of Ant's `junit` task, as Jenkins' xUnit schema has it)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import msgspec

if TYPE_CHECKING:
    from agent.cli.parts.scenario_verdict import CheckedScenario, CheckedTool, CheckReport

FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold (section 2.2)."""


def junit(report: CheckReport) -> bytes:
    """One test suite, one test case for each scenario."""
    failed = sum(not each.ok for each in report.scenarios)
    counts = {
        "tests": str(len(report.scenarios)),
        "failures": str(failed),
        "errors": "0",
        "time": f"{report.seconds:.3f}",
    }
    suites = ElementTree.Element("testsuites", {"name": "pickup check", **counts})
    suite = ElementTree.SubElement(
        suites, "testsuite", {"name": _text(report.answered_by), **counts, "skipped": "0"}
    )
    for scenario in report.scenarios:
        _case(suite, scenario)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True))


def _case(suite: ElementTree.Element, scenario: CheckedScenario) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "name": _text(scenario.name),
            "classname": _text(f"{scenario.agent}.{scenario.file.rpartition('/')[2]}"),
            "time": f"{scenario.seconds:.3f}",
        },
    )
    if wrong := failures(scenario):
        failure = ElementTree.SubElement(
            case, "failure", {"message": _text(wrong[0]), "type": "expectation"}
        )
        failure.text = _text("\n".join(wrong))
    out = ElementTree.SubElement(case, "system-out")
    out.text = _text("\n".join(conversation(scenario)))


def failures(scenario: CheckedScenario) -> list[str]:
    """All that is wrong, each with the turn that it is about."""
    turns = [f"turn {turn.n}: {wrong}" for turn in scenario.turns for wrong in turn.failures]
    return turns + scenario.failures


def conversation(scenario: CheckedScenario) -> list[str]:
    """Who said what."""
    lines = []
    for turn in scenario.turns:
        if turn.caller:
            lines.append(f"caller  {turn.caller}")
        if turn.agent:
            lines.append(f"agent   {turn.agent}")
        lines += [f"        {_told(tool)}" for tool in turn.tools]
    return lines


def _told(tool: CheckedTool) -> str:
    """A call with its arguments, and the error where it came to one."""
    args = msgspec.json.encode(tool.args).decode()
    error = (tool.response or {}).get("error")
    return f"{tool.name}({args})" + (f": {error}" if error else "")


def _text(text: str) -> str:
    return FORBIDDEN.sub("�", text)
