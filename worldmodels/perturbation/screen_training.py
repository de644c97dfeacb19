"""Train ``screen``: kernel regression over gene graphs, weighed up by nets and trees, calibrated.

What a perturbation does to a readout is told by what alike perturbations did to it and to readouts
that answer alike (``screen_kernel``, ``screen_evidence``), and by what it did in other lines. The
families differ in what makes perturbations alike: all features, the network alone, or the gene sets
and names alone. How much each of these terms counts is learnt by small nets and boosted trees from
perturbations that were held out (``screen_held_out``, ``screen_nets``, ``screen_trees``,
``screen_heads``). Deterministic for a seed and
a version of the libraries.

Limits: memory grows with points² (5,500 points of four lines: about 3 GB), and perturbations
without any feature are known only where another line has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.core import Floats
from worldmodels.genes import GeneResolver
from worldmodels.graph.sources import Graphs
from worldmodels.perturbation import (
    screen_features,
    screen_heads,
    screen_held_out,
    screen_inputs,
    screen_kernel,
    screen_marginal,
    screen_points,
)
from worldmodels.perturbation.screen_ensemble import Ensemble
from worldmodels.perturbation.screen_features import Features
from worldmodels.perturbation.screen_fitted import Fitted, Lesson, Relation
from worldmodels.perturbation.screen_heads import Asked, Judged
from worldmodels.perturbation.screen_held_out import HeldOut, Screens
from worldmodels.perturbation.screen_kernel import Solver
from worldmodels.perturbation.screen_points import Codes, Mask
from worldmodels.perturbation.screen_rows import POOLED, RELATIONS, Advance, Rows, Say, Single

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "all": ("network", "pathways", "processes", "neighbours", "words"),
    "network": ("network", "neighbours"),
    "sets": ("pathways", "processes", "words"),
}
"""The feature blocks by which each family takes perturbations for alike."""


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
        seed: of features, folds, nets, trees and samples.
        say: told what is used.
        advance: told how far it is.

    Raises:
        ModelFault: graphs that teach nothing, or rows too few to hold any out.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):  # sums must not depend on the number of cores
        advance("features", 0.0)
        features = screen_features.build(graphs, resolver, seed, say)
        return _trained(world(rows.ordered(), features, within_line, seed), advance)


@dataclass(frozen=True, slots=True)
class World:
    """What every step of a training looks at."""

    screens: Screens
    perturbations: tuple[str, ...]
    blocks: Mapping[str, Single]
    """Features of the perturbations."""
    families: Mapping[str, tuple[str, ...]]
    """Of ``FAMILIES`` those whose features are there."""
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
    near = features.of([rows.genes[code] for code in points.genes])
    fold = screen_held_out.folds(points, seed)
    column = np.searchsorted(codes, points.perturbation)
    families: dict[str, tuple[str, ...]] = {}
    for name, wanted in FAMILIES.items():
        used = tuple(block for block in wanted if block in features.blocks)
        if used and used not in families.values():  # one family under two names says nothing new
            families[name] = used
    blocks, screens = features.of(perturbations), Screens(points, near, fold, within_line)
    return World(screens, perturbations, blocks, families, trained, column, seed)


def likeness(world: World, blocks: tuple[str, ...]) -> Single:
    """K between the points' perturbations, shape (points, points)."""
    here = {name: world.blocks[name][world.trained] for name in blocks}
    product = screen_kernel.likeness(here, here, blocks)
    diagonal = screen_kernel.diagonal(world.blocks, blocks, world.trained)
    alike = screen_kernel.normalised(product, diagonal)
    return alike[world.column][:, world.column]


def held_out(world: World, alike: Sequence[Single], advance: Advance) -> tuple[HeldOut, HeldOut]:
    """Terms for the lines and, by lines left out whole, for the pooled one."""
    runs = [("held-out perturbations", screen_held_out.by_fold)]
    if len(world.rows.lines) > 1:
        runs.append(("held-out lines", screen_held_out.by_line))
    found = []
    for number, (stage, run) in enumerate(runs):
        for step in run(world.screens, alike):
            if isinstance(step, HeldOut):
                found.append(step)
            else:
                advance(stage, 0.05 + 0.45 * (number + step) / len(runs))
    return found[0], found[-1]


def question(world: World, relation: str, lines: Sequence[int]) -> Asked:
    """The rows of a relation in some lines; of the pooled one, all rows with lines for folds."""
    rows, points = world.rows, world.screens.points
    pooled = len(rows.lines) in lines
    inside = np.ones(len(rows), np.bool_) if pooled else np.isin(rows.line, lines)
    if relation == "perturbation.dir":
        inside &= rows.up >= 0
    at = np.flatnonzero(inside)
    labels = (rows.up if relation == "perturbation.dir" else rows.de)[at].astype(np.uint8)
    alone = len(rows.lines) == 1
    fold = rows.line[at] if pooled and not alone else world.screens.fold[points.point[at]]
    line = np.full(len(at), len(rows.lines)) if pooled else rows.line[at]
    return Asked(at, labels, line, fold, rows.perturbation[at], points.readout[at])


