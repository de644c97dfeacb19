"""Ontologies and annotations: names to terms, ancestors, information, files and their faults."""

from __future__ import annotations

import gzip
import json
import os
import time
from math import log2
from pathlib import Path

import pytest

from worldmodels.core import ModelFault
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations, Ontology, Synonym, Term
from worldmodels.ontology_files import load
from worldmodels.ontology_genes import doubt
from worldmodels.ontology_lines import MOST_LINE

OBO = """format-version: 1.2
default-namespace: process

[Typedef]
id: part_of
name: part of

[Term]
id: X:1
name: root

[Term]
id: X:2
name: protein folding
synonym: "folding of \\"proteins\\"" EXACT [ref:1]
synonym: "folding" BROAD []
synonym: "chaperoning" RELATED []
synonym: "polypeptide folding" []
is_a: X:1 ! root

[Term]
id: X:3
name: Folding in the ER {comment="odd"}
alt_id: X:30
synonym: "chaperoning" RELATED []
synonym: "ER folding" EXACT []
is_a: X:2 {source="x"} ! protein folding
relationship: part_of X:4
relationship: part_of U:9 ! another ontology's

[Term]
id: X:4
name: ER quality control
synonym: "ER folding" EXACT []
is_a: X:1

[Term]
id: X:5
name: place
namespace: component
relationship: part_of X:4

[Term]
id: X:6
name: obsolete folding
is_obsolete: true
replaced_by: X:3

[Term]
id: X:7
name: obsolete nothing
is_obsolete: true
"""
DESCRIBED = (
    "term\tname\tobsolete\tparents\nA\ttop\t0\t\nB\tleft\t0\tA\nC\tright\t0\tA\n"
    "D\tbottom\t0\tB|C\nE\told\t1\tB\n"
)
GAF_LINE = (
    "UniProtKB\t{accession}\t{symbol}\t{qualifier}\t{term}\tPMID:1\t{evidence}\t\tP\tname\t\t"
    "protein\ttaxon:9606\t20200101\tUniProt\t\t\n"
)


def gaf(
    accession: str, symbol: str, term: str, qualifier: str = "involved_in", evidence: str = "IDA"
) -> str:
    return GAF_LINE.format(
        accession=accession, symbol=symbol, term=term, qualifier=qualifier, evidence=evidence
    )


@pytest.fixture
def obo(tmp_path: Path) -> Ontology:
    return load(written(tmp_path, "x.obo", OBO))[0]


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


RESOLVED = {
    "id": ("X:2", "X:2"),
    "id in lower case": ("x:2", "X:2"),
    "alt_id": ("X:30", "X:3"),
    "replaced obsolete term": ("X:6", "X:3"),
    "obsolete without a replacement": ("X:7", None),
    "name": ("protein folding", "X:2"),
    "letter case and blanks": (" Protein \t FOLDING ", "X:2"),
    "name before modifiers": ("folding in the er", "X:3"),
    "exact synonym with quotes": ('folding of "proteins"', "X:2"),
    "ambiguous exact synonym": ("ER folding", None),
    "broad synonym": ("folding", None),
    "related synonym": ("chaperoning", None),
    "part of a name": ("protein", None),
    "two names": ("protein folding, ER quality control", None),
    "empty": ("", None),
    "blank": (" \t", None),
    "hyphen for blank": ("protein-folding", None),
    "Cyrillic o": ("pr\u043etein folding", None),
    "zero-width joiner": ("protein\u200d folding", None),
    "lone surrogate": ("protein folding\ud800", None),
    "huge": ("protein folding" * 10_000, None),
    "name of an obsolete term": ("obsolete folding", None),
}


@pytest.mark.parametrize(("text", "expected"), RESOLVED.values(), ids=RESOLVED)
def test_a_text_names_one_term_or_none(obo: Ontology, text: str, expected: str | None) -> None:
    assert obo.resolve(text) == expected


