"""What a replay found: how many lines of each kind, what changed, by how much, and in whose favour.

Differences are now − given, over the lines scored both times (status ok or invalid) whose digests
changed. Spearman's ρ is over all of these; *order* counts pairs of one group (of one run, step and
profile: what a policy gradient compares) whose strict order is kept, became a tie, or turned.
Limits: the rewards of all lines are kept in memory (about 100 bytes each).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import msgspec
import numpy as np

from service.audit_reading import Reading
from service.bookkeeping.difference import KINDS, Row
from service.likeness import Swap

BINS: Final = 41
SHOWN: Final = 5


class Change(msgspec.Struct, frozen=True):
    """Lines that went from one status and reason to another."""

    given: str
    now: str
    items: int
    scored: int
    """Of them with a reward both times."""
    mean_difference: float | None
    largest_difference: float | None
    """By size, with its sign."""


class Order(msgspec.Struct, frozen=True):
    """Pairs within groups that had a strict order."""

    kept: int
    tied: int
    turned: int


class Report(msgspec.Struct, frozen=True):
    """Everything that is said of a replay."""

    files: list[str]
    lines: int
    malformed: int
    malformed_examples: list[str]
    notes: list[str]
    profile: str | None
    """The recipe asked for; None: each line's own."""
    judged_by: str
    kinds: dict[str, int]
    unequal_examples: list[Row]
    unequal_largest: float | None
    swaps: list[dict[str, Any]]
    scored: int
    """Lines with changed digests and a reward both times: what the figures below are over."""
    moved: int
    mean_difference: float | None
    mean_absolute_difference: float | None
    largest_difference: float | None
    spearman: float | None
    """None where fewer than two, or one side is constant."""
    order: Order
    changes: list[Change]
    histogram_edges: list[float]
    histogram_counts: list[int]


