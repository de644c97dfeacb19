"""Train ``screen``: kernel regression over gene graphs, stacked, calibrated and condensed.

What a perturbation does to a readout is told by what alike perturbations did to it and to readouts
that answer alike (``screen_kernel``, ``screen_evidence``); how much each of these counts is fitted
on perturbations that were held out (``screen_held_out``, ``screen_stack``, ``screen_heads``). The
families differ in what makes perturbations alike: all features, the network alone, or the gene sets
and names alone; between them lies the uncertainty. The result is a few factors per family and line
(``screen_condensing``). Deterministic for a seed and a version of the libraries.

Limits: memory grows with points² (5,500 points of four lines: about 2 GB), and perturbations
without any feature are known only where another line has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.core import Floats, quantise
from worldmodels.genes import GeneResolver
from worldmodels.graph.sources import Graphs
from worldmodels.perturbation import (
    screen_condensing,
    screen_evidence,
    screen_features,
    screen_heads,
    screen_held_out,
    screen_kernel,
    screen_marginal,
    screen_points,
)
from worldmodels.perturbation.screen_condensing import Asked, Weighed
from worldmodels.perturbation.screen_evidence import Combined
from worldmodels.perturbation.screen_factors import (
    POOLED,
    RELATIONS,
    Advance,
    Factors,
    Fitted,
    Half,
    Relation,
    Rows,
    Say,
    Single,
)
from worldmodels.perturbation.screen_features import Features
from worldmodels.perturbation.screen_heads import Asked as Question
from worldmodels.perturbation.screen_heads import Judged
from worldmodels.perturbation.screen_held_out import HeldOut, Screens
from worldmodels.perturbation.screen_kernel import Solver
from worldmodels.perturbation.screen_points import Codes, Mask
from worldmodels.perturbation.screen_stack import Weights

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "all": ("network", "pathways", "processes", "neighbours", "words"),
    "network": ("network", "neighbours"),
    "sets": ("pathways", "processes", "words"),
}
"""The feature blocks by which each family takes perturbations for alike."""
WIDTH: Final = {"all": (160, 96), "network": (16, 8), "sets": (16, 8)}
"""Dimensions of each family: through the kernel, and from other lines. The first family makes p;
the others are second opinions, for the uncertainty."""


def train(
    rows: Rows,
    graphs: Graphs,
    resolver: GeneResolver,
    *,
    within_line: bool,
    seed: int,
    say: Say,
    advance: Advance,
) -> Fitted:
    """Train on all rows; every figure is of perturbations held out from it in the same line.

    Args:
        rows: training rows of one or several lines.
        graphs: what ``sources.find`` found.
        resolver: resolves the graphs' spellings.
        within_line: a line learns from its own rows alone (the pooled one from all).
        seed: of features, folds and samples.
        say: told what is used.
        advance: told how far it is.

    Raises:
        ModelFault: graphs that teach nothing, or rows too few to hold any out.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):  # sums must not depend on the number of cores
        advance("features", 0.0)
        features = screen_features.build(graphs, resolver, seed, say)
        families: dict[str, tuple[str, ...]] = {}
        for name, wanted in FAMILIES.items():
            used = tuple(block for block in wanted if block in features.blocks)
            if used and used not in families.values():  # one family under two names spreads by 0
                families[name] = used
        return _trained(world(rows, features, within_line, seed), families, advance)


