"""Each example of a profile earns what it says, and each way to cheat earns less."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.core import Item, Verdict
from service.rewards.profiles import ProfileFault, load_profiles
from worldmodels.core import Status

PROFILES = [
    "owkinzero-choice", "owkinzero-binary", "pertmind", "cell-o1", "litmus", "assaybench",
    "rbio-exp", "rbio-mlp", "rbio-tf", "rbio-mlp+exp", "rbio-tf+exp",
]  # fmt: skip
EXAMPLES = [
    pytest.param(name, index, example, id=f"{name} {index + 1}")
    for name, profile in load_profiles().items()
    if name in PROFILES
    for index, example in enumerate(profile.recipe.examples)
]


def test_every_profile_has_an_example():
    assert {param.values[0] for param in EXAMPLES} == set(PROFILES)


@pytest.mark.parametrize(("name", "index", "example"), EXAMPLES)
def test_example(profiles, judge, name, index, example):
    profile = profiles[name]
    honest = judge(name, msgspec.convert(example.item(), Item))
    assert honest.status == "ok"
    assert profile.range[0] <= honest.reward <= profile.range[1]
    if example.reward is not None:
        assert honest.reward == example.reward
    assert len(example.dishonest) >= (1 if index else 12)
    for text in example.dishonest:
        item = msgspec.convert({**example.item(), "completion": text}, Item)
        result = judge(name, item)
        assert result.status in ("ok", "invalid"), text
        assert profile.composition.floor <= result.reward < honest.reward, text
        for component in result.components:
            assert component.score is None or 0.0 <= component.score <= 1.0


def test_shuffled_options_are_judged_alike(judge):
    """No letter is worth more than another: whichever the right text stands behind earns 1."""
    texts = ["small molecule", "monoclonal antibody", "PROTAC", "CAR T cell"]
    for turn in range(4):
        options = dict(zip("ABCD", texts[turn:] + texts[:turn], strict=True))
        for letter, text in options.items():
            for answer in (letter, letter.lower(), f"({letter})", text, f"{letter}. {text}"):
                fields = {
                    "completion": f"<think>It is secreted.</think><answer>{answer}</answer>",
                    "task": {"type": "label", "options": options},
                    "truth": texts[1],
                }
                result = judge("owkinzero-choice", msgspec.convert(fields, Item))
                assert (result.reward, result.answer) == (float(text == texts[1]), text)


@pytest.mark.parametrize(("p", "reward"), [(0.9, 0.95), (0.1, 0.55)], ids=["agree", "disagree"])
def test_tf_and_exp_are_a_mean(judge, item, p, reward):
    """The co-expression score n and the measured label, for the answer that was measured."""
    yes = item("<think>AARS stalls it.</think> <answer>yes</answer>", truth="yes")
    assert judge("rbio-tf+exp", yes, p=p).reward == reward


def test_an_unmeasured_pair_leaves_the_model_alone(judge, item):
    yes = item("<think>AARS stalls it.</think> <answer>yes</answer>", truth=None)
    known, unmeasured = Verdict(Status.OK, 0.7, raw=0.8), Verdict(Status.UNMEASURED)
    for name, reward in (("rbio-tf+exp", 0.8), ("rbio-mlp+exp", 0.7)):
        assert judge(name, yes, known, unmeasured).reward == reward
        assert judge(name, yes, unmeasured, known).status == "abstain"


EXTENDED = {
    "an example that works": ('extends = "cell-o1"\n', [1.0]),
    "another scale, its reward is not known": (
        'extends = "cell-o1"\n[compose]\nscale = [0, 2]\nrange = [-1, 2]\n',
        [None],
    ),
    "an example that does not work": (
        'extends = "cell-o1"\n[[component]]\nname = "cells"\nmax_length = 3\n',
        [],
    ),
}


@pytest.mark.parametrize(("text", "rewards"), EXTENDED.values(), ids=EXTENDED)
def test_examples_of_a_base(tmp_path, text, rewards):
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    examples = load_profiles(tmp_path)["mine"].recipe.examples
    assert [example.reward for example in examples] == rewards


def test_an_example_of_ones_own_must_work(tmp_path):
    text = 'extends = "cell-o1"\n[[example]]\ncompletion = "B cell"\n'
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    with pytest.raises(ProfileFault, match=r"mine.toml:2: \[example 1\] TASK_MISMATCH"):
        load_profiles(tmp_path)
