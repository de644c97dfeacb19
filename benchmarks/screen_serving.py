"""How many pairs a second one thread serves from a `screen` model of real size.

    python benchmarks/screen_serving.py [--device cuda] [--model models/screen]

Without --model a model is made of random numbers: 4 lines of 1,250 perturbations with 90 listed
readouts each, 10,000 readouts, 20,000 perturbations to ask for, three families, nets and trees of
full size, as a checkpoint folder that is mapped and asked as a server would. Printed: how long a
row of readouts takes when its perturbation is first asked for, and by batch size how many pairs a
second are looked up, from names (strings in columns, as they come from the wire) and from codes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

import numpy as np  # noqa: E402 - after the number of threads is set

from worldmodels import checkpoints  # noqa: E402
from worldmodels.calibration import Platt  # noqa: E402
from worldmodels.checkpoints import Checkpoint  # noqa: E402
from worldmodels.core import Queries  # noqa: E402
from worldmodels.genes import GeneResolver  # noqa: E402
from worldmodels.perturbation import screen_checkpoint, screen_evidence, screen_nets, screen_trees  # noqa: E402
from worldmodels.perturbation.screen import Screen  # noqa: E402
from worldmodels.perturbation.screen_ensemble import Ensemble  # noqa: E402
from worldmodels.perturbation.screen_features import SUMMARISED, SUMMARY, WIDTHS  # noqa: E402
from worldmodels.perturbation.screen_fitted import Fitted, Head, Lesson, Relation  # noqa: E402
from worldmodels.perturbation.screen_nets import Net  # noqa: E402
from worldmodels.perturbation.screen_rows import RELATIONS, Rows  # noqa: E402
from worldmodels.perturbation.screen_training import FAMILIES  # noqa: E402
from worldmodels.perturbation.screen_trees import Trees  # noqa: E402

LINES = ("hepg2", "jurkat", "k562", "rpe1")
PERTURBATIONS, TRAINED, READOUTS, LISTED = 20_000, 1_250, 10_000, 90
ROWS = 64
PAIRS = 1 << 18
BATCHES = (256, 4096, 65_536, PAIRS)


def fitted(rng: np.random.Generator) -> Fitted:
    """A model of random numbers; p0 is a half throughout."""
    lines = len(LINES) + 1
    genes = sorted(f"G{i}" for i in range(PERTURBATIONS))
    points = len(LINES) * TRAINED
    rows = np.arange(points * LISTED)
    point, readout = rows // LISTED, rng.integers(0, READOUTS, (points, LISTED), np.int64)
    readout[:, 1:] = readout[:, :1] + np.arange(1, LISTED) * 101  # distinct in a point
    listed = Rows(
        LINES,
        tuple(genes),
        point // TRAINED,
        point % TRAINED,
        (readout % READOUTS).ravel(),
        (rows % 8 == 0).astype(np.uint8),
        np.where(rows % 8 == 0, rows % 2, -1).astype(np.int8),
    ).ordered()
    widths = {**WIDTHS, SUMMARY: SUMMARISED}
    blocks = {name: _directions(rng, width) for name, width in widths.items()}
    inverse = np.eye(points, dtype=np.float32) / 10
    terms = len(FAMILIES) * len(screen_evidence.names(WIDTHS)) + len(screen_evidence.TRANSFERRED)
    inputs = terms + 3 + len(LINES) + len(WIDTHS) + 2 * SUMMARISED
    nets = tuple(_net(rng, inputs) for _ in range(3))
    ensemble = Ensemble(nets, _trees(rng, inputs))
    relation = Relation((ensemble,), (0,) * lines, (Head(Platt(0.9, -0.1), {}),) * lines)
    size = len(np.unique(listed.readout))
    return Fitted(
        rows=listed,
        perturbations=tuple(genes),
        blocks=blocks,
        families=FAMILIES,
        lessons=(Lesson(tuple(range(len(LINES))), dict.fromkeys(FAMILIES, inverse)),),
        lesson=(0,) * lines,
        shares=(0.875,) * lines,
        featured=np.ones((lines, PERTURBATIONS), np.bool_),
        relations={RELATIONS[0]: relation},
        metrics={},
        p0={RELATIONS[0]: np.full((lines, size), 0.5)},
    )


def _directions(rng: np.random.Generator, width: int) -> np.ndarray:
    block = rng.standard_normal((PERTURBATIONS, width), np.float32)
    return block / np.linalg.norm(block, axis=1, keepdims=True)


def _net(rng: np.random.Generator, inputs: int) -> Net:
    widths = (inputs, screen_nets.WIDTH, screen_nets.WIDTH // 2, 1)
    layers = [
        (rng.standard_normal((one, other), np.float32) / 8, np.zeros(other, np.float32))
        for one, other in itertools.pairwise(widths)
    ]
    return Net(np.zeros(inputs, np.float32), np.ones(inputs, np.float32), tuple(layers))


def _trees(rng: np.random.Generator, inputs: int) -> Trees:
    leaves = 2**screen_trees.DEPTH
    inner = (screen_trees.TREES, leaves - 1)
    return Trees(
        np.zeros(1, np.float32),
        rng.integers(0, inputs, inner, np.int32),
        rng.standard_normal(inner, np.float32),
        rng.standard_normal((screen_trees.TREES, leaves), np.float32) / 20,
    )


def written(folder: Path) -> Checkpoint:
    """The model of random numbers as a folder."""
    made = fitted(np.random.default_rng(0))
    return screen_checkpoint.save(folder / "screen", made, name="screen", version="1")


def rate(
    ask: Callable[[slice], object], batch: int, clock: Callable[[], float], pairs: int
) -> float:
    """Pairs a second of one thread, the best of several passes over all pairs.

    Of processor time on the CPU, which neighbours on the machine disturb less; of the clock else.
    """
    best = float("inf")
    for _ in range(5):
        started = clock()
        for start in range(0, pairs, batch):
            ask(slice(start, start + batch))
        best = min(best, clock() - started)
    return pairs / best


def main() -> None:
    """Print how long rows take, then pairs a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", type=Path, help="a trained folder in place of random numbers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = checkpoints.read(given.model) if given.model else written(Path(folder))
        started = time.perf_counter()
        model = Screen(made, GeneResolver.as_they_are(), name="screen", device=given.device)
        print(f"opened in {time.perf_counter() - started:.2f} s, device {given.device}")
        clock = time.process_time if given.device == "cpu" else time.perf_counter
        measure(model, np.random.default_rng(0), clock)


