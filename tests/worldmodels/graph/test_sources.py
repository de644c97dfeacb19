from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from screens import gene_table, graphs
from worldmodels.core import ModelFault
from worldmodels.graph import sources

SYMBOLS = (
    "symbol_a\tsymbol_b\tentrez_a\tcombined_score\nA\tB\t1\t900\nA\tNA\t1\t400\nB\tC\t2\t399\n"
)


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    gene_table(folder)
    gene_table(folder, "ncbi")
    (folder / "notes.txt").write_text("protein1\n")
    (folder / "empty.gmt").write_text("")
    (folder / "broken.gz").write_bytes(b"\x1f\x8bxx")
    (folder / "binary.tsv").write_bytes(b"\xff\xfe")
    (folder / "disease.gmt").write_text("flu\t\tA\tB\n")
    (folder / "string" / "symbols.tsv").write_text(SYMBOLS)
    found = sources.find(folder)
    assert [p.name for p in found.string] == ["symbols.tsv", "9606.protein.links.v12.0.txt.gz"]
    assert [p.name for p in found.string_info] == ["9606.protein.info.v12.0.txt.gz"]
    assert [p.name for p in found.reactome] == ["ReactomePathways.gmt"]
    assert [p.name for p in found.go] == ["GO_Biological_Process_2021.gmt"]
    assert [p.name for p in found.gene_tables] == [
        "hgnc_complete_set.txt",
        "hgnc_symbol_map.tsv",
        "Homo_sapiens.gene_info.gz",
    ]


def test_symbol_network(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text(SYMBOLS)
    network = sources.read_string(tmp_path / "s.tsv")
    assert (network.a, network.b) == (["A", "A"], ["B", "NA"]), "a gene NA is no missing value"
    assert network.weight.tolist() == [0.9, 0.4], "399 is below medium confidence"


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        pytest.param(["NaN"], r"1 edges .* \(line 2: G0 – X, nan\)", id="nan"),
        pytest.param(["900", "-1", "inf"], r"2 edges .*line 3: G1 – X, -1.0; line 4", id="range"),
        pytest.param(["900", "1001"], "1 edges", id="above-1000"),
        pytest.param(
            ["", "x", "-inf", "NaN", "900"], r"4 edges .*; line 4: G2 – X, -inf; …", id="junk"
        ),
    ],
)
@pytest.mark.parametrize("kind", ["symbols", "links"])
def test_scores_that_are_no_numbers_are_counted_and_shown(
    tmp_path: Path, kind: str, scores: list[str], says: str
) -> None:
    names, mark = (
        (["symbol_a", "symbol_b"], "\t") if kind == "symbols" else (["protein1", "protein2"], " ")
    )
    rows = [[*names, "combined_score"], *([f"G{i}", "X", score] for i, score in enumerate(scores))]
    (tmp_path / "s.tsv").write_text("".join(mark.join(row) + "\n" for row in rows))
    with pytest.raises(ModelFault, match=says):
        sources.read_string(tmp_path / "s.tsv")


def test_protein_network_needs_its_names(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    found = sources.find(folder)
    network = sources.read_string(found.string[0], found.string_info[0])
    assert set(network.a) <= {f"G{i}" for i in range(120)}
    assert (network.weight >= 0.4).all()
    with pytest.raises(ModelFault, match=r"protein\.info"):
        sources.read_string(found.string[0])


def test_gmt_and_gaf(tmp_path: Path) -> None:
    (tmp_path / "a.gmt").write_text("x (GO:1)\t\tA,1.0\tB\t\n\nnone\t\n")
    found = sources.read_gmt(tmp_path / "a.gmt")
    assert (found.genes, found.sets) == (["A", "B"], ["x (GO:1)", "x (GO:1)"])
    folder = graphs(tmp_path / "graphs", gaf=True)
    gaf = sources.read_gaf(folder / "goa_human.gaf.gz")
    assert len(gaf.genes) == 640
    assert "GNOT" not in gaf.genes, "negated annotations are no members"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        pytest.param("a.gmt", b"", "holds no gene set", id="empty-gmt"),
        pytest.param("a.gmt", b"\xff", "cannot be read", id="binary-gmt"),
        pytest.param("a.gaf", b"!gaf-version: 2.2\n", "holds no annotation", id="empty-gaf"),
        pytest.param(
            "a.tsv", b"symbol_a\tsymbol_b\tcombined_score\n", "no edge", id="empty-network"
        ),
        pytest.param(
            "a.tsv",
            b"symbol_a\tsymbol_b\tcombined_score\nA\tB\tstrong\n",
            r"1 edges with a combined_score that is no number .*line 2: A – B",
            id="no-number",
        ),
        pytest.param("a.gmt.gz", gzip.compress(b"x\t\tA\n")[:-6], "cannot be read", id="truncated"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    read = {".gmt": sources.read_gmt, ".gaf": sources.read_gaf, ".tsv": sources.read_string}
    with pytest.raises(ModelFault, match=says) as fault:
        read[f".{name.split('.')[1]}"](path)
    assert name in str(fault.value)


def test_folders_without_graphs(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="no such folder"):
        sources.find(tmp_path / "nowhere")
    with pytest.raises(ModelFault, match="holds no STRING network"):
        sources.find(tmp_path)
