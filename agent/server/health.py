"""`/livez`, `/readyz` and `/metrics`: for orchestrators and Prometheus, not for the public."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from agent.server.switchboard import Switchboard
    from agent.storage.durable import DurableRecords

DISK_FREE = 0.05
"""Share of the disk below which a process takes no new calls."""


class Health:
    """Whether this process lives, and whether it should get new calls.

    A full process stays ready: it answers with a busy line. A database that is down does not make it unready either: its calls
    go on, and their records wait.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        records: DurableRecords,
        data_dir: Path,
        sip_dead: Callable[[], bool] = lambda: False,
    ) -> None:
        self._sip_dead = sip_dead
        self._switchboard = switchboard
        self._records = records
        self._data_dir = data_dir

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/livez", self.livez),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def livez(self, request: Request) -> Response:
        """The event loop turns; nothing else is asked, since a restart would mend nothing else."""
        return Response("ok\n", media_type="text/plain")

    async def readyz(self, request: Request) -> Response:
        usage = shutil.disk_usage(self._data_dir)
        checks = {
            "draining": self._switchboard.draining,
            "sip_dead": self._sip_dead(),
            "disk_low": usage.free < DISK_FREE * usage.total,
        }
        body = checks | {
            "calls": self._switchboard.active,
            "full": self._switchboard.full,
            "database_down": self._records.down,
        }
        return JSONResponse(body, 503 if any(checks.values()) else 200)

    async def metrics(self, request: Request) -> Response:
        return Response(
            self._switchboard.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )
