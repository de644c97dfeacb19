"""Files of keys and certificates, read again when they change.

Looked at once a second by time, size and inode, so that an edit, a file put in place and a mounted
secret that is switched are all seen. A state that does not do is said once and leaves what counts
as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from service.errors import StartupFault

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
State = tuple[tuple[int, int, int] | None, ...]


@dataclass(slots=True)
class Watched:
    """Files that belong together, and what to do when one of them has changed."""

    what: str
    files: Iterable[Path]
    renew: Callable[[], None]
    """Raises StartupFault where the files do not do."""
    seen: State = field(init=False)

    def __post_init__(self) -> None:
        self.seen = self._state()

    def _state(self) -> State:
        return tuple(_state_of(path) for path in self.files)

    def look(self) -> None:
        """Renew if a file has changed since the last look."""
        now = self._state()
        if now == self.seen:
            return
        self.seen = now
        try:
            self.renew()
        except StartupFault as fault:
            log.error(f"{self.what} not renewed; what was in use stays so", why=fault.message)
        else:
            log.info(f"{self.what} renewed")


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def watch(watched: Iterable[Watched]) -> None:
    """Look at all of them for ever."""
    while True:
        await asyncio.sleep(EVERY_S)
        for one in watched:
            one.look()
