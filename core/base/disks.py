"""Says whether a disk is nearly full."""

import shutil
from pathlib import Path

ROOM_SHARE = 0.05
ROOM_BYTES = 5 * 1024**3
"""A disk is nearly full when less than this share of it is free, and less than so many bytes."""

MAKE_ROOM = "make room, or give it a larger disk, before it is full: then nothing is accepted"
"""The advice to whoever runs the service."""


def short_of_room(folder: str | Path) -> str | None:
    """Say how little room the disk of a folder has left. Returns None if it has enough.

    Raises:
        OSError: there is no such folder, or it may not be looked at.
    """
    usage = shutil.disk_usage(folder)
    if usage.free >= min(ROOM_SHARE * usage.total, ROOM_BYTES):
        return None
    return f"the disk of {folder} has {usage.free / 1024**2:,.0f} MiB ({usage.free / usage.total:.1%}) left"
