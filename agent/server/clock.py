"""Wall time comes in here; what lasts is measured by `agent.drive.wakeups`."""

from __future__ import annotations

import time


def wall() -> float:
    """Seconds since 1970-01-01 UTC; for records, tokens and what people are told."""
    return time.time()  # noqa: TID251 - the server is where wall time comes in
