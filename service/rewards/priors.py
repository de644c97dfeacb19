"""What a component pays before anything is known of the question: its prior score.

A judge that believes a calibrated model has one. With π the base rate that the model's manifest
states, an answer that is itself drawn at π, by someone who knows no more than it, earns on average

    prob, hard      π² + (1 − π)², since p is π on average and right answers agree with it by chance
    brier, log      what stating q = π earns where p = π
    lift            ½ whatever π is: nothing beyond the base rate (``service.rewards.lift``)

Others count ½: of a raw score nobody says what it is on average, and of a truth in the request the
service does not know how often a policy meets it.

Limits: several models behind one component (one a cell line) count alike, whatever is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from worldmodels.core import ModelSpec

Source = Literal["base rate", "zero lift", "middle"]
Specs = Callable[[str, str], Sequence[ModelSpec]]
"""The served models that fit a selector and offer a relation."""


class Prior(NamedTuple):
    """A component's prior score.

    Attributes:
        score: in [0, 1]; None where it hangs on a model that is not served.
        source: what it comes from; ``middle``: from nothing, so that it is ½.
        told: the same in words.
    """

    score: float | None
    source: Source
    told: str


NONE: Final = Prior(0.5, "middle", "since nothing says what it pays on average")
NOT_SERVED: Final = Prior(None, "base rate", "by the base rate of a world model not served here")
ZERO_LIFT: Final = Prior(0.5, "zero lift", "nothing beyond the base rate")


def base_rate(spec: ModelSpec, relation: str) -> float | None:
    """The share of "yes" that a model's held-out figures state, in [0, 1]; None: they state none.

    Figures are named ``base_rate``, or ``dir_base_rate`` of one relation of several, or
    ``dir.k562.base_rate`` of one in a line. Lines weigh as many rows as they have.
    """
    figures = spec.metrics
    kind = relation.rpartition(".")[2]
    own = figures.get(f"{kind}_base_rate")
    if own is None and (spec.relations == (relation,) or relation == "perturbation.de"):
        own = figures.get("base_rate")
    if own is not None:
        return own if 0.0 <= own <= 1.0 else None
    lines = {
        name.removesuffix("base_rate"): value
        for name, value in sorted(figures.items())
        if name.startswith(f"{kind}.") and name.endswith(".base_rate") and 0.0 <= value <= 1.0
    }
    rows = [figures.get(f"{line}n", 1.0) for line in lines]
    total = math.fsum(rows)
    if total <= 0:
        return None
    return math.fsum(n * rate for n, rate in zip(rows, lines.values(), strict=True)) / total


def shared_rate(selectors: Sequence[tuple[str, str]], specs: Specs) -> tuple[float | None, str]:
    """The base rate of all models behind a component, and what to say of it.

    Returns:
        None with "" where none is served; None with their names where one of them states none.
    """
    asked = [
        (spec, relation) for pair in selectors for relation in pair[1:] for spec in specs(*pair)
    ]
    names = ", ".join(dict.fromkeys(f"{spec.name} {spec.version}" for spec, _ in asked))
    rates = [base_rate(spec, relation) for spec, relation in asked]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        return None, names
    return math.fsum(known) / len(known), names
