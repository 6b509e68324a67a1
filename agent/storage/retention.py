"""How long the sound of a call is kept: a file in its folder says until when, written before the first sample is.

So it outlives crashes, and a later change of the agent's file changes later calls only. Blocking: called in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import StorageError
from agent.storage.disk import write_private

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = "sound_until"
"""The file: seconds since 1970-01-01 UTC, in decimal."""

SOUND = ("call.wav", "call.wav.part", "caller.pcm", "model.pcm", "agent.pcm")
"""What goes; the transcript and the flight record's events stay."""


def keep_until(folder: Path, wall: float) -> None:
    """Have a call's sound deleted once `wall` has passed; its folder is there already."""
    write_private(folder / UNTIL, f"{wall:.0f}\n".encode())


def delete_old_sound(calls: Path, wall: float) -> list[str]:
    """Delete all sound whose time is over by `wall`.

    Args:
        calls: the folder of the calls' folders; it need not exist.
        wall: seconds since 1970-01-01 UTC.

    Returns:
        The ids of the calls whose sound is gone now.

    Raises:
        StorageError: something could not be read or deleted, after all the rest was.
    """
    gone, failed = [], []
    for marker in sorted(calls.glob(f"*/{UNTIL}")):
        try:
            if float(marker.read_text()) > wall:
                continue
            for name in SOUND:
                (marker.parent / name).unlink(missing_ok=True)
            marker.unlink()  # last: what is left of an attempt that failed is tried again
            gone.append(marker.parent.name)
        except (OSError, ValueError) as error:
            failed.append(f"{marker.parent.name}: {error}")
    if failed:
        raise StorageError(f"sound that is too old could not be deleted: {'; '.join(failed)}")
    return gone
