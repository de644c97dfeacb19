"""Where `screen`'s figures come from: each term alone, nets, trees, what is lost without a part.

Terms of every training pair, each answered by the other folds (``screen_held_out``), in all lines
at once, or with --within-line by the line's own rows. Per-gene AUROC within folds: the mean. "sum"
is a logistic regression on the same inputs as nets and trees. ``--sweep`` trains anew with one
constant changed at a time.

    python benchmarks/screen_terms.py --perturbqa perturbqa/ --graphs graphs/ [--sweep]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldmodels import metrics
from worldmodels.core import Floats
from worldmodels.genes import GeneResolver
from worldmodels.graph import sources
from worldmodels.perturbation import (
    screen_evidence,
    screen_features,
    screen_heads,
    screen_kernel,
    screen_nets,
    screen_points,
    screen_tables,
    screen_training,
    screen_trees,
)
from worldmodels.perturbation.screen_heads import Asked
from worldmodels.perturbation.screen_held_out import HeldOut
from worldmodels.perturbation.screen_rows import RELATIONS, Single
from worldmodels.perturbation.screen_training import World

WITHOUT = {
    "other lines' word on it": ("elsewhere", "lines"),
    "alike readouts": ("alike", "elsewhere"),
    "readouts' features": ("near",),
    "strength": ("strength",),
    "directions": ("directions",),
}
"""Parts that are left out, and the words by which their terms are known."""
SWEEP = (
    (screen_kernel, "RIDGE", (3.0, 20.0, 50.0)),
    (screen_kernel, "ACROSS", (0.25, 0.75, 1.0)),
    (screen_kernel, "SAME", (0.0, 10.0)),
    (screen_kernel, "POWER", (1.0, 3.0)),
    (screen_points, "KNOWN_NO", (0.0, 0.2)),
    (screen_points, "RATE_POWER", (0.5, 1.0)),
)


def main() -> None:
    """Print the tables."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--perturbqa", type=Path, required=True)
    reader.add_argument("--graphs", type=Path, required=True)
    reader.add_argument("--within-line", action="store_true")
    reader.add_argument("--sweep", action="store_true")
    given = reader.parse_args()
    found = sources.find(given.graphs)
    resolver = GeneResolver.from_files(found.gene_tables[:1])
    rows = screen_tables.read(given.perturbqa, resolver, None, print)
    features = screen_features.build(found, resolver, 0, print)
    world = screen_training.world(rows.ordered(), features, given.within_line, 0)
    print(f"{'':32}{''.join(f'{line:>9}' for line in rows.lines * 2)}   (DE, then DIR)")
    if given.sweep:
        for name, held in _swept(world):
            _print(name, [_auroc(ask, _ensemble(world, held, ask)) for ask in _questions(world)])
        return
    held = _terms(world)
    asked = _questions(world)
    _print("nets and trees", [_auroc(one, _ensemble(world, held, one)) for one in asked])
    _print("a net", [_auroc(one, _alone(screen_nets, world, held, one)) for one in asked])
    _print("trees", [_auroc(one, _alone(screen_trees, world, held, one)) for one in asked])
    _print("sum", [_auroc(one, _sum(world, held, one)) for one in asked])
    names = _names(world)
    for part, words in {
        **WITHOUT,
        **{f"family {name}": (name,) for name in world.families},
    }.items():
        out = [i for i, name in enumerate(names) if any(word in name for word in words)]
        if out:
            _print(
                f"  without {part}",
                [_auroc(one, _ensemble(world, held, one, out)) for one in asked],
            )
    for place, name in enumerate(names):
        _print(f"  {name} alone", [_auroc(one, held.terms[one.at, place]) for one in asked])


def _names(world: World) -> list[str]:
    each = screen_evidence.names(world.screens.near)
    own = [f"{family}: {name}" for family in world.families for name in each]
    return [*own, *screen_evidence.TRANSFERRED]


def _questions(world: World) -> list[Asked]:
    """Line by line: nets that lines share would be fitted once, here each line has its own."""
    return [
        screen_training.question(world, relation, [line])
        for relation in RELATIONS
        for line in range(len(world.rows.lines))
    ]


def _terms(world: World) -> HeldOut:
    alike = [screen_training.likeness(world, blocks) for blocks in world.families.values()]
    return screen_training.held_out(world, alike, lambda stage, share: None)[0]


def _swept(world: World) -> Iterator[tuple[str, HeldOut]]:
    yield "as it is", _terms(world)
    for module, name, values in SWEEP:
        before = getattr(module, name)
        for value in values:
            setattr(module, name, value)
            yield f"{name} {value:g} (is {before:g})", _terms(world)
        setattr(module, name, before)


def _inputs(world: World, held: HeldOut, asked: Asked, out: Sequence[int] = ()) -> Single:
    relation = RELATIONS[0] if (world.rows.de[asked.at] == asked.labels).all() else RELATIONS[1]
    columns = screen_training.inputs(world, relation, held, asked)
    columns[:, list(out)] = 0
    return columns


def _ensemble(world: World, held: HeldOut, asked: Asked, out: Sequence[int] = ()) -> Floats:
    return screen_heads.ensemble(_inputs(world, held, asked, out), asked, 0)[1]


def _sum(world: World, held: HeldOut, asked: Asked) -> Floats:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = _inputs(world, held, asked)

    def learnt(out: np.ndarray) -> Floats:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=300))
        return model.fit(columns[~out], asked.labels[~out]).decision_function(columns[out])

    return _by_part(learnt, asked)


def _alone(kind: Any, world: World, held: HeldOut, asked: Asked) -> Floats:
    """By nets or by trees, whose modules fit and answer alike."""
    columns = _inputs(world, held, asked)

    def learnt(out: np.ndarray) -> Floats:
        return kind.log_odds(kind.fit(columns[~out], asked.labels[~out], 0), columns[out])

    return _by_part(learnt, asked)


def _by_part(learnt: Callable[[np.ndarray], Floats], asked: Asked) -> Floats:
    """Log-odds of each part's rows by what was learnt from the others."""
    found = np.zeros(len(asked.at))
    for part in range(screen_heads.PARTS):
        out = asked.fold % screen_heads.PARTS == part
        found[out] = learnt(out)
    return found


def _auroc(asked: Asked, score: Floats) -> float:
    inside = [asked.fold == fold for fold in np.unique(asked.fold)]
    each = [
        metrics.per_gene_auroc(asked.readout[one], asked.labels[one], score[one]) for one in inside
    ]
    return float(np.mean(each))


def _print(name: str, figures: Sequence[float]) -> None:
    print(f"{name:32}{''.join(f'{figure:9.3f}' for figure in figures)}", flush=True)


if __name__ == "__main__":
    main()