EXACTNESS = {
    "name": ("protein folding", "X:2", "exact"),
    "id": ("X:2", "X:2", "exact"),
    "broad": ("Folding", "X:2", "broad"),
    "related": ("chaperoning", "X:2", "related"),
    "related to two terms": ("chaperoning", "X:3", "related"),
    "scope missing in the file": ("polypeptide folding", "X:2", "related"),
    "another term's name": ("protein folding", "X:3", None),
    "exact of two terms": ("ER folding", "X:3", None),
    "nothing": ("translation", "X:2", None),
}


@pytest.mark.parametrize(("text", "term", "expected"), EXACTNESS.values(), ids=EXACTNESS)
def test_how_a_text_names_a_given_term(
    obo: Ontology, text: str, term: str, expected: str | None
) -> None:
    assert obo.exactness(text, term) == expected


def test_parents_are_is_a_and_the_relations_asked_for_within_a_namespace(tmp_path: Path) -> None:
    path = written(tmp_path, "x.obo", OBO)
    both, _ = load(path)
    assert both.ancestors("X:3") == {"X:1", "X:2", "X:4"}
    assert both.ancestors("X:5") == frozenset()  # part_of crosses namespaces
    alone, _ = load(path, relations=["is_a"])
    assert alone.ancestors("X:3") == {"X:1", "X:2"}
    assert alone.digest != both.digest
    assert both.roots == {"X:1"}
    assert both.propagated(["X:3"]) == {"X:2", "X:3", "X:4"}
    assert both.propagated(["X:1"]) == frozenset()
    assert [both.terms[i].namespace for i in ("X:3", "X:5")] == ["process", "component"]


def test_a_term_alone_is_no_root(tmp_path: Path) -> None:
    ontology = Ontology({"A": Term("A", "alone")}, "d")
    assert ontology.roots == frozenset()
    assert ontology.propagated(["A"]) == {"A"}


def test_information_is_accretion_with_the_rule_of_succession(tmp_path: Path) -> None:
    ontology, table = load(
        written(tmp_path, "d.tsv", DESCRIBED),
        [written(tmp_path, "a.tsv", "g1\tD\ng2\tB\ng3\tC\ng4\tB\ng4\tC\n")],
    )
    assert table is not None
    bits = ontology.information(table)
    # n: A 4, B 3 (g1, g2, g4), C 3, D 1; genes with both parents of D: g1, g4
    assert bits == pytest.approx({"A": 0.0, "B": log2(6 / 4), "C": log2(6 / 4), "D": log2(4 / 2)})
    structural = ontology.information()
    # each term once: B {B, D}, C {C, D}, D {D}; below both B and C: D
    assert structural == pytest.approx(
        {"A": 0.0, "B": log2(6 / 3), "C": log2(6 / 3), "D": log2(3 / 2)}
    )
    assert ontology.counts(table).genes == {"A": 4, "B": 3, "C": 3, "D": 1}
    assert ontology.information(table) is bits


def test_information_of_more_genes_than_one_block() -> None:
    ontology = Ontology({"A": Term("A", "a"), "B": Term("B", "b", ("A",))}, "d")
    rows = {f"g{i}": frozenset("B" if i % 2 else "A") for i in range(20_001)}
    assert ontology.counts(Annotations(rows, "x")).genes == {"A": 20_001, "B": 10_000}


def test_a_table_describes_terms_and_their_namespace(tmp_path: Path) -> None:
    ontology, _ = load(written(tmp_path, "d.tsv", DESCRIBED))
    assert set(ontology.terms) == set("ABCD")
    assert ontology.resolve("Bottom") == "D"
    assert ontology.resolve("old") is None
    assert {term.namespace for term in ontology.terms.values()} == {"top"}


