"""What a deployment may say, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.config.settings import (
    Settings,
    env_example,
    environment,
    is_loopback,
    settings_table,
)
from agent.errors import UserError

SID = "AC" + "0123456789abcdef" * 2
KEY = "SK" + "0123456789abcdef" * 2


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_the_records_may_be_in_postgresql(scheme: str) -> None:
    settings = Settings.load({"DATABASE_URL": f"{scheme}://pickup:p%40ss@db.internal/calls"})
    assert settings.database == "postgresql+asyncpg://pickup:p%40ss@db.internal/calls"
    assert settings.secrets() == ("p@ss", "p%40ss")


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = Settings.load({})
    assert (settings.host, settings.port, settings.max_calls) == ("127.0.0.1", 8080, 25)
    assert (settings.max_call_seconds, settings.drain_seconds) == (3600, 3660)
    assert settings.answer_within == 2.0
    assert (settings.gemini_model, settings.gemini_api_version) == ("gemini-3.8-live", "v1beta")
    assert settings.gemini_url == "wss://generativelanguage.googleapis.com"
    assert settings.api_key is None
    assert settings.public_url is None
    assert settings.data_dir == Path("data")
    assert settings.database == f"sqlite+aiosqlite:///{Path.cwd() / 'data' / 'pickup.db'}"
    assert settings.secrets() == ()


def test_every_setting_is_taken_from_its_variable(tmp_path: Path) -> None:
    given = {
        "GEMINI_API_KEY": "key-1",
        "GOOGLE_API_KEY": "key-2",
        "GEMINI_MODEL": "models/gemini-4-live",
        "GEMINI_URL": "https://live.example.com",
        "GEMINI_API_VERSION": "v1alpha",
        "TWILIO_ACCOUNT_SID": SID,
        "TWILIO_AUTH_TOKEN": "token",
        "TWILIO_API_KEY": KEY,
        "TWILIO_API_SECRET": "secret",
        "TWILIO_API_URL": "http://127.0.0.1:4007",
        "ASTERISK_USER": "pbx-1",
        "ASTERISK_PASSWORD": "word",
        "PUBLIC_URL": "https://Pickup.example.com/",
        "HOST": "0.0.0.0",  # as in the image
        "PORT": "0",
        "MAX_CALLS": "3",
        "SPOKEN_REFUSALS": "2",
        "MAX_CALL_SECONDS": "60",
        "DRAIN_SECONDS": "0",
        "ANSWER_WITHIN": "7.5",
        "API_TOKEN": "api-token",
        "CALLER_ID": "+15551234567",
        "CALL_COUNTRIES": "us, CA,us",
        "CALLS_PER_SECOND": "0.5",
        "CALLS_PER_HOUR": "10",
        "CALLS_PER_DAY": "20",
        "CALLS_PER_NUMBER": "1",
        "CALLER_CALLS_PER_HOUR": "6",
        "CALL_BUDGET": "0.5",
        "DAY_BUDGET": "20",
        "CARRIER_MINUTE": "0",
        "LOCAL_BARGE_IN": "true",
        "LOCAL_SPEECH_END": "0.3",
        "DATABASE_URL": "sqlite:////var/lib/pickup.db",
        "DATA_DIR": "/var/lib/pickup",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
        "PICKUP_AGENTS": str(tmp_path),
        "SIP_LISTEN": "10.0.0.5:5060",
        "SIP_PROTECTION": "Firewall",
        "SIP_RTP_PORTS": "30000-30999",
        "SIP_JITTER_MS": "60-200",
        "SIP_REGISTRAR": "pbx.example.com:5080",
        "SIP_TRUNK": "trunk.example.com;transport=tcp",
        "CALL_SIP_HOSTS": "PBX.example.com, [fd00::5],pbx.example.com",
        "SIP_USER": "front-desk",
        "SIP_PASSWORD": "a b;c",
        "SIP_HEADERS": "X-Order-Id, User-to-User",
        "SIP_CODECS": "PCMA, g722",
    }
    assert {name.lower() for name in given} == set(Settings.model_fields)
    settings = Settings.load(given)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "key-1"
    assert settings.secrets() == ("key-1", "key-2", "token", "secret", "word", "api-token", "a b;c")
    assert settings.gemini_model == "gemini-4-live"
    assert settings.gemini_url == "wss://live.example.com"
    assert settings.public_url == "https://pickup.example.com"
    assert settings.database == "sqlite+aiosqlite:////var/lib/pickup.db"
    assert (settings.port, settings.max_calls, settings.answer_within) == (0, 3, 7.5)
    assert (settings.log_level, settings.log_format) == ("debug", "json")
    assert settings.pickup_agents == tmp_path
    assert settings.call_countries == "CA,US"
    assert settings.call_sip_hosts == "[fd00::5],pbx.example.com"
    assert settings.sip_codecs == "pcma,g722"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GEMINI_MODEL", "Gemini 3"),
        ("CALLER_ID", "5551234567"),
        ("CALL_COUNTRIES", "USA"),
        ("CALL_COUNTRIES", "US;CA"),
        ("CALLS_PER_SECOND", "0"),
        ("CALLS_PER_NUMBER", "0"),
        ("CALL_BUDGET", "0"),
        ("DAY_BUDGET", "inf"),
        ("CARRIER_MINUTE", "-1"),
        ("GEMINI_URL", "generativelanguage.googleapis.com"),
        ("GEMINI_URL", "ws://live.example.com"),
        ("GEMINI_API_VERSION", "beta"),
        ("TWILIO_ACCOUNT_SID", "SK" + "0" * 32),
        ("TWILIO_API_KEY", "AC" + "0" * 32),
        ("TWILIO_API_URL", "http://twilio.example.com"),
        ("PUBLIC_URL", "http://pickup.example.com"),
        ("PUBLIC_URL", "wss://pickup.example.com"),
        ("PUBLIC_URL", "pickup.example.com"),
        ("PUBLIC_URL", "https://pickup.example.com/twilio"),
        ("PUBLIC_URL", "https://pickup.example.com?x=1"),
        ("PUBLIC_URL", "https://pickup.example.com#x"),
        ("PUBLIC_URL", "https://pickup.example.com:99999"),
        ("PUBLIC_URL", "https://pickup.example.com:0"),
        ("PUBLIC_URL", "https://"),
        ("HOST", "http://127.0.0.1"),
        ("HOST", "127.0.0.1:8080"),
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("MAX_CALLS", "0"),
        ("MAX_CALLS", "2.5"),
        ("SPOKEN_REFUSALS", "-1"),
        ("MAX_CALL_SECONDS", "9"),
        ("DRAIN_SECONDS", "-1"),
        ("ANSWER_WITHIN", "8.1"),
        ("ANSWER_WITHIN", "nan"),
        ("ANSWER_WITHIN", "inf"),
        ("DATABASE_URL", "pickup.db"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "mysql://host/name"),
        ("DATABASE_URL", "postgresql:name"),
        ("DATABASE_URL", "postgresql://host:port/name"),
        ("DATABASE_URL", "postgresql://host:0/name"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("PICKUP_AGENTS", "/does/not/exist"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_it_should_be(
    name: str, value: str
) -> None:
    with pytest.raises(UserError) as caught:
        Settings.load({name: value})
    assert str(caught.value).startswith(f"{name}={value} (from the environment) should be ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GEMINI_API_KEY", "hush hush"),
        ("GOOGLE_API_KEY", "hushé"),
        ("TWILIO_AUTH_TOKEN", "hush\thush"),
        ("DATABASE_URL", "mysql://me:hush@db.example.com/x"),
        ("PUBLIC_URL", "https://me:hush@pickup.example.com"),
    ],
)
def test_a_wrong_secret_is_named_but_never_shown(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"^{name} .* should be") as caught:
        Settings.load({name: value})
    assert "hush" not in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(UserError, match=r"^PORT=x .*; MAX_CALLS=y ") as caught:
        Settings.load({"MAX_CALLS": "y", "PORT": "x"})
    assert "\n" not in str(caught.value)


def test_a_value_with_a_line_break_is_still_one_line_of_complaint() -> None:
    with pytest.raises(UserError) as caught:
        Settings.load({"HOST": "127.0.0.1\nPORT=1" + "1" * 500})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["TWILIO_API_KEY", "TWILIO_API_SECRET"])
def test_half_a_pair_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="TWILIO_API_KEY and TWILIO_API_SECRET belong together"):
        Settings.load({name: KEY})


def test_empty_unknown_and_lower_case_variables_count_as_unset() -> None:
    given = {"PORT": "", "HOST": "  ", "REDIS_URL": "x", "port": "99", "MODEL_CONFIG": "x"}
    assert Settings.load(given) == Settings.load({})


def test_the_environment_overrules_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1111\nHOST=10.0.0.1\nTWILIO_AUTH_TOKEN='a$b${HOME}'\nNOT_OURS=1\n")
    settings = Settings.load({"PORT": "2222"}, file)
    assert (settings.port, settings.host) == (2222, "10.0.0.1")
    assert settings.secrets() == ("a$b${HOME}",)


def test_a_mistake_in_the_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=x\n")
    with pytest.raises(UserError, match=r"^PORT=x \(from .*\.env\) should be"):
        Settings.load({}, file)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        Settings.load({}, file)


def test_a_file_that_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    assert Settings.load({}, tmp_path / ".env") == Settings.load({})


def test_settings_are_frozen_and_read_nothing_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "4321")
    assert environment()["PORT"] == "4321"
    settings = Settings()
    assert settings.port == 8080
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]  # it is what is tested


def test_a_secret_is_not_in_what_settings_print() -> None:
    assert "hush" not in repr(Settings.load({"GEMINI_API_KEY": "hush"}))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("pickup.localhost", True),
        ("0.0.0.0", False),  # every address of this machine, not only loopback
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        (None, False),
    ],
)
def test_loopback(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_table_and_the_example_have_every_setting(tmp_path: Path) -> None:
    rows = [line.split("|")[1].strip(" `") for line in settings_table().splitlines()[2:]]
    assert rows == [name.upper() for name in Settings.model_fields]
    example = env_example()
    for name in rows:
        assert f"\n#{name}=" in example
    # Switched on as it stands, the example is the defaults.
    file = tmp_path / ".env"
    file.write_text(
        "".join(f"{row[1:]}\n" for row in example.splitlines() if row[:1] == "#" and "=" in row)
    )
    assert Settings.load({}, file) == Settings.load({})


def test_a_secret_that_an_agent_names_is_handed_out_and_kept_out_of_logs(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("CRM_TOKEN=from-the-file\nSHOP_TOKEN=shop-secret\n")
    settings = Settings.load({"CRM_TOKEN": "from-outside", "EMPTY": ""}, env)
    crm, shop = settings.secret("CRM_TOKEN"), settings.secret("SHOP_TOKEN")
    assert crm is not None
    assert shop is not None
    assert (crm.get_secret_value(), shop.get_secret_value()) == ("from-outside", "shop-secret")
    assert settings.secret("EMPTY") is settings.secret("NOT_SET") is None
    assert "shop-secret" not in repr(settings)
    assert settings.secrets() == ()
    assert set(settings.secrets(["CRM_TOKEN", "NOT_SET"])) == {"from-outside"}
    assert settings.model_copy(update={"port": 1}).secret("SHOP_TOKEN") == shop


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SIP_LISTEN": "localhost:5060"}, "SIP_LISTEN=localhost:5060"),
        ({"SIP_LISTEN": "127.0.0.1"}, "SIP_LISTEN"),
        ({"SIP_LISTEN": "0.0.0.0:5060"}, "reached by strangers"),
        ({"SIP_LISTEN": "8.8.8.8:5060"}, "reached by strangers"),
        ({"SIP_RTP_PORTS": "20511-20000"}, "SIP_RTP_PORTS"),
        ({"SIP_RTP_PORTS": "many"}, "SIP_RTP_PORTS"),
        ({"SIP_JITTER_MS": "40ms"}, "SIP_JITTER_MS"),
        ({"SIP_JITTER_MS": "501"}, "SIP_JITTER_MS"),
        ({"SIP_JITTER_MS": "200-40"}, "SIP_JITTER_MS"),
        ({"SIP_LISTEN": "127.0.0.1:5060", "SIP_RTP_PORTS": "20000-20009"}, "too few ports"),
        ({"SIP_LISTEN": "127.0.0.1:5060", "SIP_PASSWORD": "x"}, "without SIP_REGISTRAR"),
        ({"SIP_PASSWORD": 'a"b'}, "SIP_PASSWORD"),
        ({"SIP_HEADERS": "X Y"}, "SIP_HEADERS"),
        ({"SIP_CODECS": "opus"}, "some of g722,pcmu,pcma"),
        ({"SIP_CODECS": "pcmu,PCMU"}, "SIP_CODECS"),
        ({"SIP_REGISTRAR": "sip:pbx"}, "SIP_REGISTRAR"),
        ({"SIP_TRUNK": "trunk.example.com;lr"}, "SIP_TRUNK"),
        ({"CALL_SIP_HOSTS": "sip:pbx"}, "CALL_SIP_HOSTS"),
        ({"SIP_PROTECTION": "hope"}, "SIP_PROTECTION"),
    ],
)
def test_wrong_settings_of_sip_are_named(given: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Settings.load(given)


def test_a_public_address_is_taken_where_something_protects_it() -> None:
    given = {"SIP_LISTEN": "0.0.0.0:5060", "SIP_PROTECTION": "front"}
    assert Settings.load(given).sip_listen == "0.0.0.0:5060"
