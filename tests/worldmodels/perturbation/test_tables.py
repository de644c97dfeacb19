from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from worldmodels.core import ModelFault
from worldmodels.perturbation import tables
from worldmodels.perturbation.tables import EffectTable


def _read(folder: Path, text: str, name: str = "K562-de.csv", **how: object) -> EffectTable:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return tables.read([path], **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        "pert,gene,label,cell_line",
        "Perturbation,Readout,Label,Cell Line",
        "perturbed_gene,target,is_DE,context",
        "target,gene,significant,cell.type",
        "target,readout,label,cell",
    ],
)
def test_columns_go_by_many_names(tmp_path: Path, header: str) -> None:
    found = _read(tmp_path, f"{header}\n A ,B,1,Hep G2\nNA,B,0,HepG2\n", name="x.csv")
    assert found.perturbations == ["A", "NA"]
    assert found.readouts == ["B", "B"]
    assert found.contexts == ["hepg2", "hepg2"]
    assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "how", "context"),
    [
        pytest.param("K562-de.csv", {}, "k562", id="file-name"),
        pytest.param("hep_g2-dir.tsv.gz", {}, "hepg2", id="tsv-gzip"),
        pytest.param("x.csv", {"cell_line": "RPE-1"}, "rpe1", id="option"),
        pytest.param("K562-de.csv", {"cell_line": "rpe1"}, "rpe1", id="option-beats-name"),
        pytest.param("x.csv", {"any_cell_line": True}, "", id="any"),
    ],
)
def test_the_cell_line_comes_from(
    tmp_path: Path, name: str, how: dict[str, object], context: str
) -> None:
    text = "pert,gene,label\nA,B,1\n".replace(",", "\t" if ".tsv" in name else ",")
    assert _read(tmp_path, text, name, **how).contexts == [context]


def test_only_training_rows_count(tmp_path: Path) -> None:
    text = "pert,gene,label,split\nA,B,1,train\nA,C,0,test\nA,D,9,val\n"
    assert _read(tmp_path, text).readouts == ["B"]


def test_equal_rows_count_once_and_lines_are_apart(tmp_path: Path) -> None:
    text = "pert,gene,label,cell_line\nA,B,1,k562\nA,B,1,K562\nA,B,0,rpe1\n"
    found = _read(tmp_path, text)
    assert found.contexts == ["k562", "rpe1"]
    assert _read(tmp_path, text, any_cell_line=True).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("relation", "pairs"),
    [
        pytest.param("perturbation.de", {"UP": 1, "DOWN": 1, "FLAT": 0}, id="de"),
        pytest.param("perturbation.dir", {"UP": 1, "DOWN": 0}, id="dir"),
    ],
)
def test_labels_follow_from_effect_and_q(
    tmp_path: Path, relation: str, pairs: dict[str, int]
) -> None:
    text = "pert,gene,log2fc,padj\nA,UP,1.5,0.01\nA,DOWN,-2,0.001\nA,FLAT,0.1,0.7\nA,LOST,,NA\n"
    found = _read(tmp_path, text, relation=relation)
    assert dict(zip(found.readouts, found.labels.tolist(), strict=True)) == pairs
    assert found.effects is not None
    assert found.q is not None
    assert found.effects[0] == 1.5
    assert _read(tmp_path, text, relation=relation, alpha=0.005).labels.tolist() != list(
        pairs.values()
    )


@pytest.mark.parametrize(
    ("column", "says"),
    [("pert", "a gene name"), ("gene", "a gene name"), ("cell_line", "a cell line")],
)
@pytest.mark.parametrize("category", [False, True], ids=["texts", "categories"])
def test_what_parquet_holds_as_null_is_no_gene_called_none(
    tmp_path: Path, column: str, says: str, category: bool
) -> None:
    import pandas

    columns = {"pert": ["A", "C"], "gene": ["B", "D"], "label": [1, 0], "cell_line": ["k562"] * 2}
    frame = pandas.DataFrame({**columns, column: [columns[column][0], None]})
    if category:
        frame[column] = frame[column].astype("category")
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ModelFault, match=says):
        tables.read([tmp_path / "x.parquet"])


