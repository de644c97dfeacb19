"""The report as Markdown, with the figure beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from service.alignment.report import CurveReport, Gap, Report, shown_recipe

COLUMNS: Final = (
    "steps",
    "items",
    "mean reward",
    "truth",
    "Spearman ρ",
    "Youden's J",
    "groups",
    "pairs",
    "flat groups",
    "commonest",
    "invalid",
    "abstain",
)
"""What ``cells`` has of a curve."""


def markdown(report: Report, figure: str | None) -> str:
    """The whole page.

    Args:
        report: what to say.
        figure: file name of the figure beside the page; None: none was drawn.
    """
    return "\n".join(_lines(report, figure)) + "\n"


def number(value: float, form: str = ".3f") -> str:
    """A figure, or a dash where it is not defined."""
    return "–" if math.isnan(value) else format(value, form)


def _lines(report: Report, figure: str | None) -> Iterator[str]:
    yield "# Reward and truth over a run\n"
    for curve in report.curves:
        yield f"- **{named(curve)}**: {escaped(curve.sentence)}"
    if figure:
        yield f"\n![reward and truth over steps]({figure})"
    yield "\n## What was read\n"
    yield from (f"- {escaped(line)}" for line in account(report))
    yield "\n## Curves\n"
    yield from _table(report.curves)
    yield "\nMeans over the first and the last window. J: Youden's J of a reward above "
    yield f"{report.choices.threshold:g} as a test of a right answer. Pairs: how often the right "
    yield "one of two completions in a group earns more. Flat groups: all rewards equal, which "
    yield "gives no gradient. Commonest: share of the commonest answer."
    if report.gaps:
        yield "\n## In distribution minus out of distribution\n"
        yield from _gaps(report.gaps)
    yield "\n## How it was judged\n"
    choices = report.choices
    yield (
        f"A run diverges where, in windows of w steps, the reward surely rises and the truth "
        f"surely gains less than {choices.share:g} of what the reward gains (in its own range): "
        f"least-squares slopes, one-sided bounds at {choices.level:.0%}, widened for "
        "autocorrelation, at w/2 successive steps. Spearman's ρ is over steps, its interval from "
        "a moving-block bootstrap."
    )


def named(curve: CurveReport) -> str:
    """Run, recipe and split of a curve."""
    splits = curve.split or "(no split)"
    if curve.truth_split != curve.split:
        splits = f"reward of {splits}, truth of {curve.truth_split}"
    recipe = shown_recipe(curve.profile, curve.profile_digest)
    return escaped(f"{curve.run or '(no run)'} · {recipe} · {splits}")


def printable(text: str) -> str:
    """Text of others on one line of a terminal: no control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def escaped(text: str) -> str:
    """Text of others within a table or a list: no markup, one line."""
    clean = printable(text)
    for mark in "\\`*_|<>[]":
        clean = clean.replace(mark, f"\\{mark}")
    return clean


def account(report: Report) -> Iterator[str]:
    """What became of lines, records and the join, in sentences."""
    files = f"{len(report.files)} files ({', '.join(report.files)})"
    yield f"{report.lines:,} lines of {report.files[0] if len(report.files) == 1 else files}"
    if report.malformed:
        yield _counted(report.malformed, "malformed lines, left out", report.malformed_examples)
    if report.without_step:
        examples = report.without_step_examples
        yield _counted(report.without_step, "items without a step, left out", examples)
    if report.repeated:
        yield f"{report.repeated:,} items were scored again in another request and count once"
    kind = "labelled rows" if report.truth_kind == "labels" else "values by step"
    yield f"truth: {report.truth_rows:,} {kind} of {report.truth_file} ({report.metric})"
    if report.truth_kind == "labels":
        yield f"{report.joined:,} items have a label"
    if report.without_truth:
        examples = report.without_truth_examples
        yield _counted(report.without_truth, "items have none", examples)
    yield from report.notes


def _counted(count: int, what: str, examples: Sequence[str]) -> str:
    more = "; …" if count > len(examples) else ""
    return f"{count:,} {what}: {'; '.join(examples)}{more}"


def _table(curves: Sequence[CurveReport]) -> Iterator[str]:
    yield f"| curve | {' | '.join(COLUMNS)} |"
    yield "|---|" + "---:|" * len(COLUMNS)
    for curve in curves:
        yield f"| {named(curve)} | {' | '.join(cells(curve))} |"


def cells(curve: CurveReport) -> list[str]:
    """The figures of a curve, in the order of the table."""
    rho = curve.spearman
    between = (
        f"{number(rho['rho'], '.2f')} [{number(rho['low'], '.2f')}, {number(rho['high'], '.2f')}]"
    )
    return [
        f"{curve.steps:,}",
        f"{curve.items:,}",
        f"{number(curve.reward_first)} → {number(curve.reward_last)}",
        f"{number(curve.truth_first)} → {number(curve.truth_last)}",
        between,
        number(curve.youden["j"], "+.2f"),
        f"{curve.groups['groups']:,.0f}",
        number(curve.groups["pairwise_accuracy"]),
        number(curve.groups["flat"], ".1%"),
        f"{number(curve.collapse_first, '.0%')} → {number(curve.collapse_last, '.0%')}",
        number(curve.shares["invalid"], ".1%"),
        number(curve.shares["abstain"], ".1%"),
    ]


def _gaps(gaps: Sequence[Gap]) -> Iterator[str]:
    yield "| run | recipe | gap | reward | truth |"
    yield "|---|---|---|---:|---:|"
    for gap in gaps:
        recipe = escaped(shown_recipe(gap.profile, gap.profile_digest))
        of = escaped(" − ".join(gap.of))
        yield (
            f"| {escaped(gap.run) or '(no run)'} | {recipe} | {of} "
            f"| {number(gap.reward_first, '+.3f')} → {number(gap.reward_last, '+.3f')} "
            f"| {number(gap.truth_first, '+.3f')} → {number(gap.truth_last, '+.3f')} |"
        )
