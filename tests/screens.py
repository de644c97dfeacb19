"""Generated screens, gene tables and graphs with the schemas of the public ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from worldmodels.embeddings import Embeddings

HGNC = (
    "hgnc_id\tsymbol\tname\tstatus\talias_symbol\talias_name\tprev_symbol\tensembl_gene_id\n"
    'HGNC:20\tAARS1\talanyl-tRNA synthetase 1\tApproved\tCMT2N\tAlaRS\t"AARS"\tENSG00000090861\n'
    "HGNC:1455\tCALR\tcalreticulin\tApproved\tRO|SSA\t\t\tENSG00000179218\n"
    "HGNC:26077\tMARCHF1\tmembrane associated ring-CH-type finger 1\tApproved\t\t\tMARCH1\tENSG1\n"
    "HGNC:28728\tMARCHF3\tring finger 3\tApproved\t\t\tMARCH3\tENSG3\n"
    "HGNC:26189\tMTARC1\tamidoxime reducing\tApproved\t\t\tMARC1\tENSG2\n"
    "HGNC:7729\tSEPTIN2\tseptin 2\tApproved\t\t\tSEPT2\tENSG00000168385\n"
    "HGNC:15848\tSEPTIN6\tseptin 6\tApproved\tSEPT2|KIAA0128\t\tSEPT6\tENSG00000125354\n"
    "HGNC:24253\tDELEC1\tdeleted in esophageal cancer 1\tApproved\t\t\tDEC1\tENSG4\n"
    "HGNC:1046\tBHLHE40\tbHLH e40\tApproved\tDEC1\t\t\tENSG5\n"
    "HGNC:1\tTWIN1\ttwin one\tApproved\tTWIN\t\tOLDTWIN\tENSG6\n"
    "HGNC:2\tTWIN2\ttwin two\tApproved\tTWIN|CALR\t\tOLDTWIN\tENSG7\n"
    "HGNC:3\tGONE~withdrawn\tgone\tEntry Withdrawn\tGHOST\t\t\t\n"
    "HGNC:4\tC1orf1\topen reading frame\tApproved\tcase1\t\t\tENSG8\n"
    "HGNC:5\tNKX2-5\tNK2 homeobox 5\tApproved\tCSX\t\t\tENSG9\n"
)
HELPER_MAP = (
    "Symbol\tApproved.Symbol\tchromosome\n"
    "AARS1\tAARS1\t16\nAARS\tAARS1\t16\nSEPTIN2\tSEPTIN2\t2\nSEPT2\tSEPTIN2\t2\n2-SEP\tSEPTIN2\t2\n"
    "SEPTIN6\tSEPTIN6\tX\nSEPT2\tSEPTIN6\tX\n2-SEP\tSEPTIN6\tX\nPOU5F1\tPOU5F1\t6\n4-OCT\tPOU5F1\t6\n"
)
NCBI = (
    "#tax_id\tGeneID\tSymbol\tSynonyms\tdbXrefs\tdescription\tSymbol_from_nomenclature_authority\n"
    "9606\t16\tAARS\tCMT2N|OLDEST\tHGNC:HGNC:20|Ensembl:ENSG00000090861\talanyl-tRNA\tAARS\n"
    "9606\t811\tLOC1\tCRT\tEnsembl:ENSG00000179218\tcalreticulin, an 5' \"odd\tCALR\n"
    "9606\t99\tONLYNCBI\t-\t-\tonly here\t-\n"
    "10090\t1\tMouse1\tM1\t-\tmouse\tMouse1\n"
)


def gene_table(folder: Path, kind: str = "hgnc") -> Path:
    """Write a small gene table of one of the three upstream formats."""
    name, text = {
        "hgnc": ("hgnc_complete_set.txt", HGNC),
        "map": ("hgnc_symbol_map.tsv", HELPER_MAP),
        "ncbi": ("Homo_sapiens.gene_info.gz", NCBI),
    }[kind]
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def vectors(genes: int = 60, width: int = 6, seed: int = 0) -> Embeddings:
    """Random vectors of genes ``G0``, ``G1``, …"""
    table = np.random.default_rng(seed).normal(size=(genes, width)).astype(np.float32)
    return Embeddings([f"G{i}" for i in range(genes)], table, "generated")


def screen(folder: Path, lines: tuple[str, ...] = ("K562",), genes: int = 60) -> list[Path]:
    """One table per cell line; a pair is 1 where its two vectors point the same way."""
    table = vectors(genes).vectors
    likeness = table @ table.T
    paths = []
    for number, line in enumerate(lines):
        rows = [
            f"G{a},G{b},{int(likeness[a, b] > 1.0)},train"
            for a in range(genes)
            for b in range(number, genes, 2)
            if a != b
        ]
        path = folder / f"{line}-de.csv"
        path.write_text("\n".join(["pert,gene,label,split", *rows]) + "\n")
        paths.append(path)
    return paths


def graphs(folder: Path, genes: int = 120, gaf: bool = False) -> Path:
    """A folder with STRING links and info, Reactome and GO files, and an HGNChelper map."""
    rng = np.random.default_rng(1)
    (folder / "string").mkdir(parents=True)
    links = ["protein1 protein2 combined_score"]
    info = ["#string_protein_id\tpreferred_name\tprotein_size\tannotation"]
    info += [f"9606.P{i}\tG{i}\t100\tof gene {i}" for i in range(genes)]
    for a in range(genes):
        for b in rng.choice(genes, 6, replace=False):
            links.append(f"9606.P{a} 9606.P{b} {rng.integers(100, 1000)}")
    _pack(folder / "string" / "9606.protein.links.v12.0.txt.gz", links)
    _pack(folder / "string" / "9606.protein.info.v12.0.txt.gz", info)
    members = [rng.choice(genes, 8, replace=False) for _ in range(80)]
    named = [
        "\t".join([f"set {i}", f"R-HSA-{i}", *(f"G{g}" for g in genes_)])
        for i, genes_ in enumerate(members)
    ]
    (folder / "ReactomePathways.gmt").write_text("\n".join(named) + "\nempty\tR-HSA-0\n")
    if gaf:
        rows = ["!gaf-version: 2.2"]
        for i, genes_ in enumerate(members):
            for g in genes_:
                left = ["UniProtKB", f"Q{g}", f"G{g}", "involved_in", f"GO:{i:07d}"]
                rows.append("\t".join([*left, *[""] * 12]))
        rows.append("\t".join(["UniProtKB", "Q", "GNOT", "NOT|involved_in", "GO:1", *[""] * 12]))
        _pack(folder / "goa_human.gaf.gz", rows)
    else:
        sets = [
            "\t".join([f"term (GO:{i:07d})", "", *(f"G{g},1.0" for g in genes_)])
            for i, genes_ in enumerate(members)
        ]
        (folder / "GO_Biological_Process_2021.gmt").write_text("\n".join(sets) + "\n")
    (folder / "hgnc_symbol_map.tsv").write_text(
        "Symbol\tApproved.Symbol\n" + "".join(f"G{i}\tG{i}\nOLD{i}\tG{i}\n" for i in range(genes))
    )
    return folder


def _pack(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
