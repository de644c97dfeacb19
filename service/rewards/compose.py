"""From components to one number: operators, roles, gates, and what happens to what is missing.

Every score lies in [0,1], so the range of a reward follows from the recipe and is checked when
the profile loads. Roles: ``primary`` and ``auxiliary`` components enter the operator with their
weights, ``report`` ones are shown and do not count, ``gate`` ones make the item invalid where
their score is below ``at_least``. Operators over what is present (w weight, s score):

    sum       Σ w·s
    mean      Σ w·s / Σ w
    product   Π s           (weights 1)
    min       least s       (weights 1)
    lexi_sum  Σ w·s with one primary; Σ auxiliary w is less than the smallest difference that the
              primary can make, so that no style outranks the verdict
    first_ok  the first s that there is, in the order of the profile (weights 1)
    mean_minus_sd  mean − λ·sd of several primaries (weights 1), with λ = ``risk``: what the
              verifiers agree on. See ``cautious``.

Several verifiers on one question join by ``mean`` (any may carry the others), ``min`` (the most
doubtful decides) or ``mean_minus_sd``. Each assumes that they err independently: join different
families (boosted trees, linear, graph, foundation model), since seeds of one family share their
errors and agree where they are wrong. ``mean_minus_sd``, which pays for agreement, insists on it.

``scale = [low, high]`` maps the composed score from [0,1] to [low, high], so that a wrong answer
may cost (``[-1, 1]``). ``[compose.noise]`` corrects it for known error rates first (``noise``).
Both are for operators whose score lies in [0,1], all but the two sums, and leave components as
they are. An unreadable completion earns ``floor``, which neither touches.

A component without an opinion makes the item abstain (``on_missing = "null"``), is left out
(``drop``) or counts as 0 (``floor``); where no primary has one, the item abstains whatever they
say, since style alone never earns. A failure never does: an error ends as an error, whatever
``on_missing`` says, since a retry would give another number. A component whose reason is the
completion's doing (a molecule that cannot be read) makes the item invalid, and so does a gate that
fails: both outrank errors, which outrank abstentions.

Item weight: the mean certainty of the primary components present, |2p−1| where a probability
stands behind a score, |2n−1| where the raw score n is paid, else 1; times the item's own weight.
Rewards and weights are rounded to 6 decimals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from service.rewards.core import (
    ERRORS,
    INVALID,
    RETRYABLE,
    Answer,
    Component,
    Item,
    ItemStatus,
    Reason,
    Result,
    status_of,
)
from service.rewards.noise import Noise, Rates
from service.rewards.verifiers.judge import Judge

Role = Literal["primary", "auxiliary", "report", "gate"]
OnMissing = Literal["null", "drop", "floor"]
Operator = Literal["sum", "mean", "product", "min", "lexi_sum", "first_ok", "mean_minus_sd"]
DECIMALS: Final = 6
_OK: Final = Reason.OK.value
_MODEL_ERROR: Final = Reason.MODEL_ERROR.value


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a profile: a judge and how its score counts."""

    judge: Judge
    role: Role
    weight: float
    on_missing: OnMissing
    at_least: float
    """Of a gate: the score that lets an item pass."""


