"""Who carries our calls, and with which credentials it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import UserError
from agent.telephony.twilio_rest import Credentials

if TYPE_CHECKING:
    from agent.config.settings import Settings


def credentials(settings: Settings, *, by_token: bool = False) -> Credentials:
    """The credentials that the settings hold: the API key where there is one.

    Args:
        settings: the deployment's.
        by_token: the account's own token even so.

    Raises:
        UserError: one is missing.
    """
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    key, secret = settings.twilio_api_key, settings.twilio_api_secret
    if account is None:
        raise UserError(
            "TWILIO_ACCOUNT_SID is not set: it is on the first page of Twilio's console"
        )
    if key is not None and secret is not None and not by_token:
        return Credentials(settings.twilio_api_url, account, key, secret.get_secret_value())
    if token is None:
        raise UserError("TWILIO_AUTH_TOKEN is not set: it is on the first page of Twilio's console")
    return Credentials(settings.twilio_api_url, account, account, token.get_secret_value())
