"""`opt_out`: whoever is on the line does not want to be called again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from agent.errors import StorageError, ToolFailed
from agent.events import EndAfterGoodbye
from agent.tools.base import Answer, Declaration

if TYPE_CHECKING:
    from agent.tools.base import CallInfo


class OptOuts(Protocol):
    """Where opt-outs go."""

    async def opt_out(self, info: CallInfo, why: str) -> bool:
        """Nobody calls this call's other side again; once this returns, not even what was ordered already.

        Returns:
            Whether its number is known: there is nothing to note where it is not.

        Raises:
            StorageError: it is not written.
        """
        ...


class OptOut:
    """Puts the number of this call on the do-not-call list, then says goodbye.

    The number is the call's own: no argument of the model's can put anybody else on the list, or take anybody off it.

    Args:
        info: the call.
        opt_outs: where it goes.
    """

    declaration = Declaration(
        name="opt_out",
        description=(
            "Note that the person on the line does not want to be called again. Call this at once when they ask for that, "
            "in whatever words; do not argue and do not ask why. Then confirm it in one short sentence and say goodbye: "
            "the call ends."
        ),
    )

    def __init__(self, info: CallInfo, opt_outs: OptOuts) -> None:
        self._info = info
        self._opt_outs = opt_outs

    async def run(self, args: dict[str, Any]) -> Answer:
        """Note it; the call ends when the goodbye was heard."""
        try:
            known = await self._opt_outs.opt_out(self._info, "said_so")
        except StorageError as error:
            raise ToolFailed("It could not be noted. Try once more at once.") from error
        if not known:
            raise ToolFailed("Their number is withheld, so there is nothing to note. Tell them so.")
        return Answer(
            {"result": "This number will not be called again. Confirm it and say goodbye."},
            EndAfterGoodbye(),
        )
