"""What a front end hands the pipeline beside the items themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

LABEL_CHARS: Final = 256
"""Of run, split and request id, at most: each is repeated in every line of the audit log, and a
run in every metric of it."""


class BadItem(NamedTuple):
    """An item that could not be read; its neighbours are scored all the same."""

    id: str | int | None
    message: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """Whose rewards these are: labels of metrics, never part of a cache key."""

    run: str = ""
    step: int | None = None
    split: str = ""


NO_CONTEXT: Final = RunContext()
