"""The contract of a world model, held against every registered family.

A new family needs one line in ``MODELS``: how to build a tiny one in an empty folder. Families that
cannot be built from a folder alone are named in ``ELSEWHERE`` with the test that holds them to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from worldmodels import registry
from worldmodels.core import (
    RELATIONS,
    ModelFault,
    Queries,
    Status,
    Verdicts,
    WorldModel,
    answered,
    canonical_context,
    quantise,
)
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

PLAIN = GeneResolver.as_they_are()
COLUMNS = ("p", "p0", "uncertainty", "raw")


def _of(family: str, build: Callable[[Path], object], folder: Path) -> Source:
    build(folder)
    return Source(family=family, name=f"tiny-{family}", path=folder / family)


MODELS: Mapping[str, Callable[[Path], Source]] = {
    "fake": lambda folder: Source(
        family="fake", name="tiny-fake", options={"contexts": "K562, Hep G2"}
    ),
    "pair-mlp": lambda folder: _of("pair-mlp", tiny_models.pair_mlp, folder),
    "screen": lambda folder: _of("screen", tiny_models.screen_model, folder),
    "measured": lambda folder: _of("measured", tiny_models.measured_table, folder),
    "linear": lambda folder: _of("linear", tiny_models.linear, folder),
    "coexpression": lambda folder: _of("coexpression", tiny_models.coexpression, folder),
}
ELSEWHERE = {"remote": "tests/worldmodels/test_remote.py"}

ODD = {
    "empty": "",
    "blank": " \t\n",
    "nul": "\0",
    "surrogate": "\ud800",
    "right-to-left": "‮G1",
    "emoji": "🧬",
    "combining": "G\u0301" * 50,
    "greek": "TGFβ",
    "plus": "+",
    "pluses": "G1++G2",
    "combination": "G1+G2",
    "date": "1-Mar",
    "long": "A" * 10_000,
    "lines": "G1\nG2",
    "markup": "<b>G1</b>'; DROP TABLE genes;--",
    "unknown": "NOT-A-GENE",
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model(source: Source) -> WorldModel:
    return registry.load(source, PLAIN)


def _equal(one: Verdicts, other: Verdicts) -> None:
    np.testing.assert_array_equal(one.status, other.status)
    for name in COLUMNS:
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_array_equal(mine, theirs, strict=True)


def _hold(found: Verdicts, rows: int) -> None:
    """What holds of every answer."""
    assert found.status.shape == (rows,)
    assert found.status.dtype == np.uint8
    assert set(found.status.tolist()) <= set(Status) - {Status.MODEL_ERROR}
    known = answered(found.status)
    for name in COLUMNS:
        column = getattr(found, name)
        if column is None:
            assert name != "p"
            continue
        assert column.shape == (rows,)
        assert column.dtype == np.float64
        np.testing.assert_array_equal(np.isfinite(column), known, err_msg=name)
        said = column[known]
        assert ((said >= 0) & (said <= (0.5 if name == "uncertainty" else 1))).all(), name
        np.testing.assert_array_equal(said, quantise(said), err_msg=f"{name} is not rounded")


def _mixed(model: WorldModel, rows: int) -> Queries:
    """Answerable queries with odd ones among them."""
    asked = model.examples(rows)
    subjects, objects, contexts = (
        list(asked.subjects),
        list(asked.objects),
        list(asked.contexts),
    )
    odd = list(ODD.values())
    for i in range(0, rows, 3):
        column = (subjects, objects, contexts)[i // 3 % 3]
        column[i] = odd[i % len(odd)]
    return Queries(asked.relation, subjects, objects, contexts)


def test_every_registered_family_is_held_to_the_contract() -> None:
    assert set(registry.FAMILIES) == set(MODELS) | set(ELSEWHERE)
    tests = Path(__file__).parents[2]
    assert all((tests / path).is_file() for path in ELSEWHERE.values())


def test_it_says_who_it_is(model: WorldModel, source: Source) -> None:
    spec = model.spec
    assert isinstance(model, WorldModel)
    assert (spec.name, spec.family) == (source.name, source.family)
    assert spec.digest.removeprefix("sha256:").isalnum()
    assert len(spec.digest) == len("sha256:") + 64
    assert spec.relations
    assert set(spec.relations) <= set(RELATIONS)
    assert all(context == canonical_context(context) for context in spec.contexts)
    for text in (spec.version, spec.licence, spec.training, spec.calibration, spec.genes):
        assert text
        assert text != "unknown"
    assert spec.genes == PLAIN.label
    assert spec.vocabulary > 0 or spec.family == "fake"
    assert all(np.isfinite(value) for value in spec.metrics.values())


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_its_examples_can_be_answered(model: WorldModel, rows: int) -> None:
    asked = model.examples(rows)
    assert len(asked) == rows
    assert asked == model.examples(rows)
    assert asked.relation in model.spec.relations
    found = model.predict(asked)
    _hold(found, rows)
    assert not found.status.any()


def test_an_empty_batch(model: WorldModel) -> None:
    for relation in model.spec.relations:
        _hold(model.predict(Queries(relation, [], [], [])), 0)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_relation_that_it_does_not_list_is_refused(source: Source, rows: int) -> None:
    options = {"relations": "gene.similarity"} if source.family == "fake" else {}
    model = registry.load(dataclasses.replace(source, options=options), PLAIN)
    asked = model.examples(rows)
    others = [*(set(RELATIONS) - set(model.spec.relations)), "nope", "", "\ud800"]
    for relation in others:
        with pytest.raises(ModelFault, match=r"answers .*, not "):
            model.predict(dataclasses.replace(asked, relation=relation))


def test_a_folder_of_another_family_is_refused(source: Source) -> None:
    if source.path is None:
        pytest.skip("this model has no folder")
    for family in sorted(set(MODELS) - {source.family, "fake"}):
        with pytest.raises(ModelFault, match=f"holds a {source.family} model, not {family}"):
            registry.load(dataclasses.replace(source, family=family), PLAIN)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", ["subject", "object", "both", "context"])
def test_odd_names_get_a_status_and_spoil_no_neighbour(
    model: WorldModel, odd: str, place: str
) -> None:
    plain = model.examples(2)
    subjects, objects = [*plain.subjects, plain.subjects[0]], [*plain.objects, plain.objects[0]]
    contexts = [*plain.contexts, plain.contexts[0]]
    if place in ("subject", "both"):
        subjects[1] = odd
    if place in ("object", "both"):
        objects[1] = odd
    if place == "context":
        contexts[1] = odd
    found = model.predict(Queries(plain.relation, subjects, objects, contexts))
    _hold(found, 3)
    alone = model.predict(plain.take([0]))
    assert found.p[0] == found.p[2] == alone.p[0]
    if place != "context" and not odd.strip():
        assert found.status[1] == Status.UNKNOWN_GENE


def test_the_order_of_rows_is_the_order_of_answers(model: WorldModel) -> None:
    asked = _mixed(model, 200)
    order = np.random.default_rng(0).permutation(200).tolist()
    found, turned = model.predict(asked), model.predict(asked.take(order))
    _hold(found, 200)
    for name in ("status", *COLUMNS):
        if getattr(found, name) is not None:
            np.testing.assert_array_equal(getattr(found, name)[order], getattr(turned, name))


def test_a_row_is_the_same_alone_and_in_every_batch(model: WorldModel) -> None:
    asked = _mixed(model, 300)
    found = model.predict(asked)
    for row in range(300):
        _equal(model.predict(asked.take([row])), _row(found, slice(row, row + 1)))
    for size in (2, 3, 5, 8, 31, 64, 255, 256, 257):
        _equal(model.predict(asked.take(range(size))), _row(found, slice(0, size)))


def _row(found: Verdicts, rows: slice) -> Verdicts:
    parts = {
        name: None if getattr(found, name) is None else getattr(found, name)[rows]
        for name in COLUMNS
    }
    return Verdicts(status=found.status[rows], **parts)


def test_a_huge_batch_is_no_other(model: WorldModel) -> None:
    asked = model.examples(300)
    many = asked.take(list(range(300)) * 30)
    found = model.predict(many)
    _hold(found, 9000)
    for name in COLUMNS:
        if (column := getattr(found, name)) is not None:
            assert (column.reshape(30, 300) == column[:300]).all()


def test_asked_twice_and_loaded_twice_it_says_the_same(model: WorldModel, source: Source) -> None:
    asked = _mixed(model, 100)
    first = model.predict(asked)
    _equal(first, model.predict(asked))
    again = registry.load(source, PLAIN)
    _equal(first, again.predict(asked))
    assert again.spec == model.spec


def test_it_keeps_to_its_contexts(model: WorldModel) -> None:
    asked = model.examples(1)
    for context in ("", "moon-cell-7", "x" * 10_000, "\ud800"):
        found = model.predict(Queries(asked.relation, asked.subjects, asked.objects, [context]))
        _hold(found, 1)
        if model.spec.contexts:
            other = Status.POOLED if model.spec.pools else Status.OUT_OF_DISTRIBUTION
            assert found.status.tolist() == [other]
        else:
            assert found.p.tolist() == model.predict(asked).p.tolist()


def test_spellings_of_a_context_are_one(model: WorldModel) -> None:
    if not model.spec.contexts:
        pytest.skip("this model does not look at the context")
    asked = model.examples(1)
    spelt = f" {asked.contexts[0].upper()[:2]}-{asked.contexts[0][2:]}"
    found = model.predict(Queries(asked.relation, asked.subjects, asked.objects, [spelt]))
    _equal(found, model.predict(asked))


def test_other_names_of_a_gene_are_the_gene(model: WorldModel, source: Source) -> None:
    asked = model.examples(20)
    named = sorted({*asked.subjects, *asked.objects})
    records = [GeneRecord(name, aliases=(f"ALIAS-{name}", "SHARED")) for name in named]
    resolved = registry.load(source, GeneResolver([records], "generated"))
    assert resolved.spec.genes == "generated"
    aliases = Queries(
        asked.relation,
        [f"alias-{name.lower()}" for name in asked.subjects],
        [f"ALIAS-{name}" for name in asked.objects],
        asked.contexts,
    )
    _equal(resolved.predict(aliases), resolved.predict(asked))
    _equal(resolved.predict(asked), model.predict(asked))
    shared = Queries(asked.relation, ["SHARED"], asked.objects[:1], asked.contexts[:1])
    assert resolved.predict(shared).status.tolist() == [Status.AMBIGUOUS_GENE]
