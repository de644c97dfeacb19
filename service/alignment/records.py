"""Lines of reward logs as records: the audit log's, or those of any JSONL with the same fields.

Needed of a line: ``reward``, ``status`` and ``step``; read where they stand: ``run``, ``split``,
``profile``, ``profile_digest``, ``id``, ``group``, ``task``, ``answer``, ``request``,
``completion_digest``. Lines that are no such thing (torn, not JSON, NaN or infinite rewards, a
number beside status abstain, a step of more than 53 bits) are counted and the first three kept;
other fields are ignored. Files are read as ``service.audit_reading`` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from service import audit_reading
from service.audit_reading import SHOWN, Reading, files_of

__all__ = ["SHOWN", "Reading", "Record", "files_of", "read"]

MOST_STEP: Final = 2**53
"""Steps are told apart as double precision numbers."""
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


def read(
    files: Sequence[Path], reading: Reading, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Record]:
    """All records in order, as ``service.audit_reading.read``."""
    return audit_reading.read(files, Record, reading, advance, _wrong)


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