def test_a_table_of_children_and_parents(tmp_path: Path) -> None:
    text = "# mine\nchild\tparent\nT cell\tlymphocyte\r\nlymphocyte\tcell\n\nB cell\tlymphocyte\n"
    ontology, _ = load(written(tmp_path, "d.tsv", text))
    assert ontology.ancestors("T cell") == {"lymphocyte", "cell"}
    assert ontology.roots == {"cell"}


def test_a_gaf_names_genes_by_symbol_and_skips_what_is_denied(tmp_path: Path) -> None:
    text = "!gaf-version: 2.2\n" + "".join(
        (
            gaf("P1", "CALR", "X:2"),
            gaf("P1", "CALR", "X:30"),
            gaf("P1", "CALR", "X:4", "NOT|involved_in"),
            gaf("P2", "AARS1", "X:1", evidence="ND"),
            gaf("P3", "TP53", "X:999"),
        )
    )
    ontology_file = written(tmp_path, "x.obo", OBO)
    plain = written(tmp_path, "a.gaf", text)
    packed = written(tmp_path, "a.gaf.gz", gzip.compress(text.encode()))
    for path in (plain, packed):
        _, table = load(ontology_file, [path])
        assert table is not None
        assert table.terms_of == {"CALR": {"X:2", "X:3"}}
        assert table.of("P1") == table.of("CALR")
        assert table.of("AARS1") is None
        assert table.of("") is None
        assert table.left_out == 1


def test_several_annotation_files_add_up(tmp_path: Path) -> None:
    _, table = load(
        written(tmp_path, "x.obo", OBO),
        [
            written(tmp_path, "a.json", json.dumps({"P1": ["X:2"], "P2": []})),
            written(tmp_path, "b.tsv", "gene\tterm\nP1\tER quality control\nP3\tX:3\n"),
        ],
    )
    assert table is not None
    assert table.terms_of == {"P1": {"X:2", "X:4"}, "P3": {"X:3"}}


def test_windows_and_marks_of_editors(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + OBO.replace("\n", "\r\n").encode()
    ontology, _ = load(written(tmp_path, "x.obo", text))
    assert ontology.resolve("protein folding") == "X:2"


TERM = "format-version: 1.2\n[Term]\nid: X:1\nname: a\n"
ONTOLOGY_FAULTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "x: empty"),
    "binary": (b"\x89\0\0", "x: not text"),
    "zip": (b"PK\x03\x04...", "a zip archive; unpack it first"),
    "web page": ("<!doctype HTML><html>", "a web page, not the file"),
    "OWL": ('<?xml version="1.0"?>', "fetch the .obo"),
    "OBO Graphs": ('{"graphs": []}', "OBO Graphs JSON; fetch the .obo"),
    "LFS pointer": ("version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    "annotations": ("!gaf-version: 2.2\n", "annotations, not an ontology"),
    "GPAD": ("!gpa-version: 1.1\n", "fetch the .gaf"),
    "not UTF-8": (b"format-version: 1.2\n[Term]\nid: X:1\nname: caf\xe9\n", "not UTF-8"),
    "truncated gzip": (gzip.compress(TERM.encode())[:-12], "cannot be read"),
    "no term": ("format-version: 1.2\n", "holds no term"),
    "obsolete only": (TERM + "is_obsolete: true\n", "obsolete terms only"),
    "term twice": (TERM + TERM[20:], "x:6: term X:1 stands twice, first at line 2"),
    "unknown parent": (TERM + "is_a: X:9\n", "x:2: the parent X:9 of X:1 is no term"),
    "obsolete parent": (
        TERM + "is_a: X:2\n[Term]\nid: X:2\nname: b\nis_obsolete: true\n",
        "x:2: the parent X:2 of X:1 is obsolete",
    ),
    "circle": (
        TERM + "is_a: X:2\n[Term]\nid: X:2\nname: b\nis_a: X:1\n",
        "terms go in a circle: X:1 → X:2 → X:1",
    ),
    "own parent": (TERM + "is_a: X:1\n", "circle: X:1 → X:1"),
    "bad synonym": (TERM + "synonym: a EXACT []\n", 'x:5: expected synonym: "text" SCOPE'),
    "bad relationship": (TERM + "relationship: part_of\n", "x:5: expected relationship:"),
    "one column": ("a\nb\n", "x:1: expected child and parent"),
    "three columns": ("a\tb\nc\td\te\n", "x:2: expected child and parent"),
    "parent twice": ("a\tb\na\tb\n", "x:2: a has the parent b twice"),
    "circle in a table": ("a\tb\nb\tc\nc\ta\n", "terms go in a circle"),
    "described, bad flag": (DESCRIBED + "F\tf\tmaybe\tA\n", "x:7: expected term, name, obsolete"),
    "described, twice": (DESCRIBED + "B\tb\t0\tA\n", "x:7: term B stands twice, first at line 3"),
    "described, unknown parent": (DESCRIBED + "F\tf\t0\tZ\n", "x:7: the parent Z of F"),
    "described, circle": ("term\tname\tobsolete\tparents\nA\ta\t0\tB\nB\tb\t0\tA\n", "circle"),
    "endless line": (TERM + "comment: " + "a" * MOST_LINE, "x:5: a line of more than"),
}


