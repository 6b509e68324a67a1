"""Puts together what calls are made of: the settings' stores, tools and wiring, for a server or for one call without a telephone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.drive.wakeups import Wakeups
from agent.server.admission import Admission
from agent.server.budget import Ledger
from agent.server.clock import wall
from agent.server.journal import DatabaseJournal
from agent.server.library import Libraries
from agent.server.lines import LineStore
from agent.server.render import Renderer
from agent.server.stores import Desk, Stores
from agent.server.toolkit import Ports, Toolkit
from agent.server.verdicts import FILE as VERDICTS_FILE, Verdicts
from agent.server.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from pydantic import SecretStr

    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.drive.tasks import Tasks
    from agent.server.toolkit import People


@dataclass(frozen=True)
class Around:
    """What a process gives its calls.

    Attributes:
        tasks: its own.
        disk: threads that may wait for the disk.
        people: asks those whom a caller is put through to.
        secret: a named secret of the deployment, None where it is not set.
    """

    tasks: Tasks
    disk: Executor
    people: People
    secret: Callable[[str], SecretStr | None]


@dataclass(frozen=True)
class Assembly:
    """The parts that calls share, and what has to be closed after them."""

    stores: Stores
    libraries: Libraries
    wiring: Wiring

    @classmethod
    def of(
        cls, settings: Settings, agents: AgentFiles, around: Around, *, recording: bool = False
    ) -> Assembly:
        """Put them together inside the running event loop; `recording`: keep every call's sound."""
        tasks = around.tasks
        lines = LineStore(settings.data_dir / "lines", refuses=settings.spoken_refusals > 0)
        stores = Stores.at(settings.database)
        desk = Desk(stores, wall)
        libraries = Libraries(agents.folder, settings.data_dir / "knowledge")
        toolkit = Toolkit(
            agents.folder,
            ports=Ports(
                inbox=desk, desk=desk, opt_outs=desk, library=libraries.of, people=around.people
            ),
            journal=DatabaseJournal(stores.effects, wall),
            secret=around.secret,
        )
        wiring = Wiring(
            settings=settings,
            agents=agents,
            lines=lines,
            wakeups=Wakeups(asyncio.get_running_loop()),
            disk=around.disk,
            tasks=tasks,
            renderer=Renderer(lines, tasks),
            recording=recording,
            admission=Admission(settings.max_calls),
            verdicts=Verdicts(settings.data_dir / VERDICTS_FILE),
            toolkit=toolkit,
            ledger=Ledger(settings.day_budget),
            opt_outs=desk,
        )
        return cls(stores, libraries, wiring)
