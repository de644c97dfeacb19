"""The verifier `label`: the claimed class or name against what the request knows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from service.rewards.core import Item, Result
from service.rewards.profiles import Profile, ProfileFault, build
from service.rewards.recipe import resolve
from service.rewards.specimens import specimen_library

CLOSED = {"type": "label", "classes": ["benign", "pathogenic"]}
ANY = {"type": "label", "question": "Which?"}


def profile(
    knowledge: str | None = None, tasks: tuple[str, ...] = ("label",), **options: Any
) -> Profile:
    component = {"name": "class", "verifier": "label", **options}
    extract = {}
    if knowledge:
        component["knowledge"] = extract["knowledge"] = knowledge
    raw = {"tasks": list(tasks), "extract": extract, "component": [component]}
    return build("mine", resolve(raw), specimen_library())


def judged(made: Profile, answer: str, task: dict[str, Any], truth: Any) -> Result:
    item = msgspec.convert(
        {
            "completion": f"<think>So it is.</think><answer>{answer}</answer>",
            "task": task,
            "truth": truth,
        },
        Item,
    )
    if fault := made.fault(item):
        return made.failed(item.id, *fault)
    return made.compose(item, made.read(item), ())


SYNONYMS = {**CLOSED, "synonyms": {"pathogenic": ["deleterious", "disease-causing"]}}
OPTIONS = {"type": "label", "options": {"A": "kinase", "B": "phosphatase"}}
CLOSED_CASES = {
    "right": ("pathogenic", CLOSED, "pathogenic", 1.0),
    "wrong": ("benign", CLOSED, "pathogenic", 0.0),
    "letter case": ("Pathogenic.", CLOSED, "PATHOGENIC", 1.0),
    "synonym of the request": ("disease-causing", SYNONYMS, "pathogenic", 1.0),
    "one of several accepted": (
        "benign",
        {**CLOSED, "classes": ["benign", "vus", "bad"]},
        ["vus", "benign"],
        1.0,
    ),
    "none of several accepted": (
        "bad",
        {**CLOSED, "classes": ["benign", "vus", "bad"]},
        ["vus", "benign"],
        0.0,
    ),
    "letter for its option": ("(B)", OPTIONS, "phosphatase", 1.0),
    "option for its letter": ("phosphatase", OPTIONS, "B", 1.0),
    "no truth": ("benign", CLOSED, None, "NO_TRUTH"),
    "14 all labels listed": (
        "benign, pathogenic",
        CLOSED,
        "pathogenic",
        "ANSWER_NOT_IN_VOCABULARY",
    ),
    "14 non-pathogenic": ("non-pathogenic", CLOSED, "pathogenic", "ANSWER_NOT_IN_VOCABULARY"),
    "21 Cyrillic homoglyph": ("p\u0430thogenic", CLOSED, "pathogenic", "ANSWER_NOT_IN_VOCABULARY"),
    "truth of no class": ("benign", CLOSED, "likely benign", "BAD_TRUTH"),
    "truth as soft labels": (
        "benign",
        CLOSED,
        {"classes": ["benign"], "confidences": [1]},
        "BAD_TRUTH",
    ),
    "truth of every class": ("benign", CLOSED, ["benign", "pathogenic"], "BAD_TRUTH"),
    "empty list of truths": ("benign", CLOSED, [], "BAD_TRUTH"),
    "truth of another kind in a list": ("benign", CLOSED, ["benign", 7], "BAD_TRUTH"),
    "number where no class is positive": ("benign", CLOSED, 1, "BAD_TRUTH"),
    "boolean of yes and no": ("yes", {"type": "label", "classes": ["yes", "no"]}, True, 1.0),
    "number of yes and no": ("yes", {"type": "label", "classes": ["yes", "no"]}, 0, 0.0),
}


@pytest.mark.parametrize(
    ("answer", "task", "truth", "expected"), CLOSED_CASES.values(), ids=CLOSED_CASES
)
def test_closed_labels(answer: str, task: dict[str, Any], truth: Any, expected: object) -> None:
    result = judged(profile(), answer, task, truth)
    assert expected in (result.reward, result.reason)
    assert (result.reason == "OK") == isinstance(expected, float)


PAIR = {"perturbation": "AARS1", "gene": "CALR"}


@pytest.mark.parametrize(("truth", "expected"), [(True, 1.0), ("down", 0.0), (0, 0.0)])
def test_directions_are_labels_too(truth: Any, expected: float) -> None:
    made = profile(tasks=("perturbation.dir",))
    assert judged(made, "up", {"type": "perturbation.dir", **PAIR}, truth).reward == expected


OPEN_CASES = {
    "as it stands": ("Cystic  Fibrosis.", "cystic fibrosis", 1.0),
    "exact synonym": ("mucoviscidosis", "cystic fibrosis", 1.0),
    "synonym as the truth": ("cystic fibrosis", "mucoviscidosis", 1.0),
    "id": ("MONDO:0009061", "cystic fibrosis", 1.0),
    "id as the truth": ("ALS", "MONDO:0004976", 1.0),
    "id and name": ("MONDO:0004976: ALS", "ALS", 1.0),
    "name and id": ("cystic fibrosis (MONDO:0009061)", "cystic fibrosis", 1.0),
    "name and abbreviation": ("Amyotrophic lateral sclerosis (ALS)", "ALS", 1.0),
    "14 another id in brackets": ("cystic fibrosis (MONDO:0004976)", "cystic fibrosis", 0.0),
    "14 another name in brackets": ("ALS (Parkinson disease)", "ALS", 0.0),
    "14 another name behind the id": ("MONDO:0004976 Parkinson disease", "ALS", 0.0),
    "14 two ids": ("MONDO:0004976 MONDO:0009061", "ALS", 0.0),
    "14 three names": ("ALS (ALS) (Parkinson disease)", "ALS", 0.0),
    "14 denied in front": ("not ALS (ALS)", "ALS", 0.0),
    "print hyphen": ("Li\u2011Fraumeni syndrome", "Li-Fraumeni syndrome", 1.0),
    "print apostrophe": ("Parkinson\u2019s disease", "Parkinson disease", 1.0),
    "several accepted": ("ALS", ["cystic fibrosis", "amyotrophic lateral sclerosis"], 1.0),
    "neither known to the ontology": ("Frobozz syndrome", "frobozz  syndrome", 1.0),
    "truth unknown to the ontology": ("ALS", "Frobozz syndrome", 0.0),
    "another term": ("Parkinson disease", "Alzheimer disease", 0.0),
    "parent": ("neurodegenerative disease", "Alzheimer disease", 0.0),
    "root": ("disease", "Alzheimer disease", 0.0),
    "child": ("Alzheimer disease", "neurodegenerative disease", 0.0),
    "14 als in salsa": ("salsa", "ALS", 0.0),
    "14 part of the name": ("fibrosis", "cystic fibrosis", 0.0),
    "14 the name inside": ("not cystic fibrosis", "cystic fibrosis", 0.0),
    "14 two names by or": ("ALS or cystic fibrosis", "ALS", 0.0),
    "14 two names by comma": ("ALS, cystic fibrosis", "ALS", 0.0),
    "14 two names by semicolon": ("ALS; cystic fibrosis", "ALS", "SEVERAL_ANSWERS"),
    "20 lone surrogate": ("ALS\ud800", "ALS", "MALFORMED"),
    "20 NUL": ("ALS\0", "ALS", "MALFORMED"),
    "20 right-to-left mark": ("\u200fALS", "ALS", "MALFORMED"),
    "21 Cyrillic homoglyph": ("\u0410LS", "ALS", "MALFORMED"),
    "21 zero-width joiner": ("A\u200dLS", "ALS", "MALFORMED"),
    "22 comment": ("ALS <!-- cystic fibrosis -->", "ALS", 0.0),
    "truth is a number": ("ALS", 3, "BAD_TRUTH"),
    "truth is blank": ("ALS", " ", "BAD_TRUTH"),
    "truth holds a number": ("ALS", ["ALS", 3], "BAD_TRUTH"),
}


@pytest.mark.parametrize(("answer", "truth", "expected"), OPEN_CASES.values(), ids=OPEN_CASES)
def test_open_labels_along_an_ontology(answer: str, truth: Any, expected: object) -> None:
    result = judged(profile("mondo"), answer, ANY, truth)
    assert expected in (result.reward, result.reason)
    assert (result.reason == "OK") == isinstance(expected, float)


def test_open_labels_without_an_ontology_are_compared_as_they_stand() -> None:
    assert judged(profile(), "cystic fibrosis", ANY, "Cystic fibrosis").reward == 1.0
    assert judged(profile(), "mucoviscidosis", ANY, "cystic fibrosis").reward == 0.0


def test_inexact_synonyms_earn_what_the_profile_says() -> None:
    strict = profile("go")
    graded = profile("go", narrow=0.5, broad=0.25)
    assert judged(strict, "apoptosis", ANY, "apoptotic process").reward == 0.0
    assert judged(graded, "apoptosis", ANY, "apoptotic process").reward == 0.5
    assert judged(graded, "apoptosis", ANY, ["translation", "apoptotic process"]).reward == 0.5
    assert judged(graded, "programmed cell death", ANY, "apoptotic process").reward == 0.0
    gaps = [made.composition.parts[0].judge.gap for made in (strict, graded)]
    assert gaps == [1.0, 0.25]  # nothing may outrank a broad synonym beside a wrong name


FAULTS = {
    "credit without an ontology": ({"narrow": 0.5}, "knowledge: missing"),
    "related above narrow": (
        {"knowledge": "go", "narrow": 0.2, "broad": 0.5, "related": 0.3},
        "related:",
    ),
}


@pytest.mark.parametrize(("options", "message"), FAULTS.values(), ids=FAULTS)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    raw = {"tasks": ["label"], "component": [{"name": "c", "verifier": "label", **options}]}
    with pytest.raises(Exception, match=message) as caught:
        build("mine", resolve(raw), specimen_library())
    assert isinstance(caught.value, ProfileFault) or type(caught.value).__name__ == "Fault"


def test_wrong_labels_may_cost() -> None:
    raw = {
        "tasks": ["label"],
        "compose": {"scale": [-1.0, 1.0], "floor": -1.0},
        "component": [{"name": "c", "verifier": "label"}],
    }
    made = build("mine", resolve(raw), specimen_library())
    assert judged(made, "benign", CLOSED, "pathogenic").reward == -1.0
    assert judged(made, "perhaps", CLOSED, "pathogenic").reward == -1.0
    assert judged(made, "pathogenic", CLOSED, "pathogenic").reward == 1.0
