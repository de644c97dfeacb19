"""The screen model as served: statuses, figures as training has them, the same in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tiny_screen
from tiny_screen import FAMILIES, LINES, PERTURBATIONS, READOUTS, UNFEATURED
from worldmodels import registry
from worldmodels.calibration import sigmoid
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault, Queries, Status, Verdicts, quantise
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import (
    screen_answers,
    screen_evidence,
    screen_held_out,
    screen_inputs,
    screen_kernel,
    screen_nets,
    screen_points,
)
from worldmodels.perturbation.screen import Screen
from worldmodels.perturbation.screen_evidence import Habits
from worldmodels.perturbation.screen_fitted import Fitted
from worldmodels.perturbation.screen_held_out import HeldOut
from worldmodels.perturbation.screen_rows import RELATIONS
from worldmodels.perturbation.screen_trees import Trees
from worldmodels.registry import Source

DE, DIR = RELATIONS
PLAIN = GeneResolver.as_they_are()
GENES = GeneResolver(
    [
        [GeneRecord(name) for name in (*PERTURBATIONS, *(r for r in READOUTS if r != "P3"))]
        + [GeneRecord("NOFEATURE"), GeneRecord("NEW", previous=("P1x",), aliases=("TWO",))]
        + [GeneRecord("OTHER", aliases=("TWO",))]
    ],
    "generated",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_screen.write(tmp_path_factory.mktemp("screen") / "screen")


@pytest.fixture(scope="module")
def model(written: Checkpoint) -> Screen:
    return Screen(written, PLAIN, name="screen")


def _dense(fitted: Fitted, relation: str, line: int, subject: int) -> NDArray[np.float64]:
    """Log-odds of every net and of the trees, by the formulas that training uses."""
    points = screen_points.of_rows(fitted.rows)
    lesson = fitted.lessons[fitted.lesson[line]]
    training = np.isin(points.line, lesson.lines)
    place = {name: i for i, name in enumerate(fitted.perturbations)}
    nowhere = {name: np.zeros((1, block.shape[1]), "f4") for name, block in fitted.blocks.items()}
    near = {
        name: np.concatenate([block, nowhere[name]])[[place.get(r, -1) for r in READOUTS]]
        for name, block in fitted.blocks.items()
    }
    taught = screen_evidence.taught(points, training, near)
    habits = screen_evidence.habits(points, training, line if line < len(LINES) else -1)
    own = np.array([points.rows.genes.index(PERTURBATIONS[subject])])
    trained = [place[points.rows.genes[code]] for code in points.perturbation]
    pairs = (np.zeros(len(READOUTS), np.intp), np.arange(len(READOUTS)))
    parts = []
    for family, used in FAMILIES.items():
        mine, theirs = (
            {name: fitted.blocks[name][at] for name in used} for at in ([subject], trained)
        )
        diagonal = screen_kernel.diagonal(fitted.blocks, used, np.unique(trained))
        alike = screen_kernel.normalised(screen_kernel.likeness(mine, theirs, used), diagonal)
        kernel = screen_kernel.between(
            alike, (np.array([line]), points.line), (own, points.perturbation)
        )
        influence = np.zeros_like(kernel)
        influence[:, training] = kernel[:, training] @ lesson.inverse[family]
        parts.append(screen_evidence.of_pairs(taught, influence, habits.direction, pairs))
    elsewhere = screen_held_out.other_lines(points, training, own, np.array([line]))
    terms = np.concatenate([*parts, screen_evidence.transferred(taught, elsewhere, pairs)], axis=1)
    every = np.arange(len(READOUTS))
    share = fitted.shares[line]
    fewer = Habits(np.expm1(np.log1p(share * habits.here)),
                   np.expm1(np.log1p(share * habits.elsewhere)), habits.direction)  # fmt: skip
    placed = (fitted.blocks, np.full(len(every), subject), near, every) if relation == DE else None
    columns = screen_inputs.columns(
        HeldOut(terms, fewer), every, np.full(len(every), line), len(LINES), placed
    ).astype(np.float64)
    of = fitted.relations[relation]
    found = []
    ensemble = of.ensembles[of.group[line]]
    for net in ensemble.nets:
        hidden = np.clip((columns - net.shift) * net.scale, -screen_nets.REACH, screen_nets.REACH)
        for weights, bias in net.layers[:-1]:
            hidden = np.maximum(hidden @ weights + bias, 0)
        found.append((hidden @ net.layers[-1][0] + net.layers[-1][1])[:, 0])
    return np.stack([*found, _followed(ensemble.trees, columns)])


def _followed(trees: Trees, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of each row, one row and one tree at a time."""
    found = np.full(len(columns), trees.base[0], np.float64)
    for row, x in enumerate(columns):
        for feature, threshold, leaf in zip(
            trees.feature, trees.threshold, trees.leaf, strict=True
        ):
            node = 0
            while node < len(feature):
                node = 2 * node + (1 if x[feature[node]] <= threshold[node] else 2)
            found[row] += leaf[node - len(feature)]
    return found


