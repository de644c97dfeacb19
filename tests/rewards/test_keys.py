"""Keys of profiles, from TOML to the reward: each row sets one key and sees the reward change."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from service.rewards.annotated import AnnotatedGenes
from service.rewards.core import Item, Query, Verdict
from service.rewards.profiles import build
from service.rewards.recipe import resolve
from service.rewards.specimens import annotation_table, ontologies, specimen_library
from service.rewards.verifiers import judge_class
from service.rewards.works import carry_out
from worldmodels.core import Status

LIBRARY = specimen_library()
KNOWN = AnnotatedGenes(ontologies()["go"], annotation_table(), LIBRARY.genes)
CALR = "CALR: " + KNOWN.reference(KNOWN.terms("CALR"))
YES_NO = {"type": "label", "classes": ["yes", "no"]}
OPEN = {"type": "label"}
PAIR = {"type": "gene.coexpression", "genes": ["CD3D", "CD3E"], "context": "blood"}
ASKED = {"model": "fake"}
GENE = {"type": "gene.function", "genes": ["CALR"]}
CELLS = {"type": "label_list", "classes": ["a", "b", "c"]}
GO_SET = {"type": "label_set"}
TPSA = {"type": "molecule.property", "molecule": "CC(=O)Oc1ccccc1C(=O)O", "property": "tpsa"}
DESIGN = {"type": "molecule.constraints", "constraints": [{"property": "rings", "equals": 0}]}
SAME = {"type": "molecule.equal"}
SOFT = {"classes": ["yes", "no"], "confidences": [0.6, 0.4]}
STATED = {"states": "probability"}
TAGGED = "<think>AARS1 affects CALR.</think><answer>{}</answer>"
FACTS = "<gene_info>{}</gene_info>" + TAGGED.format("It binds calcium.")
"""Verifier, its other keys, the key and its value, [extract], the item, and what it earns without
and with the key: a reward, or the reason why there is none."""
COMPONENTS: dict[str, tuple[Any, ...]] = {
    "answer.min_gap": (
        "answer",
        {},
        {"min_gap": 0.5},
        {},
        {"task": YES_NO, "truth": SOFT, "completion": TAGGED.format("yes")},
        0.6,
        "LOW_CONFIDENCE",
    ),
    "answer.epsilon": (
        "answer",
        {"score": "log"},
        {"epsilon": 0.25},
        STATED,
        {"task": YES_NO, "truth": "yes", "completion": TAGGED.format("0.75")},
        0.939581,
        1.0,
    ),
    "format.max_words": (
        "format",
        {},
        {"max_words": 5},
        {},
        {"task": YES_NO, "completion": TAGGED.format("yes")},
        1.0,
        0.909091,
    ),
    "format.max_chars": (
        "format",
        {},
        {"max_chars": 40},
        {},
        {"task": YES_NO, "completion": TAGGED.format("yes")},
        1.0,
        0.909091,
    ),
    "format.starts_with_think": (
        "format",
        {},
        {"starts_with_think": False},
        {"grammar": "released"},
        {"task": YES_NO, "completion": "A word. " + TAGGED.format("yes")},
        0.878788,
        0.966667,
    ),
    "mention.min_prose": (
        "mention",
        {},
        {"min_prose": 2},
        {},
        {"task": YES_NO, "keywords": ["AARS1", "CALR"], "completion": TAGGED.format("yes")},
        1.0,
        0.0,
    ),
    "gene_function.section": (
        "gene_function",
        {},
        {"section": "facts"},
        {"sections": ["gene_info", "facts"]},
        {"task": GENE, "completion": FACTS.format(CALR)},
        1.0,
        0.0,
    ),
    "gene_function.longest": (
        "gene_function",
        {},
        {"longest": 1.0},
        {"sections": ["gene_info"]},
        {"task": GENE, "completion": FACTS.format(CALR + ", word" * 100)},
        1.0,
        0.0,
    ),
    "gene_function.knowledge": (
        "gene_function",
        {},
        {"knowledge": "hpo"},
        {"sections": ["gene_info"]},
        {"task": GENE, "completion": FACTS.format(CALR)},
        1.0,
        "lacks",
    ),
    "label_list.max_length": (
        "label_list",
        {},
        {"max_length": 1},
        {},
        {"task": CELLS, "truth": ["a", "b"], "completion": TAGGED.format("a | b")},
        1.0,
        "BAD_TRUTH",
    ),
    "label_set.information": (
        "label_set",
        {"knowledge": "go"},
        {"information": "structure"},
        {"knowledge": "go"},
        {
            "task": GO_SET,
            "truth": ["GO:0034975", "GO:0005509"],
            "completion": TAGGED.format("GO:0005509"),
        },
        0.506029,
        0.46042,
    ),
    "molecule.constraints.least_atoms": (
        "molecule.constraints",
        {},
        {"least_atoms": 5},
        {},
        {"task": DESIGN, "completion": TAGGED.format("CCCO")},
        1.0,
        0.0,
    ),
    "molecule.constraints.most_atoms": (
        "molecule.constraints",
        {},
        {"most_atoms": 4},
        {},
        {"task": DESIGN, "completion": TAGGED.format("CCCCO")},
        1.0,
        0.0,
    ),
    "molecule.equal.tautomers": (
        "molecule.equal",
        {},
        {"tautomers": "ignore"},
        {},
        {"task": SAME, "truth": "Oc1ccccn1", "completion": TAGGED.format("O=c1cccc[nH]1")},
        0.0,
        1.0,
    ),
    "molecule.equal.salts": (
        "molecule.equal",
        {},
        {"salts": "ignore"},
        {},
        {"task": SAME, "truth": "CCN", "completion": TAGGED.format("CCN.Cl")},
        0.0,
        1.0,
    ),
    "molecule.property.tolerance": (
        "molecule.property",
        {},
        {"tolerance": 5.0},
        {},
        {"task": TPSA, "completion": TAGGED.format("60")},
        0.0,
        1.0,
    ),
    "molecule.valid.reasonable": (
        "molecule.valid",
        {},
        {"reasonable": False},
        {},
        {"task": SAME, "completion": TAGGED.format("NNNNNN")},
        0.0,
        1.0,
    ),
    "pair.score raw": (
        "pair",
        ASKED,
        {"score": "raw"},
        {},
        {"task": PAIR, "completion": TAGGED.format("yes")},
        0.7,
        0.55,
    ),
    "pair.score hard": (
        "pair",
        ASKED,
        {"score": "hard"},
        {},
        {"task": PAIR, "completion": TAGGED.format("yes")},
        0.7,
        1.0,
    ),
    "pair.min_gap": (
        "pair",
        ASKED,
        {"min_gap": 0.5},
        {},
        {"task": PAIR, "completion": TAGGED.format("yes")},
        0.7,
        "LOW_CONFIDENCE",
    ),
    "pair.evidence": (
        "pair",
        {**ASKED, "score": "hard"},
        {"evidence": ["truth", "model"]},
        {},
        {"task": PAIR, "truth": "no", "completion": TAGGED.format("yes")},
        1.0,
        0.0,
    ),
    "pair.epsilon": (
        "pair",
        {**ASKED, "score": "log"},
        {"epsilon": 0.25},
        STATED,
        {"task": PAIR, "completion": TAGGED.format("0.75")},
        0.867856,
        0.7,
    ),
}
READINGS: dict[str, tuple[Any, ...]] = {
    "prefilled_think": ({}, {"prefilled_think": True}, "so</think><answer>yes</answer>", "MALFORMED", 1.0),
    "max_chars": ({}, {"max_chars": 40}, TAGGED.format("yes"), 1.0, "TOO_LONG"),
    "max_words": ({}, {"max_words": 5}, TAGGED.format("yes"), 1.0, "TOO_LONG"),
    "pattern": ({}, {"answer": "pattern", "pattern": "I say (\\w+)"}, "<think>so</think>I say yes.", "NO_ANSWER", 1.0),
    "field": ({"answer": "json"}, {"field": "verdict"}, '<think>so</think>{"verdict": "yes"}', "NO_ANSWER", 1.0),
    "tool": ({"think": "optional"}, {"answer": "tool", "tool": "submit"}, [{"content": "", "tool_calls": [{"name": "submit", "arguments": {"answer": "yes"}}]}], "NO_ANSWER", 1.0),
    "until": ({"answer": "after-think"}, {"until": ";"}, "<think>so</think>yes; for it does", "ANSWER_NOT_IN_VOCABULARY", 1.0),
    "tag": ({}, {"tag": "final"}, "<think>so</think><final>yes</final>", "NO_ANSWER", 1.0),
    "think_tag": ({}, {"think_tag": "scratch"}, "<scratch>so</scratch><answer>yes</answer>", "MALFORMED", 1.0),
    "think": ({}, {"think": "optional"}, "<answer>yes</answer>", "MALFORMED", 1.0),
    "sections": ({}, {"sections": ["facts"]}, "<facts>x</facts><think>so</think><answer>yes</answer>", "MALFORMED", 1.0),
    "grammar": ({}, {"grammar": "released"}, "Well. <think>so</think><answer>yes</answer>", "MALFORMED", 1.0),
    "gate_contradiction": ({}, {"gate_contradiction": True}, "<think>The answer is no.</think><answer>yes</answer>", 1.0, "CONTRADICTION"),
}  # fmt: skip


def earned(
    verifier: str, keys: dict[str, Any], extract: dict[str, Any], item: dict[str, Any]
) -> float | str:
    """Its score, or why it has none; of a model that says p = 0.7 and a raw score of 0.55."""
    kind = judge_class(verifier)
    parts = [{"name": "one", "verifier": verifier, **keys}]
    if kind.textual or verifier == "molecule.valid":
        parts[0]["role"] = "report"
        parts.append(
            {
                "name": "two",
                "verifier": {"label": "label"}.get(item["task"]["type"], "molecule.equal"),
            }
        )
    recipe = {"tasks": [item["task"]["type"]], "extract": extract, "component": parts}
    made = build("mine", resolve(recipe), LIBRARY)
    if made.lacks:
        return "lacks"
    thing = msgspec.convert(item, Item)
    if fault := made.fault(thing):
        return str(fault[0])
    answer = made.read(thing)
    findings = {index: carry_out(work) for index, work in made.works(thing, answer).items()}
    asked = made.queries(thing) if answer.reason == "OK" else ()
    verdicts = [Verdict(Status.OK, 0.7, raw=0.55)] * len(asked)
    first = made.compose(thing, answer, verdicts, findings).components[0]
    return first.status if first.score is None else first.score


@pytest.mark.parametrize(
    ("verifier", "others", "key", "extract", "item", "without", "with_it"),
    COMPONENTS.values(),
    ids=COMPONENTS,
)
def test_key_of_a_component(verifier, others, key, extract, item, without, with_it):
    assert earned(verifier, others, extract, item) == without
    assert earned(verifier, {**others, **key}, extract, item) == with_it
    assert without != with_it


@pytest.mark.parametrize(
    ("others", "key", "completion", "without", "with_it"), READINGS.values(), ids=READINGS
)
def test_key_of_extract(others, key, completion, without, with_it):
    item = {"task": YES_NO, "truth": "yes", "completion": completion}
    assert earned("label", {}, others, item) == without
    assert earned("label", {}, {**others, **key}, item) == with_it


@pytest.mark.parametrize("kind", ["gene.coexpression", "gene.interaction", "gene.similarity"])
def test_pairs_are_asked_in_their_context(kind):
    recipe = {"tasks": [kind], "component": [{"name": "one", "verifier": "pair", "model": "fake"}]}
    item = msgspec.convert({"completion": "", "task": {**PAIR, "type": kind}}, Item)
    made = build("mine", resolve(recipe), LIBRARY)
    assert made.queries(item) == (Query("fake", kind, "CD3D", "CD3E", "blood"),)


@pytest.mark.parametrize(
    ("most", "reward"), [(2, "TOO_LONG"), (3, 1.0)], ids=["too many", "enough"]
)
def test_most_names_of_a_set(most, reward):
    item = {
        "task": {"type": "label_set", "most": most},
        "truth": ["a", "b", "c"],
        "completion": TAGGED.format("a, b, c"),
    }
    assert earned("label_set", {}, {}, item) == reward
