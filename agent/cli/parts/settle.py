"""What a process does once its start is over and real time begins."""

from __future__ import annotations

import gc

YOUNG = 2_000
"""Objects that may be made before the youngest are gone through; Python's 700 are made every 20 ms here."""

OLD = 5, 14
"""Times that the youngest are gone through before their survivors are, and these before all. A call is a knot of objects, and what is
left of it (a hundred of them, 40 kB) was in use a moment ago: with Python's 10 and 10 seven thousand calls lay about before anybody
looked, and looking would have stopped all others for a tenth of a second. Each look stops all calls: with 10,000 young ones it was 4 ms
every 2 s at thirty calls, and 17 for their survivors, which is a packet that comes too late; so they are less, and looked at oftener."""


def settle() -> None:
    """Spare the garbage collector what start-up made, which stays for the life of the process.

    Going through it again takes 20 to 80 ms, and every call stands still meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLD)
