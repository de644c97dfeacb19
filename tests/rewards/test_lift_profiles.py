"""Score kind ``lift``, weights and coverage, as profiles use them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Verdict
from service.rewards.errors import ProfileFault
from service.rewards.profiles import load_profiles
from worldmodels.core import ModelSpec, Reliable, Status

CHEAP = settings(max_examples=100, deadline=None)
SHARE = st.floats(0.0, 1.0)
OWN = """
tasks = ["perturbation.de"]
[[component]]
name = "de"
verifier = "perturbation"
model = "family:screen"
"""
PROFILES = {
    "plain": OWN + 'score = "lift"\n',
    "gap": OWN + 'score = "lift"\nmin_gap = 0.2\n',
    "by-lift": OWN + 'score = "lift"\nweight_by = "lift"\n',
    "by-certainty": OWN + 'score = "lift"\nweight_by = "certainty"\n',
    "prob-by-lift": OWN + 'weight_by = "lift"\n',
    "prob-by-none": OWN + 'weight_by = "none"\n',
    "hard-by-lift": OWN + 'score = "hard"\nweight_by = "lift"\n',
    "prob-silent": OWN + "dead_zone = 0.5\n",
    "covered": 'extends = "screen-de-lift"\n[[component]]\nname = "perturbation.de"\n'
    "coverage = 0.2\ndead_zone = 0.0\n",
    "wide": 'extends = "screen-de-lift"\n[compose]\nscale = [-1.0, 1.0]\nfloor = -1.0\n'
    "range = [-1.0, 1.0]\n",
    "with-style": OWN
    + 'score = "lift"\nmin_gap = 0.2\n[compose]\noperator = "lexi_sum"\n'
    + '[[component]]\nname = "format"\nverifier = "format"\nrole = "auxiliary"\nweight = 0.1\n',
}
PINNED = {
    "rbio-exp": "sha256:adb9aa283516b816469704dd376a2908419860e5d9df22b52adc54eee58ad54d",
    "rbio-mlp+exp": "sha256:0f956e01643cbd89d2cd80d4d57bf003b8771a98ae239357f87d5b72f0aefc23",
    "rbio-mlp": "sha256:ec6e61070a8313189e0febff9351ce5f1203f920f8c5c76d738382b1029f3310",
    "rbio-tf": "sha256:d492db14f8d6feabee93b4dad1b8b2f1af9eda162f62869662092b426576f5dd",
    "starter": "sha256:4f80ed6fb56beee89ac2af2ce9b74ece7166ccd399ee69fadb8c4f2f1104b26e",
}
"""Digests from before there were lifts."""
PROVEN = {"perturbation.de": {"k562": (Reliable(0.2, (), (-1.0,), (2.0,)),)}}
SPEC = ModelSpec(
    name="screen",
    family="screen",
    version="1",
    digest="sha256:0",
    relations=("perturbation.de",),
    contexts=("k562", "rpe1"),
    reliability=PROVEN,
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    for name, text in PROFILES.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return load_profiles(folder)


@pytest.fixture(scope="module")
def scored(mine, judge, item):
    def run(profile, answer, p=0.9, p0=0.4, line="k562", model=SPEC, status=Status.OK, **changes):
        task = {"type": "perturbation.de", "perturbation": "AARS", "gene": "CALR"}
        completion = f"<think>AARS stalls translation.</think> <answer>{answer}</answer>"
        made = item(completion, task={**task, "cell_line": line}, **changes)
        return judge(mine[profile], made, Verdict(status, p, p0, 0.04, None, model))

    return run


@CHEAP
@given(p=SHARE, p0=SHARE)
def test_both_answers_share_one(scored, p, p0):
    yes, no = scored("plain", "yes", p, p0), scored("plain", "no", p, p0)
    assert yes.status == no.status == "ok"
    assert yes.reward + no.reward == pytest.approx(1.0, abs=2e-6)
    assert (yes.reward > 0.5) == (p - p0 > 1e-6) or abs(p - p0) < 1e-5
    assert yes.weight == no.weight == 1.0


@CHEAP
@given(p=SHARE, p0=SHARE)
def test_silence_hangs_on_the_question_and_never_on_the_answer(scored, p, p0):
    for profile in ("gap", "covered", "prob-silent", "by-lift"):
        yes, no = scored(profile, "yes", p, p0), scored(profile, "no", p, p0)
        assert (yes.status, yes.reason, yes.weight) == (no.status, no.reason, no.weight)


@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize(
    ("profile", "figures", "outcome"),
    [
        pytest.param("screen-de-lift", (0.13, 0.125), "LOW_CONFIDENCE", id="in the dead zone"),
        pytest.param("screen-de-lift", (0.14, 0.125), "OK", id="above it"),
        pytest.param("screen-de-lift", (0.11, 0.125), "OK", id="below it"),
        pytest.param("screen-de-lift", (0.5, None), "NO_BASELINE", id="no p0"),
        pytest.param("screen-de-lift", (0.5, float("nan")), "NO_BASELINE", id="p0 is NaN"),
        pytest.param("screen-de-lift", (0.0, 0.0), "LOW_CONFIDENCE", id="never"),
        pytest.param("screen-de-lift", (1.0, 0.0), "OK", id="from nothing to all"),
        pytest.param("prob-silent", (0.5, 0.4), "LOW_CONFIDENCE", id="prob has a dead zone too"),
        pytest.param("prob-silent", (0.5, None), "NO_BASELINE", id="and needs p0 for it"),
        pytest.param("prob-by-lift", (0.5, None), "NO_BASELINE", id="so does a weight"),
        pytest.param("prob-by-none", (0.5, None), "OK", id="prob alone does not"),
        pytest.param("covered", (0.5, 0.125), "LOW_CONFIDENCE", id="not proven"),
        pytest.param("covered", (0.6, 0.125), "OK", id="proven"),
        pytest.param("covered", (0.04, 0.125), "OK", id="proven below"),
    ],
)
def test_what_has_an_opinion(scored, answer, profile, figures, outcome):
    found = scored(profile, answer, *figures)
    assert found.reason == outcome
    assert (
        found.status == {"OK": "ok", "LOW_CONFIDENCE": "abstain", "NO_BASELINE": "error"}[outcome]
    )
    assert (found.reward is None) == (outcome != "OK")
    assert not found.retryable


@pytest.mark.parametrize(
    ("line", "model"),
    [
        pytest.param("rpe1", SPEC, id="a line that the card does not show"),
        pytest.param("hela", SPEC, id="a line that the model pools for"),
        pytest.param("k562", None, id="nobody says who answered"),
    ],
)
def test_coverage_is_never_full_for_want_of_a_card(scored, line, model):
    found = scored("covered", "yes", 0.9, 0.1, line, model)
    assert (found.status, found.reason, found.reward) == ("abstain", "NO_CARD", None)


def test_a_pooled_answer_is_scored_and_says_so(scored):
    found = scored("plain", "yes", 0.9, 0.4, "hela", status=Status.POOLED)
    assert (found.status, found.components[0].status) == ("ok", "POOLED")
    silent = scored("screen-de-lift", "yes", 0.4, 0.4, "hela", status=Status.POOLED)
    assert (silent.status, silent.reason) == ("abstain", "LOW_CONFIDENCE")


@pytest.mark.parametrize(
    ("profile", "weight"),
    [
        ("plain", 1.0),
        ("by-lift", 0.5 / 0.6),
        ("by-certainty", 0.8),
        ("prob-by-lift", 0.5 / 0.6),
        ("prob-by-none", 1.0),
        ("hard-by-lift", 0.5 / 0.6),
        ("screen-de", 0.8),
        ("screen-de-lift", 1.0),
        ("rbio-mlp", 0.8),
    ],
)
def test_what_an_item_is_worth(scored, profile, weight):
    assert scored(profile, "yes").weight == pytest.approx(weight, abs=1e-6)
    assert scored(profile, "no", weight=0.5).weight == pytest.approx(weight / 2, abs=1e-6)


def test_a_scale_spreads_the_lift_around_nothing(scored):
    assert scored("wide", "yes", 0.9, 0.4).reward == pytest.approx(0.5 / 0.6, abs=1e-6)
    assert scored("wide", "no", 0.9, 0.4).reward == pytest.approx(-0.5 / 0.6, abs=1e-6)
    assert scored("wide", "maybe", 0.9, 0.4).reward == -1.0


@pytest.mark.parametrize("name", PINNED)
def test_recipes_without_the_new_keys_keep_their_digest(mine, name):
    assert mine[name].digest == PINNED[name]


def test_the_new_keys_decide_rewards_so_they_change_the_digest(mine):
    digests = {mine[name].digest for name in PROFILES}
    assert len(digests) == len(PROFILES)
    shown = mine["covered"].describe()["recipe"]["component"][0]
    assert (shown["coverage"], shown["dead_zone"], shown["score"]) == (0.2, 0.0, "lift")


BAD = {
    "truth": ('score = "lift"\nevidence = ["truth", "model"]\n', "evidence"),
    "style": (
        'score = "lift"\n[compose]\noperator = "lexi_sum"\n'
        '[[component]]\nname = "f"\nverifier = "format"\nrole = "auxiliary"\nweight = 0.1\n',
        "min_gap",
    ),
    "no share": ("coverage = 0.0\n", "coverage"),
    "more than all": ("coverage = 1.5\n", "coverage"),
    "a negative zone": ("dead_zone = -0.1\n", "dead_zone"),
    "no number": ("dead_zone = nan\n", "dead_zone"),
    "another weight": ('weight_by = "lifts"\n', "did you mean 'lift'"),
    "another score": ('score = "lit"\n', "did you mean 'lift'"),
    "a probability": ('score = "lift"\n[extract]\nstates = "probability"\n', "state a probability"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path, name):
    text, said = BAD[name]
    (tmp_path / "mine.toml").write_text(OWN + text, "utf-8")
    with pytest.raises(ProfileFault, match=said):
        load_profiles(tmp_path)


@pytest.mark.parametrize("name", ["rbio-mlp", "rbio-mlp+exp", "screen-de", "screen-de-lift"])
def test_profiles_can_be_bound_to_a_model_by_name(profiles, name):
    bound = profiles[name].with_model("screen")
    assert ("screen", "perturbation.de") in bound.selectors
    assert bound.digest != profiles[name].digest


@pytest.mark.parametrize(
    ("profile", "figures", "model", "said"),
    [
        pytest.param("plain", (0.5, None), SPEC, "screen states no p0 for perturbation.de",
                     id="no p0"),
        pytest.param("covered", (0.9, 0.1), None, "no card that counts as evidence", id="no card"),
        pytest.param("screen-de-lift", (0.13, 0.125), SPEC, "p 0.13 and p0 0.125 say too little",
                     id="too little"),
    ],
)  # fmt: skip
def test_silence_says_why(mine, scored, item, profile, figures, model, said):
    found = scored(profile, "yes", *figures, model=model)
    task = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"}
    judge = mine[profile].composition.parts[0].judge
    assert said in judge.remark(item("", task=task), found.components[0])
