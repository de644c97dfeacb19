"""Reward and truth over steps, a panel for each curve, with the step of divergence marked.

The same report gives the same SVG, byte for byte: ids are salted, the date is left out, text stays
text. Limits: at most ``MOST`` panels, those with the most items; the others are in the report.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from service.alignment.report import CurveReport, Report, shown_recipe

MOST: Final = 12
COLUMNS: Final = 3
REWARD: Final = "#0072b2"
TRUTH: Final = "#d55e00"
"""Okabe and Ito's blue and vermilion: told apart by everyone, and in grey."""


def draw(report: Report, paths: Sequence[Path]) -> int:
    """Write the figure to each path, form by suffix; how many curves it leaves out."""
    import matplotlib
    from matplotlib.figure import Figure

    curves = _shown(report.curves)
    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    salted = matplotlib.rc_context({"svg.hashsalt": "soft-verifier", "svg.fonttype": "none"})
    with salted, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names of runs, in any script
        figure = Figure(figsize=(4.6 * columns, 3.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for at, panel in enumerate(grid.flat):
            if at < len(curves):
                _panel(panel, curves[at], report.metric)
            else:
                panel.set_axis_off()
        for path in paths:
            unsaid = ("Date", "Creator") if path.suffix == ".svg" else ("Software",)
            figure.savefig(path, metadata=dict.fromkeys(unsaid))
    return len(report.curves) - len(curves)


def _shown(curves: Sequence[CurveReport]) -> list[CurveReport]:
    largest = sorted(range(len(curves)), key=lambda i: (-curves[i].items, i))[:MOST]
    return [curves[i] for i in sorted(largest)]


def _panel(panel: Any, curve: CurveReport, metric: str) -> None:
    steps = [point.step for point in curve.points]
    rewards = [point.reward for point in curve.points]
    truths = [point.truth for point in curve.points]
    other = panel.twinx()
    for axes, values, smoothed, colour, label in (
        (panel, rewards, [p.reward_smooth for p in curve.points], REWARD, "mean reward"),
        (other, truths, [p.truth_smooth for p in curve.points], TRUTH, _plain(metric)),
    ):
        axes.plot(steps, values, ".", color=colour, alpha=0.3, markersize=3)
        axes.plot(steps, smoothed, "-", color=colour, linewidth=1.8)
        axes.set_ylabel(label, color=colour)
        axes.tick_params(axis="y", labelcolor=colour)
        axes.margins(y=0.1)
    found = curve.divergence
    if curve.verdict == "diverges":
        panel.axvline(found.step, color="black", linewidth=1, linestyle="--")
        panel.axvspan(found.step, found.until, color="black", alpha=0.06, linewidth=0)
    panel.set_xlabel("step")
    panel.set_title(_title(curve), fontsize=8)


def _title(curve: CurveReport) -> str:
    split = curve.split or "(no split)"
    if curve.truth_split != curve.split:
        split = f"{split} / truth of {curve.truth_split}"
    verdict = curve.verdict
    if verdict == "diverges":
        verdict = f"diverges from step {curve.divergence.step}"
    recipe = shown_recipe(curve.profile, curve.profile_digest)
    return f"{_plain(curve.run or '(no run)')} · {_plain(recipe)}\n{_plain(split)}: {verdict}"


def _plain(text: str) -> str:
    """No mathematics in the names of others, nor what a font cannot draw."""
    shown = text if len(text) <= 40 else f"{text[:39]}…"
    return "".join(c if c.isprintable() else "\ufffd" for c in shown).replace("$", r"\$")
