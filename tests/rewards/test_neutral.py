"""The neutral reward: one constant of a profile and its models, in its range, and its origin."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards import files
from service.rewards.core import Item, Verdict
from service.rewards.lift import earned
from service.rewards.priors import base_rate
from service.rewards.profiles import load_profiles
from worldmodels.core import ModelSpec, Status

SHIPPED = sorted(path.stem for path in files.SHIPPED.glob("*.toml"))
ASKED = 'tasks = ["perturbation.de"]\n[[component]]\nname = "de"\nverifier = "perturbation"\n'
SOFT = ASKED + 'model = "m"\n'
STATED = '[extract]\nstates = "probability"\n'
NOISE = "[compose]\nfloor = -1\n[compose.noise]\nrho0 = 0.1\nrho1 = 0.1\n"
SECOND = '[[component]]\nname = "dir"\nverifier = "perturbation"\nmodel = "n"\n'


def spec(name="m", relations=("perturbation.de",), **metrics):
    return ModelSpec(
        name=name,
        family="f",
        version="1",
        digest="sha256:0",
        relations=relations,
        metrics={key.replace("__", "."): value for key, value in metrics.items()},
    )


def served(rate):
    return lambda selector, relation: [spec(relations=(relation,), base_rate=rate)]


def nothing(selector, relation):
    return []


def load(folder, text):
    (folder / "mine.toml").write_text(text, "utf-8")
    return load_profiles(folder)["mine"]


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("name", SHIPPED)
def test_neutral_lies_in_the_range_and_is_not_the_floor(profiles, name, rate):
    profile = profiles[name]
    found = profile.neutral(served(rate))
    low, high = profile.range
    assert low < found.value < high or (found.source == "base rate" and found.value == high)
    assert found.value != profile.recipe.compose.floor
    assert found.told
    assert found == profile.neutral(served(rate))


@pytest.mark.parametrize("name", SHIPPED)
def test_neutral_hangs_on_a_model_exactly_where_its_base_rate_counts(profiles, name):
    profile = profiles[name]
    rare, even, unserved = (
        profile.neutral(specs) for specs in (served(0.02), served(0.5), nothing)
    )
    assert (unserved.value is None) == (rare.source == "base rate") == (rare.value != even.value)
    assert profile.describe()["neutral"] == unserved.value
    assert profile.describe(served(0.5))["neutral_from"] == even.source


KINDS = {
    "prob": (SOFT, 0.2**2 + 0.8**2, "base rate"),
    "hard": (SOFT + 'score = "hard"\n', 0.68, "base rate"),
    "lift": (SOFT + 'score = "lift"\n', 0.5, "zero lift"),
    "raw": (SOFT + 'score = "raw"\n', 0.5, "middle"),
    "brier": (SOFT + 'score = "brier"\n' + STATED, 1 - 0.2 * 0.8, "base rate"),
    "truth first": (SOFT + 'score = "hard"\nevidence = ["truth", "model"]\n', 0.5, "middle"),
    "scaled": ("[compose]\nscale = [-1, 1]\nfloor = -1\n", 0.36, "base rate"),
    "noise": (NOISE, 0.725, "base rate"),
    "product": ('[compose]\noperator = "product"\n' + SECOND, 0.68**2, "base rate"),
    "stated": ("[compose]\nneutral = 0.3\n", 0.3, "stated"),
    "stated at the floor": ("[compose]\nneutral = 0\n", 0.0, "stated"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "value", "source"), KINDS.values(), ids=KINDS)
def test_what_each_kind_of_profile_gives(tmp_path, text, value, source):
    text = text if text.startswith("tasks") else SOFT + text
    found = load(tmp_path, text).neutral(served(0.2))
    assert (found.value, found.source) == (pytest.approx(value, abs=1e-6), source)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_neutral_is_what_a_guess_at_the_base_rate_earns(tmp_path, rate):
    """Not by formula: answers drawn at the rate, from a model whose p is the rate on average."""
    profile = load(tmp_path, SOFT)
    task = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"}
    mean = 0.0
    for answer, often in (("yes", rate), ("no", 1 - rate)):
        text = f"<think>It is likely so.</think><answer>{answer}</answer>"
        item = msgspec.convert({"id": 1, "completion": text, "task": task}, Item)
        for p, share in ((0.0, 1 - rate), (1.0, rate)):
            said = profile.compose(item, profile.read(item), [Verdict(Status.OK, p, rate)])
            mean += often * share * said.reward
    assert profile.neutral(served(rate)).value == pytest.approx(mean, abs=1e-6)
    assert earned(rate, rate) == 0.5


def test_a_stated_neutral_is_part_of_the_digest_and_no_other(tmp_path):
    plain = load(tmp_path, SOFT)
    stated = load(tmp_path, SOFT + "[compose]\nneutral = 0.3\n")
    assert plain.digest != stated.digest
    assert stated.describe()["neutral"] == 0.3
    assert stated.describe()["neutral_from"] == "stated"


RATES = {
    "the only relation": (spec(base_rate=0.1), "perturbation.de", 0.1),
    "changes beside directions": (
        spec(relations=("perturbation.de", "perturbation.dir"), base_rate=0.1, dir_base_rate=0.6),
        "perturbation.de",
        0.1,
    ),
    "directions beside changes": (
        spec(relations=("perturbation.de", "perturbation.dir"), base_rate=0.1, dir_base_rate=0.6),
        "perturbation.dir",
        0.6,
    ),
    "another relation's": (
        spec(relations=("perturbation.de", "perturbation.dir"), base_rate=0.1),
        "perturbation.dir",
        None,
    ),
    "lines by their rows": (
        spec(de__a__base_rate=0.1, de__a__n=300.0, de__b__base_rate=0.5, de__b__n=100.0),
        "perturbation.de",
        0.2,
    ),
    "none": (spec(auroc=0.7), "perturbation.de", None),
    "no share": (spec(base_rate=1.5), "perturbation.de", None),
    "NaN": (spec(base_rate=float("nan")), "perturbation.de", None),
}  # fmt: skip


@pytest.mark.parametrize(("model", "relation", "rate"), RATES.values(), ids=RATES)
def test_base_rates_are_read_as_families_state_them(model, relation, rate):
    assert base_rate(model, relation) == (None if rate is None else pytest.approx(rate))


def test_a_model_without_a_base_rate_makes_no_prior(tmp_path):
    both = [spec(base_rate=0.2), spec("other")]
    found = load(tmp_path, SOFT).neutral(lambda *_: both)
    assert (found.value, found.source) == (0.5, "middle")
    assert "m 1, other 1 states no base rate" in found.told