@dataclass(slots=True)
class Tally:
    """Rows, summed up as they come."""

    kinds: Counter[str] = field(default_factory=Counter)
    unequal: list[Row] = field(default_factory=list)
    unequal_largest: float | None = None
    swaps: Counter[Swap] = field(default_factory=Counter)
    given: list[float] = field(default_factory=list)
    now: list[float] = field(default_factory=list)
    changes: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: dict[tuple[Any, ...], list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count one row."""
        self.kinds[row.kind] += 1
        if row.now is None:
            return
        difference = _difference(row)
        if row.kind == "unequal":
            if len(self.unequal) < SHOWN:
                self.unequal.append(row)
            if difference is not None:
                self.unequal_largest = max(self.unequal_largest or 0.0, abs(difference))
            return
        self.swaps.update(row.swaps)
        if row.kind not in ("changed", "unchanged", "error"):
            return
        ends = (f"{row.given.status} {row.given.reason}", f"{row.now.status} {row.now.reason}")
        if row.kind != "unchanged":
            self.counts[ends] += 1
            if difference is not None:
                self.changes.setdefault(ends, []).append(difference)
        if difference is None or row.kind == "error":
            return
        assert row.given.reward is not None
        assert row.now.reward is not None
        self.given.append(row.given.reward)
        self.now.append(row.now.reward)
        if row.group is not None:
            key = (row.run, row.step, row.profile, row.group)
            self.groups.setdefault(key, []).append((row.given.reward, row.now.reward))


def _difference(row: Row) -> float | None:
    if row.now is None or row.now.reward is None or row.given.reward is None:
        return None
    return row.now.reward - row.given.reward


def build(tally: Tally, reading: Reading, profile: str | None, judged_by: str) -> Report:
    """The report of what was tallied."""
    given, now = np.array(tally.given), np.array(tally.now)
    moved = now - given
    edges, counts = _histogram(moved)
    return Report(
        files=reading.files,
        lines=reading.lines,
        malformed=reading.malformed,
        malformed_examples=reading.examples,
        notes=reading.notes,
        profile=profile,
        judged_by=judged_by,
        kinds={kind: tally.kinds[kind] for kind in KINDS},
        unequal_examples=tally.unequal,
        unequal_largest=tally.unequal_largest,
        swaps=[
            {"what": swap.what, "given": swap.given, "now": swap.now, "items": items}
            for swap, items in tally.swaps.most_common()
        ],
        scored=len(given),
        moved=int((moved != 0.0).sum()),
        mean_difference=float(moved.mean()) if len(moved) else None,
        mean_absolute_difference=float(abs(moved).mean()) if len(moved) else None,
        largest_difference=_largest(moved),
        spearman=_spearman(given, now),
        order=_order(tally),
        changes=_changes(tally),
        histogram_edges=edges,
        histogram_counts=counts,
    )


def _largest(moved: Any) -> float | None:
    return float(moved[np.argmax(abs(moved))]) if len(moved) else None


def _spearman(given: Any, now: Any) -> float | None:
    if len(given) < 2 or np.ptp(given) == 0.0 or np.ptp(now) == 0.0:
        return None
    from scipy.stats import spearmanr

    found = float(spearmanr(given, now).statistic)
    return found if math.isfinite(found) else None


def _order(tally: Tally) -> Order:
    kept = tied = turned = 0
    for group in tally.groups.values():
        for (given, now), (other_given, other_now) in combinations(group, 2):
            if given == other_given:
                continue
            sign = (given - other_given) * (now - other_now)
            kept += sign > 0
            tied += sign == 0
            turned += sign < 0
    return Order(kept, tied, turned)


def _changes(tally: Tally) -> list[Change]:
    found = []
    for ends, items in tally.counts.most_common():
        moved = np.array(tally.changes.get(ends, []))
        mean = float(moved.mean()) if len(moved) else None
        found.append(Change(*ends, items, len(moved), mean, _largest(moved)))
    return found


def _histogram(moved: Any) -> tuple[list[float], list[int]]:
    """Bins about 0, so that what did not move stands in the middle one."""
    if not len(moved):
        return [], []
    reach = max(float(abs(moved).max()), 1e-6)
    edges = np.linspace(-reach, reach, BINS + 1)
    return edges.tolist(), np.histogram(moved, edges)[0].tolist()


def markdown(report: Report, figure: str | None) -> str:
    """The report as a page."""
    lines = ["# Replay", "", *(f"* {line}" for line in account(report)), ""]
    lines += ["| lines | of kind |", "|---:|---|"]
    lines += [f"| {report.kinds[kind]:,} | {said} |" for kind, said in KINDS.items()]
    if report.swaps:
        lines += ["", "## Digests that changed", "", "| what | given | now | lines |"]
        lines += ["|---|---|---|---:|"]
        for swap in report.swaps:
            ends = " | ".join(str(swap[end])[:23] for end in ("given", "now"))
            lines.append(f"| {cell(swap['what'])} | {ends} | {swap['items']:,} |")
    if report.changes:
        lines += ["", "## Changes by reason", "", "| given | now | lines | mean Δ | largest Δ |"]
        lines += ["|---|---|---:|---:|---:|", *(f"| {' | '.join(c)} |" for c in cells(report))]
    if report.unequal_examples:
        lines += ["", "## Another reward under the same digests", ""]
        lines += [f"* {example(row)}" for row in report.unequal_examples]
    if figure is not None:
        lines += ["", f"![Differences, and rewards beside each other]({figure})"]
    return "\n".join(lines) + "\n"


def account(report: Report) -> list[str]:
    """What was found, in sentences."""
    said = [f"{report.lines:,} lines of {', '.join(report.files)}, judged by {report.judged_by}"]
    if report.malformed:
        first = report.malformed_examples[0]
        said.append(f"{report.malformed:,} lines are malformed, e.g. {first}")
    said += report.notes
    unscored = sum(report.kinds[kind] for kind in ("no_completion", "no_item", "no_profile"))
    if unscored:
        said.append(f"{unscored:,} lines could not be scored again and are in no figure below")
    if report.scored:
        order = report.order
        pairs = order.kept + order.tied + order.turned
        rank = "undefined" if report.spearman is None else f"{report.spearman:.4f}"
        said.append(
            f"{report.moved:,} of {report.scored:,} rewards under changed digests moved: mean Δ "
            f"{number(report.mean_difference)}, mean |Δ| "
            f"{number(report.mean_absolute_difference)}, largest "
            f"{number(report.largest_difference)}; Spearman's ρ {rank}"
        )
        if pairs:
            said.append(
                f"of {pairs:,} ordered pairs within groups {order.kept:,} keep their order, "
                f"{order.tied:,} became ties, {order.turned:,} turned"
            )
    return said


def cells(report: Report) -> list[Sequence[str]]:
    """The table of changes: given, now, lines, mean and largest difference."""
    return [
        (c.given, c.now, f"{c.items:,}", number(c.mean_difference), number(c.largest_difference))
        for c in report.changes
    ]


def example(row: Row) -> str:
    """One line whose reward differs though nothing else does."""
    assert row.now is not None
    step = "" if row.step is None else f" step {row.step}"
    where = f"{row.run or '(no run)'}{step} {row.profile} id {row.id!r}"
    return cell(
        f"{where}: {row.given.status} {row.given.reward} was given, {row.now.status} "
        f"{row.now.reward} now ({', '.join(row.differs[:SHOWN])})"
    )


def number(value: float | None) -> str:
    """A signed figure, or a dash."""
    return "–" if value is None else f"{value:+.6g}"


def cell(text: str) -> str:
    """Names come from requests: nothing of Markdown or of a terminal in them."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown.replace("|", "\\|").replace("<", "&lt;")
