from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from worldmodels import embeddings
from worldmodels.core import ModelFault

NAMES = ["A", "B", "NA"]
TABLE = np.arange(6, dtype=np.float32).reshape(3, 2)


def _parquet(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, TABLE)


FORMS: list[tuple[str, str, Callable[[Path], object]]] = [
    ("npz-names", "a.npz", lambda p: np.savez(p, names=np.array(NAMES), vectors=TABLE)),
    ("npz-each", "a.npz", lambda p: np.savez(p, **dict(zip(NAMES, TABLE, strict=True)))),
    (
        "safetensors-each",
        "a.safetensors",
        lambda p: save_file({n: TABLE[i].copy() for i, n in enumerate(NAMES)}, p),
    ),
    (
        "safetensors-names",
        "a.safetensors",
        lambda p: save_file({"vectors": TABLE}, p, metadata={"names": json.dumps(NAMES)}),
    ),
    (
        "parquet-columns",
        "a.parquet",
        lambda p: _parquet(p, {"gene": NAMES, "x": TABLE[:, 0], "y": TABLE[:, 1].astype(int)}),
    ),
    (
        "parquet-list",
        "a.parquet",
        lambda p: _parquet(p, {"gene": NAMES, "vector": TABLE.tolist(), "length": [1, 2, 3]}),
    ),
]


@pytest.mark.parametrize(("name", "write"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_every_form_is_read(tmp_path: Path, name: str, write: Callable[[Path], object]) -> None:
    write(tmp_path / name)
    found = embeddings.read(tmp_path / name)
    order = [found.names.index(gene) for gene in NAMES]
    np.testing.assert_array_equal(found.vectors[order], TABLE)
    assert found.vectors.dtype == np.float32
    assert found.source == name


FAULTS: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("format", "a.csv", lambda p: p.write_text("A,1"), "unknown format; known: .npz"),
    ("missing", "a.npz", lambda p: None, "no such file"),
    ("broken-npz", "a.npz", lambda p: p.write_bytes(b"PK\x03\x04nope"), "cannot be read"),
    ("not-npz", "a.npz", lambda p: p.write_bytes(b"hello"), "cannot be read"),
    ("npy", "a.npz", _npy, "a single array, not an npz"),
    ("empty-file", "a.npz", lambda p: p.write_bytes(b""), "cannot be read"),
    ("broken-parquet", "a.parquet", lambda p: p.write_bytes(b"PAR1"), "cannot be read"),
    ("broken-safetensors", "a.safetensors", lambda p: p.write_bytes(b"\0" * 4), "cannot be read"),
    (
        "pickle",
        "a.npz",
        lambda p: np.savez(p, names=np.array(["A", None], object), vectors=TABLE[:2]),
        "cannot be read",
    ),
    (
        "widths",
        "a.npz",
        lambda p: np.savez(p, A=np.zeros(2), B=np.zeros(3)),
        r"vectors differ in shape \(\(2,\), \(3,\)\)",
    ),
    ("matrix-each", "a.npz", lambda p: np.savez(p, A=np.zeros((2, 2))), "differ in shape"),
    (
        "nan",
        "a.npz",
        lambda p: np.savez(p, A=np.array([1.0, np.nan]), B=np.array([1.0, np.inf])),
        r"2 vectors hold NaN or infinity \(A, B\)",
    ),
    (
        "twice",
        "a.npz",
        lambda p: np.savez(p, names=np.array(["A", "A", "B"]), vectors=TABLE),
        r"names occur twice \(A\)",
    ),
    (
        "count",
        "a.npz",
        lambda p: np.savez(p, names=np.array(["A"]), vectors=TABLE),
        "1 names but 3 vectors",
    ),
    ("none", "a.npz", lambda p: np.savez(p), "holds no vector"),
    ("texts", "a.npz", lambda p: np.savez(p, A=np.array(["x"])), "not numbers"),
    ("no-numbers", "a.parquet", lambda p: _parquet(p, {"gene": NAMES}), "columns are gene"),
    ("no-names", "a.parquet", lambda p: _parquet(p, {"x": [1.0]}), "columns are x"),
    (
        "null",
        "a.parquet",
        lambda p: _parquet(p, {"gene": ["A"], "vector": [[1.0, None]]}),
        "hold NaN",
    ),
]


@pytest.mark.parametrize(
    ("name", "write", "says"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_faults_are_one_clear_message(
    tmp_path: Path, name: str, write: Callable[[Path], object], says: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(ModelFault, match=says) as fault:
        embeddings.read(tmp_path / name)
    assert name in str(fault.value)
