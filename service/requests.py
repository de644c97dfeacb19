"""What a front end hands the pipeline beside the items themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from service.errors import BadRequest, TooLarge

LABEL_CHARS: Final = 256
"""Of run, split and request id, at most: each is repeated in every line of the audit log, and a
run in every metric of it."""

MOST_STEP: Final = 2**63


class Priority(IntEnum):
    """Whose work goes first where it has to queue."""

    TRAIN = 0
    """An optimiser step waits for it."""
    EVAL = 1


def priority_of(splits: str | Iterable[str]) -> Priority:
    """Of a request whose items have these splits; the most urgent item decides.

    No split, ``train`` and what begins with it is training; any other (``valid``, ``test``,
    ``ood``, ``eval``…) is evaluation.
    """
    named = (splits,) if isinstance(splits, str) else splits
    if all(split and not split.startswith("train") for split in named):
        return Priority.EVAL
    return Priority.TRAIN


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


def refuse_labels(context: RunContext, request_id: str) -> None:
    """Labels are names, not texts: each is written once for every item.

    Raises:
        TooLarge: one is longer than ``LABEL_CHARS``.
        BadRequest: a step that 64 bits do not hold; JSON has such, gRPC and Parquet have not.
    """
    if context.step is not None and not -MOST_STEP <= context.step < MOST_STEP:
        raise BadRequest("context.step: a number of more than 64 bits", field="context.step")
    labels = {"context.run": context.run, "context.split": context.split, "request_id": request_id}
    for field, label in labels.items():
        if len(label) > LABEL_CHARS:
            raise TooLarge(
                f"{field}: {len(label):,} characters, a label has {LABEL_CHARS} at most",
                field=field,
            )