@pytest.mark.parametrize(("text", "message"), ONTOLOGY_FAULTS.values(), ids=ONTOLOGY_FAULTS)
def test_a_wrong_ontology_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(ModelFault) as caught:
        load(written(tmp_path, "x", text))
    assert message in str(caught.value)
    assert str(tmp_path / "x") in str(caught.value)


ANNOTATION_FAULTS: dict[str, tuple[str | bytes, str]] = {
    "an ontology": (OBO, "an ontology, not annotations"),
    "three columns": ("g\tX:2\nh\tX:2\tz\n", "a:2: expected gene and term"),
    "blank gene": ("\tX:2\n", "a:1: expected gene and term"),
    "short GAF": ("!gaf-version: 2.2\nUniProtKB\tP1\n", "a:2: 2 columns, a GAF has 15"),
    "GAF without symbol": ("!gaf-version: 2.2\n" + gaf("P1", "", "X:2"), "a:2: no symbol"),
    "GAF without rows": ("!gaf-version: 2.2\n", "holds no annotation"),
    "columns swapped": ("X:2\tCALR\nX:3\tCALR\n", "2 of 2 annotations are of terms that"),
    "another ontology": ("g\tX:2\nh\tY:1\ni\tY:2\n", "2 of 3 annotations"),
    "JSON of another shape": ('{"P1": "X:2"}', 'expected an object {"gene"'),
    "JSON cut off": ('{"P1": ["X:2"', "a: expected an object"),
    "JSON not UTF-8": (b'{"P1": ["\xff"]}', "expected an object"),
    "JSON bomb": ('{"a":' * 10_000, "expected an object"),
}


@pytest.mark.parametrize(("text", "message"), ANNOTATION_FAULTS.values(), ids=ANNOTATION_FAULTS)
def test_wrong_annotations_are_refused_with_their_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    ontology = written(tmp_path, "x.obo", OBO)
    with pytest.raises(ModelFault) as caught:
        load(ontology, [written(tmp_path, "a", text)])
    assert message in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)


VERSIONS = {
    "stated": ("data-version: releases/2026-01-23\n", "releases/2026-01-23"),
    "not stated": ("", None),
    "empty": ("data-version:\n", None),
}


@pytest.mark.parametrize(("header", "version"), VERSIONS.values(), ids=VERSIONS)
def test_the_release_is_what_the_header_states(
    tmp_path: Path, header: str, version: str | None
) -> None:
    stanza = "[Term]\nid: X:1\nname: one\ndata-version: no header\n"
    (tmp_path / "x.obo").write_text(f"format-version: 1.2\n{header}\n{stanza}")
    assert load(tmp_path / "x.obo")[0].version == version


