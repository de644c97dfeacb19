"""The specimens, and the shipped profiles that look something up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.rewards.core import Item, Result, Verdict
from service.rewards.library import Library
from service.rewards.profiles import load_profiles
from service.rewards.specimens import (
    annotation_table,
    as_obo,
    as_table,
    ontologies,
    specimen_library,
)
from service.rewards.works import carry_out
from worldmodels.core import Status
from worldmodels.ontology_files import load

LIBRARY = specimen_library()
PROFILES = load_profiles(library=LIBRARY)
MINE = (
    "bioreason-kegg",
    "bioreason-vep",
    "bioreason-pro-go",
    "posttrain-dna",
    "posttrain-rna",
    "posttrain-protein",
    "rbio-go",
    "rbio-go-c",
    "rbio-go-f",
    "rbio-go+exp",
    "rbio-tf+go+exp",
    "rbio-tf+go+mlp",
    "rbio-tf+go+mlp+exp",
)


def judged(name: str, fields: dict[str, Any], p: float = 0.9) -> Result:
    profile = PROFILES[name]
    item = msgspec.convert(fields, Item)
    if fault := profile.fault(item):
        return profile.failed(item.id, *fault)
    answer = profile.read(item)
    plan = profile.queries(item) if answer.reason == "OK" else ()
    findings = {index: carry_out(work) for index, work in profile.works(item, answer).items()}
    return profile.compose(
        item, answer, (Verdict(Status.OK, p, 0.4, 0.04, p),) * len(plan), findings
    )


CASES = [
    pytest.param(name, example, id=f"{name} {index + 1}")
    for name in MINE
    for index, example in enumerate(PROFILES[name].recipe.examples)
]


@pytest.mark.parametrize(("name", "example"), CASES)
def test_examples_work_and_their_dishonest_completions_earn_less(name: str, example: Any) -> None:
    honest = judged(name, example.item())
    assert (honest.status, honest.reason) == ("ok", "OK")
    assert honest.reward is not None
    assert honest.reward > PROFILES[name].range[0]
    if example.reward is not None:
        assert honest.reward == pytest.approx(example.reward, abs=1e-6)
    assert len(example.dishonest) >= 2
    for completion in example.dishonest:
        earned = judged(name, {**example.item(), "completion": completion})
        assert earned.reward is not None, completion
        assert PROFILES[name].range[0] <= earned.reward < honest.reward, completion
        for component in earned.components:
            assert component.score is None or 0.0 <= component.score <= 1.0


def test_profiles_that_judge_by_verdicts_follow_them() -> None:
    for name in ("rbio-tf+go+exp", "rbio-tf+go+mlp", "rbio-tf+go+mlp+exp"):
        fields = PROFILES[name].recipe.examples[0].item()
        low, high = (judged(name, fields, p).reward for p in (0.1, 0.9))
        assert low is not None
        assert high is not None
        assert low < high


def test_a_source_without_an_opinion_is_left_out() -> None:
    profile = PROFILES["rbio-tf+go+mlp"]
    item = msgspec.convert(profile.recipe.examples[0].item(), Item)
    answer = profile.read(item)
    absent, known = Verdict(Status.UNKNOWN_GENE), Verdict(Status.OK, 0.8, raw=0.6)
    both = profile.compose(item, answer, (absent, known))
    assert [c.status for c in both.components] == ["UNKNOWN_GENE", "OK", "OK"]
    told = both.components[1].score
    assert told is not None
    assert both.reward == pytest.approx((told + 0.8) / 2, abs=1e-6)
    strange = msgspec.structs.replace(
        item, task=msgspec.structs.replace(item.task, perturbation="NOP56", gene="YES1")
    )
    nothing = profile.compose(strange, profile.read(strange), (absent, absent))
    assert (nothing.status, nothing.reward) == ("abstain", None)


def test_splits_are_carried_by_items() -> None:
    for name in ("posttrain-dna", "posttrain-rna", "posttrain-protein"):
        assert [example.split for example in PROFILES[name].recipe.examples] == ["id", "ood"]
        assert judged(name, PROFILES[name].recipe.examples[1].item()).reward == 1.0


ROWS = {
    "14 als in salsa": ("bioreason-kegg", "salsa", "ALS", 0.0),
    "14 every disease": ("bioreason-kegg", "ALS, Parkinson disease, cystic fibrosis", "ALS", 0.0),
    "14 non-pathogenic": ("bioreason-vep", "non-pathogenic", "pathogenic", 0.0),
    "14 both classes": ("bioreason-vep", "benign pathogenic; both", "pathogenic", 0.0),
    "14 the class after the semicolon": ("bioreason-vep", "benign; pathogenic", "pathogenic", 0.0),
    "16 root": ("bioreason-pro-go", "biological_process", ["protein folding"], 0.0),
    "16 unrelated term": ("bioreason-pro-go", "T cell activation", ["protein folding"], 0.0),
    "16 spray": (
        "bioreason-pro-go",
        "cellular process | binding | cellular anatomical entity",
        ["GO:0034975", "GO:0005509", "GO:0005788"],
        0.0,
    ),
    "20 NUL": ("posttrain-rna", "T cell\0", "T cell", 0.0),
    "20 lone surrogate": ("posttrain-rna", "T cell\udc00", "T cell", 0.0),
    "20 Greek letter": ("posttrain-rna", "\u03b1-\u03b2 T cell", "alpha-beta T cell", 0.0),
    "21 Cyrillic homoglyph": ("posttrain-rna", "\u0422 cell", "T cell", 0.0),
    "21 zero-width joiner": ("posttrain-dna", "cystic\u200d fibrosis", "cystic fibrosis", 0.0),
    "22 comment": ("posttrain-dna", "ALS<!-- cystic fibrosis -->", "ALS", 0.0),
    "22 fence": ("bioreason-kegg", "ALS\n```\ncystic fibrosis\n```", "ALS", 0.0),
}


@pytest.mark.parametrize(("name", "answer", "truth", "most"), ROWS.values(), ids=ROWS)
def test_rows_of_attacks(name: str, answer: str, truth: Any, most: float) -> None:
    fields = PROFILES[name].recipe.examples[0].item()
    tagged = answer if name in ("bioreason-kegg", "bioreason-vep") else f"<answer>{answer}</answer>"
    fields |= {"completion": f"<think>It follows.</think> {tagged}", "truth": truth}
    reward = judged(name, fields).reward
    assert reward is not None
    assert reward <= most


def test_without_knowledge_profiles_say_what_to_set() -> None:
    bare = load_profiles(library=Library())
    for name in MINE:
        wanted = {"bioreason-vep": 0}.get(name, 1)
        assert len([lack for lack in bare[name].lacks if "[knowledge." in lack]) >= wanted
    assert bare["bioreason-vep"].lacks == ()


def test_specimens_are_whole() -> None:
    go, table = ontologies()["go"], annotation_table()
    assert sorted(go.terms[root].name for root in go.roots) == [
        "biological_process",
        "cellular_component",
        "molecular_function",
    ]
    assert {term.namespace for term in go.terms.values()} == {go.terms[i].name for i in go.roots}
    for gene in ("AARS1", "CALR", "CD3D", "CD3E", "HSPA5", "TP53"):
        terms = table.of(gene)
        assert terms is not None
        assert terms <= go.terms.keys()
    assert table.of("P27797") == table.of("CALR")
    assert ontologies()["cl"].resolve("T lymphocyte") == "CL:0000084"
    assert ontologies()["mondo"].resolve("als") == "MONDO:0004976"
    assert go.exactness("apoptosis", "GO:0006915") == "narrow"


@pytest.mark.parametrize("name", ["go", "cl", "mondo"])
def test_specimens_are_files_that_a_server_may_be_pointed_at(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.obo").write_text(as_obo(name))
    (tmp_path / "x.tsv").write_text(as_table())
    ontology, table = load(tmp_path / "x.obo", [tmp_path / "x.tsv"] if name == "go" else [])
    assert ontology.terms == ontologies()[name].terms
    if name == "go":
        assert table is not None
        assert table.terms_of == annotation_table().terms_of


@pytest.mark.data
def test_specimens_say_what_the_gene_ontology_says() -> None:
    given = os.environ.get("SOFT_VERIFIER_DATA")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    go = folder / "go"
    if not (go / "go_dag_is_a.tsv").exists():
        pytest.skip(f"no Gene Ontology in {go}; set SOFT_VERIFIER_DATA")
    real, table = load(go / "go_dag_is_a.tsv", sorted(go.glob("associations_*.json")))
    assert table is not None
    mine = ontologies()["go"]
    for term_id, term in mine.terms.items():
        assert (real.terms[term_id].name, real.terms[term_id].namespace) == (
            term.name,
            term.namespace,
        )
        assert mine.ancestors(term_id) == real.ancestors(term_id) & mine.terms.keys()
    for accession, gene in annotation_table().names.items():
        assert (annotation_table().of(gene) or frozenset()) <= table.terms_of[accession]