@dataclass(frozen=True, slots=True)
class Composition:
    """The table ``[compose]`` with the parts in the order of the profile."""

    operator: Operator
    floor: float
    parts: tuple[Part, ...]
    risk: float = 0.0
    """λ of ``mean_minus_sd``."""
    scale: tuple[float, float] | None = None
    noise: Noise | None = None

    def invalid(self, item: Item, answer: Answer) -> Result:
        """The completion is at fault: the floor, with every component named and none scored."""
        missing = [part.judge.missing(answer.reason) for part in self.parts]
        return _result(item, answer, "invalid", self.floor, 1.0, answer.reason, missing)

    def failed(self, item_id: str | int | None, reason: Reason, message: str) -> Result:
        """The item itself is at fault: no reward, the message says where."""
        missing = [part.judge.missing(reason) for part in self.parts]
        status = status_of(reason)
        return Result(item_id, status, None, 0.0, None, reason.value, missing, message=message)

    def result(self, item: Item, answer: Answer, components: list[Component]) -> Result:
        """Compose what the judges said, one component for each part, same order."""
        missing = None
        counted: list[tuple[Part, float]] = []
        certainties: list[float] = []
        for part, component in zip(self.parts, components, strict=True):
            score = component.score
            if score is not None and not 0.0 <= score <= 1.0:  # NaN is outside too
                component.score = score = None
                component.status = _MODEL_ERROR
            if score is None:
                reason = Reason(component.status)
                if reason in INVALID and part.role != "report":
                    _tidy(components)
                    return _result(item, answer, "invalid", self.floor, 1.0, reason, components)
                missing = self._worse(missing, part, reason)
                if part.on_missing != "floor" or reason in ERRORS:
                    continue
                score = 0.0
            elif part.role == "primary":
                certainties.append(part.judge.certainty(component))
            if part.role == "gate":
                if score < part.at_least:
                    return self._gated(item, answer, part, components)
            elif part.role != "report":
                counted.append((part, score))
        if missing is None and not certainties:
            missing = self._without_primary(components)
        if missing is not None:
            _tidy(components)
            return _result(item, answer, status_of(missing), None, 0.0, missing, components)
        weight = sum(certainties) / len(certainties) if certainties else 1.0
        if item.weight is not None:
            weight *= item.weight
        reward = self.paid(counted, self.noise and self.noise.rates(item))
        _tidy(components)
        return Result(
            item.id,
            "ok",
            round(reward, DECIMALS),
            round(weight, DECIMALS),
            answer.label,
            _OK,
            components,
            False,
            answer.contradiction,
        )

    def paid(self, counted: list[tuple[Part, float]], rates: Rates | None) -> float:
        """What scores that count earn together, unrounded.

        Args:
            counted: parts with their scores in [0, 1], in the order of the profile; not empty.
            rates: how often the verifiers err; None: nothing is corrected.
        """
        reward = self._operate(counted)
        if rates is not None:
            reward = rates.correct(reward)
        if self.scale is not None:
            low, high = self.scale
            reward = low + (high - low) * reward
        return reward

    def _worse(self, known: Reason | None, part: Part, reason: Reason) -> Reason | None:
        """Which missing component decides: the first error, else the first that is required."""
        if part.role == "report" or (known is not None and known in ERRORS):
            return known
        if reason in ERRORS:
            return reason
        falls_through = self.operator == "first_ok" and part.role != "gate"
        if known is not None or part.on_missing != "null" or falls_through:
            return known
        return reason

    def _without_primary(self, components: list[Component]) -> Reason:
        """Style alone never earns: the first primary's reason where no primary has an opinion."""
        for part, component in zip(self.parts, components, strict=True):
            if part.role == "primary":
                return Reason(component.status)
        raise AssertionError("a profile without a primary component was loaded")

    def _gated(self, item: Item, answer: Answer, gate: Part, components: list[Component]) -> Result:
        shown = [
            component if part is gate else part.judge.missing(Reason.MALFORMED)
            for part, component in zip(self.parts, components, strict=True)
        ]
        _tidy(shown)
        return _result(item, answer, "invalid", self.floor, 1.0, Reason.MALFORMED, shown)

    def _operate(self, counted: list[tuple[Part, float]]) -> float:
        operator = self.operator
        if operator == "product":
            return math.prod([score for _, score in counted])
        if operator == "min":
            return min([score for _, score in counted])
        if operator == "first_ok":
            return counted[0][1]
        if operator == "mean_minus_sd":
            return cautious([score for _, score in counted], self.risk)
        total = sum([part.weight * score for part, score in counted])
        if operator == "mean":
            return total / sum([part.weight for part, _ in counted])
        return total


def cautious(scores: list[float], risk: float) -> float:
    """Mean − λ·sd of n scores, sd over the population; 0 ≤ λ ≤ 1/√(n−1).

    Within that bound no component can lower the reward by rising. With m the mean and s the sd,
    ∂(m − λs)/∂xᵢ = (1 − λ·(xᵢ − m)/s)/n, and (xᵢ − m)/s ≤ √(n−1) for every sample (Samuelson,
    JASA 63, 1968), so the derivative is at least (1 − λ·√(n−1))/n ≥ 0; where s = 0 the function is
    continuous, and a line along one axis meets that at one point at most. Beyond the bound it
    fails: in x = (t, 0, …, 0) the derivative is exactly that. Being monotone, 0 at (0, …, 0) and 1
    at (1, …, 1), the result lies in [0,1]. Fewer scores than primaries only widen the bound.
    """
    count = len(scores)
    mean = math.fsum(scores) / count
    deviation = math.sqrt(math.fsum([(score - mean) ** 2 for score in scores]) / count)
    return min(max(mean - risk * deviation, 0.0), 1.0)  # rounding may leave [0,1] by an ulp


def _tidy(components: list[Component]) -> None:
    """Round what is shown, after composing with what is exact."""
    for component in components:
        if component.score is not None:
            component.score = round(component.score, DECIMALS)


def _result(
    item: Item,
    answer: Answer,
    status: ItemStatus,
    reward: float | None,
    weight: float,
    reason: Reason,
    components: list[Component],
) -> Result:
    return Result(
        item.id,
        status,
        reward,
        weight,
        answer.label,
        reason.value,
        components,
        reason in RETRYABLE,
        answer.contradiction,
    )
