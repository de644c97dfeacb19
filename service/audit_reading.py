"""The lines of audit logs, or of any JSONL: plain, gzip or the Parquet that the server packs.

The form is seen by the content; the pieces that the log set aside are read with it, oldest first.
``read`` makes records of the lines, of whatever kind the reader needs; those that are none (torn,
not JSON, a field of another type) are counted and the first three kept.
Limits: a line is read whole; a damaged file is read as far as it goes, which is said.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

import msgspec

from service.audit_files import pieces
from service.errors import StartupFault

_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_EVERY: Final = 4096
"""Lines between two words of progress."""
SHOWN: Final = 3
T = TypeVar("T")


@dataclass(slots=True)
class Reading:
    """What became of the lines."""

    files: list[str] = field(default_factory=list)
    lines: int = 0
    malformed: int = 0
    examples: list[str] = field(default_factory=list)
    """The first malformed lines: file, line number and what is wrong."""
    notes: list[str] = field(default_factory=list)

    def refuse(self, where: str, why: str) -> None:
        """Count a malformed line."""
        self.malformed += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{where}: {why}")


def read(
    files: Sequence[Path],
    kind: type[T],
    reading: Reading,
    advance: Callable[[int], None] = lambda _: None,
    fault: Callable[[T], str] = lambda _: "",
) -> Iterator[T]:
    """All records in order; ``reading`` keeps count.

    Args:
        files: what to read, pieces first.
        kind: what a line is decoded as.
        reading: where lines are counted.
        advance: told how many bytes of the files have been read since.
        fault: what is wrong with a record that could be decoded; "" for nothing.

    Raises:
        StartupFault: a file cannot be opened.
    """
    decode = msgspec.json.Decoder(kind).decode
    for path in files:
        reading.files.append(str(path))
        for number, line in lines(path, reading.notes.append, advance):
            if line.isspace():
                continue
            reading.lines += 1
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                reading.refuse(f"{path}, line {number}", str(error))
                continue
            if wrong := fault(record):
                reading.refuse(f"{path}, line {number}", wrong)
            else:
                yield record


def files_of(logs: Sequence[Path]) -> list[Path]:
    """The files of the logs, pieces that were set aside before the file itself, each once.

    Raises:
        StartupFault: there is no such log.
    """
    found: dict[Path, None] = {}
    for log in logs:
        if log.is_dir():
            raise StartupFault(f"{log} is a folder; name its files, e.g. {log}/*.jsonl")
        those = [piece for _, piece in pieces(log)]
        if not log.exists() and not those:
            raise StartupFault(f"{log}: no such file")
        found |= dict.fromkeys([*those, *([log] if log.exists() else [])])
    return list(found)


def lines(
    path: Path, note: Callable[[str], None], advance: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1.

    Args:
        path: the file.
        note: told what is wrong with a file that is read in part.
        advance: told how many bytes of the file have been read since.

    Raises:
        StartupFault: it cannot be opened, or is Parquet of another kind.
    """
    try:
        with path.open("rb") as raw:
            begin = raw.read(4)
            if begin == _PARQUET:
                yield from _packed(path, advance)
                return
            raw.seek(0)
            packed = begin[:2] == _GZIP
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
            told = number = 0
            try:
                for number, line in enumerate(stream, 1):
                    yield number, line
                    if not number % _EVERY:
                        advance(raw.tell() - told)
                        told = raw.tell()
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                note(f"{path} is damaged after line {number}: {error}")
            advance(path.stat().st_size - told)
    except OSError as error:
        raise StartupFault(f"{path} cannot be read: {error.strerror or error}") from error


def _packed(path: Path, advance: Callable[[int], None]) -> Iterator[tuple[int, bytes]]:
    from service import audit_packing

    try:
        yield from enumerate(audit_packing.rows(path), 1)
    except ValueError as error:  # pyarrow's own errors are such
        raise StartupFault(
            f"{path} is not Parquet of the audit log: {error}; it reads what audit.pieces packed"
        ) from error
    advance(path.stat().st_size)
