"""`pickup doctor`: each thing that can be wrong is found, named, and comes with what to do about it."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import socket
import sqlite3
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from twilio.request_validator import RequestValidator

from agent.cli import main
from agent.cli.doctor import Checked, DoctorReport, examine
from agent.cli.parts import checks, checks_outside
from agent.cli.parts.checks import DISK_LOW, Check, Finding, Patient, Verdict, good, host_of
from agent.cli.parts.checks_outside import (
    judge_clock,
    judge_model,
    judge_numbers,
    judge_signature,
    reach,
)
from agent.cli.parts.twilio_rest import Number
from agent.config.settings import Settings
from agent.protocols.twilio.number import Webhooks
from agent.server.health import DISK_FREE

ACCOUNT = "AC" + "a" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "AIza" + "x" * 35
US = "https://pickup.example.com"


class World:
    """Google, Twilio and our own server, on one port."""

    def __init__(self) -> None:
        self.account = "active"
        self.model_status = 200
        self.date = datetime.datetime.now(datetime.UTC)
        self.voice_url = ""
        self.token = TOKEN
        self.origin = ""
        self.stalls = False

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self.root),
                web.get("/livez", self.livez),
                web.get("/v1beta/models/{model}", self.model),
                web.post("/twilio/status", self.status),
                web.get(f"/2010-04-01/Accounts/{ACCOUNT}.json", self.fetch_account),
                web.get(f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json", self.numbers),
            ]
        )
        return app

    async def root(self, request: web.Request) -> web.Response:
        return web.Response(status=404, headers={"Date": format_datetime(self.date, usegmt=True)})

    async def livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def model(self, request: web.Request) -> web.Response:
        if self.stalls:
            await asyncio.sleep(60)
        assert request.headers["x-goog-api-key"] == KEY
        if self.model_status != 200:
            error = {"code": 404, "message": f"no such model; {KEY}", "status": "NOT_FOUND"}
            return web.json_response({"error": error}, status=self.model_status)
        name = request.match_info["model"]
        methods = ["bidiGenerateContent", "countTokens"]
        return web.json_response({"name": f"models/{name}", "supportedGenerationMethods": methods})

    async def status(self, request: web.Request) -> web.Response:
        form = await request.post()
        sign = request.headers.get("X-Twilio-Signature", "")
        url = f"{self.origin}/twilio/status"
        valid = RequestValidator(self.token).validate(url, form, sign)
        return web.Response(status=204 if valid else 403)

    async def fetch_account(self, request: web.Request) -> web.Response:
        if self.account == "refused":
            return web.json_response({"code": 20003, "message": "Authenticate"}, status=401)
        return web.json_response({"sid": ACCOUNT, "status": self.account})

    async def numbers(self, request: web.Request) -> web.Response:
        number = {
            "sid": "PN" + "0" * 32,
            "phone_number": "+15551234567",
            "voice_url": self.voice_url,
            "voice_method": "POST",
            "status_callback": f"{self.origin}/twilio/status",
        }
        return web.json_response(
            {"incoming_phone_numbers": [number], "next_page_uri": None, "page": 0}
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    its = World()
    async with TestServer(its.app(), host="127.0.0.1") as server:
        its.origin = f"http://127.0.0.1:{server.port}"
        its.voice_url = f"{its.origin}/twilio/voice"
        yield its


def settings(world: World, tmp_path: Path, **more: str) -> Settings:
    environ = {
        "GEMINI_API_KEY": KEY,
        "GEMINI_URL": world.origin,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_API_URL": world.origin,
        "PUBLIC_URL": world.origin,
        "PORT": world.origin.rpartition(":")[2],
        "DATA_DIR": str(tmp_path / "data"),
    }
    return Settings.load({**environ, **more})


async def findings(given: Settings, here: Path) -> dict[str, Checked]:
    return {each.name: each for each in (await examine(given, here)).checks}


async def test_where_all_is_well_every_check_says_so(world: World, tmp_path: Path) -> None:
    report = await examine(settings(world, tmp_path), tmp_path)
    assert [(each.name, each.verdict, each.mend) for each in report.checks] == [
        (name, "ok", None)
        for name in (
            ["settings", "agents", "setups", "data", "database", "port"]
            + ["gemini key", "gemini", "gemini model", "twilio account", "twilio number"]
            + ["public url", "signature", "clock"]
        )
    ]
    assert report.ok
    found = {each.name: each.text for each in report.checks}
    assert found["port"].startswith("a server of ours listens")
    assert found["gemini model"] == "gemini-3.8-live can hold live sessions"
    assert found["twilio number"] == "…67 rings here"
    assert os.listdir(tmp_path) == []  # looking leaves nothing behind


async def test_no_secret_and_no_number_is_shown(world: World, tmp_path: Path) -> None:
    world.model_status = 404
    report = await examine(settings(world, tmp_path), tmp_path)
    text = repr(report)
    assert "no such model; [secret]" in text
    for secret in (KEY, TOKEN, "5551234567"):
        assert secret not in text


async def test_what_is_wrong_outside_is_found(world: World, tmp_path: Path) -> None:
    world.account = "suspended"
    world.model_status = 404
    world.voice_url = "https://elsewhere.example.com/voice"
    world.token = "another"
    world.date -= datetime.timedelta(seconds=95)
    found = await findings(settings(world, tmp_path), tmp_path)
    verdicts = {name: each.verdict for name, each in found.items() if each.verdict != "ok"}
    assert verdicts == {
        "gemini model": "fail",
        "twilio account": "fail",
        "twilio number": "warn",
        "signature": "fail",
        "clock": "fail",
    }
    assert all(found[name].mend for name in verdicts)
    assert "TWILIO_AUTH_TOKEN" in (found["signature"].mend or "")


async def test_refused_credentials_are_named(world: World, tmp_path: Path) -> None:
    world.account = "refused"
    found = await findings(settings(world, tmp_path), tmp_path)
    assert "refuses these credentials (401)" in found["twilio account"].text


async def test_where_nothing_answers_every_check_says_what_to_do(
    world: World, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses, and nobody else gets it
        port = taken.getsockname()[1]
        nowhere = f"http://127.0.0.1:{port}"
        given = settings(
            world,
            tmp_path,
            GEMINI_URL=nowhere,
            TWILIO_API_URL=nowhere,
            PUBLIC_URL=nowhere,
            PORT=str(port),
        )
        found = await findings(given, tmp_path)
    failed = {name for name, each in found.items() if each.verdict == "fail"}
    assert failed == {
        "port",
        "gemini",
        "gemini model",
        "twilio account",
        "twilio number",
        "public url",
        "signature",
    }
    assert all(found[name].mend for name in failed)
    assert "Connection refused" in found["gemini"].text
    assert found["clock"].verdict == "skip"


async def test_a_fresh_clone_has_nothing_to_mend(tmp_path: Path) -> None:
    given = Settings.load({"PORT": "0", "DATA_DIR": str(tmp_path / "data")})
    table = [check for check in checks_outside.OUTSIDE_CHECKS if check.look != checks_outside.clock]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks_outside, "OUTSIDE_CHECKS", table)  # without the one that asks Google
        report = await examine(given, tmp_path)
    assert report.ok
    assert {each.verdict for each in report.checks[7:]} == {"skip"}
    key = report.checks[6]
    assert (key.name, key.verdict) == ("gemini key", "warn")
    assert "stand-in" in key.text


async def test_a_check_that_stalls_does_not_hold_up_the_others(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 0.3)
    world.stalls = True
    found = await findings(settings(world, tmp_path), tmp_path)
    assert found["gemini model"].verdict == "fail"
    assert found["gemini model"].text.startswith("no answer within")
    assert found["signature"].verdict == "ok"


async def test_a_check_that_breaks_is_one_line_among_the_others(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(patient: Patient) -> Finding:
        raise KeyError("surprise")

    async def works(patient: Patient) -> Finding:
        return good("fine")

    monkeypatch.setattr(checks, "LOCAL_CHECKS", (Check("broken", breaks), Check("whole", works)))
    monkeypatch.setattr(checks_outside, "OUTSIDE_CHECKS", ())
    found = await findings(settings(world, tmp_path), tmp_path)
    assert found["broken"].verdict == "fail"
    assert "KeyError: 'surprise'" in found["broken"].text
    assert found["whole"].verdict == "ok"


# ---- this machine


async def local(name: str, tmp_path: Path, **environ: str) -> Finding:
    given = Settings.load({"DATA_DIR": str(tmp_path / "data"), **environ})
    look = next(check.look for check in checks.LOCAL_CHECKS if check.name == name)
    return await look(Patient(given, tmp_path, None, lambda: 0.0))  # type: ignore[arg-type]


async def test_a_wrong_agent_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    assert (await local("agents", tmp_path)).text.startswith("no agent in")
    (tmp_path / "agents" / "a.yaml").write_text("name: A\npersona: b\nvoise: c\n")
    found = await local("agents", tmp_path)
    assert found.verdict is Verdict.FAIL
    assert "a.yaml:3: unknown key voise" in found.text


async def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = await local("data", tmp_path)
    assert (found.verdict, "cannot be written" in found.text) == (Verdict.FAIL, True)


@pytest.mark.parametrize(
    ("free", "verdict"), [(0.04, Verdict.FAIL), (0.06, Verdict.WARN), (0.5, Verdict.OK)]
)
async def test_a_disk_that_fills_is_found(
    free: float, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = 20 * 1024**3

    class Usage:
        def __init__(self) -> None:
            self.total, self.free = total, free * total

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage())
    assert (await local("data", tmp_path)).verdict is verdict
    assert DISK_LOW == DISK_FREE  # what /readyz goes by


async def test_a_database_is_read_and_not_made(tmp_path: Path) -> None:
    assert (await local("database", tmp_path)).verdict is Verdict.OK
    assert os.listdir(tmp_path) == []
    path = tmp_path / "pickup.db"
    path.write_bytes(b"this is not a database, and long enough to be seen as none" * 20)
    found = await local("database", tmp_path, DATABASE_URL=f"sqlite:///{path}")
    assert (found.verdict, "cannot be read" in found.text) == (Verdict.FAIL, True)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE calls (id TEXT)")
    connection.close()
    found = await local("database", tmp_path, DATABASE_URL=f"sqlite:///{path}")
    assert found == good(f"{path}, 0 calls")


@pytest.mark.parametrize(
    ("environ", "verdict"),
    [
        ({}, Verdict.WARN),
        ({"PUBLIC_URL": "http://127.0.0.1:8080"}, Verdict.WARN),
        ({"PUBLIC_URL": US}, Verdict.FAIL),
        ({"GEMINI_URL": "ws://127.0.0.1:1"}, Verdict.SKIP),
        ({"GEMINI_API_KEY": KEY}, Verdict.OK),
        ({"GOOGLE_API_KEY": "AQ.Ab8RN6" + "y" * 40}, Verdict.OK),
        ({"GEMINI_API_KEY": KEY[:-3]}, Verdict.WARN),
        ({"GEMINI_API_KEY": "sk-something"}, Verdict.WARN),
    ],
)
async def test_a_key_is_judged_by_its_shape(
    environ: dict[str, str], verdict: Verdict, tmp_path: Path
) -> None:
    found = await local("gemini key", tmp_path, **environ)
    assert found.verdict is verdict
    assert "something" not in found.text


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (US, "pickup.example.com"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://[::1]:8080", "::1"),
        ("http://[::1]", "::1"),
    ],
)
def test_the_host_of_an_origin(origin: str, host: str) -> None:
    assert host_of(origin) == host


# ---- what answers mean


@pytest.mark.parametrize(
    ("status", "body", "text", "mend"),
    [
        (200, {"supportedGenerationMethods": ["bidiGenerateContent"]}, None, None),
        (200, {"supportedGenerationMethods": ["generateContent"]}, "no live", "GEMINI_MODEL"),
        (200, {}, "no live", "GEMINI_MODEL"),
        (200, [], "not Google's", "GEMINI_URL"),
        (400, {"error": {"message": "API key not valid."}}, "API key not valid", "GEMINI_API_KEY"),
        (403, {"error": {"message": "blocked"}}, "blocked", "restrictions"),
        (404, {"error": {"message": "not found"}}, "not found", "GEMINI_MODEL"),
        (503, {"error": {"message": "overloaded"}}, "overloaded", "later"),
        (502, "<html>", "not Google's", "GEMINI_URL"),
    ],
)
def test_googles_answer_about_a_model(
    status: int, body: Any, text: str | None, mend: str | None
) -> None:
    found = judge_model("m", status, json.dumps(body).encode())
    if text is None or mend is None:
        assert found is None
    else:
        assert found is not None
        assert found.verdict is Verdict.FAIL
        assert text in found.text
        assert mend in found.mend


@pytest.mark.parametrize(
    ("signed", "unsigned", "words"),
    [
        (204, 403, "is taken"),
        (204, 204, "nobody signed"),
        (200, 200, "nobody signed"),
        (403, 403, "refuses a webhook that is signed rightly"),
        (301, 301, "redirects"),
        (404, 404, "start `pickup serve`"),
        (530, 530, "start `pickup serve`"),
        (500, 403, "see the server's log"),
    ],
)
def test_what_two_answers_say_of_signatures(signed: int, unsigned: int, words: str) -> None:
    found = judge_signature(f"{US}/twilio/status", signed, unsigned)
    assert words in f"{found.text} {found.mend}"
    assert (found.verdict is Verdict.OK) is ((signed, unsigned) == (204, 403))


NOON = datetime.datetime(2026, 11, 21, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(0.5, Verdict.OK), (2.4, Verdict.OK), (2.6, Verdict.WARN), (-2.0, Verdict.WARN)]
    + [(30.4, Verdict.WARN), (30.6, Verdict.FAIL), (-29.6, Verdict.FAIL)],
)
def test_a_clock_is_compared_to_the_second(ours: float, verdict: Verdict) -> None:
    found = judge_clock(format_datetime(NOON, usegmt=True), NOON + datetime.timedelta(seconds=ours))
    assert found is not None
    assert found.verdict is verdict


def test_a_server_that_does_not_tell_the_time_proves_nothing() -> None:
    assert judge_clock("", NOON) is None
    assert judge_clock("half past", NOON) is None
    assert judge_clock("Sat, 21 Nov 2026 12:00:00 -0000", NOON) is not None


RIGHT = Webhooks(
    voice_url=f"{US}/twilio/voice", voice_method="POST", status_callback=f"{US}/twilio/status"
)


@pytest.mark.parametrize(
    ("number", "verdict", "words"),
    [
        (Number("PN1", "+15551234567", "", RIGHT), Verdict.OK, "…67 rings here"),
        (Number("PN1", "+15551234567", "TK1", RIGHT), Verdict.FAIL, "TK1"),
        (Number("PN1", "+15551234567", "", Webhooks()), Verdict.WARN, "none of the account's 1"),
        (
            Number("PN1", "+15551234567", "", Webhooks(voice_url=RIGHT.voice_url)),
            Verdict.FAIL,
            "asked by",
        ),
        (
            Number("PN1", "", "", Webhooks(voice_url=RIGHT.voice_url, voice_method="POST")),
            Verdict.WARN,
            "status callback",
        ),
    ],
)
def test_whether_a_number_rings_here(number: Number, verdict: Verdict, words: str) -> None:
    found = judge_numbers(US, [number])
    assert found.verdict is verdict
    assert words in found.text


# ---- the way to a host


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    ticks = iter(range(1000))
    yield Patient(Settings.load({}), tmp_path, None, lambda: next(ticks) / 1000)  # type: ignore[arg-type]


async def test_a_name_that_is_not_there(patient: Patient) -> None:
    found = await reach(patient, "https://nothing.invalid")
    assert isinstance(found, Finding)
    assert "nothing.invalid is not found" in found.text


async def test_a_host_that_speaks_no_tls(patient: Patient, world: World) -> None:
    found = await reach(patient, world.origin.replace("http", "https"))
    assert isinstance(found, Finding)
    assert "no TLS" in found.text


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that its own key signed."""
    key, crt = tmp_path / "key.pem", tmp_path / "crt.pem"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 5 -subj /CN=localhost"
    )
    extra = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(crt)]
    subprocess.run(["openssl", *words.split(), *extra], check=True, capture_output=True)
    return key, crt


