"""The messages of RFC 4475 and RFC 5118 by UDP and TCP: after each the agent answers, and after all of them it takes a call.

A message is a file in torture_sip/: its first line says what it tries; {name} stands for what is known only here, <7f> for a
byte, {repeat 20 long} for a word said twenty times; lines end in CRLF when they are sent.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.config.settings import environment
from tests.calls.probe_phone import ProbePhone, parse
from tests.infra.recipe import ROOT, program

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = sorted((Path(__file__).parent / "torture_sip").glob("*.sip"))


Send = Callable[[tuple[str, int], Path, ProbePhone], list[int]]


class Message(NamedTuple):
    """A message that is ready to be sent."""

    name: str
    about: str
    data: bytes


def render(path: Path, **known: str) -> Message:
    """Make the bytes of a file.

    Args:
        path: the file.
        known: what its names stand for; Content-Length is reckoned here.
    """
    about, _, text = path.read_text().partition("\n")
    text = re.sub(r"\{repeat (\d+) ([^}]*)\}", lambda found: int(found[1]) * found[2], text)
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    head, _, body = text.partition("\n\n")
    body_bytes = _bytes(body)
    head = head.rstrip("\n").replace("{length}", str(len(body_bytes)))
    return Message(path.stem, about, _bytes(f"{head}\n\n") + body_bytes)


def _bytes(text: str) -> bytes:
    raw = text.replace("\n", "\r\n").encode()
    return re.sub(rb"<([0-9a-f]{2})>", lambda found: bytes([int(found[1], 16)]), raw)


# ------------------------------------------------------------------ the messages themselves


def test_all_messages_of_both_documents_are_there_and_say_what_they_try() -> None:
    known = names(("192.0.2.1", 5060), ("192.0.2.2", 5062), "UDP")
    rendered = [render(path, **known) for path in MESSAGES]
    assert sum(each.about.startswith("# RFC 4475, 3.") for each in rendered) == 49
    assert sum(each.about.startswith("# RFC 5118, 4.") for each in rendered) == 12
    for each in rendered:
        assert f"({each.name})" in each.about
        assert b"\r\n\r\n" in each.data
        assert not re.search(rb"\{(agent|phone|host|id|transport|length|repeat)|[^\r]\n", each.data)


# ------------------------------------------------------------------ the agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The server itself, with the stand-in behind it; what is tried makes calls that nobody ends."""
    folder = tmp_path_factory.mktemp("torture")
    environ = {
        **environment(),
        "SIP_LISTEN": "127.0.0.1:0",
        "DATA_DIR": str(folder),
        "MAX_CALLS": "100",
        "DRAIN_SECONDS": "0",
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "agent", "serve", "--port", "0"]
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(words, env=environ, cwd=folder, stdout=PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        host, _, port = json.loads(process.stdout.readline())["sip"].rpartition(":")
        yield host, int(port)
        assert process.poll() is None, (folder / "log").read_text()
        process.terminate()


def phone(server: tuple[str, int]) -> ProbePhone:
    def opened() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        return made

    return ProbePhone(opened, server)


def by_udp(server: tuple[str, int], path: Path, judge: ProbePhone) -> list[int]:
    """Send a message and then a question: what was answered to the message before the question was."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        message = render(path, **names(server, end.getsockname(), "UDP"))
        end.sendto(message.data, server)
        assert judge.ask() == 200, message.about
        end.settimeout(0.02)
        answers = []
        try:
            while True:
                answers.append(parse(end.recvfrom(65535)[0]).status)
        except TimeoutError:
            return answers


def by_tcp(server: tuple[str, int], path: Path, judge: ProbePhone) -> list[int]:
    with socket.create_connection(server, timeout=2.0) as end:
        message = render(path, **names(server, end.getsockname(), "TCP"))
        end.sendall(message.data)
        assert judge.ask() == 200, message.about
        with socket.create_connection(server, timeout=2.0) as other:  # and a connection of its own
            question = render(QUESTION, **names(server, other.getsockname(), "TCP"))
            other.sendall(question.data)
            assert parse(other.recv(65535)).status == 200, message.about
        end.settimeout(0.02)
        try:
            return [int(code) for code in re.findall(rb"SIP/2.0 (\d{3}) ", end.recv(65535))]
        except (TimeoutError, ConnectionResetError):
            return []


QUESTION = Path(__file__).parent / "torture_sip" / "lwsdisp.sip"
"""A proper OPTIONS, if an unusual one."""


def names(server: tuple[str, int], end: tuple[str, int], transport: str) -> dict[str, str]:
    """What stands for the names in a message."""
    host, port = end
    return {
        "agent": "{}:{}".format(*server),
        "phone": f"{host}:{port}",
        "host": host,
        "id": secrets.token_hex(6),
        "transport": transport,
    }


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("send", "option"), [(by_udp, "u1"), (by_tcp, "t1")], ids=["udp", "tcp"])
def test_the_agent_lives_through_all_of_them_and_takes_the_next_call(
    agent: tuple[str, int], tmp_path: Path, send: Send, option: str
) -> None:
    judge = phone(agent)
    for path in MESSAGES:
        print(f"{path.stem:32}", *send(agent, path, judge))
    assert judge.call() == 200
    assert judge.talk(3.0).loud > 10  # the agent says that it is one
    assert judge.hang_up() == 200
    judge.close()
    words = ["-sn", "uac", "-t", option, "-m", "1", "-d", "200", "-i", "127.0.0.1", "-nostdin"]
    done = subprocess.run(
        [program("sipp"), *words, "-timeout", "15", "-timeout_error", "{}:{}".format(*agent)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