@pytest.mark.parametrize("context", [*LINES, "", "Jurkat"], ids=[*LINES, "none", "another"])
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("within_line", [False, True], ids=["cross-line", "within-line"])
def test_figures_are_what_training_would_say(
    tmp_path: Path, within_line: bool, relation: str, context: str
) -> None:
    fitted = tiny_screen.fitted(within_line=within_line)
    model = Screen(tiny_screen.write(tmp_path / "m", fitted), PLAIN, name="screen")
    line = LINES.index(context) if context in LINES else len(LINES)
    curve = fitted.relations[relation].heads[line].curve
    n = len(READOUTS)
    for subject, name in enumerate(PERTURBATIONS[::4]):
        opinions = _dense(fitted, relation, line, 4 * subject)
        raw = sigmoid(opinions[:-1].mean(axis=0) / 2 + opinions[-1] / 2)
        each = [curve.apply(sigmoid(one)) for one in opinions]
        middle = np.mean(each[:-1], axis=0) / 2 + each[-1] / 2
        away = [(one - middle) ** 2 for one in each]
        spread = np.sqrt(np.mean(away[:-1], axis=0) / 2 + away[-1] / 2)
        found = model.predict(Queries(relation, [name] * n, READOUTS, [context] * n))
        for column, expected in (
            (found.p, curve.apply(raw)),
            (found.p0, fitted.p0[relation][line]),
            (found.uncertainty, spread),
            (found.raw, raw),
        ):
            assert column is not None
            known = np.isfinite(column)
            assert known.sum() >= n - 1 or name == UNFEATURED
            np.testing.assert_allclose(column[known], np.asarray(expected)[known], atol=2e-5)
        _equal(found, model.row(relation, name, context))


