"""`pickup sip`: what keeps strangers from calls that come in by SIP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.cli.parts.firewall import Doors
    from agent.config.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def sip() -> None:
    """Keep strangers from calls that come in by SIP."""


@app.command()
def firewall(
    peer: Annotated[
        list[str],
        typer.Option(
            help="Who may call: an address or a network such as 203.0.113.0/24; once for each."
        ),
    ],
    media: Annotated[
        list[str] | None,
        typer.Option(help="Who may send sound only: a trunk's media servers; once for each."),
    ] = None,
) -> None:
    """Print nftables rules for SIP_LISTEN and SIP_RTP_PORTS, to be loaded as root: `| nft -f -`."""
    from agent.cli.parts.firewall import network, ruleset
    from agent.config.settings import Settings, environment

    settings = Settings.load(environment(), Path(".env"))
    peers = [network(text) for text in peer]
    typer.echo(ruleset(doors(settings), peers, [network(text) for text in media or []]), nl=False)


def doors(settings: Settings) -> Doors:
    """The ports that the settings open.

    Raises:
        UserError: SIP_LISTEN says none.
    """
    from agent.cli.parts.firewall import Doors
    from agent.errors import UserError
    from agent.protocols.sip.address import listening

    if settings.sip_listen is None or listening(settings.sip_listen).port == 0:
        raise UserError("set SIP_LISTEN to ADDRESS:PORT: the rules are for that port")
    first, last = (int(port) for port in settings.sip_rtp_ports.split("-"))
    return Doors(listening(settings.sip_listen).port, (first, last))
