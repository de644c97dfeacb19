"""Graded scores in steps, so that a recipe can know the least difference between two of them.

A graded score (a distance, a ranking's gain) may tell two answers apart by as little as it likes;
no auxiliary weight is below that. Rounded down to multiples of a step 1/n it cannot.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec

from service.rewards.errors import ProfileFault

Step = Annotated[float, msgspec.Meta(ge=0.0, le=0.5)]
_ULPS: Final = 1e-9


def check_step(step: float) -> None:
    """A step must divide 1, or the last one would be shorter.

    Raises:
        ProfileFault: it does not.
    """
    if step and abs(round(1.0 / step) * step - 1.0) > _ULPS:
        raise ProfileFault(f"step: {step:g} does not divide 1; use 0.5, 0.2, 0.1, 0.05, …")


def stepped(score: float, step: float) -> float:
    """The greatest multiple of ``step`` that is at most ``score``; the score itself for step 0."""
    if not step:
        return score
    return min(math.floor(score / step + _ULPS) * step, 1.0)
