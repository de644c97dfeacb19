"""What comes back: rewards with their parts, and the answers of a world model asked directly.

Frozen mirrors of the server's JSON. Fields that a newer server adds are ignored; a result that
lacks what every result has is ``Malformed``. Nothing here fills a gap with a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

STATUSES: Final = frozenset({"ok", "invalid", "abstain", "error"})


class Malformed(ValueError):
    """The server's answer is not what the interface says."""


@dataclass(frozen=True, slots=True)
class Component:
    """One verifier's contribution; ``score`` and ``p`` lie in [0, 1] or are None."""

    name: str
    score: float | None = None
    weight: float = 1.0
    p: float | None = None
    p0: float | None = None
    uncertainty: float | None = None
    status: str = "OK"
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    cached: bool | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """One item's reward.

    Attributes:
        id: the item's own id.
        status: ``ok``, ``invalid`` (the completion is at fault: ``reward`` is the profile's
            floor), ``abstain`` or ``error`` (``reward`` is None).
        reward: a number for ``ok`` and ``invalid``, None otherwise; never 0 for "don't know".
        weight: how much the reward is worth, in [0, 1].
        answer: the class that the completion claims, None if it claims none.
        reason: why, from the server's enum; ``BAD_ITEM`` also for items that the client itself
            could not send.
        retryable: an error that another try may cure.
        contradiction: the reasoning concludes the opposite of the answer.
        message: for errors, what was wrong and where.
    """

    id: str | int | None
    status: str
    reward: float | None
    weight: float
    answer: str | None
    reason: str
    components: tuple[Component, ...] = ()
    retryable: bool = False
    contradiction: bool = False
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A world model's answers, in columns of the length that was asked.

    Attributes:
        p: calibrated probability of "yes", None but where ``status`` is ``OK`` or
            ``POOLED`` (answered by a model pooled over cell lines).
        status: names of the server's statuses (``OK``, ``UNKNOWN_GENE`` …).
        p0: baseline that is blind to the subject; None if the model has none.
        uncertainty: standard deviation of p; None if the model states none.
        raw: the family's own score before calibration; None if there is none.
        digest: content digest of what answered; the same for all rows.
    """

    p: tuple[float | None, ...]
    status: tuple[str, ...]
    p0: tuple[float | None, ...] | None
    uncertainty: tuple[float | None, ...] | None
    raw: tuple[float | None, ...] | None
    model: str
    version: str
    digest: str

    def __len__(self) -> int:
        return len(self.p)


_COMPONENT_FIELDS: Final = tuple(Component.__dataclass_fields__)
_REWARD_FIELDS: Final = tuple(name for name in Reward.__dataclass_fields__ if name != "components")


def reward_of(raw: object) -> Reward:
    """One result of ``POST /v1/score``.

    Raises:
        Malformed: no object, an unknown status, or a reward where there can be none.
    """
    if not isinstance(raw, Mapping):
        raise Malformed(f"a result is {type(raw).__name__}, expected an object")
    try:
        parts = tuple(
            Component(**{key: part[key] for key in _COMPONENT_FIELDS if key in part})
            for part in raw.get("components") or ()
        )
        reward = Reward(components=parts, **{k: raw[k] for k in _REWARD_FIELDS if k in raw})
    except TypeError as error:
        raise Malformed(f"a result lacks a field: {error}") from error
    return checked(reward)


def checked(reward: Reward) -> Reward:
    """The reward itself, if status and number agree.

    Raises:
        Malformed: they do not.
    """
    if reward.status not in STATUSES:
        raise Malformed(f"unknown status {reward.status!r}; the server may be newer: upgrade")
    number = reward.reward
    if reward.status in ("ok", "invalid"):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise Malformed(f"status {reward.status!r} with reward {number!r}")
        if not math.isfinite(number):
            raise Malformed(f"reward {number!r} is not finite")
    elif number is not None:
        raise Malformed(f"status {reward.status!r} with reward {number!r}")
    return reward


def prediction_of(raw: Mapping[str, Any], rows: int) -> Prediction:
    """The answer of ``POST /v1/predict``.

    Raises:
        Malformed: a column is missing or has not ``rows`` rows.
    """
    try:
        p, status = tuple(raw["p"]), tuple(raw["status"])
        model, version, digest = raw["model"], raw["version"], raw["digest"]
        p0, uncertainty, score = (_column(raw.get(name)) for name in ("p0", "uncertainty", "raw"))
    except (KeyError, TypeError) as error:
        raise Malformed(f"a prediction lacks a column: {error}") from error
    named = {"p": p, "status": status, "p0": p0, "uncertainty": uncertainty, "raw": score}
    for name, column in named.items():
        if column is not None and len(column) != rows:
            raise Malformed(f"{len(column)} values in {name!r} for {rows} rows")
    return Prediction(p, status, p0, uncertainty, score, model, version, digest)


def _column(values: Sequence[float | None] | None) -> tuple[float | None, ...] | None:
    return None if values is None else tuple(values)


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Predictions for consecutive rows as one.

    Raises:
        Malformed: the model changed between the parts.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.digest != first.digest:
            raise Malformed(
                f"model {first.model!r} changed while it was asked "
                f"({first.digest} became {part.digest}); ask again"
            )
    if len(parts) == 1:
        return first
    return Prediction(
        p=tuple(value for part in parts for value in part.p),
        status=tuple(value for part in parts for value in part.status),
        p0=_chained([part.p0 for part in parts]),
        uncertainty=_chained([part.uncertainty for part in parts]),
        raw=_chained([part.raw for part in parts]),
        model=first.model,
        version=first.version,
        digest=first.digest,
    )


def _chained(
    columns: Sequence[tuple[float | None, ...] | None],
) -> tuple[float | None, ...] | None:
    if any(column is None for column in columns):
        return None
    return tuple(value for column in columns for value in column or ())
