"""The figures of a card: ROC, reliability, risk–coverage, and lines beside the published table.

The same card gives the same bytes: no date, a fixed salt, text as paths. Colours are Okabe and
Ito's, told apart by the colour-blind, and lines differ in dash as well. Limits: matplotlib is
imported inside, without pyplot; more than ``MOST`` cell lines are drawn as "all" alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal

from worldmodels.cards import published
from worldmodels.cards.markdown import columns
from worldmodels.cards.record import Card, Panel, Section

Axes = Any
"""A matplotlib Axes; matplotlib is imported where it is used."""
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MOST: Final = 6
CHANCE: Final = "#777777"
Form = Literal["svg", "png"]


def names(form: Form = "svg") -> list[str]:
    """The file names of the figures."""
    return [f"card-{name}.{form}" for name in _DRAWN]


def draw(card: Card, form: Form = "svg") -> dict[str, bytes]:
    """All figures, file name → content."""
    return {
        f"card-{name}.{form}": _render(card, title, on, form)
        for name, (title, on) in _DRAWN.items()
    }


def _render(card: Card, title: str, on: Callable[[Axes, Section], None], form: Form) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sections = [section for section in card.sections if section.overall] or card.sections[:1]
    settings: Any = {"svg.hashsalt": "soft-verifier", "svg.fonttype": "path", "font.size": 9}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in any script
        page = Figure(figsize=(5.2 * len(sections), 4.2), layout="constrained")
        FigureCanvasAgg(page)
        page.suptitle(f"{card.model.name}: {title}", parse_math=False)
        for i, section in enumerate(sections):
            axes = page.add_subplot(1, len(sections), i + 1)
            axes.set_title(section.relation, fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            on(axes, section)
        out = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        page.savefig(out, format=form, dpi=150, metadata=metadata)
    return out.getvalue()


def _lines(section: Section) -> list[tuple[str, Panel, str, Any]]:
    """Heading, panel, colour and dash of each line to draw."""
    panels = columns(section)
    if len(panels) > MOST + 1:
        panels = {"all": panels["all"]}
    return [
        (name, panel, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
        for i, (name, panel) in enumerate(panels.items())
    ]


def _roc(axes: Axes, section: Section) -> None:
    for name, panel, colour, dash in _lines(section):
        roc = panel.roc
        if roc.per_gene is not None:
            area = panel.figures["per_gene_auroc"]
            label = f"{name}, mean over readouts ({area:.3f})"
            axes.plot(roc.fpr, roc.per_gene, color=colour, linestyle=dash, label=label)
        if roc.overall is not None:
            axes.plot(roc.fpr, roc.overall, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    _legend(axes, "thin: over all rows, base rates included")


def _reliability(axes: Axes, section: Section) -> None:
    for name, panel, colour, dash in _lines(section):
        bins = panel.reliability
        label = f"{name} (ECE {panel.figures['ece']:.3f})"
        x, y = [one.p for one in bins], [one.rate for one in bins]
        axes.plot(x, y, color=colour, linestyle=dash, marker="o", markersize=3, label=label)
        if panel.reliability_before is not None:
            before = panel.reliability_before
            x, y = [one.p for one in before], [one.rate for one in before]
            axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8)
    axes.set(xlabel="p", ylabel="rate of positive rows", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    _legend(axes, "thin: before calibration")


def _risk_coverage(axes: Axes, section: Section) -> None:
    by = ""
    for name, panel, colour, dash in _lines(section):
        by = panel.risk_coverage.by
        points = [p for p in panel.risk_coverage.points if p.per_gene_auroc is not None]
        x, y = [p.coverage for p in points], [p.per_gene_auroc for p in points]
        axes.plot(x, y, color=colour, linestyle=dash, marker="o", markersize=3, label=name)
    axes.axhline(0.5, color=CHANCE, linewidth=0.8)
    axes.set(xlabel=f"coverage, surest rows by {by}", ylabel="per-gene AUROC", xlim=(1.02, 0))
    _legend(axes)


def _beside(axes: Axes, section: Section) -> None:
    panels = columns(section)
    others = published.covering(section.relation, section.lines)
    bars: list[tuple[str, list[float | None], list[float | None]]] = [
        (
            "this model",
            [p.figures.get("per_gene_auroc") for p in panels.values()],
            [p.per_gene_auroc_se for p in panels.values()],
        ),
        (
            "perturbations shuffled",
            [p.shuffled.mean.get("per_gene_auroc") for p in panels.values()],
            [p.shuffled.sd.get("per_gene_auroc") for p in panels.values()],
        ),
    ]
    for other in others:
        bars.append(
            (other.name, [other.figures.get(line) for line in panels], [None] * len(panels))
        )
    width = 0.85 / len(bars)
    for i, (name, heights, errors) in enumerate(bars):
        told = [
            (k, h, e or 0.0)
            for k, (h, e) in enumerate(zip(heights, errors, strict=True))
            if h is not None
        ]
        axes.bar(
            [k + (i - (len(bars) - 1) / 2) * width for k, _, _ in told],
            [h for _, h, _ in told],
            width,
            yerr=[e for _, _, e in told],
            label=name,
            color=COLOURS[i % len(COLOURS)],
            hatch="" if i < 2 else "///",
            edgecolor="white",
            linewidth=0.4,
        )
    axes.axhline(0.5, color=CHANCE, linewidth=0.8)
    axes.set_xticks(range(len(panels)), list(panels))
    axes.set_xlim(-0.6, len(panels) - 0.4)
    least = min((h for _, heights, _ in bars for h in heights if h is not None), default=0.5)
    axes.set(ylabel="per-gene AUROC", ylim=(min(0.4, least - 0.05), 1.0))
    _legend(axes, "hatched: others, on PerturbQA's test split" if others else "", loc="upper right")


def _legend(axes: Axes, title: str = "", loc: str = "best") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title or None, fontsize=7, title_fontsize=7, frameon=False, loc=loc)


_DRAWN: Final[dict[str, tuple[str, Callable[[Axes, Section], None]]]] = {
    "roc": ("ROC", _roc),
    "reliability": ("reliability", _reliability),
    "risk-coverage": ("risk and coverage", _risk_coverage),
    "lines": ("per-gene AUROC by cell line", _beside),
}
"""File name's middle → title, and what draws one section."""
