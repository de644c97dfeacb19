"""Scales, error rates, caution across families and weights of items, through whole profiles."""

from __future__ import annotations

import statistics

import msgspec
import pytest

from service.rewards.core import Item, Verdict
from service.rewards.noise import Noise, Rates, stratum
from service.rewards.profiles import ProfileFault, load_profiles
from worldmodels.core import Status

YES = "<think>AARS stalls translation.</think> <answer>yes</answer>"
NO = YES.replace("yes", "no")
COSTLY = """
extends = "{}"
[compose]
scale = [-1.0, 1.0]
floor = -1.0
range = [-1.0, 1.0]
"""
NOISY = """
extends = "rbio-exp"
[compose]
floor = -0.5
range = [-0.5, 1.2]
[compose.noise]
rho0 = 0.1
rho1 = 0.15
[compose.noise.strata."Hep G2"]
rho0 = 0.2
rho1 = 0.2
"""
CAUTIOUS = """
tasks = ["perturbation.de"]
[compose]
operator = "mean_minus_sd"
risk = 0.5
range = [0, 1]
""" + "".join(
    f'[[component]]\nname = "{family}"\nverifier = "perturbation"\nmodel = "family:{family}"\n'
    for family in ("trees", "linear", "graph")
)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    def made(text):
        folder = tmp_path_factory.mktemp("profiles")
        (folder / "mine.toml").write_text(text, "utf-8")
        return load_profiles(folder)["mine"]

    return made


