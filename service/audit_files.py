"""An append-only file of lines that several processes share, cut into pieces by size.

Every chunk of whole lines is one write under an exclusive lock on the file, so that lines of
several worker processes never mix, and a process that is killed leaves at most one torn line; the
next writer ends that line before its own. A file that grows beyond the limit is renamed
(``audit.jsonl`` becomes ``audit-000001.jsonl``, the next ``audit-000002.jsonl``) and begun anew;
pieces are never deleted or overwritten. Limits: POSIX locks; a power cut may lose what the
operating system had not written yet.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path


class AppendedFile:
    """One open file. Not for several threads.

    Args:
        path: where lines go.
        most: bytes after which the file is renamed and begun anew.
    """

    def __init__(self, path: Path, most: int):
        self.path = path
        self._most = most
        self._file: int | None = None

    def check(self) -> None:
        """Make the folder and the file, to find out now whether that is possible.

        Raises:
            OSError: it is not.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            pass

    def append(self, chunk: bytes) -> None:
        """Append whole lines; they are with the operating system when this returns.

        Raises:
            OSError: the disk is full, the folder is gone, …; a part may have been written.
        """
        try:
            with self._locked() as file:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    chunk = b"\n" + chunk  # a writer was killed, or the disk was full
                written = 0
                while written < len(chunk):
                    written += os.write(file, chunk[written:])
                if size + written >= self._most:
                    self._set_aside()
        except OSError:
            self.close()  # try again from the beginning
            raise

    def close(self) -> None:
        """Let go of the file; what was appended goes to the disk."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file at our path, locked; opened anew where it was renamed meanwhile."""
        while True:
            if self._file is None:
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(self.path, flags, 0o640)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if self._is_current(self._file):
                break
            self.close()
        locked = self._file
        try:
            yield locked
        finally:
            if self._file is not None:  # closing it has unlocked it
                fcntl.flock(locked, fcntl.LOCK_UN)

    def _is_current(self, file: int) -> bool:
        try:
            there, ours = self.path.stat(), os.fstat(file)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _set_aside(self) -> None:
        """Rename the full file; the lock is ours, so nobody else does."""
        numbers = [number for number, _ in pieces(self.path)]
        number = max(numbers, default=0) + 1
        self.path.rename(self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}"))
        self.close()


def pieces(path: Path) -> list[tuple[int, Path]]:
    """The pieces set aside from a file, with their numbers, oldest first; gzipped ones too."""
    form = re.compile(rf"{re.escape(path.stem)}-(\d{{6,}}){re.escape(path.suffix)}(?:\.gz)?")
    found = []
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if match := form.fullmatch(other.name):
                found.append((int(match[1]), other))
    return sorted(found)
