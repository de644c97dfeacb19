"""What every verifier must obey, over the examples of every profile that uses it.

A new verifier is held to it by standing in the table: a profile that uses it must have examples,
a shipped one or one of ``OTHERS``.
"""

from __future__ import annotations

import copy
import json
import math
from typing import NamedTuple

import msgspec
import pytest

from service.redteam.library import library
from service.rewards.core import ERRORS, INVALID, Answer, Finding, Item, Reason, Verdict, Work
from service.rewards.profiles import Profile, load_profiles
from service.rewards.tasks import TASK_TYPES
from service.rewards.verifiers import VERIFIERS, judge_class
from service.rewards.verifiers.judge import Judge
from service.rewards.works import carry_out
from worldmodels.core import Status

CALR = "Calreticulin binds calcium ions and folds glycoproteins in the reticulum."
OTHERS = {
    "passage": f"""
tasks = ["text"]
[[component]]
name = "text"
verifier = "text"
[[example]]
completion = "<think>What is known of it.</think> <answer>{CALR}</answer>"
task = {{ type = "text", question = "What does CALR do?" }}
truth = "{CALR}"
""",
    "consistent": """
tasks = ["label"]
[[component]]
name = "label"
verifier = "label"
[[component]]
name = "contradiction"
verifier = "contradiction"
role = "report"
[[example]]
completion = "<think>It folds glycoproteins. So the answer is yes.</think> <answer>yes</answer>"
task = { type = "label", classes = ["yes", "no"] }
truth = "yes"
""",
}
VERDICT = Verdict(Status.OK, 0.9, 0.4, 0.04, 0.8)
GARBAGE = (
    {"x": [None]},
    [[], {}],
    [""],
    "",
    "\ud800",
    -1.5,
    True,
    float("nan"),
    {"classes": 3, "confidences": "x"},
    {"answer": None, "checkpoints": []},
    {"value": "x"},
    ["a"] * 5000,
)


class Case(NamedTuple):
    """One component of a profile before one of its completions."""

    profile: Profile
    judge: Judge
    item: Item
    answer: Answer


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    """Every component of every profile before honest and dishonest completions."""
    folder = tmp_path_factory.mktemp("profiles")
    for name, text in OTHERS.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    made = []
    for profile in load_profiles(folder, library()).values():
        if profile.lacks:  # the extra [chem]
            continue
        examples = profile.recipe.examples or [None]
        for example in examples:
            honest = profile.example() if example is None else example.item()
            for completion in (honest["completion"], *(example.dishonest if example else ())):
                item = msgspec.convert({**honest, "completion": completion}, Item)
                assert profile.fault(item) is None
                answer = profile.read(item)
                if answer.reason is Reason.OK:
                    judges = (part.judge for part in profile.composition.parts)
                    made += [Case(profile, judge, item, answer) for judge in judges]
    return made


def judged(case: Case, item: Item | None = None):
    item = case.item if item is None else item
    verdicts = (VERDICT,) * len(case.judge.queries(item))
    work = case.judge.work(item, case.answer) if case.judge.works else None
    if work is not None:
        return case.judge.score_finding(item, case.answer, carry_out(work))
    return case.judge.score(item, case.answer, verdicts)


def test_every_verifier_is_met(cases):
    met = {type(case.judge) for case in cases}
    wanted = {judge_class(name) for name in VERIFIERS}
    if any(kind.__module__.endswith(("ether0", "molecule_equal")) for kind in met):
        assert met == wanted
    else:  # without the extra [chem]
        assert {kind.__name__ for kind in wanted - met} <= {
            "Ether0Judge", "ConstraintsJudge", "MoleculeEqualJudge", "MoleculePropertyJudge",
            "MoleculeValidJudge",
        }  # fmt: skip


@pytest.mark.parametrize("name", VERIFIERS)
def test_it_says_what_it_is(name):
    kind = judge_class(name)
    assert issubclass(kind, Judge)
    assert kind.__doc__
    assert kind.Options.__doc__
    assert kind.__module__.startswith("service.rewards.verifiers.")
    assert kind.tasks is None or set(kind.tasks) <= set(TASK_TYPES)


def test_scores_lie_between_0_and_1_or_say_why_there_is_none(cases):
    scored = 0
    for case in cases:
        found = judged(case)
        assert (found.name, found.weight) == (case.judge.name, case.judge.weight)
        if found.score is None:
            assert Reason(found.status) is not Reason.OK, (case.profile.name, found)
        else:
            assert 0.0 <= found.score <= 1.0, (case.profile.name, found)
            assert found.status == Reason.OK
            assert 0.0 <= case.judge.certainty(found) <= 1.0
            scored += 1
    assert scored > len(cases) / 2


def test_the_same_is_judged_alike_and_nothing_is_changed(cases):
    for case in cases:
        before = copy.deepcopy(case.item)
        first, second = judged(case), judged(case)
        assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)
        assert case.item == before


def test_what_is_asked_of_models_hangs_on_the_task_alone(cases):
    for case in cases:
        other = copy.copy(case.item)
        other.completion = "<answer>another completion</answer>"
        assert case.judge.queries(other) == case.judge.queries(case.item)


def test_work_is_plain_data_of_this_package(cases):
    works = [
        work
        for case in cases
        if case.judge.works and (work := case.judge.work(case.item, case.answer)) is not None
    ]
    assert works
    for work in works:
        assert isinstance(work, Work)
        assert hash(work) == hash(Work(work.function, work.arguments))
        assert work.function.startswith("service.rewards.")
        assert json.loads(json.dumps(carry_out(work).value)) is not None


@pytest.mark.parametrize("reason", [Reason.TOO_LONG, Reason.MODEL_ERROR, Reason.DEADLINE])
def test_work_that_came_to_nothing_scores_nothing(cases, reason):
    for case in cases:
        if case.judge.works and case.judge.work(case.item, case.answer) is not None:
            found = case.judge.score_finding(case.item, case.answer, Finding(reason))
            assert found.score is None
            assert Reason(found.status) in ERRORS | INVALID


def test_without_its_truth_it_has_no_opinion(cases):
    silent = 0
    for case in cases:
        if case.judge.truth is None or case.item.truth is None or case.judge.queries(case.item):
            continue
        bare = copy.copy(case.item)
        bare.truth = None
        if case.profile.fault(bare) is not None:
            silent += 1
            continue
        found = judged(case, bare)
        if case.judge.queries(bare):  # a model is asked in its place
            continue
        assert found.score is None, (case.profile.name, found)
        assert found.status in ("NO_TRUTH", "BAD_TRUTH"), (case.profile.name, found)
        silent += 1
    assert silent


@pytest.mark.parametrize("truth", GARBAGE, ids=[ascii(truth)[:40] for truth in GARBAGE])
def test_any_truth_is_judged_or_named_as_the_fault(cases, truth):
    for case in cases:
        other = copy.copy(case.item)
        other.truth = truth
        fault = case.profile.fault(other)
        if fault is not None:
            reason, message = fault
            assert reason in ERRORS
            assert message
            continue
        score = judged(case, other).score
        assert score is None or (math.isfinite(score) and 0.0 <= score <= 1.0)
