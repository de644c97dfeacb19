"""The verifier `gene_function`: sections about genes against their annotations."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from service.rewards.annotated import AnnotatedGenes
from service.rewards.core import Item, Result, Verdict
from service.rewards.library import Knowledge, Library
from service.rewards.profiles import Profile, build, load_profiles
from service.rewards.recipe import Fault, resolve
from service.rewards.specimens import annotation_table, ontologies, specimen_library
from service.rewards.verifiers.gene_function import genes_of
from service.rewards.works import carry_out
from worldmodels.core import Status
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver
from worldmodels.ontology import Annotations, Ontology, Term

GENES = GeneResolver(
    [
        [
            GeneRecord("AARS1", ("AARS",), ("AlaRS",), ("alanyl-tRNA synthetase 1",)),
            GeneRecord("CALR", (), ("RO",), ("calreticulin",)),
            GeneRecord("CD3D", (), (), ()),
            GeneRecord("NOP56", (), ("AMB",), ()),
            GeneRecord("OTHER", (), ("AMB",), ()),
        ]
    ],
    "five genes",
)
LIBRARY = specimen_library(GENES)
KNOWN = AnnotatedGenes(ontologies()["go"], annotation_table(), GENES)
DE = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR"}
AARS = (
    "AARS1 has alanine-tRNA ligase activity and aminoacyl-tRNA editing activity, with tRNA binding "
    "and ATP binding; alanyl-tRNA aminoacylation follows, and tRNA processing."
)
CALR = (
    "CALR serves protein folding in endoplasmic reticulum and protein stabilization in the "
    "endoplasmic reticulum lumen by calcium ion binding and carbohydrate binding."
)


def profile(library: Library = LIBRARY, **options: Any) -> Profile:
    raw = {
        "tasks": ["perturbation.de", "gene.function"],
        "extract": {"sections": ["gene_info"]},
        "component": [{"name": "go", "verifier": "gene_function", **options}],
    }
    return build("mine", resolve(raw), library)


def judged(made: Profile, *sections: str, task: dict[str, Any] = DE) -> Result:
    blocks = "".join(f"<gene_info>{section}</gene_info>" for section in sections)
    item = msgspec.convert(
        {"completion": f"{blocks}<think>So it is.</think><answer>yes</answer>", "task": task}, Item
    )
    if fault := made.fault(item):
        return made.failed(item.id, *fault)
    answer = made.read(item)
    findings = {index: carry_out(work) for index, work in made.works(item, answer).items()}
    verdicts = (Verdict(Status.OK, 0.9),) * len(made.queries(item))
    return made.compose(item, answer, verdicts, findings)


def annotations_of(gene: str) -> str:
    return f"{gene}: " + KNOWN.reference(KNOWN.terms(gene))


@pytest.mark.parametrize("perturbed", ["A+B", ["A+B"], ["A", "B"], " A + B"], ids=repr)
def test_a_combination_is_one_however_it_is_written(perturbed: Any) -> None:
    """A list of one is a text in protobuf."""
    item = msgspec.convert({"task": {**DE, "perturbation": perturbed}}, Item)
    assert genes_of(item) == ["A", "B", "CALR"]


def test_keywords_by_hand() -> None:
    made = profile(aspect="F")
    # CALR has 9 functions here; calcium, carbohydrate: 2 of 9, nothing wrong
    figure = KNOWN.figure(CALR, "CALR", "F")
    assert figure == pytest.approx(2 / 9)
    baseline = KNOWN.baseline("CALR", "F")
    assert 0.0 < baseline < 0.5
    one = {"type": "gene.function", "genes": ["CALR"]}
    assert judged(made, CALR, task=one).reward == pytest.approx(
        max(0.0, (figure - baseline) / (1 - baseline)), abs=1e-6
    )
    # one wrong term of three that are named: two thirds of it
    sprayed = CALR + " It shows ATP hydrolysis activity."
    assert KNOWN.figure(sprayed, "CALR", "F") == pytest.approx(2 / 9 * 2 / 3)


def test_everything_annotated_earns_everything_by_keywords() -> None:
    result = judged(profile(), annotations_of("AARS1"), annotations_of("CALR"))
    assert result.reward == 1.0


MEASURES = ("keywords", "rouge2", "rougeL")
NAMES = [term.name for term in ontologies()["go"].terms.values()]


def shuffled(text: str) -> str:
    gene, *words = text.split()
    return " ".join([gene, *random.Random(5).sample(words, len(words))])


def swapped(one: str, other: str) -> tuple[str, str]:
    return one.replace("AARS1", "CALR"), other.replace("CALR", "AARS1")


ATTACKS = {
    "15 nothing said": (),
    "15 names alone": ("AARS1", "CALR"),
    "15 one gene only, the commonest terms": ("AARS1: protein binding; nucleus; cytosol",),
    "15 swapped genes": swapped(AARS, CALR),
    "15 word salad": (shuffled(AARS), shuffled(CALR)),
    "15 denied": (AARS.replace("has", "does NOT have"), CALR.replace("serves", "never serves")),
    "15 repeated 50 times": (" ".join([AARS] * 50), " ".join([CALR] * 50)),
    "15 the ontology listed": ("AARS1: " + "; ".join(NAMES), "CALR: " + "; ".join(NAMES)),
    "15 a part of it listed": (
        "AARS1: " + "; ".join(NAMES[:40]),
        "CALR: " + "; ".join(NAMES[40:80]),
    ),
    "15 boilerplate": (
        "AARS1 encodes a protein that plays an important role in various cellular processes.",
        "CALR encodes a protein that plays an important role in various cellular processes.",
    ),
    "15 the commonest terms": (
        "AARS1: protein binding; nucleus; cytosol; cytoplasm; membrane",
        "CALR: protein binding; nucleus; cytosol; cytoplasm; membrane",
    ),
    "16 roots": ("AARS1: molecular_function; biological_process", "CALR: cellular_component"),
    "08 a name in another": (AARS.replace("AARS1", "AARS1P5X"), CALR.replace("CALR", "CALRX")),
    "20 surrogates": ("AARS1 \ud800\udfff \0", "CALR \u202e\ufeff"),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("sections", ATTACKS.values(), ids=ATTACKS)
def test_what_attacks_earn(measure: str, sections: tuple[str, ...]) -> None:
    made = profile(measure=measure)
    honest = judged(made, AARS, CALR).reward
    earned = judged(made, *sections).reward
    assert honest is not None
    assert earned is not None
    assert 0.0 <= earned < honest
    if measure == "keywords":
        assert earned <= 0.5 * honest


def test_15_names_of_one_word_listed_cost_what_they_claim() -> None:
    made = profile(aspect="C")
    listed = "; ".join(name for name in NAMES if " " not in name)
    honest = "endoplasmic reticulum lumen; endoplasmic reticulum membrane; cell surface; membrane"
    task = {"type": "gene.function", "genes": ["CALR"]}
    assert "mitochondrion" in listed
    assert KNOWN.figure(f"CALR: {listed}", "CALR", "C") < KNOWN.figure(honest, "CALR", "C")
    assert judged(made, f"CALR: {listed}", task=task).reward == 0.0


def test_genes_are_found_under_any_of_their_names() -> None:
    made = profile()
    honest = judged(made, AARS, CALR).reward
    assert (
        judged(made, AARS.replace("AARS1", "AARS"), CALR.replace("CALR", "calreticulin")).reward
        == honest
    )
    assert judged(made, AARS, CALR, task={**DE, "perturbation": "AARS"}).reward == honest
    assert judged(made, CALR, AARS).reward == honest
    assert judged(made, AARS.replace("AARS1", "alars"), CALR).reward == honest


def test_a_section_is_of_the_gene_that_it_names_first() -> None:
    made = profile()
    honest = judged(made, AARS, CALR).reward or 0.0
    assert judged(made, AARS + " CALR rises.", CALR).reward == honest
    assert (judged(made, "CALR: " + AARS, CALR).reward or 0.0) < honest


def test_combinations_and_lists_of_genes() -> None:
    made = profile()
    task = {**DE, "perturbation": "AARS1+CD3D"}
    both = judged(made, AARS, CALR, task=task).reward
    assert both == pytest.approx((judged(made, AARS, CALR).reward or 0.0) * 2 / 3, abs=1e-6)
    assert judged(made, AARS, CALR, task={**DE, "perturbation": ["AARS1", "CD3D"]}).reward == both


def test_the_aspect_is_the_profiles_or_the_tasks() -> None:
    where = "CALR: " + KNOWN.reference(KNOWN.terms("CALR", "C"))
    tasks = {a: {"type": "gene.function", "genes": ["CALR"], "aspect": a} for a in ("C", "F", "P")}
    assert judged(profile(), where, task=tasks["C"]).reward == 1.0
    assert judged(profile(), where, task=tasks["F"]).reward == 0.0
    assert judged(profile(), where, task=tasks["P"]).reward == 0.0
    assert judged(profile(aspect="C"), where, task=tasks["F"]).reward == 1.0


ABSENT = {
    "no gene has annotations": (["NOP56"], "NO_ANNOTATION"),
    "unknown gene": (["FROBOZZ"], "UNKNOWN_GENE"),
    "ambiguous gene": (["AMB"], "AMBIGUOUS_GENE"),
    "no gene": ([], "BAD_ITEM"),
    "blank gene": ([" "], "BAD_ITEM"),
    "too many genes": (["CALR"] * 17, "BAD_ITEM"),
}


@pytest.mark.parametrize("measure", ["keywords", "rouge2"])
@pytest.mark.parametrize(("genes", "reason"), ABSENT.values(), ids=ABSENT)
def test_genes_that_nothing_is_known_of(measure: str, genes: list[str], reason: str) -> None:
    task = {"type": "gene.function", "genes": genes}
    for sections in ((), (AARS, CALR)):
        result = judged(profile(measure=measure), *sections, task=task)
        assert (result.reward, result.reason) == (None, reason)


def test_a_gene_without_annotations_is_left_out() -> None:
    task = {**DE, "perturbation": "NOP56"}
    alone = {"type": "gene.function", "genes": ["CALR"]}
    for measure in ("keywords", "rougeL"):
        made = profile(measure=measure)
        assert judged(made, CALR, task=task).reward == judged(made, CALR, task=alone).reward


def test_a_gene_of_which_only_the_commonest_is_known_has_no_opinion() -> None:
    ontology = Ontology(
        {"R": Term("R", "root"), "A": Term("A", "protein binding", ("R",))}, "sha256:tiny"
    )
    table = Annotations({gene: frozenset("A") for gene in ("CALR", "CD3D")}, "sha256:table")
    made = profile(Library(GENES, {"go": Knowledge("go", ontology, table)}))
    result = judged(
        made, "CALR: protein binding", task={"type": "gene.function", "genes": ["CALR"]}
    )
    assert (result.reward, result.reason) == (None, "LOW_CONFIDENCE")


def test_what_must_be_configured() -> None:
    bare = Library(GENES, {"go": Knowledge("go", ontologies()["go"])})
    assert profile(bare).lacks == ("annotations of 'go': add annotations (GAF) to [knowledge.go]",)
    (lack,) = profile(Library()).lacks
    assert "set [knowledge.go] with an ontology (go-basic.obo) and annotations" in lack


def test_salad_never_earns_by_rouge_1() -> None:
    with pytest.raises(Fault, match="rouge1"):
        profile(measure="rouge1")


def test_rbios_sums_pay_the_answer_and_the_sections_apart() -> None:
    made = load_profiles(library=LIBRARY)["rbio-go+exp"]
    item = {"task": DE, "truth": "yes"}
    sections = f"<gene_info>{AARS}</gene_info><gene_info>{CALR}</gene_info>"

    def reward(before: str, answer: str) -> float:
        text = f"{before}<think>Translation stalls.</think><answer>{answer}</answer>"
        made_item = msgspec.convert({"completion": text, **item}, Item)
        result = made.compose(made_item, made.read(made_item), ())
        assert result.reward is not None
        return result.reward

    assert reward(sections, "yes") > reward("", "yes") == 0.5
    assert 0.5 > reward(sections, "no") > reward("", "no") == 0.0
