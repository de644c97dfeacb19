"""Lines of reward logs as records: the audit log's, or those of any JSONL with the same fields.

Needed of a line: ``reward``, ``status`` and ``step``; read where they stand: ``run``, ``split``,
``profile``, ``profile_digest``, ``id``, ``group``, ``task``, ``answer``, ``request``,
``completion_digest``. Lines that are no such thing (torn, not JSON, NaN or infinite rewards, a
number beside status abstain, a step of more than 53 bits) are counted and the first three kept;
other fields are ignored. Plain or gzip, by content; the pieces that the audit log set aside are
read with it. Limits: a line is read whole; a damaged gzip file is read as far as it goes, which is
said.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from service.audit_files import pieces
from service.errors import StartupFault

SHOWN: Final = 3
MOST_STEP: Final = 2**53
"""Steps are told apart as double precision numbers."""
_GZIP: Final = b"\x1f\x8b"
SCORED: Final = frozenset({"ok", "invalid"})
_STATUSES: Final = frozenset({"ok", "invalid", "abstain", "error"})


class Record(msgspec.Struct, frozen=True, gc=False):
    """One scored item."""

    status: str
    reward: float | None
    step: int | None = None
    run: str | None = None
    split: str | None = None
    profile: str | None = None
    profile_digest: str | None = None
    id: str | int | None = None
    group: str | int | None = None
    task: dict[str, Any] | None = None
    answer: str | None = None
    request: str | None = None
    completion_digest: str | None = None


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


def read(
    files: Sequence[Path], reading: Reading, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Record]:
    """All records in order; ``reading`` keeps count.

    Args:
        files: what to read.
        reading: where lines are counted.
        advance: told how many bytes of the files have been read since.

    Raises:
        StartupFault: a file cannot be opened.
    """
    decode = msgspec.json.Decoder(Record).decode
    for path in files:
        reading.files.append(str(path))
        for number, line in _lines(path, reading, advance):
            if line.isspace():
                continue
            reading.lines += 1
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                reading.refuse(f"{path}, line {number}", str(error))
                continue
            if wrong := _wrong(record):
                reading.refuse(f"{path}, line {number}", wrong)
            else:
                yield record


def _wrong(record: Record) -> str:
    reward, status = record.reward, record.status
    if status not in _STATUSES:
        return f"status {status!r}, expected one of ok, invalid, abstain, error"
    if (reward is not None) != (status in SCORED):
        return f"reward {'null' if reward is None else f'{reward:g}'} with status {status}"
    if reward is not None and not math.isfinite(reward):
        return f"reward {reward}"
    if record.step is not None and abs(record.step) > MOST_STEP:
        return f"a step beyond ±2**53 ({record.step.bit_length()} bits)"
    return ""


def _lines(
    path: Path, reading: Reading, advance: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
            told = number = 0
            try:
                for number, line in enumerate(stream, 1):
                    yield number, line
                    if not number % 4096:
                        advance(raw.tell() - told)
                        told = raw.tell()
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                reading.notes.append(f"{path} is damaged after line {number}: {error}")
            advance(path.stat().st_size - told)
    except OSError as error:
        raise StartupFault(f"{path} cannot be read: {error.strerror or error}") from error
