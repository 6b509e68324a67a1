"""What the image and the compose file promise, key by key, and judged by tools that nobody here wrote."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest
import yaml

from agent.config.settings import Settings
from agent.protocols.asterisk.provider import Asterisk
from tests.infra.recipe import (
    DOCKERFILE,
    ROOT,
    environment,
    exec_form,
    health_check,
    program,
    stages,
    values,
)

COMPOSE = ROOT / "docker-compose.yml"


@cache
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return dict(loaded["services"])


@pytest.mark.parametrize(
    "words",
    [
        ("hadolint", str(DOCKERFILE)),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)),
        ("yamllint", "--strict", "-d", "relaxed", str(COMPOSE)),
    ],
    ids=lambda words: str(words[0]),
)
def test_a_judge_finds_nothing(words: tuple[str, ...]) -> None:
    found = subprocess.run(
        [program(words[0]), *words[1:]], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


# ------------------------------------------------------------------ the image


def test_the_image_is_locked_by_hash() -> None:
    build = " && ".join(values(stages()[0], "RUN"))
    installs = [step for step in build.split("&&") if " install " in step]
    assert len(installs) == 3
    for step in installs[:2]:
        assert "--require-hashes -r requirements" in step
    assert "--no-deps --no-build-isolation ." in installs[2]
    bases = {values(stage, "FROM")[0].split()[0] for stage in stages()}
    assert bases == {"python:3.13-slim"}


def test_the_image_runs_as_nobody_and_hears_sigterm() -> None:
    final = stages()[-1]
    (user,) = values(final, "USER")
    assert [int(part) >= 10_000 for part in user.split(":")] == [True, True]
    (command,) = values(final, "CMD")
    assert exec_form(command) == ["pickup", "serve"]  # no shell that would keep the signal
    assert not values(final, "ENTRYPOINT")
    assert values(final, "STOPSIGNAL") == ["SIGTERM"]
    assert exec_form(values(final, "VOLUME")[0]) == [environment(final)["DATA_DIR"]]
    assert values(final, "EXPOSE") == [environment(final)["PORT"]]


def test_the_image_sets_only_settings_that_there_are() -> None:
    others = ("PATH", "PYTHON", "OPENBLAS")
    mine = {name for name in environment(stages()[-1]) if not name.startswith(others)}
    assert mine <= {name.upper() for name in Settings.model_fields}
    assert environment(stages()[-1])["HOST"] == "0.0.0.0"


def test_what_the_image_copies_is_let_in_and_nothing_else_is() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for stage in stages()
        for rest in values(stage, "COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in let_in)
    assert not any(fnmatch(secret, name) for secret in (".env", "data") for name in let_in)


# ------------------------------------------------------------------ the compose file


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user", "10001:10001"),
        ("read_only", True),
        ("init", True),
        ("cap_drop", ["ALL"]),
        ("security_opt", ["no-new-privileges:true"]),
        ("stop_signal", "SIGTERM"),
        ("stop_grace_period", "${DRAIN_SECONDS:-3660}s"),
        ("restart", "unless-stopped"),
        ("env_file", [{"path": ".env", "required": False}]),
        ("volumes", ["data:/data"]),
    ],
)
def test_pickup_is_hardened(key: str, value: object) -> None:
    assert services()["pickup"][key] == value


def test_the_drain_of_the_compose_file_is_that_of_the_code() -> None:
    assert f"{Settings.model_fields['drain_seconds'].default}s" in services()["pickup"][
        "stop_grace_period"
    ].replace("}", "")


def test_pickup_has_no_privilege_more() -> None:
    pickup = services()["pickup"]
    for key in ("privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"):
        assert key not in pickup
    assert [entry.partition(":")[0] for entry in pickup["tmpfs"]] == ["/tmp"]
    assert {"noexec", "nosuid", "nodev"} <= set(pickup["tmpfs"][0].rpartition(":")[2].split(","))
    assert {"mem_limit", "pids_limit"} <= set(pickup)


def test_pickup_is_reached_only_from_this_machine_or_through_caddy() -> None:
    (port,) = services()["pickup"]["ports"]
    assert port.startswith("127.0.0.1:")
    assert port.endswith(f":{environment(stages()[-1])['PORT']}")


def test_the_health_check_is_the_images() -> None:
    kind, *words = services()["pickup"]["healthcheck"]["test"]
    assert kind == "CMD"
    assert words == health_check(stages()[-1])


def test_settings_about_the_container_overrule_those_about_the_host() -> None:
    image = environment(stages()[-1])
    said = services()["pickup"]["environment"]
    assert {name: said[name] for name in ("HOST", "PORT", "DATA_DIR")} == {
        name: image[name] for name in ("HOST", "PORT", "DATA_DIR")
    }
    assert said["PUBLIC_URL"].startswith("${PUBLIC_URL:?")  # without it there is one clear line


def test_caddy_is_a_choice_and_outlives_the_calls() -> None:
    caddy = services()["caddy"]
    assert caddy["profiles"] == ["tls"]
    assert (caddy["read_only"], caddy["cap_drop"]) == (True, ["ALL"])
    assert caddy["cap_add"] == ["NET_BIND_SERVICE"]
    assert caddy["security_opt"] == ["no-new-privileges:true"]
    assert "depends_on" not in caddy  # else it would be stopped first, and every call with it
    assert services()["pickup"]["depends_on"]["caddy"] == {
        "condition": "service_started",
        "required": False,
    }


# ------------------------------------------------------------------ Asterisk


ASTERISK = ROOT / "infra" / "asterisk"


def sections(name: str) -> dict[str, dict[str, str]]:
    """An Asterisk file's sections: the values by their keys, comments left out."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in (ASTERISK / name).read_text().splitlines():
        plain = line.partition(";")[0].strip() if not line.startswith(" same") else line.strip()
        if plain.startswith("["):
            section = found.setdefault(plain[1:].partition("]")[0], {})
        elif "=" in plain and not plain.startswith((";", "same", "exten")):
            key, _, value = plain.partition("=")
            section[key.strip()] = value.strip()
    return found


def test_asterisk_gets_every_file_that_lies_here_and_nothing_writable() -> None:
    mounts = {str(volume) for volume in services()["asterisk"]["volumes"]}
    assert mounts == {
        f"./infra/asterisk/{path.name}:/etc/asterisk/{path.name}:ro" for path in ASTERISK.iterdir()
    }


def test_asterisk_reaches_the_door_as_the_settings_name_it() -> None:
    client = sections("websocket_client.conf")["agent"]
    assert client["uri"] == "ws://127.0.0.1:8080/asterisk/media"
    assert client["protocols"] == Asterisk.subprotocol
    assert client["username"] == Settings.model_fields["asterisk_user"].default
    assert client["connection_type"] == "per_call_config"


def test_asterisk_speaks_as_the_protocol_needs_it() -> None:
    assert sections("chan_websocket.conf")["global"]["control_message_format"] == "json"
    (dial,) = [
        line for line in (ASTERISK / "extensions.conf").read_text().splitlines() if "Dial(" in line
    ]
    assert "WebSocket/agent/c(ulaw)nf(json)v(" in dial
    assert all(f"{name}=${{URIENCODE(" in dial for name in ("caller", "called", "id"))