def on(cell_line):
    return {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": cell_line}


@pytest.mark.parametrize("name", ["owkinzero-choice", "owkinzero-binary"])
def test_wrong_answers_may_cost(load, judge, name):
    costly = load(COSTLY.format(name))
    example = costly.recipe.examples[0]
    honest = msgspec.convert(example.item(), Item)
    assert judge(costly, honest).reward == 1.0
    for text in example.dishonest:
        result = judge(costly, msgspec.structs.replace(honest, completion=text))
        assert result.reward == -1.0
        assert {component.score for component in result.components} <= {0.0, None}


SOFT = {"certain": (1.0, 1.0), "p": (0.75, 0.5), "level": (0.5, 0.0), "wrong": (0.0, -1.0)}


@pytest.mark.parametrize(("p", "reward"), SOFT.values(), ids=SOFT)
def test_a_scale_is_affine(load, judge, item, p, reward):
    result = judge(load(COSTLY.format("rbio-mlp")), item(YES), p=p)
    assert (result.reward, result.components[0].score) == (reward, p)


RATES = {
    "right": (YES, "k562", 0.9 / 0.75),
    "wrong": (NO, "k562", -0.1 / 0.75),
    "a stratum, right": (YES, "HepG2", 0.8 / 0.6),
    "a stratum, wrong": (NO, "hep-g2", -0.2 / 0.6),
    "no cell line": (YES, "", 0.9 / 0.75),
}


@pytest.mark.parametrize(("text", "line", "reward"), RATES.values(), ids=RATES)
def test_error_rates_are_undone_by_stratum(load, judge, item, text, line, reward):
    profile = load(NOISY.replace("1.2]", "1.333333]"))
    result = judge(profile, item(text, truth="yes", task=on(line)))
    assert result.reward == pytest.approx(reward, abs=1e-6)
    assert result.components[0].score in (0.0, 1.0)
    assert profile.range[0] <= result.reward <= profile.range[1]
    assert judge(profile, item("yes", task=on(line))).reward == -0.5


def test_a_correction_has_the_wanted_mean():
    noise = Noise(0.2, 0.3)
    wrong = 0.2 * noise.correct(1.0) + 0.8 * noise.correct(0.0)
    right = 0.7 * noise.correct(1.0) + 0.3 * noise.correct(0.0)
    assert (wrong, right) == (pytest.approx(0.0, abs=1e-12), pytest.approx(1.0))


def test_a_correction_leaves_advantages_of_one_question_alone():
    """Group normalisation erases it; between strata it does not (Youden's J sets the scale)."""

    def advantages(rewards):
        return [(r - statistics.fmean(rewards)) / statistics.pstdev(rewards) for r in rewards]

    raw = [1.0, 1.0, 0.0, 1.0]
    clean, noisy = Rates(0.0, 0.0), Rates(0.3, 0.2)
    corrected = [noisy.correct(r) for r in raw]
    assert advantages(corrected) == pytest.approx(advantages(raw))
    spread = [
        max(map(rates.correct, raw)) - min(map(rates.correct, raw)) for rates in (clean, noisy)
    ]
    assert spread == pytest.approx([1.0, 2.0])


CONTEXTS = {
    "cell line": (on("x"), "x"),
    "context": ({"type": "gene.coexpression", "genes": ["A", "B"], "context": "PBMC"}, "PBMC"),
    "neither": ({"type": "number"}, ""),
    "no task": (None, ""),
}  # fmt: skip


@pytest.mark.parametrize(("task", "name"), CONTEXTS.values(), ids=CONTEXTS)
def test_stratum(task, name):
    assert stratum(msgspec.convert({"task": task}, Item)) == name


AGREEMENT = {
    "agree": ([0.8, 0.8, 0.8], 0.8),
    "one doubts": ([0.9, 0.9, 0.3], 0.7 - 0.5 * statistics.pstdev([0.9, 0.9, 0.3])),
    "one alone": ([1.0, 0.0, 0.0], 1 / 3 - 0.5 * statistics.pstdev([1, 0, 0])),
}


@pytest.mark.parametrize(("ps", "reward"), AGREEMENT.values(), ids=AGREEMENT)
def test_caution_pays_what_families_agree_on(load, judge, item, ps, reward):
    result = judge(load(CAUTIOUS), item(YES), *(Verdict(Status.OK, p) for p in ps))
    assert result.reward == pytest.approx(reward, abs=1e-6)


def test_families_that_are_left_out_leave_the_rest(load, judge, item):
    profile = load(
        CAUTIOUS.replace('model = "family:graph"', 'model = "family:graph"\non_missing = "drop"')
    )
    known = [Verdict(Status.OK, 0.9), Verdict(Status.OK, 0.5)]
    result = judge(profile, item(YES), *known, Verdict(Status.UNKNOWN_GENE))
    assert result.reward == pytest.approx(0.7 - 0.5 * 0.2)
    assert (
        judge(load(CAUTIOUS), item(YES), *known, Verdict(Status.UNKNOWN_GENE)).status == "abstain"
    )


def test_families_cannot_be_bound_to_one_model(load):
    with pytest.raises(ProfileFault, match="family of its own"):
        load(CAUTIOUS).with_model("k562")


WEIGHTS = {"none": (None, 0.8), "full": (1.0, 0.8), "half": (0.5, 0.4), "nothing": (0.0, 0.0)}


@pytest.mark.parametrize(("given", "weight"), WEIGHTS.values(), ids=WEIGHTS)
def test_confidence_in_an_item_multiplies_its_weight(judge, item, given, weight):
    result = judge("rbio-mlp", item(YES, weight=given), p=0.9)
    assert (result.reward, result.weight) == (0.9, weight)


def test_confidence_in_an_item_does_not_touch_what_has_no_reward(judge, item):
    thing = item(YES, weight=0.5)
    assert judge("rbio-mlp", thing, Verdict(Status.UNMEASURED)).weight == 0.0
    assert judge("rbio-mlp", item("yes", weight=0.5)).weight == 1.0


@pytest.mark.parametrize("weight", [-0.1, 1.1, "1"])
def test_confidence_is_a_share(item, weight):
    with pytest.raises(msgspec.ValidationError):
        item(YES, weight=weight)


def test_a_shape_is_shown_and_pinned(load):
    """What decides a reward is in the recipe that is served and in its digest."""
    text = NOISY.replace("1.2]", "1.333333]")
    noisy = load(text)
    shown = noisy.describe()["recipe"]["compose"]
    assert shown["noise"]["strata"] == {"hepg2": {"rho0": 0.2, "rho1": 0.2}}
    assert msgspec.json.decode(msgspec.json.encode(noisy.describe()))["digest"] == noisy.digest
    assert load(text.replace("rho1 = 0.15", "rho1 = 0.150")).digest == noisy.digest
    assert load(text.replace("rho1 = 0.15", "rho1 = 0.149")).digest != noisy.digest
    costly = load(COSTLY.format("rbio-exp"))
    assert costly.digest != load(COSTLY.format("rbio-exp").replace("1.0]", "0.5]")).digest
