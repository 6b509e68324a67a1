"""`pickup serve` before it serves: who may call, who answers, and mistakes that are named in one line."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent import cli
from agent.cli import serve
from agent.cli.serve import LOOPBACK_TOKEN, Plan, decide
from agent.config.settings import Settings
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = {"PUBLIC_URL": "https://pickup.example.com", "HOST": "0.0.0.0"}
TWILIO = {"TWILIO_AUTH_TOKEN": "auth-token"}
KEY = {"GEMINI_API_KEY": "key"}


def settings(**environ: str) -> Settings:
    return Settings.load(environ)


@pytest.mark.parametrize(
    ("public_url", "local"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1", True),
        ("http://localhost", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://[::1]", True),
        ("https://pickup.localhost", True),
        ("https://pickup.example.com", False),
        ("https://pickup.example.com:8443", False),
        ("https://localhost.example.com", False),
        ("https://127.0.0.1.example.com:443", False),
        ("https://192.168.1.10", False),
    ],
)
def test_who_can_reach_this_server(public_url: str | None, local: bool) -> None:
    environ = {"PUBLIC_URL": public_url} if public_url else {}
    assert serve._only_this_machine(settings(**environ)) is local
    assert not serve._only_this_machine(settings(HOST="0.0.0.0", **environ))


def test_on_this_machine_alone_it_serves_without_any_account() -> None:
    assert decide(settings(), stand_in=False) == Plan(LOOPBACK_TOKEN, "no GEMINI_API_KEY")
    found = decide(settings(PUBLIC_URL="http://127.0.0.1:8080"), stand_in=False)
    assert found == Plan(LOOPBACK_TOKEN, "no GEMINI_API_KEY")


def test_with_everything_set_gemini_answers() -> None:
    assert decide(settings(**PUBLIC, **TWILIO, **KEY), stand_in=False) == Plan("auth-token", "")
    google = {"GOOGLE_API_KEY": "key"}
    assert decide(settings(**PUBLIC, **TWILIO, **google), stand_in=False) == Plan("auth-token", "")


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"HOST": "0.0.0.0", **TWILIO, **KEY}, "PUBLIC_URL is not set and HOST=0.0.0.0"),
        ({**PUBLIC, **KEY}, "TWILIO_AUTH_TOKEN is not set"),
        ({**PUBLIC, **TWILIO}, "GEMINI_API_KEY is not set"),
        ({"PUBLIC_URL": PUBLIC["PUBLIC_URL"], **KEY}, "TWILIO_AUTH_TOKEN is not set"),
        ({"PUBLIC_URL": PUBLIC["PUBLIC_URL"], **TWILIO}, "GEMINI_API_KEY is not set"),
        ({**PUBLIC, **TWILIO, "GEMINI_URL": "ws://127.0.0.1:9"}, "GEMINI_API_KEY is not set"),
    ],
)
def test_what_is_missing_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        decide(settings(**environ), stand_in=False)


def test_a_stand_in_answers_the_public_only_where_that_is_said() -> None:
    asked = decide(settings(**PUBLIC, **TWILIO), stand_in=True)
    assert asked == Plan("auth-token", "--stand-in")
    with_key = decide(settings(**PUBLIC, **TWILIO, **KEY), stand_in=True)
    assert with_key == Plan("auth-token", "--stand-in")
    with pytest.raises(UserError, match="TWILIO_AUTH_TOKEN"):
        decide(settings(**PUBLIC), stand_in=True)


def test_somebodys_own_stand_in_on_this_machine_is_taken() -> None:
    assert decide(settings(GEMINI_URL="ws://127.0.0.1:9"), stand_in=False).stand_in == ""


# ---- the command


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["serve", *words])
    assert isinstance(left.value.code, int)
    out, err = capsys.readouterr()
    assert out == ""
    return left.value.code, err.splitlines()[-1]


def test_a_port_that_is_taken_is_named_and_no_child_is_started_for_it(
    here: Path, taken: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(serve, "Child", lambda *words: started.append(words))
    status, line = run(capsys, "--port", str(taken))
    assert status == 2
    assert line.startswith(f"pickup: cannot listen on 127.0.0.1 port {taken}: Address already")
    assert started == []


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    status, line = run(capsys, "--port", port)
    assert status == 2
    assert "--port" in line


def test_a_setting_that_is_wrong_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_CALLS", "many")
    status, line = run(capsys)
    assert (status, "MAX_CALLS=many" in line) == (2, True)


def test_an_address_that_is_not_ours_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**PUBLIC, **TWILIO, **KEY}.items():
        monkeypatch.setenv(name, value)
    status, line = run(capsys, "--host", "192.0.2.1", "--port", "0")
    assert (status, "cannot listen on 192.0.2.1 port 0" in line) == (2, True)


def test_an_agents_file_that_is_wrong_is_named_with_its_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "agents").mkdir()
    (here / "agents" / "desk.yaml").write_text("name: Desk\npersonality: none\n")
    status, line = run(capsys)
    assert (status, "desk.yaml:" in line) == (2, True)


def test_a_data_folder_that_cannot_be_made_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(here / "file" / "data"))
    status, line = run(capsys)
    assert (status, "DATA_DIR=" in line) == (2, True)


def test_a_database_of_a_newer_version_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(here / "newer.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{here}/newer.db")
    monkeypatch.setenv("GEMINI_API_KEY", "key")
    with pytest.raises(SystemExit) as left:
        cli.main(["serve", "--port", "0"])
    told = capsys.readouterr()
    assert (left.value.code, told.out) == (2, "")
    assert told.err.splitlines()[-1].startswith("pickup: DATABASE_URL: ")
    assert "newer version of Pickup" in told.err
    assert "Traceback" not in told.err


def test_the_origin_of_a_listening_socket() -> None:
    with serve._bind("127.0.0.1", 0) as listening:
        assert serve._origin(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_the_origin_of_one_that_speaks_ipv6() -> None:
    if not Path("/proc/net/if_inet6").is_file() or not Path("/proc/net/if_inet6").read_text():
        with pytest.raises(UserError):
            serve._bind("::1", 0)
        return
    with serve._bind("::1", 0) as listening:
        assert serve._origin(listening).startswith("http://[::1]:")


def test_a_server_that_cannot_start_is_no_success(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.server.run.Server.run", lambda self, sockets: None)
    monkeypatch.setenv("GEMINI_API_KEY", "key")
    status, line = run(capsys, "--port", "0")
    assert (status, "could not start" in line) == (2, True)
