"""What the settings of SIP must be, one by one and together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import UserError
from agent.protocols.sip.address import listening

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agent.config.settings import Settings


def where_to_listen(value: str) -> str:
    return listening(value).text


def port_range(value: str) -> str:
    first, last = (int(port) for port in value.split("-"))
    if not 1024 <= first < last <= 65535:
        raise ValueError("not a range of ports")
    return f"{first}-{last}"


def waiting(value: str) -> str:
    shortest, _, longest = value.partition("-")
    if not int(shortest) <= int(longest or shortest) <= 500:
        raise ValueError("not a time, or not a range of them")
    return value


def quotable(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError("cannot be quoted in an account")
    return value


def header_names(value: str) -> str:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if len(names) > 13 or not all(re.fullmatch("[A-Za-z0-9-]{1,63}", name) for name in names):
        raise ValueError("not a list of headers")
    return ",".join(dict.fromkeys(names))


def hosts(value: str) -> str:
    names = sorted({name.strip().lower() for name in value.split(",") if name.strip()})
    if not all(re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", name) for name in names):
        raise ValueError("not a list of hosts")
    return ",".join(names)


CODECS = ("g722", "pcmu", "pcma")


def codec_names(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",")]
    if len(set(names)) < len(names) or not set(names) <= set(CODECS):
        raise ValueError("not a list of codecs")
    return ",".join(names)


def check(settings: Settings) -> None:
    """Strangers reach nothing by SIP that they are not meant to reach, and there are ports for every call."""
    if settings.sip_listen is None:
        return
    if listening(settings.sip_listen).exposed and settings.sip_protection == "none":
        raise UserError(
            f"SIP_LISTEN={settings.sip_listen} can be reached by strangers, and SIP asks nobody who he is: listen on a "
            "private address, or set SIP_PROTECTION to front or firewall when one of these stands before it"
        )
    if settings.sip_password is not None and not (
        settings.sip_registrar or settings.sip_trunk or settings.call_sip_hosts
    ):
        raise UserError(
            "SIP_PASSWORD is of no use without SIP_REGISTRAR, SIP_TRUNK or CALL_SIP_HOSTS"
        )
    first, last = (int(port) for port in settings.sip_rtp_ports.split("-"))
    if (last - first + 1) // 2 < settings.max_calls:
        raise UserError(
            f"SIP_RTP_PORTS={settings.sip_rtp_ports} has too few ports for MAX_CALLS={settings.max_calls}: two for each call"
        )
