"""What one call leaves out of its setups: first what earlier calls found, then one step less for each refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()


class Setups:
    """Follows the setups of one call.

    Args:
        left_out: names of options that earlier calls of this agent found to be refused.
        most: setups that are tried in a row.
        found: told what is to be left out from now on, and the refusal that taught it.

    Attributes:
        left_out: names of options that the next setup goes without.
    """

    def __init__(
        self,
        left_out: frozenset[str] = frozenset(),
        most: int = 3,
        found: Callable[[frozenset[str], str], None] = lambda left_out, why: None,
    ) -> None:
        self.left_out = left_out
        self._most = most
        self._found = found
        self._kept = self._lesson = left_out
        self._why = ""
        self._refused = 0  # in a row
        self._doubtful = False  # whether a setup was not refused in words but never answered

    @property
    def last(self) -> bool:
        """Whether the setup after the next refusal is the last that may be tried."""
        return self._refused + 2 >= self._most

    def refused(self, less: frozenset[str] | None, why: str, *, named: frozenset[str]) -> None:
        """The last setup was refused.

        Args:
            less: what the ladder wants left out now; None where there is nothing left.
            why: the service's words.
            named: the options that they name: these are known for good, whatever becomes of this call, and they alone: what
                else the last setup goes without may be needed by the next call, which has three setups of its own.

        Raises:
            UserError: there is no smaller setup.
        """
        if less is None:
            raise UserError(f"even the smallest setup is refused: {why}")
        log.warning("setup refused", why=why, left_out=sorted(less))
        self._refused += 1
        self._lesson = less & (self.left_out | named) if named else less
        self.left_out, self._why = less, why
        if named:
            self._keep()

    def tried(self) -> None:
        """Another setup was tried for another reason, such as a handle that was refused: it counts."""
        self._refused += 1

    def unanswered(self) -> None:
        """A setup was met with silence: a slow service must not cost the agent its options for a day."""
        self._doubtful = True

    def accepted(self) -> None:
        """The session is ready."""
        self._refused = 0
        if not self._doubtful:
            self._keep()

    def _keep(self) -> None:
        if self._lesson != self._kept:
            self._kept = self._lesson
            self._found(self._lesson, self._why)
