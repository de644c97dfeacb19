from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from screens import gene_table
from worldmodels import checkpoints, training_rows
from worldmodels.checkpoints import Manifest
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver
from worldmodels.training_rows import TrainedRows

MANIFEST = Manifest(name="m", family="any", version="1", relations=("perturbation.de",))
DE = (["K562", "k562", "RPE1"], ["AARS", "B", "A"], ["X", "Y", "X"])
DIR = (["k562"], ["B"], ["Z"])


def _written(folder: Path, **rows: tuple[list[str], list[str], list[str]]) -> Path:
    named = {f"perturbation.{kind}": columns for kind, columns in rows.items()}
    tensors, texts = training_rows.contents(*training_rows.encode(named))
    checkpoints.write(folder / "m", MANIFEST, tensors=tensors, texts=texts)
    return folder / "m"


def _read(folder: Path, genes: GeneResolver | None = None) -> TrainedRows:
    found = training_rows.read(_written(folder, de=DE, dir=DIR), genes)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("context", "perturbation", "readout", "relation", "seen"),
    [
        pytest.param("k562", "B", "Y", None, True, id="seen"),
        pytest.param("K-562", "B", "Y", None, True, id="another-spelling-of-the-line"),
        pytest.param("rpe1", "B", "Y", None, False, id="in-another-line"),
        pytest.param("", "B", "Y", None, True, id="no-line-is-any-line"),
        pytest.param("jurkat", "B", "Y", None, False, id="unknown-line"),
        pytest.param("k562", "Y", "B", None, False, id="the-other-way-round"),
        pytest.param("k562", "B", "NOPE", None, False, id="unknown-gene"),
        pytest.param("k562", "B", "Z", None, True, id="a-direction-counts"),
        pytest.param("k562", "B", "Z", "perturbation.de", False, id="only-of-this-relation"),
        pytest.param("k562", "B", "Z", "perturbation.dir", True, id="of-its-relation"),
        pytest.param("k562", "AARS1", "X", None, True, id="current-symbol"),
        pytest.param("k562", "\ud800", "", None, False, id="junk"),
    ],
)
def test_overlap(
    tmp_path: Path, context: str, perturbation: str, readout: str, relation: str | None, seen: bool
) -> None:
    known = _read(tmp_path, GeneResolver.from_files([gene_table(tmp_path)]))
    found = known.overlap([context], [perturbation], [readout], relation)
    assert found.tolist() == [seen]
    assert known.overlap([], [], []).tolist() == []
    many = known.overlap([context, "k562"] * 50, [perturbation, "B"] * 50, [readout, "Y"] * 50)
    assert many[1::2].all()


def test_perturbations_of_a_line(tmp_path: Path) -> None:
    known = _read(tmp_path)
    assert known.perturbations("K562") == {"AARS", "B"}
    assert known.perturbations("rpe1") == {"A"}
    assert known.perturbations("") == {"A", "AARS", "B"}
    assert known.perturbations("hela") == set()
    assert len(known) == 4


def test_rows_without_a_line_are_of_every_line(tmp_path: Path) -> None:
    found = training_rows.read(_written(tmp_path, de=([""], ["A"], ["X"])))
    assert found is not None
    assert found.overlap(["k562", ""], ["A", "A"], ["X", "X"]).all()
    assert found.perturbations("k562") == {"A"}


def test_a_model_that_keeps_no_rows(tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "m", MANIFEST)
    assert training_rows.read(tmp_path / "m") is None


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        pytest.param({"keys_de": np.array([3, 1])}, "not sorted", id="unsorted"),
        pytest.param({"keys_de": np.array([1, 1])}, "not sorted", id="twice"),
        pytest.param({"keys_de": np.array([1, 99])}, "leaves its genes", id="beyond"),
        pytest.param({"keys_de": np.array([-1])}, "leaves its genes", id="negative"),
        pytest.param({"keys_de": np.array([1.0])}, "no column of keys", id="type"),
        pytest.param({"other": np.array([1])}, "no column of keys", id="name"),
    ],
)
def test_damaged_rows_are_refused(tmp_path: Path, keys: dict[str, np.ndarray], says: str) -> None:
    texts = {training_rows.GENES: '["A", "X"]', training_rows.CONTEXTS: '["k562"]'}
    checkpoints.write(tmp_path / "m", MANIFEST, tensors={training_rows.KEYS: keys}, texts=texts)
    with pytest.raises(ModelFault, match=says):
        training_rows.read(tmp_path / "m")