def test_parquet_and_several_tables(tmp_path: Path) -> None:
    import pandas

    frame = pandas.DataFrame({"pert": ["A"], "gene": ["B"], "label": [True], "effect": [0.5]})
    frame.to_parquet(tmp_path / "rpe1-de.parquet")
    (tmp_path / "k562-de.csv").write_text("pert,gene,label\nA,B,0.0\n")
    found = tables.read([tmp_path / "rpe1-de.parquet", tmp_path / "k562-de.csv"])
    assert found.contexts == ["rpe1", "k562"]
    assert found.labels.tolist() == [1, 0]
    assert found.source == "rpe1-de.parquet, k562-de.csv"
    assert found.effects is not None
    assert np.isnan(found.effects[1])
    assert found.take(np.array([1])).contexts == ["k562"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("pert,gene,label\n", "holds no row", id="header-only"),
        pytest.param("pert,gene,label,split\nA,B,1,test\n", "no training row", id="no-train"),
        pytest.param("a,b\n1,2\n", "no column for perturbation and readout; found a, b", id="cols"),
        pytest.param("pert,gene\nA,B\n", "no column for label", id="no-label"),
        pytest.param("pert,target_b,label\nA,B,1\n", "no column for readout", id="no-readout"),
        pytest.param("pert,gene,label\nA,B,0\nA,C,2\n", "label in line 3 is '2'", id="label"),
        pytest.param("pert,gene,label\nA,B,\n", "label in line 2 is ''", id="blank-label"),
        pytest.param("pert,gene,label\nA,,1\n", "readout in line 2 is ''", id="blank-gene"),
        pytest.param("pert,gene,label\nA,B\nA,B,1,2,3\n", "cannot be read as a table", id="ragged"),
        pytest.param("pert,gene,q\nA,B,\nA,C,NA\n", "no row has a label or q", id="no-q"),
        pytest.param(
            "pert,gene,label,label\nA,B,1,0\n",
            "columns 'label' and 'label' all mean label; keep one",
            id="label-twice",
        ),
        pytest.param(
            "pert,gene,label,Is DE\nA,B,1,0\n", "columns 'label' and 'Is DE' all", id="labels"
        ),
        pytest.param(
            "pert,target,Target,label\nA,B,C,0\n", "'target' and 'Target' all", id="targets"
        ),
        pytest.param("pert,gene,q\nA,B,low\n", "q in line 2 is 'low', expected a number", id="q"),
        pytest.param(
            "pert,gene,label\nA,B,0\nA,B,1\nC,D,1\nC,D,0\n",
            r"2 pairs are labelled both 0 and 1 \(A → B in k562; C → D in k562\)",
            id="contradictions",
        ),
        pytest.param(
            "pert,gene,label,cell_line\nA,B,1,??\n", "context in line 2 is '\\?\\?'", id="line"
        ),
    ],
)
def test_faults(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        _read(tmp_path, text)


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_files_that_are_no_tables(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFault, match="no such file"):
        tables.read([tmp_path / name])
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ModelFault, match="cannot be read as a table"):
        tables.read([tmp_path / name])


@pytest.mark.parametrize("optional", [False, True])
def test_a_cell_line_that_nothing_is_left_of(tmp_path: Path, optional: bool) -> None:
    (tmp_path / "x.csv").write_text("pert,gene,label\nA,B,1\n")
    with pytest.raises(ModelFault, match="--cell-line 'ヒト' holds no Latin letter"):
        tables.read([tmp_path / "x.csv"], cell_line="ヒト", any_cell_line=optional)


def test_no_cell_line_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="give --cell-line NAME"):
        _read(tmp_path, "pert,gene,label\nA,B,1\n", name="table.csv")
    with pytest.raises(ModelFault, match="no table given"):
        tables.read([])


def test_a_direction_needs_an_effect(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="needs a column label or effect"):
        _read(tmp_path, "pert,gene,q\nA,B,0.01\n", relation="perturbation.dir")


def test_a_table_in_which_nothing_changes_teaches_no_direction(tmp_path: Path) -> None:
    text = "pert,gene,log2fc,q\nA,B,1.5,0.7\nA,C,0,0.001\n"
    with pytest.raises(ModelFault, match=r"no row has a label, or an effect with q < 0\.05"):
        _read(tmp_path, text, relation="perturbation.dir")
    assert _read(tmp_path, text).labels.tolist() == [0, 1]


def test_columns_that_mean_nothing_may_repeat(tmp_path: Path) -> None:
    assert _read(tmp_path, "pert,gene,label,note,note\nA,B,1,x,y\n").labels.tolist() == [1]


def test_a_table_of_directions_is_no_table_of_effects(tmp_path):
    file = tmp_path / "k562-dir.csv"
    file.write_text("pert,gene,label\nA,B,1\n")
    with pytest.raises(ModelFault, match=r"--relation perturbation\.dir"):
        tables.read([file], relation="perturbation.de")


SPLIT = "pert,gene,label,split\nA,X,1,train\nA,Y,0,train\nB,X,0,test\nC,X,1,val\n"


@pytest.mark.parametrize(
    ("split", "rows", "splits"),
    [
        pytest.param("train", ["A", "A"], ("train",), id="train"),
        pytest.param("held-out", ["B", "C"], ("test", "val"), id="held-out"),
        pytest.param("all", ["A", "A", "B", "C"], ("test", "train", "val"), id="all"),
        pytest.param("val", ["C"], ("val",), id="by-name"),
    ],
)
def test_rows_of_a_split(
    tmp_path: Path, split: str, rows: list[str], splits: tuple[str, ...]
) -> None:
    path = tmp_path / "k562-de.csv"
    path.write_text(SPLIT)
    read = tables.read([path], split=split)
    assert read.perturbations == rows
    assert read.splits == splits


def test_held_out_rows_of_a_table_that_holds_none_out_are_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "k562-de.csv"
    path.write_text("pert,gene,label,split\nA,X,1,train\nB,X,0,train\n")
    assert tables.read([path], split="held-out").splits == ("train",)
    path.write_text("pert,gene,label\nA,X,1\nB,X,0\n")
    read = tables.read([path], split="held-out")
    assert (len(read), read.splits) == (2, ())


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "k562-de.csv"
    path.write_text(SPLIT)
    with pytest.raises(ModelFault, match="no row of split 'tset'; its splits are test, train, val"):
        tables.read([path], split="tset")
