"""The register of calls: one record for each, made before the phone is answered and closed once; one-use tokens.

A database that is slow or down holds nobody up: what it does not take at once waits in the spool (`agent/storage/durable.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any

import structlog

from agent import __version__
from agent.errors import StorageError
from agent.protocols.token import TokenClaims, TokenRefusal, check, issue
from agent.storage.numbers import number_hash
from agent.storage.records import LEASE, CallRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.door import Caller
    from agent.storage.durable import DurableRecords

log = structlog.get_logger()

FORGET_AFTER = 120.0
"""Seconds after which an issued token that nobody brought back is forgotten; it expired long before."""


def derive(secret: str, use: str) -> bytes:
    """A key for one use (HMAC-SHA256, RFC 2104), so that none can stand in for another."""
    return hmac.digest(secret.encode(), f"pickup {use}".encode(), hashlib.sha256)


class Register:
    """Call records and tokens of this process.

    Args:
        records: the database, with its spool.
        instance: this process, as records name it.
        token_key: signs tokens; the same in all replicas of one account.
        number_key: hashes phone numbers for whatever is not the database.
        wall: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        records: DurableRecords,
        instance: str,
        *,
        token_key: bytes,
        number_key: bytes,
        wall: Callable[[], float],
    ) -> None:
        self.records = records
        self._instance = instance
        self._token_key = token_key
        self._number_key = number_key
        self._wall = wall
        self._issued: dict[str, int] = {}

    # ---- records

    async def create(self, call: str, agent: str, caller: Caller) -> None:
        """A full spool is an alarm, and no reason to let the phone ring on."""
        wall = self._wall()
        record = CallRecord(
            id=call,
            provider=caller.provider,
            provider_call_id=caller.call_id,
            instance=self._instance,
            alive_until=wall + LEASE,
            direction=caller.direction,
            agent=agent,
            started_at=wall,
            version=__version__,
            from_number=caller.from_number,
            to_number=caller.to_number,
            number_hash=number_hash(_other(caller), self._number_key),
        )
        try:
            await self.records.create(record)
        except StorageError as error:
            log.error("no record of the call", call=call, why=str(error))

    async def answered(self, call: str) -> None:
        """The caller hears us."""
        try:
            await self.records.answered(call, self._wall())
        except StorageError as error:
            log.error("the call's record was not updated", call=call, why=str(error))

    async def finish(self, call: str, reason: str, legs: int, metrics: dict[str, Any]) -> None:
        """The one final record."""
        try:
            await self.records.finish(call, reason, self._wall(), legs=legs, metrics=metrics)
        except StorageError as error:
            log.error("no final record of the call", call=call, why=str(error))

    async def end_reason(self, provider_call_id: str) -> str:
        """How a call ended that is not live here; one that has no ending lost its process."""
        try:
            record = await self.records.by_provider_id(provider_call_id)
        except StorageError:
            record = None
        return (record.end_reason if record else None) or "crash"

    # ---- tokens

    def issue(self, provider_call_id: str, leg: int) -> str:
        """A token for one stream of a call."""
        wall = self._wall()
        for token in [
            token for token, expiry in self._issued.items() if expiry < wall - FORGET_AFTER
        ]:
            del self._issued[token]
        token = issue(self._token_key, provider_call_id, leg, os.urandom(16), wall)
        claims = self.check(provider_call_id, token)
        if isinstance(claims, TokenClaims):
            self._issued[claims.id] = claims.expiry
        return token

    def check(self, provider_call_id: str, token: str | None) -> TokenClaims | TokenRefusal:
        """Whether a token is good; that it is spent once is `spend`'s business."""
        return check(self._token_key, token, provider_call_id, self._wall())

    async def spend(self, claims: TokenClaims, call: str) -> bool:
        """Spend a token: once, across all replicas. While the database is down, once where it was issued."""
        issued_here = self._issued.pop(claims.id, None) is not None
        try:
            return await self.records.spend(claims.id, call, float(claims.expiry))
        except StorageError:
            if issued_here:
                await self._spent_here(claims, call)
            return issued_here

    async def _spent_here(self, claims: TokenClaims, call: str) -> None:
        """Tell the database when it is back; while it is not, we remember by having forgotten that we issued it."""
        try:
            await self.records.spent(claims.id, call, float(claims.expiry))
        except StorageError as error:
            log.error("a spent token was not recorded", call=call, why=str(error))


def _other(caller: Caller) -> str:
    """The number of whoever is not us."""
    return caller.from_number if caller.direction == "inbound" else caller.to_number
