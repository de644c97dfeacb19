"""What came of it: a table of truth on held-out perturbations, and reward and truth over steps.

Every policy and verifier is judged by the same held-out pairs: per-gene AUROC (the mean over
readouts of the AUROC across perturbations; ½ for whoever does not look at the perturbation) with
its standard error by bootstrap over perturbations, and F1, MCC and the share of "yes" at p ≥ ½.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import metrics

Scores = NDArray[np.floating[Any]]
SMOOTHED: Final = 10
"""Steps in the running mean of the figure's rewards."""
FIGURES: Final = ("per_gene_auroc", "auroc", "f1", "mcc", "yes")


@dataclass(frozen=True)
class Judge:
    """Held-out pairs in codes; judges scores of them."""

    readouts: NDArray[np.intp]
    perturbations: NDArray[np.intp]
    labels: NDArray[np.intp]

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str, int]]) -> Judge:
        """Codes of the pairs."""
        perturbations, readouts, labels = zip(*pairs, strict=True)
        return cls(
            np.unique(readouts, return_inverse=True)[1],
            np.unique(perturbations, return_inverse=True)[1],
            np.array(labels),
        )

    def counting(self) -> NDArray[np.intp]:
        """Rows of readouts that have both classes: no others count for the per-gene AUROC."""
        each = metrics.auroc_of_each(self.readouts, self.labels, np.zeros(len(self.labels)))
        return np.flatnonzero(~np.isnan(each)[self.readouts])

    def truth(self, p: Scores) -> float:
        """Per-gene AUROC."""
        return metrics.per_gene_auroc(self.readouts, self.labels, p)

    def row(self, p: Scores) -> dict[str, float]:
        """All figures of the table."""
        decided = metrics.decisions(self.labels, p)
        return {
            "per_gene_auroc": self.truth(p),
            "standard_error": metrics.standard_error(
                self.readouts, self.labels, p, self.perturbations
            ),
            "auroc": metrics.auroc(self.labels, p),
            "f1": decided["f1"],
            "mcc": decided["mcc"],
            "yes": float((p >= 0.5).mean()),
        }


def base_rates(
    train: Sequence[tuple[str, str, int]], asked: Sequence[tuple[str, str, int]]
) -> Scores:
    """How often each readout changed in training, drawn to the mean as by one more row."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for _, readout, label in train:
        counts[readout][0] += label
        counts[readout][1] += 1
    mean = sum(label for *_, label in train) / len(train)
    return np.array([(counts[b][0] + mean) / (counts[b][1] + 1) for _, b, _ in asked])


def read_run(folder: Path) -> dict[str, Any]:
    """Rewards by step, p of the counting pairs at some steps, and of all at the end."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    with np.load(folder / "scores.npz") as held:
        return {"history": rows, **{key: held[key] for key in held.files}}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown."""
    lines = [
        "| | per-gene AUROC | AUROC | F1 | MCC | says yes |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        told = [_figure(row[key]) for key in FIGURES]
        told[0] += f" ± {row['standard_error']:.3f}"
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def draw(runs: Mapping[str, Mapping[str, Any]], levels: Mapping[str, float], path: Path) -> None:
    """Mean reward and held-out per-gene AUROC over steps, a line for each run.

    Args:
        runs: name → ``history``, and ``truth`` at ``steps``.
        levels: name → per-gene AUROC of a verifier, a dotted line.
        path: SVG or PNG.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "rbio-miniature", "font.size": 9}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        for number, (name, run) in enumerate(runs.items()):
            colour = f"C{number}"
            steps = [row["step"] for row in run["history"]]
            rewards = np.array([row["reward"] for row in run["history"]])
            left.plot(steps, rewards, color=colour, alpha=0.25, linewidth=0.7)
            left.plot(steps, _smooth(rewards), color=colour, label=name)
            right.plot(
                run["steps"], run["truth"], color=colour, marker="o", markersize=3, label=name
            )
        for number, (name, level) in enumerate(levels.items()):
            right.axhline(level, color=f"C{number}", linestyle=":", label=f"{name}, the verifier")
        right.axhline(0.5, color="0.5", linewidth=0.8, label="base rate")
        left.set(xlabel="step", ylabel="mean reward", title="reward")
        right.set(xlabel="step", ylabel="per-gene AUROC, held out", title="truth")
        right.legend(fontsize=7)
        left.legend(fontsize=7)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _smooth(values: Scores) -> Scores:
    """The mean of the last few values, of fewer at the start."""
    sums = np.cumsum(np.append(0.0, values))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - SMOOTHED, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))
