from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from screens import gene_table
from worldmodels import genes as genes_module
from worldmodels.core import ModelFault, Status
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver, Vocabulary, statuses

OK, UNKNOWN, AMBIGUOUS = Status.OK, Status.UNKNOWN_GENE, Status.AMBIGUOUS_GENE


@pytest.fixture(scope="module")
def hgnc(tmp_path_factory: pytest.TempPathFactory) -> GeneResolver:
    return GeneResolver.from_files([gene_table(tmp_path_factory.mktemp("genes"))])


@pytest.mark.parametrize(
    ("name", "symbol", "status"),
    [
        pytest.param("AARS1", "AARS1", OK, id="current"),
        pytest.param("AARS", "AARS1", OK, id="previous"),
        pytest.param("CMT2N", "AARS1", OK, id="alias"),
        pytest.param("SEPT2", "SEPTIN2", OK, id="previous-beats-another-genes-alias"),
        pytest.param("CALR", "CALR", OK, id="current-beats-another-genes-alias"),
        pytest.param("TWIN", "TWIN", AMBIGUOUS, id="alias-of-two"),
        pytest.param("OLDTWIN", "OLDTWIN", AMBIGUOUS, id="previous-of-two"),
        pytest.param("ENSG00000179218", "CALR", OK, id="ensembl"),
        pytest.param("ENSG00000179218.17", "CALR", OK, id="ensembl-version"),
        pytest.param("ensg00000179218", "CALR", OK, id="ensembl-case"),
        pytest.param("ENSG99999999999", "ENSG99999999999", UNKNOWN, id="ensembl-unknown"),
        pytest.param("calr", "CALR", OK, id="case"),
        pytest.param("CASE1", "C1orf1", OK, id="alias-case"),
        pytest.param("c1ORF1", "C1orf1", OK, id="current-case"),
        pytest.param("twin", "twin", AMBIGUOUS, id="case-of-two"),
        pytest.param("  CALR\n", "CALR", OK, id="blanks"),
        pytest.param("NKX2‑5", "NKX2-5", OK, id="typographic-hyphen"),
        pytest.param("1-Mar", "1-Mar", AMBIGUOUS, id="date-of-two"),
        pytest.param("Mar-1", "Mar-1", AMBIGUOUS, id="date-turned"),
        pytest.param("2023-03-01 00:00:00", "2023-03-01 00:00:00", AMBIGUOUS, id="date-long"),
        pytest.param("3-Mar", "MARCHF3", OK, id="date-of-one"),
        pytest.param("03-MAR", "MARCHF3", OK, id="date-zero"),
        pytest.param("2-Sep", "SEPTIN2", OK, id="date-september"),
        pytest.param("1-Dec", "DELEC1", OK, id="date-december"),
        pytest.param("9-Mar", "9-Mar", UNKNOWN, id="date-of-none"),
        pytest.param("GHOST", "GHOST", UNKNOWN, id="withdrawn"),
        pytest.param("calreticulin", "calreticulin", UNKNOWN, id="full-name-does-not-resolve"),
        pytest.param("CALR+AARS", "AARS1+CALR", OK, id="combination-sorted"),
        pytest.param("CALR+NOPE", "CALR+NOPE", UNKNOWN, id="combination-unknown"),
        pytest.param("CALR+TWIN", "CALR+TWIN", AMBIGUOUS, id="combination-ambiguous"),
        pytest.param("CALR+", "CALR+", UNKNOWN, id="half-combination"),
        pytest.param("", "", UNKNOWN, id="empty"),
        pytest.param("   ", "", UNKNOWN, id="blank"),
        pytest.param("CA\0LR", "CA\0LR", UNKNOWN, id="nul"),
        pytest.param("\ud800", "\ud800", UNKNOWN, id="lone-surrogate"),
        pytest.param("\u202eCALR", "\u202eCALR", UNKNOWN, id="right-to-left"),
        pytest.param("CАLR", "CАLR", UNKNOWN, id="cyrillic"),
        pytest.param("A" * 100_000, "A" * 100_000, UNKNOWN, id="huge"),
        pytest.param("+" * 1000, "+" * 1000, UNKNOWN, id="pluses"),
    ],
)
def test_resolve(hgnc: GeneResolver, name: str, symbol: str, status: Status) -> None:
    assert hgnc.resolve(name) == (symbol, status)
    assert hgnc.canonical(name) == symbol
    assert hgnc.canonical(name) == symbol, "from the memo too"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param(" TP53 ", ("TP53", OK), id="as-it-is"),
        pytest.param("B+A", ("A+B", OK), id="combination-sorted"),
        pytest.param("UC.285+", ("UC.285+", OK), id="plus-in-a-name"),
        pytest.param("", ("", UNKNOWN), id="empty"),
    ],
)
def test_without_a_table_names_stand(name: str, answer: tuple[str, Status]) -> None:
    resolver = GeneResolver.as_they_are()
    assert resolver.resolve(name) == answer
    assert resolver.label == "symbols as they are"
    assert resolver.size == 0


