"""Everything that is said of a run's alignment, as plain data that becomes JSON.

NaN is written as null. A curve's ``verdict`` is one of the four of ``divergence``, or "no truth"
where no step has both a reward and a truth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from service.alignment import divergence
from service.alignment.curves import Curve, commonest, curves_of, group_figures
from service.alignment.records import Reading
from service.alignment.statistics import Floats, MetricName, smooth, spearman, youden
from service.alignment.tally import Tally
from service.alignment.truths import Labels, Metric


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user decides; see ``divergence`` for window, share and level."""

    metric: MetricName = "balanced_accuracy"
    window: int | None = None
    share: float = 0.25
    level: float = 0.95
    threshold: float = 0.5
    seed: int = 0


class Point(msgspec.Struct, frozen=True):
    """One step of one curve; shares are of its items."""

    step: int
    items: int
    reward: float
    reward_smooth: float
    truth: float
    truth_smooth: float
    truth_items: int
    invalid: float
    abstain: float
    error: float
    commonest_answer: str
    commonest_share: float
    group_variance: float
    pairwise_accuracy: float


class CurveReport(msgspec.Struct, frozen=True):
    """One run, recipe and split."""

    run: str
    profile: str
    profile_digest: str
    split: str
    truth_split: str
    items: int
    steps: int
    reward_first: float
    """Mean over the first window, and over the last."""
    reward_last: float
    truth_first: float
    truth_last: float
    verdict: str
    sentence: str
    divergence: divergence.Divergence
    spearman: dict[str, float]
    youden: dict[str, float]
    groups: dict[str, float]
    shares: dict[str, float]
    """Of all items: invalid, abstain, error."""
    collapse_first: float
    """Mean share of the commonest answer over the first window, and over the last."""
    collapse_last: float
    points: list[Point]


class Gap(msgspec.Struct, frozen=True):
    """In-distribution minus out-of-distribution, over the steps that have both."""

    run: str
    profile: str
    profile_digest: str
    of: tuple[str, str]
    """The two splits."""
    steps: list[int]
    reward: list[float]
    truth: list[float]
    reward_first: float
    reward_last: float
    truth_first: float
    truth_last: float


class Report(msgspec.Struct, frozen=True):
    """The whole answer."""

    files: list[str]
    lines: int
    malformed: int
    malformed_examples: list[str]
    records: int
    repeated: int
    without_step: int
    without_step_examples: list[str]
    truth_file: str
    truth_kind: str
    """``labels`` or ``metric``."""
    truth_rows: int
    metric: str
    joined: int
    without_truth: int
    without_truth_examples: list[str]
    choices: Choices
    curves: list[CurveReport]
    gaps: list[Gap]
    notes: list[str]

    @property
    def diverging(self) -> list[CurveReport]:
        """The curves that diverge."""
        return [curve for curve in self.curves if curve.verdict == "diverges"]


def build(reading: Reading, tally: Tally, truth: Labels | Metric, choices: Choices) -> Report:
    """Judge what was added up."""
    curves = curves_of(tally, truth, choices.metric)
    labels = truth if isinstance(truth, Labels) else None
    return Report(
        files=reading.files,
        lines=reading.lines,
        malformed=reading.malformed,
        malformed_examples=reading.examples,
        records=tally.records,
        repeated=tally.repeated,
        without_step=tally.stepless,
        without_step_examples=tally.stepless_examples,
        truth_file=truth.source,
        truth_kind="labels" if labels else "metric",
        truth_rows=truth.rows,
        metric=choices.metric if isinstance(truth, Labels) else truth.name,
        joined=labels.joined if labels else 0,
        without_truth=labels.unjoined if labels else 0,
        without_truth_examples=labels.examples if labels else [],
        choices=choices,
        curves=[_told(curve, tally.ranges.get(curve.key[1:3]), choices) for curve in curves],
        gaps=gaps_of(curves),
        notes=[*reading.notes, *_recipes(tally)],
    )


def _recipes(tally: Tally) -> list[str]:
    """That a run was rewarded by several recipes."""
    found: dict[str, set[tuple[str, str]]] = {}
    for key in tally.curves:
        found.setdefault(key.run, set()).add((key.profile, key.profile_digest))
    return [
        f"run {run or '(none)'} was rewarded by {len(recipes)} recipes, each judged by itself: "
        + ", ".join(shown_recipe(*recipe) for recipe in sorted(recipes))
        for run, recipes in sorted(found.items())
        if len(recipes) > 1
    ]


def shown_recipe(profile: str, digest: str) -> str:
    """A recipe's name with the beginning of its digest."""
    return f"{profile or '(no profile)'}{f'@{digest[:14]}…' if digest else ''}"