def measure(model: Screen, rng: np.random.Generator, clock: Callable[[], float]) -> None:
    """The table of figures."""
    chosen = rng.permutation(len(model.perturbations))[: 2 * ROWS + 1].astype(np.int32)
    print_rows(model, "alone", chosen[:1], clock)
    print_rows(model, f"{ROWS} together", chosen[1 : ROWS + 1], clock)
    known = chosen[1:]
    model.predict_codes(RELATIONS[0], np.full(len(known), 2, np.int32), known, 0 * known)
    b = rng.integers(0, len(model.readouts), PAIRS, np.int32)
    print_rates(model, "scattered pairs", rng.choice(known, PAIRS), b, clock)
    print_rates(model, "by perturbation", np.repeat(known, PAIRS // len(known)), b, clock)


def print_rows(model: Screen, what: str, a: np.ndarray, clock: Callable[[], float]) -> None:
    """How long a row of readouts takes that was not asked for before."""
    started = clock()
    model.predict_codes(RELATIONS[0], np.full(len(a), 2, np.int32), a, 0 * a)
    each = (clock() - started) / len(a)
    size = len(model.readouts)
    print(f"a row of {size:,} readouts, {what}: {each * 1e3:.0f} ms, {size / each:,.0f} pairs/s")


def print_rates(
    model: Screen, what: str, a: np.ndarray, b: np.ndarray, clock: Callable[[], float]
) -> None:
    """One line for every batch size."""
    b = b[: len(a)]
    line = np.full(len(a), 2, np.int32)
    subjects = [model.perturbations[i] for i in a]
    objects = [model.readouts[i] for i in b]
    contexts = [model.spec.contexts[2]] * len(a)

    def by_codes(at: slice) -> object:
        return model.predict_codes(RELATIONS[0], line[at], a[at], b[at])

    def by_names(at: slice) -> object:
        return model.predict(Queries(RELATIONS[0], subjects[at], objects[at], contexts[at]))

    for batch in BATCHES:
        codes, names = (rate(ask, batch, clock, len(a)) for ask in (by_codes, by_names))
        print(
            f"{what}, batches of {batch:>7,}: {codes:>10,.0f} pairs/s from codes, "
            f"{names:>10,.0f} from names"
        )


if __name__ == "__main__":
    main()