def inputs(world: World, relation: str, held_out: HeldOut, asked: Asked) -> Single:
    """What nets and trees are told of the rows that are asked."""
    placed = None
    if relation == screen_inputs.PLACED:
        column = world.column[world.screens.points.point[asked.at]]
        placed = (world.blocks, world.trained[column], world.screens.near, asked.readout)
    return screen_inputs.columns(held_out, asked.at, asked.line, len(world.rows.lines), placed)


def _groups(world: World) -> list[list[int]]:
    """Lines that share an ensemble: all, or each its own where lines learn alone; then the pooled.

    A single line's rows teach the pooled line too, so it has no ensemble of its own there.
    """
    lines = list(range(len(world.rows.lines)))
    own = [[line] for line in lines] if world.screens.within_line else [lines]
    return own if len(lines) == 1 else [*own, [len(lines)]]


def _relation(
    world: World, relation: str, terms: tuple[HeldOut, HeldOut]
) -> tuple[Relation, list[Asked], list[Judged]]:
    groups, last = _groups(world), len(world.rows.lines)
    ensembles: list[Ensemble] = []
    asked: dict[int, Asked] = {}
    judged: dict[int, Judged] = {}
    for group in groups:
        rows = question(world, relation, group)
        columns = inputs(world, relation, terms[last in group], rows)
        found, log_odds = screen_heads.ensemble(columns, rows, world.seed)
        ensembles.append(found)
        for line in group:
            inside = rows.line == line
            asked[line] = rows.take(inside)
            judged[line] = screen_heads.judge(log_odds[inside], asked[line], world.seed)
    asked.setdefault(last, asked[0])
    judged.setdefault(last, judged[0])
    which = [next((i for i, of in enumerate(groups) if line in of), 0) for line in range(last + 1)]
    heads = tuple(judged[line].head for line in range(last + 1))
    each = range(last + 1)
    made = Relation(tuple(ensembles), tuple(which), heads)
    return made, [asked[line] for line in each], [judged[line] for line in each]


def _lessons(world: World, alike: Mapping[str, Single]) -> tuple[tuple[Lesson, ...], list[int]]:
    """The inverse kernels, and which of them each line learns from."""
    lines, points = tuple(range(len(world.rows.lines))), world.screens.points
    alone = world.screens.within_line and len(lines) > 1
    taught = [*((line,) for line in lines), lines] if alone else [lines]
    codes = (points.line, points.perturbation)
    lessons = []
    for some in taught:
        training = np.isin(points.line, some)
        inverse = {
            name: Solver(
                screen_kernel.between(one, (codes[0], codes[0]), (codes[1], codes[1])), training
            ).inverse()
            for name, one in alike.items()
        }
        lessons.append(Lesson(some, inverse))
    return tuple(lessons), list(range(len(lessons))) if alone else [0] * (len(lines) + 1)


def _trained(world: World, advance: Advance) -> Fitted:
    alike = {name: likeness(world, blocks) for name, blocks in world.families.items()}
    terms = held_out(world, list(alike.values()), advance)
    relations: dict[str, Relation] = {}
    listed: dict[str, list[tuple[Codes, Floats]]] = {}
    metrics: dict[str, float] = {}
    for number, relation in enumerate(RELATIONS):
        advance(f"nets and trees of {relation}", 0.5 + 0.2 * number)
        relations[relation], asked, judged = _relation(world, relation, terms)
        listed[relation] = [(rows.readout, one.p) for rows, one in zip(asked, judged, strict=True)]
        kind = relation.removeprefix("perturbation.")
        for line, one in zip(world.lines, judged, strict=True):
            metrics |= {f"{kind}.{line}.{name}": value for name, value in one.figures.items()}
    advance("inverse kernels", 0.85)
    lessons, lesson = _lessons(world, alike)
    fewer = 1 - 1 / screen_held_out.FOLDS
    lines = len(world.rows.lines)
    fitted = Fitted(
        rows=world.rows,
        perturbations=world.perturbations,
        blocks=world.blocks,
        families=world.families,
        lessons=lessons,
        lesson=tuple(lesson),
        shares=(*([fewer] * lines), fewer if lines == 1 else 1 - 1 / lines),
        featured=world.featured(),
        relations=relations,
        metrics=metrics,
        p0={},
    )
    advance("blind guesses", 0.93)
    return dataclasses.replace(fitted, p0=screen_marginal.marginal(fitted, listed, world.seed))
