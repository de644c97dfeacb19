"""What an attack is: a completion, and what must come of it beside the honest one."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from worldmodels.core import Status

if TYPE_CHECKING:
    from service.redteam.cases import Case


class Must(enum.StrEnum):
    """What must come of an attack."""

    INVALID = "invalid"
    """The completion is at fault: the profile's floor, less than honesty."""
    LESS = "less"
    """It claims something else, nothing, or too much: less than honesty."""
    NO_MORE = "no more"
    """It says the same in another way: at most what honesty earns."""
    SAME = "the same"
    """It is as honest: what honesty earns."""
    BOUNDED = "bounded"
    """It may earn more by being better: only its bounds are looked at."""
    NULL = "null"
    """The item cannot be judged: no number, or none from the components named."""


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Attack:
    """One completion that somebody might try.

    Attributes:
        name: unique within its family and case.
        completion: text, or messages as JSON data.
        must: what must come of it.
        changes: fields of the item that differ from the case's; None takes a field out.
        status: what the world models say instead of a probability, offline.
        components: for ``NULL``, the components that may not score; with ``score``, those that
            must score exactly that.
        score: see ``components``.
        flagged: the contradiction must be reported.
        plain: compared with the honest answer at its plainest, not with the honest example.
        heavy: may end as DEADLINE.
    """

    name: str
    completion: Any
    must: Must
    changes: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    status: Status = Status.OK
    components: tuple[str, ...] = ()
    score: float | None = None
    flagged: bool = False
    plain: bool = False
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Attacks of one idea.

    Attributes:
        name: as the report shows it.
        rows: the rows of the table that it covers; () for mutations beyond them.
        make: the attacks on a case.
        unless: why it does not apply to a case; "" where it does.
    """

    name: str
    rows: tuple[int, ...]
    make: Callable[[Case, Random], Iterable[Attack]]
    unless: Callable[[Case], str] = lambda case: ""
