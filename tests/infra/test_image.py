"""The image's own command line, in all of the image that this machine can make: it answers, drains and ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from agent.simulator.brain import BenchBrain
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.gemini import Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.report import AgentSpeaks, AnyCallEvent, Ended
from tests.infra.recipe import exec_form, health_check, stages, values
from tests.infra.sandbox import Image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PUBLIC_URL = "https://pickup.example.com"
TOKEN = "a-token-that-only-twilio-has"
COMMAND = exec_form(values(stages()[-1], "CMD")[0])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    return made


@pytest.fixture
async def gemini() -> AsyncIterator[str]:
    conduct = Conduct(setup_seconds=0.1, speed=20.0)
    async with serving(Options(conduct=conduct), lambda: BenchBrain(2.0)) as (_, url):
        yield url.replace("http", "ws")


def ran(image: Image, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the image to its end."""
    command = image.command(words, environ)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_root_cannot_be_written_and_the_user_is_nobody(image: Image) -> None:
    script = "id -u; id -g; for f in /srv/x /opt/x /etc/x /x; do touch $f && echo wrote $f; done"
    done = ran(image, "sh", "-c", script)
    assert done.stdout.split() == ["10001", "10001"]
    assert done.stderr.count("Read-only file system") == 4
    assert ran(image, "sh", "-c", "touch /data/x /tmp/x && rm /data/x").returncode == 0


def test_the_bytecode_is_there_since_it_cannot_be_written(image: Image) -> None:
    done = ran(image, "python", "-c", "import agent.server.app as app; print(app.__cached__)")
    assert ran(image, "test", "-f", done.stdout.strip()).returncode == 0
    assert done.stdout.startswith("/opt/pickup/lib/python3.")


def test_every_extra_is_in_it(image: Image) -> None:
    done = ran(image, "python", "-c", "import asyncpg, baresip, mcp, pypdf; print('there')")
    assert (done.stdout, done.stderr) == ("there\n", "")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "PUBLIC_URL is not set"),
        ({"PUBLIC_URL": PUBLIC_URL}, "TWILIO_AUTH_TOKEN is not set"),
        ({"PUBLIC_URL": PUBLIC_URL, "TWILIO_AUTH_TOKEN": TOKEN}, "GEMINI_API_KEY is not set"),
        ({"PORT": "http"}, "PORT=http (from the environment) should be a whole number"),
    ],
)
def test_what_is_missing_is_named(image: Image, environ: dict[str, str], told: str) -> None:
    done = ran(image, *COMMAND, **environ)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


async def test_a_call_is_held_through_sigterm_and_then_the_process_ends(
    image: Image, gemini: str
) -> None:
    environ = {
        "PUBLIC_URL": PUBLIC_URL,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "GEMINI_API_KEY": "a-key-that-nobody-has",
        "GEMINI_URL": gemini,
        "PORT": "0",
    }
    with subprocess.Popen(  # noqa: ASYNC220  # takes milliseconds
        image.command(COMMAND, environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            port = str(urlsplit(json.loads(line)["listening"]).port)

            healthy = image.command(health_check(stages()[-1]), {"PORT": port})
            assert await asyncio.to_thread(subprocess.call, healthy) == 0

            def terminate(event: AnyCallEvent) -> None:
                if isinstance(event, AgentSpeaks):
                    server(process).terminate()

            report = await run_caller(
                CallerOptions(
                    url=f"http://127.0.0.1:{port}",
                    public_url=PUBLIC_URL,
                    auth_token=TOKEN,
                    status_path="/twilio/status",
                    max_seconds=6.0,
                ),
                on_event=terminate,
            )
            assert report.ended is Ended.CALLER_HUNG_UP  # and not the server, that was told to end
            assert [violation.rule for violation in report.violations] == []
            assert report.heard[-1].end_s > 4.0  # disclosure and greeting, to their end
            _, log = await asyncio.to_thread(process.communicate, timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in log
    assert {path.name for path in image.data.iterdir()} >= {"pickup.db", "calls"}


def server(process: subprocess.Popen[str]) -> psutil.Process:
    """Process 1 of the sandbox: bubblewrap itself stays outside."""
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = [child for child in children if "serve" in child.cmdline()]
    return found