@dataclass(frozen=True, slots=True)
class World:
    """What every step of a training looks at."""

    screens: Screens
    perturbations: tuple[str, ...]
    blocks: Mapping[str, Single]
    """Features of the perturbations."""
    gene: Codes
    """Code of each perturbation into ``rows.genes``, −1 for those without training rows."""
    trained: Codes
    """The perturbations with training rows, in the order of their codes."""
    column: Codes
    """Place in ``trained`` of each point's perturbation."""
    seed: int

    @property
    def rows(self) -> Rows:
        """The training rows."""
        return self.screens.points.rows

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, the pooled one last."""
        return (*self.rows.lines, POOLED)

    def transfer(self, line: int) -> bool:
        """Whether other lines inform this one."""
        many = len(self.rows.lines) > 1
        return many and (line == len(self.rows.lines) or not self.screens.within_line)

    def featured(self) -> Mask:
        """Shape (lines + 1, perturbations): whether there is anything to answer by."""
        points = self.screens.points
        any_feature = np.any([block.any(axis=1) for block in self.blocks.values()], axis=0)
        found = np.tile(any_feature, (len(self.lines), 1))
        for line in range(len(self.lines)):
            if self.transfer(line):
                elsewhere = self.trained[self.column[points.line != line]]
                found[line, elsewhere] = True
        return np.asarray(found)


def world(rows: Rows, features: Features, within_line: bool, seed: int) -> World:
    """Training rows and features side by side, dealt to folds."""
    points = screen_points.of_rows(rows)
    codes = np.unique(points.perturbation)
    known = [rows.genes[code] for code in codes]
    perturbations = tuple(sorted({*features.genes, *known}))
    place = {name: i for i, name in enumerate(perturbations)}
    trained = np.array([place[name] for name in known], np.intp)
    gene = np.full(len(perturbations), -1, np.intp)
    gene[trained] = codes
    near = features.of([rows.genes[code] for code in points.genes])
    fold = screen_held_out.folds(points, seed)
    column = np.searchsorted(codes, points.perturbation)
    blocks = features.of(perturbations)
    screens = Screens(points, near, fold, within_line)
    return World(screens, perturbations, blocks, gene, trained, column, seed)


def likeness(world: World, blocks: tuple[str, ...]) -> Single:
    """K of all perturbations to the trained ones."""
    here = {name: world.blocks[name][world.trained] for name in blocks}
    product = screen_kernel.likeness(world.blocks, here, blocks)
    own = np.mean(sum((block**2).sum(axis=1) for block in here.values()))
    return screen_kernel.normalised(product, float(own))


def _held_out(
    world: World, alike: Single, told: Callable[[str, float], None]
) -> tuple[HeldOut, HeldOut]:
    """Terms for the lines and, by lines left out whole, for the pooled one."""
    between = alike[world.trained][:, world.column][world.column]
    runs = [("held-out perturbations", screen_held_out.by_fold)]
    if len(world.rows.lines) > 1:
        runs.append(("held-out lines", screen_held_out.by_line))
    found = []
    for number, (stage, run) in enumerate(runs):
        for step in run(world.screens, between):
            if isinstance(step, HeldOut):
                found.append(step)
            else:
                told(stage, (number + step) / len(runs))
    return found[0], found[-1]


def question(world: World, relation: str, line: int) -> Question:
    """The rows of a relation in a line, or in all lines for the pooled one."""
    rows, points = world.rows, world.screens.points
    inside = np.ones(len(rows), np.bool_) if line == len(rows.lines) else rows.line == line
    if relation == "perturbation.dir":
        inside &= rows.up >= 0
    at = np.flatnonzero(inside)
    labels = (rows.up if relation == "perturbation.dir" else rows.de)[at].astype(np.uint8)
    pooled = line == len(rows.lines) > 1
    fold = rows.line[at] if pooled else world.screens.fold[points.point[at]]
    return Question(at, labels, fold, rows.perturbation[at], points.readout[at])


def _condensed(
    world: World,
    family: str,
    alike: Single,
    solver: Solver,
    training: Mask,
    line: int,
    stacks: Sequence[Weights],
) -> list[tuple[Half, Half]]:
    """Factors of a family in a line, by stack."""
    points, pooled = world.screens.points, line == len(world.rows.lines)
    alone = 0 if len(world.rows.lines) == 1 else -1
    asked = Asked(alike, world.column, world.gene, alone if pooled else line)
    lesson = screen_evidence.taught(points, training, world.screens.near)
    habits = screen_evidence.habits(points, training, asked.line)
    names = screen_evidence.names(world.screens.near, world.transfer(line))
    # the stacks were fitted on counts of this share of what teaches now
    held = len(world.rows.lines) if asked.line < 0 else screen_held_out.FOLDS
    weighed = []
    for stack in stacks:
        weights, constant = stack.of_readouts(habits, share=1 - 1 / held)
        by_name = dict(zip(names, weights, strict=True))
        combined = Combined(lesson, habits.direction, by_name)
        weighed.append(Weighed(combined, constant, screen_condensing.stakes(habits)))
    width, transfer = WIDTH[family]
    if not world.transfer(line):  # the same product, spent on the kernel alone
        width, transfer = width + transfer, 0
    return screen_condensing.condense(
        points, solver, asked, weighed, width=width, transfer=transfer, seed=world.seed
    )


def _p0(world: World, relation: str, made: Relation, judged: Sequence[Judged]) -> Floats:
    """What a guess that is blind to the perturbation would say of each readout, by line.

    The mean of held-out p over the readout's listed rows, with the mean over all of the line's
    training perturbations counted as one row more: rows are listed because they change or were
    drawn, so the mean over unlisted ones alone would be another question's.
    """
    lines = world.screens.points.line
    chosen = [
        np.unique(world.trained[world.column[lines == line]])
        for line in range(len(world.rows.lines))
    ]
    found = screen_marginal.marginal(relation=made, chosen=[*chosen, world.trained])
    for line, one in enumerate(judged):
        asked = question(world, relation, line)
        size = found.shape[1]
        total = np.bincount(asked.readout, one.p, size)
        found[line] = (total + found[line]) / (np.bincount(asked.readout, minlength=size) + 1)
    return quantise(found)


def _trained(world: World, families: Mapping[str, tuple[str, ...]], advance: Advance) -> Fitted:
    lines = range(len(world.lines))
    solved = {name: likeness(world, blocks) for name, blocks in families.items()}
    stacks: dict[tuple[str, str, int], Weights] = {}
    log_odds: dict[tuple[str, int], list[Floats]] = {}
    for number, (name, alike) in enumerate(solved.items()):

        def told(stage: str, share: float, name: str = name, number: int = number) -> None:
            advance(f"{stage}, family {name}", 0.05 + 0.7 * (number + share) / len(solved))

        own, pooled = _held_out(world, alike, told)
        told("weights", 0.9)
        for line in lines:
            held_out = pooled if line == len(lines) - 1 else own
            names = screen_evidence.names(world.screens.near, world.transfer(line))
            for relation in RELATIONS:
                idle = [
                    place
                    for place, term in enumerate(names)
                    if term.startswith("strength") and relation == "perturbation.dir"
                ]  # how much a perturbation does is no word on which way
                found = screen_heads.stack(held_out, question(world, relation, line), idle)
                stacks[name, relation, line] = found[0]
                log_odds.setdefault((relation, line), []).append(found[1])
    judged = {
        key: screen_heads.judge(np.stack(each), question(world, *key), world.seed)
        for key, each in log_odds.items()
    }
    factors = _factors(world, solved, stacks, advance)
    relations = {
        relation: Relation(factors[relation], tuple(judged[relation, line].head for line in lines))
        for relation in RELATIONS
    }
    advance("blind guesses", 0.97)
    return Fitted(
        world.rows.lines,
        world.perturbations,
        tuple(world.rows.genes[code] for code in world.screens.points.genes),
        world.featured(),
        relations,
        {
            f"{relation.removeprefix('perturbation.')}.{world.lines[line]}.{figure}": value
            for (relation, line), one in judged.items()
            for figure, value in one.figures.items()
        },
        {
            relation: _p0(world, relation, made, [judged[relation, line] for line in lines])
            for relation, made in relations.items()
        },
    )


def _factors(
    world: World,
    solved: Mapping[str, Single],
    stacks: Mapping[tuple[str, str, int], Weights],
    advance: Advance,
) -> dict[str, dict[str, Factors]]:
    """Factors by relation and family, of shape (lines, …, k)."""
    points = world.screens.points
    made: dict[str, dict[str, Factors]] = {relation: {} for relation in RELATIONS}
    lines = range(len(world.lines))
    for number, (name, alike) in enumerate(solved.items()):
        between = alike[world.trained][:, world.column][world.column]
        kernel = screen_kernel.between(
            between, (points.line, points.line), (points.perturbation, points.perturbation)
        )
        parts: list[list[tuple[Half, Half]]] = []
        solver, before = None, None
        for line in lines:
            share = (number + line / len(lines)) / len(solved)
            advance(f"factors, family {name}", 0.75 + 0.22 * share)
            training = np.ones(len(points), np.bool_)
            if world.screens.within_line and line < len(world.rows.lines):
                training = points.line == line
            if solver is None or before is None or (before != training).any():
                solver, before = screen_kernel.Solver(kernel, training), training
            chosen = [stacks[name, relation, line] for relation in RELATIONS]
            parts.append(_condensed(world, name, alike, solver, training, line, chosen))
        for relation, pairs in zip(RELATIONS, zip(*parts, strict=True), strict=True):
            made[relation][name] = Factors(*(_stacked(side) for side in zip(*pairs, strict=True)))
    return made


def _stacked(tables: Sequence[Half]) -> Half:
    """Tables of one line each as one array; narrower ones get columns of zeros."""
    width = max(table.shape[1] for table in tables)
    return np.stack([np.pad(table, ((0, 0), (0, width - table.shape[1]))) for table in tables])
