"""A phone number that rings here for a while: what it was before is on disk before it is changed.

The file holds Twilio's id of the number and not the number itself, and it is readable by its owner only: a webhook's URL may
carry a password.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from agent.errors import UserError
from agent.protocols.twilio.number import Webhooks, differences, put_back
from agent.storage.disk import write_private

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from agent.cli.parts.twilio_rest import Number, TwilioRest


class Borrowed(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to put a number back.

    Attributes:
        account: SID of the Twilio account.
        number: SID of the number.
        before: its webhooks as we found them.
        ours: as we set them.
    """

    v: int = 1
    account: str
    number: str
    before: Webhooks
    ours: Webhooks


class Borrowing:
    """The one number that a data folder has borrowed; a context that no second process can enter.

    Args:
        data_dir: the deployment's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "dev" / "borrowed_number.json"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UserError(f"DATA_DIR cannot be written: {error}") from None
        try:
            # The kernel lets go of it however this process ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UserError(
                f"another `pickup dev` runs with {self.path.parent}: stop it, or set another DATA_DIR"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    def read(self) -> Borrowed | None:
        """What was borrowed and not put back."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Borrowed)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise UserError(
                f"{self.path} cannot be read ({error}): look up the number's webhooks in Twilio's "
                "console, then delete the file"
            ) from None

    async def take(self, rest: TwilioRest, account: str, number: Number, ours: Webhooks) -> None:
        """Note what the number's webhooks are, then set ours."""
        borrowed = Borrowed(account=account, number=number.sid, before=number.webhooks, ours=ours)
        try:
            write_private(self.path, msgspec.json.encode(borrowed))
            self._sync_folder()
        except OSError as error:
            raise UserError(f"DATA_DIR cannot be written: {error}") from None
        await rest.change(number.sid, differences(ours, number.webhooks))

    async def give_back(self, rest: TwilioRest, account: str) -> str | None:
        """Put back what is still ours, and forget it.

        Returns:
            one line on what was done; None if nothing was borrowed.
        """
        borrowed = self.read()
        if borrowed is None:
            return None
        if borrowed.account != account:
            raise UserError(
                f"the number was borrowed from account {borrowed.account}: set TWILIO_ACCOUNT_SID to "
                "it and run `pickup dev --restore`"
            )
        found = await rest.webhooks(borrowed.number)
        if found is None:
            self._forget()
            return "the account no longer has the number: there is nothing to put back"
        plan = put_back(borrowed.before, borrowed.ours, found)
        if plan.changes:
            await rest.change(borrowed.number, plan.changes)
        self._forget()
        if plan.left:
            return (
                f"somebody changed the number's {' and '.join(plan.left)} meanwhile: left as found"
            )
        return "the number's webhooks are what they were before"

    def _forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """A new name in a folder is on disk only when the folder is (fsync(2))."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
