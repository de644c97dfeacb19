"""Chemistry on strings, for verifiers of molecules; everything here runs in a killable worker.

Each judgement (``judgements``, ``ether0``) takes strings, numbers and tuples and returns a
``Ruling``, so that it can be sent to a worker process and back. RDKit and selfies (the extra
``[chem]``) are imported inside functions. What needs neither (the shape of constraints, formulas,
ether0's rows) is checked in the server's process by ``constraints``, ``formula`` and ``rows``.

Bounded before RDKit sees anything: text of at most 1,000 characters, 300 heavy atoms, 60
independent rings. What still takes long is killed with its worker.
"""

from __future__ import annotations

from typing import Final, NamedTuple

INSTALL: Final = "pip install 'soft-verifier[chem]'"


class Ruling(NamedTuple):
    """What came of a judgement, as plain data."""

    reason: str
    """A ``core.Reason``: OK; MALFORMED, TOO_LONG for the completion; BAD_ITEM, BAD_TRUTH."""
    score: float | None = None
    """In [0,1] where ``reason`` is OK."""
    message: str = ""
    """What was wrong, and where."""


class Unreadable(Exception):
    """A text is no molecule that this room judges; says why.

    Attributes:
        long: whether it is too large rather than malformed.
    """

    def __init__(self, message: str, *, long: bool = False):
        super().__init__(message)
        self.long = long


def lacking() -> tuple[str, ...]:
    """What of the extra ``[chem]`` is not installed, with what to do; imports nothing."""
    from importlib.util import find_spec

    absent = [name for name in ("rdkit", "selfies") if find_spec(name) is None]
    return (f"{' and '.join(absent)}: {INSTALL}",) if absent else ()