STATUSES = {
    "known": ("P1", "R1", "k562", Status.OK, PLAIN),
    "line spelt otherwise": ("P1", "R1", "K-562", Status.OK, PLAIN),
    "line not trained on": ("P1", "R1", "HeLa", Status.POOLED, PLAIN),
    "no line": ("P1", "R1", "", Status.POOLED, PLAIN),
    "no feature in this line": (UNFEATURED, "R1", "k562", Status.OUT_OF_DISTRIBUTION, PLAIN),
    "a feature in another": (UNFEATURED, "R1", "hepg2", Status.OK, PLAIN),
    "a feature in the pooled line": (UNFEATURED, "R1", "hela", Status.POOLED, PLAIN),
    "effect on itself": ("P3", "P3", "k562", Status.OUT_OF_DISTRIBUTION, PLAIN),
    "effect on itself, pooled": ("P3", "P3", "", Status.OUT_OF_DISTRIBUTION, PLAIN),
    "unknown perturbation": ("NOPE", "R1", "k562", Status.UNKNOWN_GENE, PLAIN),
    "unknown readout": ("P1", "NOPE", "k562", Status.UNKNOWN_GENE, PLAIN),
    "unknown readout, pooled": ("P1", "NOPE", "", Status.UNKNOWN_GENE, PLAIN),
    "a perturbation as readout": ("P1", "P2", "k562", Status.UNKNOWN_GENE, PLAIN),
    "a readout as perturbation": ("R1", "R2", "k562", Status.UNKNOWN_GENE, PLAIN),
    "combination": ("P1+P2", "R1", "k562", Status.OUT_OF_DISTRIBUTION, PLAIN),
    "combination, pooled": ("P2+P1", "R1", "", Status.OUT_OF_DISTRIBUTION, PLAIN),
    "combination of unknowns": ("P1+NOPE", "R1", "k562", Status.UNKNOWN_GENE, PLAIN),
    "combination as readout": ("P1", "R1+R2", "k562", Status.UNKNOWN_GENE, PLAIN),
    "plus": ("P1+", "R1", "k562", Status.UNKNOWN_GENE, PLAIN),
    "a gene without a feature": ("NOFEATURE", "R1", "k562", Status.OUT_OF_DISTRIBUTION, GENES),
    "another name of one": ("P1x", "R1", "k562", Status.OUT_OF_DISTRIBUTION, GENES),
    "combination with one": ("P1+NOFEATURE", "R1", "k562", Status.OUT_OF_DISTRIBUTION, GENES),
    "no gene": ("NOPE", "R1", "k562", Status.UNKNOWN_GENE, GENES),
    "no genes": ("NOPE+P1", "R1", "k562", Status.UNKNOWN_GENE, GENES),
    "ambiguous": ("TWO", "R1", "k562", Status.AMBIGUOUS_GENE, GENES),
    "ambiguous readout": ("P1", "TWO", "", Status.AMBIGUOUS_GENE, GENES),
    "letter case": ("p1", "r1", "k562", Status.OK, GENES),
}


@pytest.mark.parametrize(
    ("subject", "object_", "context", "status", "genes"), STATUSES.values(), ids=STATUSES
)
@pytest.mark.parametrize("relation", RELATIONS)
def test_statuses(
    written: Checkpoint,
    relation: str,
    subject: str,
    object_: str,
    context: str,
    status: Status,
    genes: GeneResolver,
) -> None:
    model = Screen(written, genes, name="screen")
    found = model.predict(Queries(relation, [subject], [object_], [context]))
    assert [Status(code) for code in found.status] == [status]
    assert np.isfinite(found.p[0]) == (status in (Status.OK, Status.POOLED))
    _equal(found, model.predict(Queries(relation, [subject], [object_], [context])))


