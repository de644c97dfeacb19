"""The number that stands for "don't know" where a trainer must have one.

A sample without a reward (``abstain``, ``error``, an outage) has none, and most trainers leave none
out. What stands in is one constant of a profile and the models that are served, so that every rank
of a run, every adapter and every route give the same, whatever went by before. It is, in order,

    stated      ``[compose] neutral`` of the profile
    base rate   what an answer earns that knows no more than the base rate of the models asked
    zero lift   what nothing beyond the base rate earns, where that is what is paid for
    middle      half of every score: of a truth in the request nobody knows how often it is met

The last three are the components' prior scores (``service.rewards.priors``) composed as scores are,
named by the first of them that a primary component has. Never does traffic say anything. Limits: of
``[compose.noise]`` the overall rates; components are taken for independent, which matters to
``product``, ``min`` and ``mean_minus_sd``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from service.rewards.compose import DECIMALS, Composition, Part
from service.rewards.priors import Prior, Source, Specs

SOURCES: Final[tuple[Source, ...]] = ("base rate", "zero lift", "middle")


class Neutral(NamedTuple):
    """A profile's neutral reward.

    Attributes:
        value: within the profile's range; None where it hangs on a model that is not served.
        source: where it comes from.
        told: the same in words.
    """

    value: float | None
    source: Source | Literal["stated"]
    told: str

    def described(self) -> dict[str, object]:
        """As ``GET /v1/profiles`` shows it."""
        return {
            "neutral": self.value,
            "neutral_from": self.source,
            "neutral_because": self.told,
        }


def neutral_of(
    composition: Composition, span: tuple[float, float], stated: float | None, specs: Specs
) -> Neutral:
    """The neutral reward.

    Args:
        composition: of the profile.
        span: the profile's range.
        stated: what the profile's file says.
        specs: what is served.
    """
    if stated is not None:
        return Neutral(stated, "stated", "the profile says so: [compose] neutral")
    counted = [part for part in composition.parts if part.role in ("primary", "auxiliary")]
    priors = [part.judge.prior(specs) for part in counted]
    sources = {p.source for part, p in zip(counted, priors, strict=True) if part.role == "primary"}
    source = next(one for one in SOURCES if one in sources)
    told = "; ".join(_told(part, prior) for part, prior in zip(counted, priors, strict=True))
    if any(prior.score is None for prior in priors):
        return Neutral(None, source, told)
    scores = [(part, prior.score or 0.0) for part, prior in zip(counted, priors, strict=True)]
    paid = composition.paid(scores, composition.noise)
    low, high = span
    return Neutral(round(min(max(paid, low), high), DECIMALS), source, told)


def _told(part: Part, prior: Prior) -> str:
    score = "" if prior.score is None else f"{prior.score:g}, "
    return f"{part.judge.name} {score}{prior.told}"