def test_helper_map_does_not_guess_but_dates_stand_for_the_renamed(tmp_path: Path) -> None:
    resolver = GeneResolver.from_files([gene_table(tmp_path, "map")])
    assert resolver.resolve("AARS") == ("AARS1", OK)
    assert resolver.resolve("SEPT2") == ("SEPT2", AMBIGUOUS)
    assert resolver.resolve("2-Sep") == ("SEPTIN2", OK)
    assert resolver.resolve("4-Oct") == ("POU5F1", OK), "a date that the table lists as alias"
    assert resolver.label.startswith("hgnc_symbol_map.tsv (sha256:")


@pytest.mark.parametrize("order", [("hgnc", "ncbi"), ("ncbi", "hgnc")], ids="-".join)
def test_tables_of_different_age_merge_by_authority(tmp_path: Path, order: tuple[str, ...]) -> None:
    resolver = GeneResolver.from_files([gene_table(tmp_path, kind) for kind in order])
    assert resolver.resolve("AARS") == ("AARS1", OK), "NCBI's outdated symbol is no current one"
    assert resolver.resolve("OLDEST") == ("AARS1", OK), "its synonyms come along"
    assert resolver.resolve("CRT") == ("CALR", OK)
    assert resolver.resolve("LOC1") == ("CALR", OK)
    assert resolver.resolve("ONLYNCBI") == ("ONLYNCBI", OK)
    assert resolver.resolve("Mouse1")[1] is UNKNOWN
    assert " + " in resolver.label


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param("GARS", ("GARS1", OK), id="a-synonym-of-another-gene"),
        pytest.param("gars", ("GARS1", OK), id="the-same-case-blind"),
        pytest.param("H2BC", ("H2BC4", OK), id="a-previous-symbol-of-another-gene"),
        pytest.param("h2bc", ("H2BC4", OK), id="a-new-symbol-of-the-same-letters"),
        pytest.param("TWIN", ("TWIN", AMBIGUOUS), id="what-the-first-cannot-tell"),
        pytest.param("OLD", ("NEW", OK), id="an-outdated-symbol-beats-a-synonym"),
        pytest.param("FRESH", ("GART", OK), id="a-name-of-the-weaker-alone"),
    ],
)
def test_a_weaker_table_overrules_nothing(name: str, answer: tuple[str, Status]) -> None:
    strong = [
        GeneRecord("GARS1", aliases=("GARS",)),
        GeneRecord("H2BC4", aliases=("H2BC",)),
        GeneRecord("NEW", ids=("ENSG1",)),
        GeneRecord("A", aliases=("TWIN",)),
        GeneRecord("B", aliases=("TWIN",)),
    ]
    weak = [
        GeneRecord("GART", aliases=("GARS", "Gars", "OLD", "FRESH")),
        GeneRecord("H2BX", previous=("H2BC", "TWIN")),
        GeneRecord("H2bc"),
        GeneRecord("OLD", ids=("ENSG1",)),
    ]
    assert GeneResolver([strong, weak]).resolve(name) == answer


def test_aliases_are_the_genes_alone(hgnc: GeneResolver) -> None:
    assert set(hgnc.aliases("AARS1")) == {"AARS", "CMT2N", "alanyl-tRNA synthetase 1", "AlaRS"}
    assert "AARS1" in hgnc.aliases("AARS")
    assert "SEPT2" not in hgnc.aliases("SEPTIN6"), "that is SEPTIN2's"
    assert "TWIN" not in hgnc.aliases("TWIN1")
    assert hgnc.aliases("NOPE") == ()
    assert GeneResolver.as_they_are().aliases("TP53") == ()


def test_dates_are_no_mention(tmp_path: Path) -> None:
    assert GeneResolver.from_files([gene_table(tmp_path, "map")]).aliases("POU5F1") == ()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        pytest.param("a.tsv", b"gene\tvalue\nA\t1\n", "columns are gene, value", id="columns"),
        pytest.param("a.tsv", b"", "columns are", id="empty"),
        pytest.param("a.tsv", b"Symbol\tApproved.Symbol\n", "holds no gene", id="header-only"),
        pytest.param("a.gz", b"\x1f\x8bnot really", "not readable as text", id="broken-gzip"),
        pytest.param("a.tsv", b"\xff\xfe\x00", "not readable as text", id="binary"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelFault, match=says) as fault:
        GeneResolver.from_files([tmp_path / name])
    assert name in str(fault.value)


def test_missing_table_and_no_table() -> None:
    with pytest.raises(ModelFault, match="cannot be read"):
        GeneResolver.from_files(["/nowhere/genes.tsv"])
    with pytest.raises(ModelFault, match="no gene table given"):
        GeneResolver.from_files([])