HUMAN = GeneResolver([[GeneRecord(f"GENE{i}", (), (), ()) for i in range(3000)]], "human")
ANY = GeneResolver.as_they_are()
SYMBOLS = [f"GENE{i}" for i in range(2500)]
ACCESSIONS = [f"P{i:05d}" for i in range(2500)]
DOUBTS: dict[str, tuple[list[str], GeneResolver, str | None]] = {
    "symbols": (SYMBOLS, HUMAN, None),
    "symbols without a gene table": (SYMBOLS, ANY, None),
    "accessions": (ACCESSIONS, HUMAN, "by accession (P00000)"),
    "accessions without a gene table": (ACCESSIONS, ANY, "by accession (P00000)"),
    "long accessions": (["A0A024R1R8", "A0A024R1R9-2"], ANY, "bring a GAF (goa_human.gaf)"),
    "proteins, RNAs, complexes": (
        [*SYMBOLS[:1], "URS0000EEFF3B_9606", "URS0000E915FD", "CPX-226"],
        HUMAN,
        "by accession (URS0000EEFF3B_9606)",
    ),
    "a third are accessions": (SYMBOLS + ACCESSIONS[:1250], HUMAN, None),
    "symbols that look like accessions": (["H2AC11", "TP53", "CALR"], ANY, None),
    "of another organism": ([f"Y{i}W" for i in range(2500)], HUMAN, "0 are symbols of the gene"),
    "one in ten is known": (SYMBOLS[:1] + [f"Y{i}W" for i in range(9)], HUMAN, None),
    "one in eleven is known": (SYMBOLS[:1] + [f"Y{i}W" for i in range(10)], HUMAN, "tried, 1 are"),
    "nothing": ([], HUMAN, None),
}


@pytest.mark.parametrize(("names", "genes", "says"), DOUBTS.values(), ids=DOUBTS)
def test_names_under_which_no_gene_is_found_are_doubted(
    names: list[str], genes: GeneResolver, says: str | None
) -> None:
    said = doubt(Annotations(dict.fromkeys(names, frozenset("X")), "sha256:x"), genes)
    if says is None:
        assert said is None
    else:
        assert said is not None
        assert says in said


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.obo", tmp_path):
        with pytest.raises(ModelFault, match="cannot be read"):
            load(path)


def test_relations_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="is no relation"):
        load(written(tmp_path, "x.obo", OBO), relations=["is a"])


def test_a_deep_chain_needs_no_recursion() -> None:
    terms = {f"T{i}": Term(f"T{i}", f"t{i}", (f"T{i - 1}",) if i else ()) for i in range(20_000)}
    ontology = Ontology(terms, "d")
    assert len(ontology.ancestors("T19999")) == 19_999


def test_synonyms_are_exact_unless_said_otherwise() -> None:
    assert Synonym("a").scope == "exact"


@pytest.mark.data
def test_the_real_gene_ontology_loads_in_five_seconds_and_propagates() -> None:
    given = os.environ.get("SOFT_VERIFIER_DATA")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    go = folder / "go"
    if not (go / "go_dag_is_a.tsv").exists():
        pytest.skip(f"no Gene Ontology in {go}; set SOFT_VERIFIER_DATA")
    started = time.process_time()
    ontology, table = load(go / "go_dag_is_a.tsv", sorted(go.glob("associations_*.json")))
    loaded = time.process_time() - started
    assert table is not None
    assert loaded < 5.0
    assert ontology.roots == {"GO:0008150", "GO:0003674", "GO:0005575"}
    assert ontology.resolve("protein folding") == "GO:0006457"
    assert ontology.terms["GO:0006457"].namespace == "biological_process"
    bits = ontology.information(table)
    assert bits["GO:0009987"] < 1.0 < bits["GO:0006457"]
    started = time.process_time()
    for terms in list(table.terms_of.values())[:1000]:
        assert terms - ontology.roots <= ontology.propagated(terms)
    assert time.process_time() - started < 1.0
