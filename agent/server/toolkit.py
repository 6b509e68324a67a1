"""The tools of one call, made from what its agent's file lists: a built-in tool is one row of `BUILT_IN`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.tools.effects import MemoryJournal
from agent.tools.end_call import EndCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.config.agent_file import AgentFile
    from agent.tools.base import CallInfo, Tool
    from agent.tools.effects import Journal


@dataclass(frozen=True)
class Ports:
    """What built-in tools reach of the rest of the server; one field per need, None where this server does not have it."""


BUILT_IN: dict[str, Callable[[AgentFile, CallInfo, Ports], Tool]] = {
    "end_call": lambda agent, info, ports: EndCall(),
}
"""The tools that come with Pickup, by the names that an agent's file lists them under."""


class Toolkit:
    """Makes the tools of each call.

    Args:
        ports: what built-in tools need.
        journal: where the effects of tools are written; by default it is forgotten with the process.

    Attributes:
        journal: that one.
    """

    def __init__(self, ports: Ports | None = None, journal: Journal | None = None) -> None:
        self.journal = journal or MemoryJournal()
        self._ports = ports or Ports()

    def tools(self, agent: AgentFile, info: CallInfo) -> Sequence[Tool]:
        """What the model may do in this call, for as long as it lasts."""
        return tuple(BUILT_IN[name](agent, info, self._ports) for name in ("end_call",))
