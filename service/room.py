"""Whether a model fits into memory beside the one that it is to replace.

A rough sum before anything is loaded: the bytes of its folder against what the machine, or the
control group that holds us, has left. Limits: Linux (elsewhere nothing is known and nothing
refused); a model that takes more than its files do is not foreseen. GPUs are asked by the model's
own loader (``worldmodels.devices``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")
_KEPT_FREE: Final = 64 << 20
"""Bytes for what is in work meanwhile."""


def lack(folder: Path | None, free: int | None = None) -> str | None:
    """Why a trained folder does not fit; None where it does, or where nobody can tell.

    Args:
        folder: its files are summed.
        free: bytes that are left; asked of the system if None.
    """
    left = available() if free is None else free
    if folder is None or left is None:
        return None
    needed = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    if needed + _KEPT_FREE <= left:
        return None
    return (
        f"its folder has {needed:,} bytes and {left:,} of memory are left beside the model that is "
        "served; free some, or restart the server with the new folder"
    )


def available() -> int | None:
    """Bytes that the machine and our control group have left; None where it is not Linux."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    group = _of_group()
    if group is not None:
        found.append(group)
    return min(found, default=None)


def _of_group() -> int | None:
    """Limit less use of the control group (version 2); None where there is no limit."""
    try:
        limit = (_GROUP / "memory.max").read_text().strip()
        used = int((_GROUP / "memory.current").read_text())
        cached = [
            int(line.split()[1])
            for line in (_GROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        ]
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + sum(cached)
