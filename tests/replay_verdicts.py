"""Whether what a trainer was given is what docs/trainers.md allows it to be given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import trainer_calls
from replay_samples import FLOOR, NEUTRAL
from softverifier import NoReward
from trainer_calls import Numbers

SEES_GROUPS = (*trainer_calls.SEES_GROUPS, "easyr1")


class Wrong(AssertionError):
    """An answer that no row of the table allows."""


def judge(shape: str, numbers: Sequence[Any], wanted: Numbers) -> Counter[str]:
    """Count what came back, a ``NoReward`` in place of a number where one was raised.

    Raises:
        Wrong: the table does not allow it.
    """
    if len(numbers) != len(wanted):
        raise Wrong(f"{shape}: {len(numbers)} numbers for {len(wanted)} samples")
    raised = sum(isinstance(one, NoReward) for one in numbers)
    if raised and shape not in trainer_calls.DROPS:
        raise Wrong(f"{shape} raised for {wanted}")
    _as_tensor(shape, [one for one in numbers if not isinstance(one, NoReward)])
    kept = [number for number, one in zip(numbers, wanted, strict=True) if _same(number, one)]
    stand_in = _stand_in(shape, kept)
    told = Counter({"raised": raised})
    for number, one in zip(numbers, wanted, strict=True):
        if isinstance(number, NoReward):
            continue
        if _same(number, one):
            told["numbers"] += 1
        elif number is None and stand_in is None:
            told["None"] += 1
        elif number is not None and stand_in is not None and abs(number - stand_in) <= 1e-6:
            told["stood in"] += 1
        else:
            raise Wrong(f"{shape}: {number} for {one}; {numbers} for {wanted}")
    return told


def _same(number: Any, wanted: float | None) -> bool:
    return wanted is not None and number == wanted


def _stand_in(shape: str, kept: Sequence[float | None]) -> float | None:
    if shape in trainer_calls.LEAVES_OUT:
        return None
    if shape in trainer_calls.DROPS:
        return math.inf  # nothing may stand in
    if shape in SEES_GROUPS and kept:
        return sum(one for one in kept if one is not None) / len(kept)
    return NEUTRAL


def _as_tensor(shape: str, numbers: Sequence[Any]) -> None:
    """As the trainer's own conversion: no null, text, NaN or infinity but TRL's None."""
    import torch

    if shape in trainer_calls.LEAVES_OUT:  # TRL writes NaN for None itself
        numbers = [0.5 if one is None else one for one in numbers]
    if not all(isinstance(one, float) for one in numbers):
        raise Wrong(f"{shape}: {numbers}")
    if not torch.isfinite(torch.tensor(numbers, dtype=torch.float32)).all():
        raise Wrong(f"{shape}: {numbers}")


def judged_client(name: str, number: float | None, wanted: float | None) -> Counter[str]:
    """As ``judge``, for one call of a route's client."""
    if number is None:
        return Counter({"gave up": 1})
    if not isinstance(number, float) or not math.isfinite(number):
        raise Wrong(f"{name}: {number!r}")
    if number == 0.0 and name.startswith("open-instruct") and wanted == FLOOR:
        return Counter({"numbers": 1})
    if number == 0.0 and name.startswith(("Axolotl", "open-instruct")):
        return Counter({"client's own 0": 1})
    if wanted is not None and abs(number - wanted) <= 2e-6:  # float32, and six digits of a share
        return Counter({"numbers": 1})
    if abs(number - NEUTRAL) > 2e-6:
        raise Wrong(f"{name}: {number} for {wanted}")
    return Counter({"stood in": 1})
