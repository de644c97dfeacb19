"""A co-expression model answers pairs: what of, what not, and the same in any company."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodels import checkpoints
from worldmodels.core import ModelFault, Queries, Status, WorldModel
from worldmodels.expression.coexpression import (
    BASELINE,
    GENES,
    MATRIX,
    RELATION,
    TENSORS,
    Coexpression,
    load,
)
from worldmodels.expression.coexpression_training import Recipe, train
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source

AS_THEY_ARE = GeneResolver.as_they_are()


@pytest.fixture(scope="module")
def folder(planted_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "planted"
    train(planted_file, out, Recipe(name="planted", context="PB-MC"))
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> WorldModel:
    return load(Source(family="coexpression", name="served", path=folder), AS_THEY_ARE)


def ask(*pairs: tuple[str, str], context: str = "pbmc") -> Queries:
    return Queries(RELATION, [a for a, _ in pairs], [b for _, b in pairs], [context] * len(pairs))


def test_specification_comes_from_the_manifest(model: WorldModel, folder: Path) -> None:
    spec = model.spec
    assert isinstance(model, WorldModel)
    assert (spec.name, spec.family, spec.relations) == ("served", "coexpression", (RELATION,))
    assert spec.contexts == ("pbmc",)
    assert spec.vocabulary == 160
    assert spec.calibration == "isotonic"
    assert spec.digest == checkpoints.read(folder).digest
    assert spec.metrics["n"] > 0


def test_every_pair_is_its_entry_of_the_matrix(model: WorldModel, folder: Path) -> None:
    names = checkpoints.read(folder).names(GENES)
    arrays = checkpoints.read(folder).arrays(TENSORS)
    pairs = [(a, b) for a in range(160) for b in range(160) if a != b]
    found = model.predict(ask(*((names[a], names[b]) for a, b in pairs)))
    assert (found.status == Status.OK).all()
    assert found.raw is not None
    assert found.p0 is not None
    first, second = np.array(pairs).T
    np.testing.assert_allclose(found.raw, arrays[MATRIX][first, second], atol=1e-6)
    np.testing.assert_allclose(found.p0, arrays[BASELINE][second], atol=1e-6)
    p = np.full((160, 160), np.nan)
    p[first, second] = found.p
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_allclose(np.nanmean(p, axis=0), arrays[BASELINE], atol=1e-5)
    rising = np.argsort(found.raw, kind="stable")
    assert (np.diff(found.p[rising]) >= 0).all()


def test_genes_of_one_module_go_together(model: WorldModel) -> None:
    def mean(pairs: list[tuple[int, int]]) -> float:
        return float(model.predict(ask(*((f"G{a}", f"G{b}") for a, b in pairs))).p.mean())

    within = mean([(a, b) for a in range(40) for b in range(a)])
    across = mean([(a, b) for a in range(40) for b in range(40, 80)])
    assert within > 5 * across


@pytest.mark.parametrize(
    ("subject", "object_", "context", "status"),
    [
        pytest.param("G1", "G2", "", Status.OUT_OF_DISTRIBUTION, id="no-context"),
        pytest.param(" G1 ", "G2\n", "pbmc", Status.OK, id="blanks"),
        pytest.param("G1", "G2", "pbmc", Status.OK, id="context"),
        pytest.param("G1", "G2", " Pb mc", Status.OK, id="context-spelt-otherwise"),
        pytest.param("G1", "G2", "k562", Status.OUT_OF_DISTRIBUTION, id="other-context"),
        pytest.param("G1", "G2", "血", Status.OUT_OF_DISTRIBUTION, id="context-without-letters"),
        pytest.param("G1", "G1", "pbmc", Status.OUT_OF_DISTRIBUTION, id="itself"),
        pytest.param("G1", "NOPE", "", Status.UNKNOWN_GENE, id="unknown-object"),
        pytest.param("NOPE", "G1", "k562", Status.UNKNOWN_GENE, id="unknown-and-other-context"),
        pytest.param("", "", "", Status.UNKNOWN_GENE, id="empty"),
        pytest.param("G1+G2", "G3", "", Status.UNKNOWN_GENE, id="combination"),
        pytest.param("\ud800", "G\x00", "\udfff", Status.UNKNOWN_GENE, id="half-characters"),
        pytest.param("G" * 100_000, "G1", "", Status.UNKNOWN_GENE, id="huge"),
    ],
)
def test_status(
    model: WorldModel, subject: str, object_: str, context: str, status: Status
) -> None:
    neighbour = model.predict(ask(("G5", "G6")))
    queries = Queries(RELATION, ["G5", subject], ["G6", object_], ["pbmc", context])
    found = model.predict(queries)
    assert found.status.tolist() == [Status.OK, status]
    assert found.p[0] == neighbour.p[0]
    for column in (found.p, found.p0, found.raw):
        assert column is not None
        assert np.isfinite(column[1]) == (status is Status.OK)


def test_answers_are_the_same_alone_and_in_any_batch(model: WorldModel) -> None:
    queries = model.examples(300)
    whole = model.predict(queries)
    assert (whole.status == Status.OK).all()
    order = np.random.default_rng(0).permutation(300).tolist()
    shuffled = model.predict(queries.take(order))
    np.testing.assert_array_equal(shuffled.p, whole.p[order])
    alone = [model.predict(queries.take([i])).p[0] for i in range(300)]
    np.testing.assert_array_equal(alone, whole.p)
    np.testing.assert_array_equal(np.round(whole.p, 6), whole.p)
    assert len(model.predict(queries.take([]))) == 0


def test_examples_are_pairs_of_different_genes_however_many(model: WorldModel) -> None:
    queries = model.examples(160 * 159 + 5)
    assert (model.predict(queries).status == Status.OK).all()
    assert len(set(zip(queries.subjects, queries.objects, strict=True))) == 160 * 159


def test_examples_begin_with_genes_that_go_together(model: WorldModel) -> None:
    everything = model.predict(model.examples(160 * 159))
    first = model.predict(model.examples(20))
    assert first.p[0] == everything.p.max()
    assert first.raw is not None
    assert (np.diff(first.raw) <= 0).all()
    assert first.p.mean() > 5 * everything.p.mean()


def test_any_name_that_a_gene_may_have_is_served(
    anndata_of: Callable[..., Any], tmp_path: Path
) -> None:
    odd = ["A\nB", 'quote"', "tab\t", "β\u2028", "\\"]
    rng = np.random.default_rng(0)
    rate = np.where(rng.random((300, 1)) < 0.4, rng.uniform(0.3, 2.0, 60), 0.3)
    data = anndata_of(rng.poisson(rate).astype(np.float32), [*odd, *(f"G{i}" for i in range(55))])
    train(data, tmp_path / "m", Recipe(name="m"))
    model = load(Source(family="coexpression", name="m", path=tmp_path / "m"), AS_THEY_ARE)
    found = model.predict(ask(*((name, "G1") for name in odd), context=""))
    assert found.status.tolist() == [Status.OK] * len(odd)
    assert model.spec.vocabulary == 60


def test_other_relations_are_refused(model: WorldModel) -> None:
    with pytest.raises(ModelFault, match=r"answers gene.coexpression, not 'perturbation.de'"):
        model.predict(Queries("perturbation.de", ["G1"], ["G2"], [""]))


def test_outdated_names_resolve_on_both_sides(folder: Path) -> None:
    table = [
        GeneRecord("NEW1", previous=("G1",), aliases=("ALIAS1", "BOTH")),
        GeneRecord("G2", aliases=("BOTH",)),
    ]
    model = Coexpression(checkpoints.read(folder), GeneResolver([table], "test"))
    found = model.predict(ask(("G1", "G2"), ("NEW1", "G2"), ("ALIAS1", "G2"), ("BOTH", "G2")))
    assert found.status.tolist() == [0, 0, 0, Status.AMBIGUOUS_GENE]
    assert len(set(found.p[:3].tolist())) == 1
    assert model.spec.genes == "test"


def test_without_calibration_p_is_the_normalised_pmi(planted_file: Path, tmp_path: Path) -> None:
    checkpoint = train(planted_file, tmp_path / "m", Recipe(name="m", calibrate=False))
    model = Coexpression(checkpoint, AS_THEY_ARE)
    found = model.predict(model.examples(500))
    np.testing.assert_array_equal(found.p, found.raw)
    assert model.spec.calibration == "none"
    assert model.spec.contexts == ()
    other = model.predict(ask(("G1", "G2"), context="k562"))
    assert other.status.tolist() == [Status.OK]


def test_serving_imports_neither_scanpy_nor_torch(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from worldmodels.registry import Source, load\n"
        "from worldmodels.genes import GeneResolver\n"
        "source = Source(family='coexpression', name='m', path=Path(sys.argv[1]))\n"
        "model = load(source, GeneResolver.as_they_are())\n"
        "assert model.predict(model.examples(3)).p.shape == (3,)\n"
        "print(sorted({'scanpy', 'anndata', 'torch', 'pandas', 'scipy', 'sklearn', 'h5py',"
        " 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def rewritten(folder: Path, out: Path, **parts: object) -> Path:
    """The checkpoint with one part replaced, its digests in order."""
    whole = checkpoints.read(folder)
    arrays = {k: v for k, v in (whole.arrays(TENSORS) | parts).items() if v is not None}
    genes = arrays.pop("genes", whole.text(GENES))
    checkpoints.write(out, whole.manifest, tensors={TENSORS: arrays}, texts={GENES: str(genes)})
    return out


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({"genes": '["G1", "G2"]'}, r"should be float16 of shape \(2, 2\)", id="genes"),
        pytest.param({"genes": '["G1"]'}, "lists 1 genes, and a pair needs 2", id="one-gene"),
        pytest.param({"genes": json.dumps(["G1"] * 160)}, "lists 'G1' twice", id="repeated-gene"),
        pytest.param({MATRIX: None}, "n should be .* and is missing", id="no-matrix"),
        pytest.param({MATRIX: np.zeros((160, 160))}, "and is float64", id="other-type"),
        pytest.param({BASELINE: np.zeros(3, np.float32)}, r"of shape \(3,\)", id="other-shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, parts: dict[str, object], message: str
) -> None:
    path = rewritten(folder, tmp_path / "m", **parts)
    with pytest.raises(ModelFault, match=message):
        load(Source(family="coexpression", name="m", path=path), AS_THEY_ARE)


def test_a_matrix_that_holds_no_scores_never_answers_with_one(folder: Path, tmp_path: Path) -> None:
    path = rewritten(folder, tmp_path / "m", **{MATRIX: np.full((160, 160), 7, np.float16)})
    model = load(Source(family="coexpression", name="m", path=path), AS_THEY_ARE)
    assert np.isnan(model.predict(ask(("G1", "G2"))).p).all()


def test_a_truncated_matrix_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "m")
    file = tmp_path / "m" / TENSORS
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelFault, match="truncated or altered"):
        load(Source(family="coexpression", name="m", path=tmp_path / "m"), AS_THEY_ARE)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param(None, "needs path = the folder", id="no-path"),
        pytest.param(Path("nowhere"), "there is no such folder", id="no-folder"),
    ],
)
def test_no_folder(path: Path | None, message: str) -> None:
    with pytest.raises(ModelFault, match=message):
        load(Source(family="coexpression", name="m", path=path), AS_THEY_ARE)
