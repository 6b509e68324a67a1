"""Opens sockets to Gemini Live."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.errors import UserError
from agent.models.socket import open_socket
from agent.protocols.gemini.setup import DEVELOPER_API

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.drive.socket import Socket
    from agent.protocols.gemini.setup import Endpoint

_SCHEMES = {"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}


def live_url(url: str, api_version: str, endpoint: Endpoint = DEVELOPER_API) -> str:
    """The WebSocket's address.

    Args:
        url: scheme and host of the service; http and https mean ws and wss.
        api_version: such as `v1beta`; empty: the endpoint's own.
        endpoint: whose path to use.

    Raises:
        UserError: `url` is not an origin.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc or parts.path.strip("/") or parts.query:
        raise UserError(f"{url!r} must be a scheme and a host, such as https://example.com.")
    path = endpoint.path.format(version=api_version or endpoint.version)
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}"


def gemini_connector(
    url: str, api_version: str, key: str, endpoint: Endpoint = DEVELOPER_API
) -> Callable[[], Awaitable[Socket]]:
    """What a `LiveSession` opens its socket with.

    Args:
        url: scheme and host of the service.
        api_version: such as `v1beta`; empty: the endpoint's own.
        key: the credential; it goes into a header, never into the address.
        endpoint: path and kind of authentication.

    Returns:
        A function that opens one socket; it raises `ConnectFailed`.
    """
    address = live_url(url, api_version, endpoint)
    headers = {endpoint.auth_header: endpoint.auth_value.format(key=key)}

    async def connect() -> Socket:
        return await open_socket(address, headers)

    return connect
