"""What a truth table is follows from its columns; what is ambiguous or wrong is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from service.alignment import truths
from service.alignment.records import Record
from service.alignment.truths import Labels, Metric
from service.errors import StartupFault
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver

PLAIN = GeneResolver.as_they_are()
RENAMED = GeneResolver([[GeneRecord("AARS1", previous=("AARS",)), GeneRecord("CALR")]])


def read(tmp_path: Path, text: str, name: str = "truth.csv", **more: Any) -> truths.Truth:
    path = tmp_path / name
    path.write_text(text)
    return truths.read(path, more.pop("genes", PLAIN), **more)


def record(answer: str | None = "yes", status: str = "ok", **more: Any) -> Record:
    task = {
        "type": "perturbation.de",
        "perturbation": "AARS",
        "gene": "CALR",
        "cell_line": "K-562",
        **more.pop("task", {}),
    }
    return Record(status, None if status == "abstain" else 0.5, task=task, answer=answer, **more)


PAIR = "pert,gene,label\nAARS,CALR,1\n"


@pytest.mark.parametrize(
    ("name", "text", "asked", "outcome"),
    [
        ("t.csv", PAIR, {}, ("1", "1")),
        ("t.csv", PAIR, {"answer": "no"}, ("1", "0")),
        ("t.csv", PAIR, {"status": "invalid", "answer": None}, None),
        ("t.csv", PAIR, {"status": "abstain"}, ("1", "1")),
        ("k562-de.csv", PAIR, {}, ("1", "1")),
        ("rpe1-de.csv", PAIR, {}, "unjoined"),
        ("k562-dir.csv", PAIR, {}, "unjoined"),
        ("k562-dir.csv", PAIR, {"answer": "up", "task": {"type": "perturbation.dir"}}, ("1", "1")),
        ("t.csv", "pert,gene,cell_line,label\nAARS,CALR,K562,0\n", {}, ("0", "1")),
        ("t.csv", "perturbation,readout,is_de\nAARS,CALR,True\n", {}, ("1", "1")),
        (
            "t.csv",
            "pert,gene,relation,label\nAARS,CALR,perturbation.dir,1\n",
            {"answer": "down", "task": {"type": "perturbation.dir"}},
            ("1", "0"),
        ),
        ("t.csv", PAIR, {"task": {"perturbation": ["AARS"]}}, ("1", "1")),
        ("t.csv", PAIR, {"task": {"perturbation": ["AARS", "X"]}}, "unjoined"),
        ("t.csv", PAIR, {"task": {"type": "label"}}, "unjoined"),
        ("t.csv", PAIR, {"task": {"gene": 3}}, "unjoined"),
        ("t.csv", "id,label\nr1,1\n", {"id": "r1"}, ("1", "1")),
        ("t.csv", "id,label\n7,Asthma\n", {"id": 7, "answer": "asthma "}, ("asthma", "asthma")),
        ("t.csv", "id,label\nr1,1.0\n", {"id": "r1"}, ("1", "1")),
        ("t.csv", "id,label\nr1,True\n", {"id": "r1", "answer": "true"}, ("1", "1")),
        ("t.csv", "id,label\nr1,1.0\n", {"id": "r1", "answer": "1"}, ("1", "1")),
        ("t.csv", "id,label\nr1,yes\n", {"id": "r1"}, ("yes", "yes")),
        ("t.csv", "id,label\nr1,1\n", {"id": "r2"}, "unjoined"),
        ("t.csv", "id,label\nr1,1\n", {}, "unjoined"),
        ("t.tsv", PAIR.replace(",", "\t"), {}, ("1", "1")),
        ("t.csv", "\ufeff" + PAIR, {}, ("1", "1")),
        ("t.csv", "pert,gene,split,label\nAARS,CALR,test,1\n", {}, ("1", "1")),
    ],
)
def test_labelled_rows(
    tmp_path: Path, name: str, text: str, asked: dict[str, Any], outcome: Any
) -> None:
    labels = read(tmp_path, text, name)
    assert isinstance(labels, Labels)
    found = labels.outcome(record(**asked))
    if outcome == "unjoined":
        assert (found, labels.joined, labels.unjoined) == (None, 0, 1)
        assert len(labels.examples) == 1
    else:
        assert (found, labels.joined, labels.unjoined) == (outcome, 1, 0)


def test_both_sides_resolve(tmp_path: Path) -> None:
    labels = read(tmp_path, "pert,gene,label\nAARS1,CALR,1\n", genes=RENAMED)
    assert isinstance(labels, Labels)
    assert labels.outcome(record()) == ("1", "1")
    two_names = "pert,gene,label\nAARS1,CALR,1\nAARS,CALR,0\n"
    with pytest.raises(StartupFault, match="AARS1 and CALR are labelled both"):
        read(tmp_path, two_names, genes=RENAMED)


def test_parquet_and_gzip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"pert": ["AARS"], "gene": ["CALR"], "label": [1]})
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(PAIR.encode()))
    for name in ("t.parquet", "t.csv.gz"):
        labels = truths.read(tmp_path / name, PLAIN)
        assert isinstance(labels, Labels)
        assert labels.outcome(record()) == ("1", "1")


def test_a_table_without_relation_serves_one_relation_only(tmp_path: Path) -> None:
    labels = read(tmp_path, PAIR)
    assert isinstance(labels, Labels)
    labels.outcome(record())
    with pytest.raises(StartupFault, match="change or direction"):
        labels.outcome(record(task={"type": "perturbation.dir"}))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("step,value\n1,0.5\n2,\n3,0.7\n", {("", ""): {1: 0.5, 3: 0.7}}),
        ("Global Step,split,accuracy\n10,ood,.5\n", {("", "ood"): {10: 0.5}}),
        ("step,run,value\n1,a,0.5\n1,b,0.6\n", {("a", ""): {1: 0.5}, ("b", ""): {1: 0.6}}),
        ("step,value\n1,0.5\n1,0.5\n", {("", ""): {1: 0.5}}),
        ("step,val/my_metric\n1,0.5\n", {("", ""): {1: 0.5}}),
    ],
    ids=["empty cells", "names", "runs", "a row twice", "named by --metric"],
)
def test_metric_by_step(
    tmp_path: Path, text: str, values: dict[tuple[str, str], dict[int, float]]
) -> None:
    chosen = "val/my_metric" if "my_metric" in text else None
    found = read(tmp_path, text, metric=chosen)
    assert isinstance(found, Metric)
    assert found.values == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("step,value\n", "holds no value"),
        ("pert,gene,label\n", "holds no row"),
        ("a,b\n1,2\n", "are neither labelled rows"),
        ("pert,gene\nA,B\n", "are neither labelled rows"),
        ("step,value,pert,gene,label\n1,1,A,B,1\n", "at once"),
        ("step,accuracy,mcc\n1,1,1\n", "'accuracy' and 'mcc' all mean value"),
        ("step,value\n1.5,1\n", "line 2: step '1.5'"),
        ("step,value\n1,x\n2,nan\n3,inf\n4,y\n5,z\n", "4 bad rows"),
        ("step,value\n1,0.5\n1,0.6\n", "step 1 has 0.5 and 0.6"),
        ("pert,gene,label\nA,B,2\n", "label '2', expected 0 or 1"),
        ("pert,gene,label\nA,,1\n", "readout ''"),
        ("pert,gene,label\nA,B,1\nA,B,0\n", "labelled both 0 and 1"),
        ("pert,gene,relation,label\nA,B,de,1\n", "relation 'de'"),
        ("id,label\na,x\na,y\n", "'a' is labelled 'x' and 'y'"),
        ("id,label\n,x\n", "id ''"),
        ("id,id,label\na,b,c\n", "two columns have one name"),
        ("id,label\na\n", "line 2 has 1 cells"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StartupFault, match=r"truth\.csv") as fault:
        read(tmp_path, text)
    assert said in str(fault.value)


def test_many_bad_rows_are_counted_and_three_shown(tmp_path: Path) -> None:
    text = "pert,gene,label\n" + "".join(f"A{i},B,maybe\n" for i in range(500))
    with pytest.raises(StartupFault, match=r"500 bad rows \(line 2: .*line 4: [^;]*; …\)"):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["no.csv", "no.parquet", "folder", "bad.csv.gz", "bad.parquet"])
def test_unreadable_tables_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.csv.gz").write_bytes(b"\x1f\x8bjunk")
    (tmp_path / "bad.parquet").write_bytes(b"junk")
    with pytest.raises(StartupFault, match=name):
        truths.read(tmp_path / name, PLAIN)