async def test_a_certificate_is_looked_at(
    patient: Patient,
    certificate: tuple[Path, Path],
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, crt = certificate
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(crt, key)
    server = TestServer(world.app(), host="127.0.0.1")
    await server.start_server(ssl=serving)
    url = f"https://localhost:{server.port}"
    try:
        found = await reach(patient, url)
        assert isinstance(found, Finding)
        assert "self-signed certificate" in found.text
        trusting = ssl.create_default_context(cafile=str(crt))
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
        reached = await reach(patient, url)
        assert not isinstance(reached, Finding)
        assert str(reached) == "DNS 1, TCP 1, TLS 1 ms"
        given = patient._replace(settings=settings(world, tmp_path, PUBLIC_URL=url))
        soon = await checks_outside.public_reachable(given)
        assert (soon.verdict, "ends in 4 days" in soon.text) == (Verdict.WARN, True)
    finally:
        await server.close()


# ---- the command


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as left:
        main(["doctor", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return left.value.code or 0, out


def test_wrong_settings_are_the_one_thing_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "telephone")
    status, out = run(capsys, "--json")
    report = json.loads(out)
    assert (status, report["v"], report["ok"]) == (1, 1, False)
    assert [each["name"] for each in report["checks"]] == ["settings"]
    assert "PORT=telephone" in report["checks"][0]["text"]
    status, out = run(capsys)
    assert (status, len(out.splitlines())) == (1, 1)
    assert out.startswith("fail  settings ")
    assert " -> correct it" in out


def test_the_report_has_the_shape_of_its_example() -> None:
    text = (Path(__file__).parent / "examples" / "doctor.json").read_bytes()
    example = msgspec.json.decode(text, type=DoctorReport)
    assert json.loads(msgspec.json.encode(example)) == json.loads(text)
    table = (*checks.LOCAL_CHECKS, *checks_outside.OUTSIDE_CHECKS)
    assert [each.name for each in example.checks] == ["settings", *(check.name for check in table)]
    assert {each.verdict for each in example.checks} == {verdict.value for verdict in Verdict}


def test_one_line_for_each_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks_outside, "OUTSIDE_CHECKS", ())
    monkeypatch.setenv("PORT", "0")
    status, out = run(capsys)
    assert status == 0
    assert [line[6:20].strip() for line in out.splitlines()] == [
        "settings",
        *(check.name for check in checks.LOCAL_CHECKS),
    ]
