"""What came of work lately, kept within so many bytes: the least recently asked goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from service.rewards.core import Finding, Work

_OVERHEAD: Final = 500
"""Bytes that Python takes for an entry beside its data."""


class _Kept(NamedTuple):
    finding: Finding
    size: int


class Findings:
    """Findings by their work.

    Args:
        most_bytes: bound on what is kept, arguments included; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Work, _Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, work: Work) -> Finding | None:
        """What came of equal work, None if that is not known (any more)."""
        kept = self._kept.get(work)
        if kept is None:
            return None
        self._kept.move_to_end(work)
        return kept.finding

    def put(self, work: Work, finding: Finding) -> None:
        """Keep a finding."""
        size = _OVERHEAD + _size(work.arguments) + _size(finding.value)
        if size > self._most_bytes:
            return
        known = self._kept.pop(work, None)
        self.bytes += size - (known.size if known else 0)
        self._kept[work] = _Kept(finding, size)
        while self.bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.size


def _size(value: Any) -> int:
    """About the bytes of plain data."""
    if isinstance(value, str | bytes):
        return 50 + 2 * len(value)
    if isinstance(value, dict):
        return 100 + sum([_size(key) + _size(entry) for key, entry in value.items()])
    if isinstance(value, list | tuple):
        return 60 + sum([_size(entry) for entry in value])
    return 32
