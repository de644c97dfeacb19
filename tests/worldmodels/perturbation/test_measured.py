from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from screens import gene_table
from worldmodels import checkpoints, registry
from worldmodels.checkpoints import Checkpoint, Manifest
from worldmodels.core import ModelFault, Queries, Status
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import measured, tables
from worldmodels.perturbation.measured import Measured

PLAIN = GeneResolver.as_they_are()
ROWS = "A,X,1\nA,Y,0\nB,X,0\nC,X,1\nAARS,Y,1\n"


def _build(folder: Path, rows: str = ROWS, genes: GeneResolver = PLAIN) -> Checkpoint:
    (folder / "K562-de.csv").write_text("pert,gene,label\n" + rows)
    (folder / "RPE1-de.csv").write_text("pert,gene,label\nB,X,1\n")
    table = tables.read([folder / "K562-de.csv", folder / "RPE1-de.csv"])
    return measured.build(
        folder / "m", table, genes, name="m", version="1", relation="perturbation.de"
    )


@pytest.mark.parametrize(
    ("subject", "object_", "context", "p", "p0", "status"),
    [
        pytest.param("A", "X", "k562", 1.0, 0.666667, Status.OK, id="one"),
        pytest.param("B", "X", "K-562", 0.0, 0.666667, Status.OK, id="zero"),
        pytest.param("B", "X", "rpe1", 1.0, 1.0, Status.OK, id="other-line"),
        pytest.param("C", "Y", "k562", None, None, Status.UNMEASURED, id="pair-not-measured"),
        pytest.param("A", "X", "rpe1", None, None, Status.UNMEASURED, id="not-in-this-line"),
        pytest.param("X", "A", "k562", None, None, Status.UNMEASURED, id="the-other-way-round"),
        pytest.param("A", "NOPE", "k562", None, None, Status.UNKNOWN_GENE, id="unknown"),
        pytest.param("A", "X", "jurkat", None, None, Status.OUT_OF_DISTRIBUTION, id="line"),
    ],
)
def test_lookup(
    tmp_path: Path,
    subject: str,
    object_: str,
    context: str,
    p: float | None,
    p0: float | None,
    status: Status,
) -> None:
    model = Measured(_build(tmp_path), PLAIN, name="m")
    found = model.predict(Queries("perturbation.de", [subject], [object_], [context]))
    assert found.status.tolist() == [status]
    assert found.p0 is not None
    assert (found.p[0] == p) or (p is None and np.isnan(found.p[0]))
    assert (found.p0[0] == p0) or (p0 is None and np.isnan(found.p0[0]))


def test_both_sides_resolve(tmp_path: Path) -> None:
    genes = GeneResolver.from_files([gene_table(tmp_path)])
    plain_build = Measured(_build(tmp_path), genes, name="m")
    asked = Queries("perturbation.de", ["AARS", "AARS1", "cmt2n"], ["Y"] * 3, ["k562"] * 3)
    assert plain_build.predict(asked).p.tolist() == [1, 1, 1]


def test_spellings_of_one_gene_may_not_contradict(tmp_path: Path) -> None:
    genes = GeneResolver.from_files([gene_table(tmp_path)])
    assert _build(tmp_path, "AARS,X,1\nAARS1,X,1\n", genes).manifest.metrics["n"] == 2
    with pytest.raises(ModelFault, match=r"another spelling that has the other label \(AARS1 → X"):
        _build(tmp_path, "AARS,X,1\nAARS1,X,0\n", genes)


def test_every_measured_pair_is_found_again(tmp_path: Path) -> None:
    model = Measured(_build(tmp_path), PLAIN, name="m")
    found = model.predict(model.examples(6))
    assert not found.status.any()
    assert sorted(found.p.tolist()) == [0, 0, 1, 1, 1, 1]
    assert len(model.examples(0)) == 0
    assert len(model.examples(1000)) == 1000


def test_what_it_declares(tmp_path: Path) -> None:
    made = _build(tmp_path)
    spec = registry.open_folder(made.path, genes=PLAIN).spec
    assert spec.contexts == ("k562", "rpe1")
    assert spec.metrics == {"n": 6.0, "base_rate": pytest.approx(4 / 6)}
    assert spec.training == "6 measured pairs of K562-de.csv, RPE1-de.csv"
    with pytest.raises(ModelFault, match="needs path"):
        registry.load(registry.Source(family="measured", name="x"), PLAIN)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"keys": np.array([3, 1])}, "not sorted", id="unsorted"),
        pytest.param({"keys": np.array([1, 99])}, "not sorted", id="beyond"),
        pytest.param({"labels": np.zeros(3, np.uint8)}, "do not fit", id="length"),
        pytest.param({"p0": np.zeros((1, 3))}, "do not fit", id="genes"),
        pytest.param({"keys": np.array([], np.int64)}, "do not fit", id="empty"),
        pytest.param({"keys": np.array([1.0, 3.0])}, "no array 'keys' of int64", id="type"),
    ],
)
def test_damaged_tables_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], says: str
) -> None:
    arrays = {
        "keys": np.array([1, 3]),
        "labels": np.zeros(2, np.uint8),
        "p0": np.zeros((1, 2)),
    } | change
    manifest = Manifest(name="m", family="measured", version="1", relations=("perturbation.de",))
    made = checkpoints.write(
        tmp_path / "m",
        manifest,
        tensors={"table.safetensors": arrays},
        texts={"vocabulary.json": '["A", "B"]'},
    )
    with pytest.raises(ModelFault, match=says):
        Measured(made, PLAIN, name="m")
