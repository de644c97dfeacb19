"""The screen model as served: statuses, figures by their formula, the same in any batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tiny_screen
from tiny_screen import LINES, PERTURBATIONS, READOUTS, UNFEATURED
from worldmodels import registry
from worldmodels.calibration import sigmoid
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault, Queries, Status, Verdicts, quantise
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.perturbation.screen import Screen
from worldmodels.perturbation.screen_factors import RELATIONS, Factors, Fitted
from worldmodels.registry import Source

DE, DIR = RELATIONS
PLAIN = GeneResolver.as_they_are()
GENES = GeneResolver(
    [
        [GeneRecord(name) for name in (*PERTURBATIONS, *READOUTS[:-1])]
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


def _scores(fitted: Fitted, relation: str, line: int) -> list[NDArray[np.float64]]:
    """Σₖ subjects[s, k] · objects[o, k] by family, in double precision."""

    def of(side: NDArray[np.float16]) -> NDArray[np.float64]:
        return np.asarray(side[line if len(side) > 1 else 0], np.float64)

    families = fitted.relations[relation].families.values()
    return [of(f.subjects) @ of(f.objects).T for f in families]


@pytest.mark.parametrize("context", [*LINES, "", "Jurkat"], ids=[*LINES, "none", "another"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_figures_are_what_the_factors_say(model: Screen, relation: str, context: str) -> None:
    fitted = tiny_screen.fitted()
    line = LINES.index(context) if context in LINES else len(LINES)
    head = fitted.relations[relation].heads[line]
    scores = _scores(fitted, relation, line)
    raw = sigmoid(head.intercept + sum(w * s for w, s in zip(head.weights, scores, strict=True)))
    p = head.curve.apply(raw)
    opinions = [
        sigmoid(m * s + c) for m, c, s in zip(head.slopes, head.intercepts, scores, strict=True)
    ]
    trained = (p[:10].mean(axis=0)).tolist()
    for subject, name in enumerate(PERTURBATIONS):
        n = len(READOUTS)
        found = model.predict(Queries(relation, [name] * n, READOUTS, [context] * n))
        for column, expected in (
            (found.p, p[subject]),
            (found.p0, trained),
            (found.uncertainty, np.std(opinions, axis=0)[subject]),
            (found.raw, raw[subject]),
        ):
            assert column is not None
            known = np.isfinite(column)
            assert known.sum() >= n - 1 or name == UNFEATURED
            np.testing.assert_allclose(column[known], np.asarray(expected)[known], atol=2e-6)
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
    np.testing.assert_array_equal(found.p, columns.p)
    np.testing.assert_array_equal(found.p, quantise(found.p))
    assert len(model.predict_codes(DE, line[:0], a[:0], b[:0]).p) == 0


@pytest.mark.parametrize("families", [1, 2, 6])
def test_any_number_of_families(tmp_path: Path, families: int) -> None:
    made = tiny_screen.write(tmp_path / "m", tiny_screen.fitted(families=families))
    model = Screen(made, PLAIN, name="m")
    found = model.predict(model.examples(100))
    assert not found.status.any()
    if families == 1:
        assert found.uncertainty is None, "a single family has nothing to differ from"
        return
    assert found.uncertainty is not None
    assert (found.uncertainty > 0).any()


def test_wide_factors_go_through_in_small_chunks(tmp_path: Path) -> None:
    made = tiny_screen.fitted(families=1)
    rng = np.random.default_rng(0)
    tables = [rng.normal(0, 0.01, (1, n, 40_000)).astype(np.float16) for n in (30, 41)]
    relations = {
        name: type(of)({"family0": Factors(*tables)}, of.heads)
        for name, of in made.relations.items()
    }
    wide = dataclasses.replace(made, relations=relations)
    model = Screen(tiny_screen.write(tmp_path / "m", wide), PLAIN, name="m")
    asked = model.examples(40)
    found = model.predict(asked)
    assert found.raw is not None
    assert model.predict(asked.take([7])).raw[0] == found.raw[7]  # type: ignore[index]


def test_what_it_declares(model: Screen, written: Checkpoint) -> None:
    spec = registry.open_folder(written.path, genes=PLAIN).spec
    assert (spec.family, spec.contexts, spec.pools) == ("screen", LINES, True)
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