def _equal(one: Verdicts, other: Verdicts) -> None:
    for name in ("p", "status", "p0", "uncertainty", "raw"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


NAMES = st.sampled_from([*PERTURBATIONS, "NOPE", "P1+P2"])
ASKED = st.tuples(NAMES, st.sampled_from(READOUTS), st.sampled_from([*LINES, "", "HeLa"]))


@given(rows=st.lists(ASKED, min_size=1, max_size=60), data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_pair_is_the_same_alone_and_in_any_batch(
    model: Screen, rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    relation = data.draw(st.sampled_from(RELATIONS))
    copies = data.draw(st.sampled_from([1, 3, 700]))  # beyond one chunk of the CPU, too
    whole = model.predict(Queries(relation, *zip(*rows * copies, strict=True)))
    at = data.draw(st.integers(0, len(rows) * copies - 1))
    alone = model.predict(Queries(relation, *zip(rows[at % len(rows)], strict=True)))
    _equal(
        alone,
        Verdicts(
            *(getattr(whole, name)[at : at + 1] for name in ("p", "status", "p0")),
            uncertainty=whole.uncertainty[at : at + 1],  # type: ignore[index]
            raw=whole.raw[at : at + 1],  # type: ignore[index]
        ),
    )


def test_codes_and_names_are_one(model: Screen) -> None:
    rng = np.random.default_rng(0)
    a, b, line = (
        rng.integers(0, n, 5000, np.int32) for n in (len(PERTURBATIONS) - 1, 40, len(LINES) + 1)
    )
    columns = model.predict_codes(DE, line, a, b)
    names = (*LINES, "any other")
    asked = Queries(
        DE,
        [model.perturbations[i] for i in a],
        [model.readouts[i] for i in b],
        [names[i] for i in line],
    )
    found = model.predict(asked)
    known = np.isfinite(found.p)
    assert 0.9 < known.mean() < 1, "but for effects on itself and what has no feature"
    np.testing.assert_array_equal(found.p[known], columns.p[known])
    np.testing.assert_array_equal(found.p, quantise(found.p))
    assert len(model.predict_codes(DE, line[:0], a[:0], b[:0]).p) == 0


def test_rows_that_were_forgotten_are_made_anew_and_the_same(
    written: Checkpoint, model: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for no more than a block of rows, asked for all perturbations in all lines at once."""
    monkeypatch.setattr(screen_answers, "LARGEST", 1)
    small = Screen(written, PLAIN, name="screen")
    each = [(name, READOUTS[5], line) for line in (*LINES, "") for name in PERTURBATIONS]
    asked = Queries(DE, *zip(*each, strict=True))
    _equal(small.predict(asked), model.predict(asked))
    for name in (PERTURBATIONS[7], PERTURBATIONS[0], PERTURBATIONS[7]):
        _equal(small.row(DE, name, "k562"), model.row(DE, name, "k562"))


def test_nothing_is_computed_for_what_is_not_answered(
    written: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Screen(written, PLAIN, name="screen")

    def computed(*_: object) -> None:
        raise AssertionError("a row was made")

    monkeypatch.setattr(screen_answers.Answers, "_make_block", computed)
    names = ["NOPE", UNFEATURED, "P1+P2"]
    found = model.predict(Queries(DE, names, ["R1"] * 3, ["k562"] * 3))
    assert np.isnan(found.p).all()


def test_what_it_declares(model: Screen, written: Checkpoint) -> None:
    spec = registry.open_folder(written.path, genes=PLAIN).spec
    assert (spec.family, spec.contexts, spec.pools) == ("screen", LINES, True)
    assert not spec.steady, "rows that are made take longer than rows that are looked up"
    assert spec.relations == RELATIONS
    assert spec.vocabulary == 30 + 40
    assert spec.calibration == "isotonic, platt per cell line"
    assert spec.metrics["de.k562.per_gene_auroc"] == 0.71
    with pytest.raises(ModelFault, match="needs path"):
        registry.load(Source(family="screen", name="x"), PLAIN)
    with pytest.raises(ModelFault, match=r"answers perturbation\.de, perturbation\.dir, not"):
        model.row("gene.similarity", "P1", "k562")


def test_the_way_of_accelerators_says_the_same(written: Checkpoint, model: Screen) -> None:
    other = Screen(written, PLAIN, name="screen", device="cpu:0")  # their code, without one
    asked = model.examples(300)
    mixed = Queries(asked.relation, asked.subjects, asked.objects, ["k562", "", "hepg2"] * 100)
    here, there = model.predict(mixed), other.predict(mixed)
    np.testing.assert_array_equal(here.status, there.status)
    for name in ("p", "p0", "uncertainty", "raw"):
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), atol=1.1e-6)
    alone = other.predict(mixed.take([7]))
    assert alone.p[0] == there.p[7]


def test_a_device_that_is_not_there(written: Checkpoint) -> None:
    with pytest.raises(ModelFault, match=r"device 'cuda:7' cannot be used .*serve on cpu"):
        Screen(written, PLAIN, name="x", device="cuda:7")
