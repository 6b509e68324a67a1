"""What a function's docstring says of it, in Google's style: what it does, and what each argument is. Pure.

(Google Python Style Guide, 3.8.3 "Functions and Methods": sections `Args:`, `Returns:`, `Raises:`.)
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?):\s*$"
)
ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


class Docstring(NamedTuple):
    """What a function does, and what its arguments are by their names."""

    does: str
    arguments: dict[str, str]


def read_docstring(text: str) -> Docstring:
    """Read a docstring as it stands in the source."""
    sections: dict[str, list[str]] = {"": []}
    section = ""
    for line in inspect.cleandoc(text).splitlines():
        if found := SECTION.match(line):
            section = "Args" if found[1] in ("Args", "Arguments", "Parameters") else found[1]
            sections.setdefault(section, [])
        else:
            sections[section].append(line)
    does = "\n".join(sections[""]).strip()
    does = re.sub(r"(?<!\n)\n(?!\n)", " ", does)  # its line breaks are the editor's
    return Docstring(does, _arguments(sections.get("Args", [])))


def _arguments(lines: list[str]) -> dict[str, str]:
    """Each `name: text`, with the lines that are indented further."""
    found: dict[str, list[str]] = {}
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    name = ""
    for line in filter(str.strip, lines):
        start = ARGUMENT.match(line.strip()) if _indent(line) == margin else None
        if start:
            name, first = start.groups()
            found[name] = [first]
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(filter(None, words)) for name, words in found.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
