"""What processes cost, as Linux counts it (proc(5)): CPU time, memory, and who else was on a core."""

from __future__ import annotations

import os
import platform
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
IDLE_FIELDS = (3, 4)  # of a line of /proc/stat: idle, iowait
GUEST_FIELDS = slice(8)  # ... those before `guest`, which `user` counts already
STEAL_FIELD = 7  # ... what the host gave to another virtual machine while this one wanted to run


class Sample(NamedTuple):
    """What was spent by one moment.

    Attributes:
        uptime_s: when, in the machine's own seconds.
        cpu_s: per process id, user and system time.
        busy_s: per core, time in which it was not idle.
        stolen_s: per core, time in which it wanted to run and the host ran somebody else.
    """

    uptime_s: float
    cpu_s: dict[int, float]
    busy_s: dict[int, float]
    stolen_s: dict[int, float]


def check_machine() -> None:
    """Raises UserError where this machine does not count as we need it."""
    if not (PROC / "self" / "stat").exists() or not hasattr(os, "sched_setaffinity"):
        raise UserError("bench counts what processes cost by /proc, so it runs on Linux only")


def sample(pids: list[int], proc: Path = PROC) -> Sample:
    """Look at the clocks of these processes and of all cores."""
    ticks = os.sysconf("SC_CLK_TCK")
    busy: dict[int, float] = {}
    stolen: dict[int, float] = {}
    for line in (proc / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            spent = [int(field) for field in fields[GUEST_FIELDS]]
            idle = sum(spent[at] for at in IDLE_FIELDS)
            stolen[int(name[3:])] = spent[STEAL_FIELD] / ticks
            busy[int(name[3:])] = (sum(spent) - idle - spent[STEAL_FIELD]) / ticks
    uptime = float((proc / "uptime").read_text().split()[0])
    return Sample(uptime, {pid: cpu_seconds(pid, proc) for pid in pids}, busy, stolen)


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """User and system time of a process so far, all its threads together."""
    # The name, in brackets, may hold blanks; utime and stime are fields 14 and 15 of the line.
    fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int, proc: Path = PROC) -> float:
    """Memory that a process holds in RAM, in MB of a million bytes."""
    pages = int((proc / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def percent(pid: int, before: Sample, after: Sample) -> float:
    """Percent of one core that a process used between two samples."""
    return share(after.cpu_s[pid] - before.cpu_s[pid], before, after)


def others_percent(core: int, before: Sample, after: Sample, own: list[int]) -> float:
    """Percent of a core that went to nobody of ours."""
    spent = after.busy_s[core] - before.busy_s[core]
    ours = sum(after.cpu_s[pid] - before.cpu_s[pid] for pid in own)
    return max(0.0, share(spent - ours, before, after))


def stolen_percent(core: int, before: Sample, after: Sample) -> float:
    """Percent of the time that a core was not there for this machine: everything on it stood still meanwhile."""
    return share(after.stolen_s[core] - before.stolen_s[core], before, after)


def share(seconds: float, before: Sample, after: Sample) -> float:
    return 100 * seconds / (after.uptime_s - before.uptime_s)


def scheduling() -> str:
    """How this process and its children are scheduled: priority hides from a row what others do on its cores."""
    policy = {os.SCHED_OTHER: "normal", os.SCHED_RR: "real-time", os.SCHED_FIFO: "real-time"}
    name = policy.get(os.sched_getscheduler(0), "other")
    return f"{name}, nice {os.getpriority(os.PRIO_PROCESS, 0)}"


def interpreter() -> str:
    """Which Python runs this. Its build counts too: one compiled without profile-guided optimisation takes a tenth more and beyond."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return (
        f"{platform.python_implementation()} {platform.python_version()}"
        + ", optimised" * optimised
    )


class Cores(NamedTuple):
    """Which core runs what; the same twice where there is only one."""

    server: int
    generators: int


def cores() -> Cores:
    """Choose from the cores that this process may use: the first for the server, the last for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Whoever is started in here stays on `core`; this thread itself only while it lasts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