def test_memo_is_bounded(hgnc: GeneResolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genes_module, "MEMO", 100)
    resolver = GeneResolver.as_they_are()
    for i in range(1000):
        resolver.canonical(f"junk{i}")
        resolver.canonical("x" * 5000 + str(i))
    assert sys.getsizeof(resolver._memo) < 20_000
    assert resolver.canonical("TP53") == "TP53"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("AARS", 0, id="own-outdated-spelling"),
        pytest.param("AARS1", 0, id="current-symbol-of-it"),
        pytest.param("cmt2n", 0, id="alias"),
        pytest.param("ENSG00000179218.3", 1, id="ensembl"),
        pytest.param("LOCAL.1", 2, id="own-name-that-no-table-knows"),
        pytest.param(" LOCAL.1 ", 2, id="the-same-with-blanks"),
        pytest.param("local.1", -int(UNKNOWN), id="its-case-is-not-guessed"),
        pytest.param("SEPTIN2", -int(UNKNOWN), id="a-gene-but-not-of-the-model"),
        pytest.param("TWIN", -int(AMBIGUOUS), id="ambiguous"),
        pytest.param("", -int(UNKNOWN), id="empty"),
        pytest.param("\ud800", -int(UNKNOWN), id="surrogate"),
    ],
)
def test_vocabulary(hgnc: GeneResolver, name: str, code: int) -> None:
    vocabulary = Vocabulary(["AARS", "CALR", "LOCAL.1"], [0, 1, 2], hgnc)
    assert vocabulary.codes([name, "CALR", name]).tolist() == [code, 1, code]


def test_rows_that_the_table_merges_keep_their_spellings(hgnc: GeneResolver) -> None:
    renamed = Vocabulary(["AARS", "CMT2N"], [0, 1], hgnc)
    assert renamed.codes(["AARS", "CMT2N", "AARS1"]).tolist() == [0, 1, -int(AMBIGUOUS)]
    kept = Vocabulary(["AARS", "AARS1"], [0, 1], hgnc)
    assert kept.codes(["AARS", "AARS1", "CMT2N"]).tolist() == [0, 1, 1]
    shared = Vocabulary(["AARS", "CMT2N"], [4, 4], hgnc)
    assert shared.codes(["AARS1"]).tolist() == [4]


def test_vocabulary_faults() -> None:
    with pytest.raises(ModelFault, match="lists 'A' twice, for rows 0 and 1"):
        Vocabulary(["A", "A"], [0, 1], GeneResolver.as_they_are())
    with pytest.raises(ModelFault, match="2 names but 1 rows"):
        Vocabulary(["A", "B"], [0], GeneResolver.as_they_are())


def test_vocabulary_memory_is_bounded(hgnc: GeneResolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genes_module, "MEMO", 50)
    vocabulary = Vocabulary(["CALR"], [7], hgnc)
    size = len(vocabulary)
    vocabulary.codes([f"junk{i}" for i in range(1000)])
    assert len(vocabulary) == size, "unknown names are not remembered"
    assert set(vocabulary.codes(["CALR" + " " * i for i in range(60)]).tolist()) == {7}
    assert set(vocabulary.codes([" " * i + "CALR" for i in range(500)]).tolist()) == {7}
    assert len(vocabulary) <= size + 50
    assert vocabulary.codes(["CALR", "calr"]).tolist() == [7, 7]


def test_statuses_take_the_worst() -> None:
    vocabulary = Vocabulary(["A"], [0], GeneResolver.as_they_are())
    a, b = vocabulary.codes(["A", "A", "X"]), vocabulary.codes(["A", "X", "A"])
    assert statuses(a, b).tolist() == [OK, UNKNOWN, UNKNOWN]


@pytest.mark.data
def test_perturbqa_symbols_resolve(data_folder: Path) -> None:
    resolver = GeneResolver.from_files([data_folder / "hgnc" / "hgnc_symbol_map.tsv"])
    for old, new in {"AARS": "AARS1", "ARNTL": "BMAL1", "C11orf1": "CFAP68"}.items():
        assert resolver.resolve(old) == (new, OK)
    assert resolver.resolve("1-Mar")[1] is AMBIGUOUS
    assert resolver.resolve("2-Sep") == ("SEPTIN2", OK)


@pytest.mark.data
def test_a_second_table_loses_no_perturbqa_symbol(data_folder: Path) -> None:
    tables = [
        data_folder / "hgnc" / "hgnc_symbol_map.tsv",
        data_folder / "ncbi" / "Homo_sapiens.gene_info.gz",
    ]
    named = set()
    for path in (data_folder / "perturbqa").glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get("split", "train") == "train":
                    named |= {row.get("pert") or "", row.get("gene") or ""}
    one, both = GeneResolver.from_files(tables[:1]), GeneResolver.from_files(tables)
    found = {name: one.resolve(name) for name in sorted(named)}
    resolved = {name: answer for name, answer in found.items() if answer[1] is OK}
    assert len(resolved) > 5000
    assert {name: both.resolve(name) for name in resolved} == resolved