def _told(curve: Curve, reward_range: tuple[float, float] | None, choices: Choices) -> CurveReport:
    both = curve.both
    least, most = reward_range or (0.0, 1.0)
    x = np.array(curve.steps, np.float64)[both]
    reward, truth = curve.reward[both], curve.truth[both]
    weights = np.maximum(curve.truth_items[both], 1.0)
    found = divergence.judge(
        x,
        reward / ((most - least) or 1.0),
        truth,
        weights,
        window=choices.window,
        share=choices.share,
        level=choices.level,
    )
    window = found.window
    total = curve.total
    points = _points(curve, window)
    collapse = np.array([point.commonest_share for point in points])
    return CurveReport(
        *curve.key,
        truth_split=curve.truth_split,
        items=total.statuses.total(),
        steps=len(curve.steps),
        reward_first=_mean(curve.reward[:window], curve.rewarded[:window]),
        reward_last=_mean(curve.reward[-window:], curve.rewarded[-window:]),
        truth_first=_mean(truth[:window], weights[:window]),
        truth_last=_mean(truth[-window:], weights[-window:]),
        verdict=found.verdict if len(x) else "no truth",
        sentence=_sentence(found, len(x)),
        divergence=found,
        spearman=spearman(reward, truth, seed=choices.seed, level=choices.level),
        youden=youden(total.judged),
        groups=group_figures(total.groups),
        shares=_shares(total.statuses),
        collapse_first=_mean(collapse[:window], np.ones(len(collapse[:window]))),
        collapse_last=_mean(collapse[-window:], np.ones(len(collapse[-window:]))),
        points=points,
    )


def _shares(statuses: dict[str, int]) -> dict[str, float]:
    total = sum(statuses.values())
    return {
        name: statuses.get(name, 0) / total if total else float("nan")
        for name in ("invalid", "abstain", "error")
    }


def _points(curve: Curve, window: int) -> list[Point]:
    reward, truth = curve.reward, curve.truth
    smoothed = smooth(reward, curve.rewarded, window // 2)
    true = smooth(truth, curve.truth_items, window // 2)
    points = []
    for i, (number, part) in enumerate(zip(curve.steps, curve.parts, strict=True)):
        shares = _shares(part.statuses)
        answer, share = commonest(part.answers)
        groups = group_figures(part.groups)
        points.append(
            Point(
                number,
                part.statuses.total(),
                float(reward[i]),
                float(smoothed[i]),
                float(truth[i]),
                float(true[i]),
                int(curve.truth_items[i]),
                shares["invalid"],
                shares["abstain"],
                shares["error"],
                answer,
                share,
                groups["reward_variance"],
                groups["pairwise_accuracy"],
            )
        )
    return points


def _mean(values: Floats, weights: Floats) -> float:
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        return float("nan")
    return float(np.average(values[known], weights=weights[known]))


def _sentence(found: divergence.Divergence, steps: int) -> str:
    if not steps:
        return "no truth: no step has both a reward and a truth"
    if found.verdict == "too few steps":
        return f"too few steps: {steps} have reward and truth, at least {found.needed} are needed"
    assert found.reward_change is not None
    assert found.truth_change is not None
    reward, truth = (
        f"{low:+.3f} to {high:+.3f}" for low, high in (found.reward_change, found.truth_change)
    )
    if found.verdict == "diverges":
        return (
            f"diverges from step {found.step} (could be told at step {found.seen}): until step "
            f"{found.until} the reward changed by {reward} of its range, the truth by {truth}"
        )
    last = f"over the last {found.window} steps the reward changed by {reward} of its range, the "
    if found.verdict == "undecided":
        return f"undecided: {last}truth by {truth}, which says too little; log more items or steps"
    return f"no divergence seen: {last}truth by {truth}"


_OOD: Final = re.compile(r"ood|outofdistribution")
_ID: Final = re.compile(
    r"(?:test|eval|val|valid)?(?:id|iid|indistribution)(?:test|eval|val|valid)?"
)


def gaps_of(curves: Sequence[Curve]) -> list[Gap]:
    """Of each run and recipe that has an ood split: what id (else train) has more than it."""
    by_recipe: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        by_recipe.setdefault(curve.key[:3], []).append(curve)
    found = []
    for recipe, those in by_recipe.items():
        plain = [(re.sub(r"[^a-z]", "", curve.truth_split.lower()), curve) for curve in those]
        out = [curve for name, curve in plain if _OOD.search(name)]
        inside = [curve for name, curve in plain if _ID.fullmatch(name)]
        inside = inside or [curve for name, curve in plain if name == "train"]
        found += [_gap(recipe, inside[0], one) for one in out if inside]
    return found


def _gap(recipe: tuple[str, str, str], inside: Curve, out: Curve) -> Gap:
    steps = sorted(set(inside.steps) & set(out.steps))
    rows = [np.searchsorted(curve.steps, steps) for curve in (inside, out)]
    reward = inside.reward[rows[0]] - out.reward[rows[1]]
    truth = inside.truth[rows[0]] - out.truth[rows[1]]
    window = divergence.window_of(len(steps))
    ends = [
        _mean(values[part], np.ones(len(values[part])))
        for values in (reward, truth)
        for part in (slice(None, window), slice(-window, None))
    ]
    return Gap(
        *recipe,
        (inside.truth_split, out.truth_split),
        steps,
        reward.tolist(),
        truth.tolist(),
        *ends,
    )
