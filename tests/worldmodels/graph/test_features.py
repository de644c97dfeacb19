from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from screens import graphs
from worldmodels.core import ModelFault
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver
from worldmodels.graph import features, sources
from worldmodels.perturbation import pair_mlp_training, tables


def _build(folder: Path, seed: int = 0) -> Embeddings:
    return features.build(sources.find(folder), GeneResolver.as_they_are(), seed)


def test_blocks_side_by_side(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    said: list[str] = []
    found = features.build(sources.find(folder), GeneResolver.as_they_are(), 0, said.append)
    assert found.vectors.shape == (120, 128)
    assert found.source == "STRING + Reactome + GO"
    assert [line.split(":")[0] for line in said] == ["STRING", "Reactome", "GO"]
    for lo, hi in ((0, 64), (64, 96), (96, 128)):
        lengths = np.linalg.norm(found.vectors[:, lo:hi], axis=1)
        np.testing.assert_allclose(lengths[lengths > 0], (hi - lo) ** 0.5, rtol=1e-5)


def test_the_seed_decides(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    first, again, other = _build(folder), _build(folder), _build(folder, seed=7)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    # another random start, the same leading direction and sign
    np.testing.assert_allclose(first.vectors[:, 0], other.vectors[:, 0], atol=0.05)


def test_genes_of_some_sources_have_zeros_and_of_none_no_vector(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    with (folder / "ReactomePathways.gmt").open("a") as file:
        file.write("set 99\tR-HSA-99\tONLY\tG1\tG2\n")
    found = _build(folder)
    only = found.vectors[found.names.index("ONLY")]
    assert not only[:64].any()
    assert only[64:96].any()
    assert not only[96:].any()
    assert "NOWHERE" not in found.names


def test_aliases_are_one_gene(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    genes = GeneResolver.from_files([folder / "hgnc_symbol_map.tsv"])
    path = folder / "ReactomePathways.gmt"
    path.write_text(path.read_text().replace("\tG5", "\tOLD5"))
    assert "OLD5" not in features.build(sources.find(folder), genes, 0).names


@pytest.mark.parametrize("gaf", [True, False], ids=["gaf", "gmt"])
def test_one_source_is_enough(tmp_path: Path, gaf: bool) -> None:
    folder = graphs(tmp_path / "graphs", gaf=gaf)
    shutil.rmtree(folder / "string")
    (folder / "ReactomePathways.gmt").unlink()
    assert _build(folder).vectors.shape[1] == 32


def test_a_graph_too_small_for_its_dimensions(tmp_path: Path) -> None:
    (tmp_path / "a.gmt").write_text("x (GO:1)\t\tA\tB\n")
    with pytest.raises(ModelFault, match="2 genes by 1 columns is too small for 32"):
        _build(tmp_path)


@pytest.mark.data
def test_real_graphs_know_the_genes_of_a_real_screen(data_folder: Path) -> None:
    here = sources.find(data_folder)
    genes = GeneResolver.from_files(here.gene_tables[:1])
    found = features.build(here, genes, 0)
    assert found.vectors.shape[1] == 128
    row = {name: i for i, name in enumerate(found.names)}
    near = found.vectors[row["RPL3"]] @ found.vectors[row["RPL5"]]
    far = found.vectors[row["RPL3"]] @ found.vectors[row["OR5A1"]]
    assert near > far, "two ribosomal proteins are closer than one and an odour receptor"
    table = tables.read([data_folder / "perturbqa" / "k562-de.csv"])
    pairs, lost = pair_mlp_training.match(table, found, genes)
    assert len(pairs) / len(table) >= 0.95
    assert len(pairs) + len(lost) == len(table)
