"""Make the sections of a card: ask the model, ask it again with perturbations shuffled, compare.

The shuffled control permutes the perturbations within each cell line and asks the model anew: a
model whose answer depends on the readout alone gives the same figures, and an oracle falls to
chance. It is part of every card. Limits: a model is asked (1 + permutations) × rows times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels import metrics, reliability
from worldmodels.cards.columns import (
    Advance,
    Answered,
    Codes,
    Questions,
    ask,
    join,
    questions,
    with_probability,
)
from worldmodels.cards.panels import codes_of_terciles, frequencies, noise, number, panel
from worldmodels.cards.record import Panel, Section, Stratum
from worldmodels.core import RELATIONS, Floats, ModelFault, Status, Verdicts, WorldModel
from worldmodels.perturbation.tables import EffectTable

THIRDS: Final = ("low", "middle", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a card is made."""

    permutations: int = 5
    """Shuffles of the perturbations; at least 1."""
    resamples: int = 200
    """Draws of perturbations for the standard error."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.permutations < 1:
            raise ModelFault(
                "the shuffled-perturbation control is part of every card; give at least 1 "
                "permutation (--shuffle-control)"
            )


def section(
    model: WorldModel,
    relation: str,
    table: EffectTable,
    settings: Settings,
    advance: Advance = lambda _: None,
) -> Section:
    """All figures of one relation.

    Args:
        model: the world model.
        relation: one that it answers.
        table: labelled rows.
        settings: how.
        advance: told how many more rows have been asked, (1 + permutations) × rows in all.

    Raises:
        ModelFault: a relation that the model does not answer, or answers of a wrong length.
    """
    model.spec.check_relation(relation)
    asked = questions(table)
    said = ask(model, relation, asked, advance=advance)
    rows = join(asked, said)
    shuffled = [
        join(asked, ask(model, relation, asked, subjects, advance))
        for subjects in shuffles(asked, settings)
    ]
    codes, counts = np.unique(said.status, return_counts=True)
    blind = _with_blind_guesses(asked, said)
    panels = dict(_by_line(asked, rows, shuffled, blind, settings))
    alone = len(asked.lines) == 1
    return Section(
        relation=relation,
        question=RELATIONS[relation],
        splits=list(table.splits),
        lines=list(asked.lines),
        rows=len(table),
        answered=len(rows),
        statuses={Status(c).name: int(n) for c, n in zip(codes, counts, strict=True)},
        overall=next(iter(panels.values()), None)
        if alone
        else _panel(rows, shuffled, asked, blind, settings),
        by_line=panels,
        strata=list(_strata(asked, rows)),
        reliable=reliability.by_line(asked.lines, rows.line, rows.p, rows.p0),
    )


def shuffles(asked: Questions, settings: Settings) -> Iterator[list[str]]:
    """The perturbation of each row, permuted among the perturbations of its cell line."""
    for number_ in range(settings.permutations):
        rng = np.random.default_rng([settings.seed, number_])
        other = asked.perturbation.copy()
        for line in range(len(asked.lines)):
            at = asked.line == line
            own, row = np.unique(asked.perturbation[at], return_inverse=True)
            other[at] = rng.permutation(own)[row]
        yield [asked.perturbations[code] for code in other]


def _by_line(
    asked: Questions,
    rows: Answered,
    shuffled: Sequence[Answered],
    blind: Floats,
    settings: Settings,
) -> Iterator[tuple[str, Panel]]:
    for code, line in enumerate(asked.lines):
        of_line = rows.take(rows.line == code)
        others = [one.take(one.line == code) for one in shuffled]
        if made := _panel(of_line, others, asked, blind, settings, asked.line == code):
            yield line, made


def _panel(
    rows: Answered,
    shuffled: Sequence[Answered],
    asked: Questions,
    blind: Floats,
    settings: Settings,
    of: np.ndarray | None = None,
) -> Panel | None:
    if not len(rows):
        return None
    at = slice(None) if of is None else of
    of_all = metrics.per_gene_auroc(asked.readout[at], asked.table.labels[at], blind[at])
    return panel(rows, shuffled, of_all, resamples=settings.resamples, seed=settings.seed)


def _with_blind_guesses(asked: Questions, said: Verdicts) -> Floats:
    """p, and for unanswered rows the mean p of the readout's answered ones. Shape (n,)."""
    kept = with_probability(said)
    if not kept.any():
        return np.zeros(len(asked))
    size = int(asked.readout.max()) + 1
    count = np.bincount(asked.readout[kept], minlength=size)
    total = np.bincount(asked.readout[kept], said.p[kept], size)
    mean = np.where(count > 0, total / np.maximum(count, 1), said.p[kept].mean())
    return np.asarray(np.where(kept, said.p, mean[asked.readout]), np.float64)


def _strata(asked: Questions, rows: Answered) -> Iterator[Stratum]:
    if not len(rows):
        return
    yield _stratum("all", "all", rows)
    for code, line in enumerate(asked.lines):
        if len(of_line := rows.take(rows.line == code)):
            yield _stratum("cell line", line or "any", of_line)
    base = frequencies(rows) if rows.p0 is None else rows.p0
    by = "base rate of the readout, " + ("in the data" if rows.p0 is None else "p0")
    yield from _thirds(by, rows, rows.readout, base)
    for status in np.unique(rows.status) if len(np.unique(rows.status)) > 1 else ():
        yield _stratum("status", Status(status).name, rows.take(rows.status == status))
    if rows.uncertainty is not None:
        each = rows.line * (int(rows.perturbation.max()) + 1) + rows.perturbation
        yield from _thirds("uncertainty of the perturbation", rows, each, rows.uncertainty)


def _thirds(by: str, rows: Answered, groups: Codes, values: Floats) -> Iterator[Stratum]:
    """Rows by the thirds of their groups, which are ranked by the mean value of their rows."""
    _, group = np.unique(groups, return_inverse=True)
    mean = np.bincount(group, values) / np.bincount(group)
    third = codes_of_terciles(mean)
    for code, name in enumerate(THIRDS):
        if len(kept := rows.take(third[group] == code)):
            within = mean[third == code]
            yield _stratum(by, name, kept, (float(within.min()), float(within.max())))


def _stratum(
    by: str, value: str, rows: Answered, bounds: tuple[float, float] | None = None
) -> Stratum:
    return Stratum(
        by=by,
        value=value,
        bounds=None if bounds is None else (round(bounds[0], 6), round(bounds[1], 6)),
        n=len(rows),
        base_rate=round(float(rows.labels.mean()), 6),
        per_gene_auroc=number(metrics.per_gene_auroc(rows.readout, rows.labels, rows.p)),
        prob=noise(rows.labels, rows.p >= 0.5),
        lift=None if rows.p0 is None else noise(rows.labels, rows.p > rows.p0),
    )
