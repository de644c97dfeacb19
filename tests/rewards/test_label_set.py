"""The verifier `label_set`: sets of names, plain and along an ontology."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Item, Result
from service.rewards.overlap import Overlap, plain
from service.rewards.profiles import Profile, build
from service.rewards.recipe import Fault, resolve
from service.rewards.specimens import ontologies, specimen_library
from service.rewards.verifiers.label_set import propagation

LIBRARY = specimen_library()
GO = LIBRARY.knowledge["go"]
TERMS = sorted(GO.ontology.terms)
TRUTH = ["GO:0034975", "GO:0005509", "GO:0005788"]


def profile(role: str = "primary", **options: Any) -> Profile:
    extract = {"knowledge": options["knowledge"]} if "knowledge" in options else {}
    parts = [{"name": "set", "verifier": "label_set", "role": role, **options}]
    if role != "primary":
        parts.append({"name": "one", "verifier": "label_set"})
    return build(
        "mine", resolve({"tasks": ["label_set"], "extract": extract, "component": parts}), LIBRARY
    )


def judged(made: Profile, answer: str, truth: Any, classes: tuple[str, ...] = ()) -> Result:
    fields = {
        "completion": f"<think>So it is.</think><answer>{answer}</answer>",
        "task": {"type": "label_set", "classes": list(classes)},
        "truth": truth,
    }
    item = msgspec.convert(fields, Item)
    if fault := made.fault(item):
        return made.failed(item.id, *fault)
    return made.compose(item, made.read(item), ())


PLAIN = {
    # answer {a, b, x} against {a, b, c, d}: 2 right of 3 and of 4
    "precision": ({"measure": "precision"}, 2 / 3),
    "recall": ({"measure": "recall", "cardinality": 0.5}, 2 / 4),
    "f1": ({"measure": "f1"}, 4 / 7),
    "jaccard": ({"measure": "jaccard"}, 2 / 5),
    "f_max": ({"measure": "f_max", "cardinality": 0.5}, 4 / 7),
}


@pytest.mark.parametrize(("options", "expected"), PLAIN.values(), ids=PLAIN)
def test_plain_measures(options: dict[str, Any], expected: float) -> None:
    result = judged(profile(**options), "a | B | x", ["A", "b", "c", "d"])
    assert result.reward == pytest.approx(expected, abs=1e-6)
    assert judged(profile(**options), "d | c | b | a", ["a", "b", "c", "d"]).reward == 1.0
    assert judged(profile(**options), "x | y", ["a", "b"]).reward == 0.0


def test_f_max_takes_the_best_threshold_of_the_stated_scores() -> None:
    made = profile(measure="f_max", cardinality=0.01)
    # thresholds .9 {a}: 2/3; .5 {a, x}: 1/2; .2 {a, x, b}: 4/5, less .01 for half as many again
    assert judged(made, "a 0.9\nx 0.5\nb 0.2", ["a", "b"]).reward == pytest.approx(0.795)
    assert judged(made, "a 0.9\nx 0.1\nb 0.8", ["a", "b"]).reward == pytest.approx(0.995)
    # 1.5 is no score, so "a 1.5" is a name, and a wrong one
    assert judged(made, "a 1.5\nb 0.8", ["a", "b"]).reward == 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.sampled_from(TERMS), min_size=1, max_size=5),
    st.lists(st.lists(st.sampled_from([*TERMS, None]), max_size=4), min_size=1, max_size=6),
)
def test_an_answer_that_grows_holds_at_every_step_what_it_holds_at_once(
    truth: set[str], groups: list[list[str | None]]
) -> None:
    along = propagation(GO, "annotations")
    said: list[str | None] = []
    for group, step in zip(groups, along.growing(groups, truth), strict=True):
        said += group
        assert step == pytest.approx(along.overlap(said, truth))


def test_listing_more_than_there_is_costs() -> None:
    made = profile(measure="recall", cardinality=0.5)
    assert judged(made, "a | b", ["a", "b"]).reward == 1.0
    assert judged(made, "a | b | c", ["a", "b"]).reward == 0.75
    assert judged(made, " | ".join("abcdefgh"), ["a", "b"]).reward == 0.0


def test_a_term_that_stands_twice_in_the_truth_makes_no_room_for_another() -> None:
    made = profile(knowledge="go", cardinality=0.5)
    listed = "GO:0034975 | GO:0005509 | GO:0006412"
    twice = ["GO:0034975", "protein folding in endoplasmic reticulum", "GO:0005509"]
    reward = judged(made, listed, twice).reward
    assert reward == judged(made, listed, ["GO:0034975", "GO:0005509"]).reward


def test_closed_sets_name_classes() -> None:
    made = profile()
    classes = ("Kinase", "Phosphatase", "Ligase")
    assert judged(made, "kinase | ligase", ["Ligase", "Kinase"], classes).reward == 1.0
    assert judged(made, "kinase | lyase", ["Kinase"], classes).reason == "ANSWER_NOT_IN_VOCABULARY"
    assert judged(made, "kinase", ["Lyase"], classes).reason == "BAD_TRUTH"


BAD_TRUTHS = {
    "a text": "GO:0034975",
    "an empty list": [],
    "a number in it": ["GO:0034975", 1],
    "a blank in it": [" "],
    "no term": ["GO:0034975", "frobozz"],
    "an object": {"GO:0034975": 1.0},
}


@pytest.mark.parametrize("truth", BAD_TRUTHS.values(), ids=BAD_TRUTHS)
def test_wrong_truths_say_where(truth: Any) -> None:
    result = judged(profile(knowledge="go"), "protein folding", truth)
    assert (result.status, result.reason) == ("error", "BAD_TRUTH")
    assert result.message is not None
    assert result.message.startswith("truth")


def test_truths_that_say_nothing_abstain() -> None:
    made = profile(knowledge="go")
    assert judged(made, "protein folding", None).reason == "NO_TRUTH"
    assert judged(made, "protein folding", ["biological_process"]).reason == "NO_TRUTH"
    # the commonest component of all genes: there is nothing beyond the naive guess
    assert (
        judged(made, "protein folding", ["cellular anatomical entity"]).reason == "LOW_CONFIDENCE"
    )


GO_CASES = {
    "ids": ("GO:0034975 | GO:0005509 | GO:0005788", 1.0, 1.0),
    "names in any order": (
        "endoplasmic reticulum lumen\nGO:0005509\nprotein folding in endoplasmic reticulum",
        1.0,
        1.0,
    ),
    "ids with their names": (
        "GO:0034975 protein folding in endoplasmic reticulum\nGO:0005509 (calcium ion binding)\n"
        "endoplasmic reticulum lumen (GO:0005788)",
        1.0,
        1.0,
    ),
    "16 ids with others' names": (
        "GO:0034975 calcium ion binding | GO:0005509 ATP binding",
        0.0,
        0.0,
    ),
    "ancestors beside their terms": ("GO:0034975 | GO:0006457 | GO:0005509 | GO:0005788", 0.9, 1.0),
    "two of three": ("GO:0034975 | GO:0005509", 0.3, 0.9),
    "16 one root": ("biological_process", 0.0, 0.0),
    "16 three roots": ("biological_process | molecular_function | cellular_component", 0.0, 0.0),
    "16 unrelated term": ("T cell receptor signaling pathway", 0.0, 0.0),
    "16 three-term spray": ("cellular process | binding | cellular anatomical entity", 0.0, 0.02),
    "16 common terms": ("protein binding | cytoplasm | nucleus | membrane", 0.0, 0.02),
    "16 siblings": ("chaperone-mediated protein folding | zinc ion binding", 0.0, 0.0),
    "unknown names": ("frobozz | plugh", 0.0, 0.0),
    "15 the right ones among noise": (
        " | ".join(["GO:0034975", *(f"noise {n}" for n in range(30))]),
        0.0,
        0.01,
    ),
}


@pytest.mark.parametrize(("answer", "least", "most"), GO_CASES.values(), ids=GO_CASES)
def test_sets_of_terms(answer: str, least: float, most: float) -> None:
    made = profile(knowledge="go", cardinality=0.1)
    reward = judged(made, answer, TRUTH).reward
    assert reward is not None
    assert least <= reward <= most


def test_every_attack_of_row_16_earns_less_than_the_least_honest_term() -> None:
    made = profile(knowledge="go")
    honest = min(judged(made, term, TRUTH).reward or 0.0 for term in TRUTH)
    sprays = itertools.combinations(
        [
            "cellular process",
            "binding",
            "cellular anatomical entity",
            "protein binding",
            "organelle",
        ],
        3,
    )
    for spray in (*sprays, ("biological_process",), ("T cell activation",)):
        assert (judged(made, " | ".join(spray), TRUTH).reward or 0.0) < honest


def test_figures_by_hand() -> None:
    along = propagation(GO, "structure")
    bits = along.information
    truth = ["GO:0006457"]  # protein folding ← cellular process ← root
    true = bits["GO:0006457"] + bits["GO:0009987"]
    assert along.overlap(["GO:0009987"], truth) == pytest.approx(
        Overlap(bits["GO:0009987"], bits["GO:0009987"], true)
    )
    # a child of the truth asserts it, and is no annotation: nothing right is claimed
    claimed = true + bits["GO:0034975"]
    assert along.overlap(["GO:0034975"], truth) == pytest.approx(Overlap(0.0, claimed, true))
    assert along.overlap([None], truth).claimed == max(bits.values())


MEASURES = ("precision", "recall", "f1", "jaccard")


@settings(max_examples=150, deadline=None)
@given(
    truth=st.sets(st.sampled_from(TERMS), min_size=1, max_size=6),
    answer=st.sets(st.sampled_from(TERMS), max_size=8),
    more=st.sampled_from([*TERMS, None]),
)
def test_adding_a_wrong_term_never_raises_a_measure(
    truth: set[str], answer: set[str], more: str | None
) -> None:
    along = propagation(GO, "annotations")
    right = along.ontology.propagated(truth) | along.ontology.roots
    before = along.overlap(sorted(answer), truth)
    after = along.overlap([*sorted(answer), more], truth)
    for measure in MEASURES:
        figures = before.measure(measure), after.measure(measure)
        assert all(0.0 <= figure <= 1.0 for figure in figures)
        if more not in right:
            assert figures[1] <= figures[0]


@settings(max_examples=60, deadline=None)
@given(
    truth=st.sets(st.sampled_from(TERMS), min_size=1, max_size=5),
    answer=st.lists(st.sampled_from(TERMS), min_size=1, max_size=6, unique=True),
    wrong=st.sampled_from(TERMS),
    order=st.randoms(use_true_random=False),
)
def test_rewards_are_bounded_orderless_and_never_raised_by_wrong_terms(
    truth: set[str], answer: list[str], wrong: str, order: Any
) -> None:
    for options in ({"measure": "f1"}, {"measure": "f_max", "cardinality": 0.1}):
        made = profile(knowledge="go", **options)
        first = judged(made, "\n".join(answer), sorted(truth))
        if first.reward is None:
            assert first.reason in ("NO_TRUTH", "LOW_CONFIDENCE")
            continue
        assert 0.0 <= first.reward <= 1.0
        shuffled = order.sample(answer, len(answer))
        assert judged(made, "\n".join(shuffled), sorted(truth, reverse=True)).reward == first.reward
        if wrong not in GO.ontology.propagated(truth) | GO.ontology.roots:
            sprayed = judged(made, "\n".join([*answer, wrong]), sorted(truth)).reward
            assert sprayed is not None
            assert sprayed <= first.reward


def test_a_whole_truth_earns_everything_and_nothing_else_does() -> None:
    made = profile(knowledge="go")
    assert judged(made, " | ".join(TRUTH), TRUTH).reward == 1.0
    for count in range(1, len(TRUTH)):
        for part in itertools.combinations(TRUTH, count):
            assert (judged(made, " | ".join(part), TRUTH).reward or 0.0) < 1.0


FAULTS = {
    "recall without a cost": ({"measure": "recall"}, "cardinality: recall"),
    "f_max without a cost": ({"measure": "f_max"}, "cardinality: f_max"),
    "precision along an ontology": (
        {"measure": "precision", "knowledge": "go"},
        "measure: the most",
    ),
}


@pytest.mark.parametrize(("options", "message"), FAULTS.values(), ids=FAULTS)
def test_measures_that_listing_or_vagueness_earns_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(Fault, match=message):
        profile(**options)


def test_precision_along_an_ontology_may_be_shown() -> None:
    made = profile("report", measure="precision", knowledge="go", beyond_naive=False)
    shown = judged(made, "protein folding", ["protein folding in endoplasmic reticulum"])
    assert shown.components[0].score == 1.0
    assert shown.reward == 0.0


def test_without_the_knowledge_the_profile_says_what_to_set() -> None:
    raw = {
        "tasks": ["label_set"],
        "component": [{"name": "s", "verifier": "label_set", "knowledge": "go"}],
    }
    assert build("mine", resolve(raw), type(LIBRARY)()).lacks == (
        "knowledge 'go': set [knowledge.go] with an ontology (go-basic.obo) and annotations "
        "(goa_human.gaf) in the server's configuration",
    )


def test_empty_sets_overlap_in_nothing() -> None:
    assert plain([], ["a"]).measure("f1") == 0.0
    assert set(ontologies()) == {"go", "cl", "mondo"}
