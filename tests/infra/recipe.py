"""Reads the Dockerfile as what it is: stages of instructions."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "infra" / "Dockerfile"


class Instruction(NamedTuple):
    """One line of a Dockerfile, its continuations joined."""

    word: str
    rest: str


def stages() -> list[list[Instruction]]:
    """Each stage's instructions, its FROM first."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found


def values(stage: list[Instruction], word: str) -> list[str]:
    """What stands behind every `word` of a stage."""
    return [instruction.rest for instruction in stage if instruction.word == word]


def environment(stage: list[Instruction]) -> dict[str, str]:
    """What ENV sets."""
    pairs = (pair for rest in values(stage, "ENV") for pair in shlex.split(rest))
    return dict(pair.split("=", 1) for pair in pairs)


def exec_form(text: str) -> list[str]:
    """The words of an instruction in its exec form (a JSON array; a shell form is no JSON)."""
    words = json.loads(text)
    assert isinstance(words, list)
    return [str(word) for word in words]


def health_check(stage: list[Instruction]) -> list[str]:
    """The command that HEALTHCHECK runs."""
    (rest,) = values(stage, "HEALTHCHECK")
    return exec_form(rest.partition("CMD ")[2])


def program(name: str) -> str:
    """A program that is needed: from the virtual environment, else from the system."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
