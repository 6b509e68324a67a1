"""Child processes: where they listen, what they print, and that none is left behind."""

from __future__ import annotations

import signal
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from agent.cli.parts import children
from agent.cli.parts.children import Child
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[[str], Child]

LISTENING = 'print(\'{"listening": "http://127.0.0.1:1234"}\', flush=True)\n'
WAIT = "import time; time.sleep(60)\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    """Starts a child that runs this text instead of a command."""
    package = tmp_path / "agent"
    package.mkdir()
    (package / "__init__.py").touch()

    def begin(text: str) -> Child:
        (package / "__main__.py").write_text(text)
        child = Child(("serve", "--port", "0"), {"PYTHONPATH": str(tmp_path)}, folder=tmp_path)
        request.addfinalizer(child.process.wait)
        request.addfinalizer(child.process.kill)
        return child

    return begin


def test_a_child_is_known_by_where_it_listens(start: Start) -> None:
    child = start(LISTENING + WAIT)
    assert child.url == "http://127.0.0.1:1234"
    assert child.name == "pickup serve --port"
    assert child.running
    assert child.stop() == -signal.SIGTERM
    assert not child.running


def test_what_it_prints_afterwards_can_be_read_line_by_line(start: Start) -> None:
    child = start(LISTENING + "print('one'); print('two')\n")
    assert [child.line(5.0) for _ in range(3)] == ["one", "two", None]
    assert child.stop() == 0


def test_a_child_that_says_nothing_more_is_not_waited_for(start: Start) -> None:
    child = start(LISTENING + WAIT)
    assert child.line(0.01) is None
    child.stop()


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit(3)",
        "print('hello'); raise SystemExit(3)",
        "print('[1]'); raise SystemExit(3)",
        "print('{}'); raise SystemExit(3)",
    ],
)
def test_a_child_that_does_not_start_is_a_clear_mistake(start: Start, text: str) -> None:
    with pytest.raises(UserError, match=r"^`pickup serve --port` did not start"):
        start(text)


def test_a_child_that_never_listens_is_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(children, "STARTS_WITHIN", 0.3)
    with pytest.raises(UserError, match=f"exit status {-signal.SIGTERM}"):
        start(WAIT)


def test_a_child_is_ended_when_its_start_is_interrupted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Child] = []

    def interrupted(child: Child, timeout: float) -> None:
        seen.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(Child, "line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(WAIT)
    assert not seen[0].running


def test_one_that_does_not_end_when_asked_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start(STUBBORN + LISTENING + WAIT)
    monkeypatch.setattr(children, "ENDS_WITHIN", 0.2)
    assert child.stop() == -signal.SIGKILL
    assert child.stop() == -signal.SIGKILL


def test_ctrl_c_is_for_us_and_not_for_our_children(start: Start) -> None:
    child = start(
        "import os\n" + LISTENING + "print(os.getsid(0) == os.getpid(), flush=True)\n" + WAIT
    )
    assert child.line(5.0) == "True"
    child.stop()


def test_its_errors_go_where_they_are_wanted(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as errors:
        with pytest.raises(UserError):
            Child(("nonsense",), {"PATH": "", "PYTHONPATH": ":".join(sys.path)}, errors)
        errors.seek(0)
        assert b"nonsense" in errors.read()
