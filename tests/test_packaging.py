"""What is installed is what is declared, by its hash and from nowhere in particular; README says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import agent
from agent.config.settings import settings_table

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

LOCKS = {
    "requirements-uv.lock": GROUPS["uv"],
    "requirements.lock": RUNTIME + GROUPS["build"],
    "requirements-image.lock": RUNTIME + GROUPS["build"] + sum(EXTRAS.values(), []),
    "requirements-dev.lock": RUNTIME + GROUPS["build"] + GROUPS["dev"],
}

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    """Locked versions by name; a universal lock may have one per version of Python."""
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / lock).read_text()):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_what_is_declared(lock: str) -> None:
    locked = pins(lock)
    for declared in map(Requirement, LOCKS[lock]):
        versions = locked.get(canonicalize_name(declared.name), set())
        assert versions, f"{declared.name} is not in {lock}: make lock"
        assert all(map(declared.specifier.contains, versions)), f"{declared} is old: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]
    assert entries
    for entry in entries:
        assert PIN.match(entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("lock", ["requirements-dev.lock", "requirements-image.lock"])
def test_developers_and_the_image_run_what_users_run(lock: str) -> None:
    runtime, there = pins("requirements.lock"), pins(lock)
    assert {name: there[name] for name in runtime} == runtime


def test_extras_in_the_image_are_those_that_are_tested() -> None:
    image, developers = pins("requirements-image.lock"), pins("requirements-dev.lock")
    for declared in map(Requirement, sum(EXTRAS.values(), [])):
        name = canonicalize_name(declared.name)
        assert image[name] == developers[name]


def test_the_version_heads_the_changelog() -> None:
    headings = re.findall(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text())
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == agent.__version__
    assert "Unreleased" not in headings[1:]


def test_readme_has_the_settings_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- settings -->\n(.*?)<!-- /settings -->", readme, re.DOTALL)
    assert block, "README has no block between <!-- settings --> and <!-- /settings -->"
    assert block[1].strip() == settings_table().strip(), "paste what settings_table() returns"


@pytest.mark.slow
def test_the_wheel_has_all_that_is_not_code(tmp_path: Path) -> None:
    """Spoken lines, clips, scripts, examples and whatever else lies beside the code is installed with it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("pickup-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "ls-files", "agent"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert set(listed.stdout.split()) <= inside
    assert {"agent/examples/front_desk.yaml", "agent/lines/lines.yaml", "agent/py.typed"} <= inside
    assert f"pickup-{agent.__version__}.dist-info/licenses/LICENSE" in inside
