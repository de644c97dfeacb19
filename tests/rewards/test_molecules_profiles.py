"""The chemistry profiles from completion to reward, and whose fault a failure is."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from service.rewards import molecules
from service.rewards.core import Finding, Item, Reason
from service.rewards.profiles import ProfileFault, load_profiles
from service.rewards.works import carry_out

CHEMISTRY = ["chem-property", "chem-representation", "chem-design", "ether0"]
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
EQUAL = {"type": "molecule.equal"}
ESTER = {"type": "molecule.constraints", "constraints": [{"group": "ester"}]}
TPSA = {"type": "molecule.property", "molecule": ASPIRIN, "property": "tpsa"}


def asked(task, answer, **more):
    completion = f"<think>Think of the atoms.</think> <answer>{answer}</answer>"
    return msgspec.convert({"completion": completion, "task": task, **more}, Item)


def mine(folder, text):
    (folder / "mine.toml").write_text(text, "utf-8")
    return load_profiles(folder)["mine"]


@pytest.mark.parametrize("name", CHEMISTRY)
def test_examples_earn_what_they_say_and_dishonest_ones_less(profiles, judge, name):
    assert profiles[name].lacks == ()
    for example in profiles[name].recipe.examples:
        honest = judge(name, msgspec.convert(example.item(), Item))
        assert honest.reward == example.reward
        assert example.dishonest
        for completion in example.dishonest:
            fields = {**example.item(), "completion": completion}
            found = judge(name, msgspec.convert(fields, Item))
            assert found.status in ("ok", "invalid"), completion
            assert found.reward < honest.reward, completion


@pytest.mark.parametrize(
    ("profile", "task", "truth"),
    [
        ("chem-representation", EQUAL, "CCO"),
        ("chem-design", ESTER, None),
    ],
    ids=["equal", "design"],
)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "NO_ANSWER"),
        (" \n", "NO_ANSWER"),
        ("CCO CCO", "MALFORMED"),
        ("CCO\nCCO", "MALFORMED"),
        ("CCO <!-- CCN -->", "MALFORMED"),
        ("`CCO` `CCN`", "MALFORMED"),
        ("```\nCCO\n```\n```\nCCN\n```", "MALFORMED"),
        ("'CCO'", "MALFORMED"),
        ("\u0421\u0421O", "MALFORMED"),
        ("C\u200dCO", "MALFORMED"),
        ("C\u2011C", "MALFORMED"),
        ("C\0C", "MALFORMED"),
        ("C" * 1001, "TOO_LONG"),
        ("C" * 10_000, "TOO_LONG"),
        ("C" * 400, "TOO_LONG"),
        ("x" * 100_000, "TOO_LONG"),
        (".", "MALFORMED"),
        ("*", "MALFORMED"),
        ("aspirin", "MALFORMED"),
    ],
    ids=[
        "empty",
        "blank",
        "two",
        "two lines",
        "22 comment",
        "22 backticks",
        "22 fence",
        "quotes",
        "21 homoglyphs",
        "21 joiner",
        "20 hyphen",
        "20 NUL",
        "1,001 characters",
        "19 10,000 atoms",
        "400 atoms",
        "23 one word",
        "18 dot",
        "dummy",
        "a name",
    ],
)
def test_unreadable_molecules_are_invalid(judge, profile, task, truth, answer, reason):
    found = judge(profile, asked(task, answer, truth=truth))
    assert (found.status, found.reward, found.reason) == ("invalid", 0.0, reason)
    assert not found.retryable


@pytest.mark.parametrize(
    ("profile", "item", "reason", "message"),
    [
        (
            "chem-representation",
            asked(EQUAL, "CCO", truth=3.0),
            "BAD_TRUTH",
            "truth: expected a mol",
        ),
        ("chem-representation", asked(EQUAL, "CCO", truth=["CCO"]), "BAD_TRUTH", "truth: expected"),
        ("chem-representation", asked(EQUAL, "CCO", truth=""), "BAD_TRUTH", "truth: expected"),
        ("chem-representation", asked(EQUAL, "CCO", truth="C O"), "BAD_TRUTH", "without blanks"),
        (
            "chem-representation",
            asked(EQUAL, "CCO", truth="C" * 1001),
            "BAD_TRUTH",
            "1001 characters",
        ),
        (
            "chem-representation",
            asked(EQUAL, "CCO", truth={"name": "x"}),
            "BAD_TRUTH",
            "one of smiles",
        ),
        (
            "chem-representation",
            asked(EQUAL, "CCO", truth={"formula": "C2H6O"}),
            "BAD_TRUTH",
            "truth.formula: a formula names no one molecule; the task asks for smiles",
        ),
        (
            "chem-representation",
            asked(EQUAL, "CCO", truth="C("),
            "BAD_TRUTH",
            "truth: not a SMILES",
        ),
        (
            "chem-representation",
            asked({**EQUAL, "representation": "formula"}, "CH4", truth="CCO"),
            "BAD_TRUTH",
            "C stands twice",
        ),
        ("chem-design", asked({**ESTER, "constraints": []}, "CCO"), "BAD_ITEM", "expected 1 to 50"),
        (
            "chem-design",
            asked({**ESTER, "constraints": [{"group": "x"}]}, "CCO"),
            "BAD_ITEM",
            "task.constraints[0].group: unknown 'x'",
        ),
        (
            "chem-design",
            asked({**ESTER, "constraints": [{"substructure": "c1("}]}, "CCO"),
            "BAD_ITEM",
            "task.constraints[0].substructure: not a SMARTS",
        ),
        (
            "chem-property",
            asked({**TPSA, "property": "TPSA"}, "1"),
            "BAD_ITEM",
            "did you mean 'tpsa'",
        ),
        (
            "chem-property",
            asked({**TPSA, "molecule": ""}, "1"),
            "BAD_ITEM",
            "task.molecule: expected",
        ),
        (
            "chem-property",
            asked({**TPSA, "molecule": "C("}, "1"),
            "BAD_ITEM",
            "task.molecule: not a",
        ),
        (
            "chem-property",
            asked({**TPSA, "molecule": "C" * 301}, "1"),
            "BAD_ITEM",
            "301 heavy atoms",
        ),
    ],
    ids=str,
)
def test_faults_of_the_item_are_errors_and_say_where(judge, profile, item, reason, message):
    found = judge(profile, item)
    assert (found.status, found.reward, found.reason) == ("error", None, reason)
    assert message in found.message
    assert not found.retryable


def test_without_a_truth_nothing_is_said(judge):
    found = judge("chem-representation", asked(EQUAL, "CCO"))
    assert (found.status, found.reward, found.reason) == ("abstain", None, "NO_TRUTH")


@pytest.mark.parametrize(
    ("task", "answer", "reward"),
    [
        (TPSA, "63.6", 1.0),
        (TPSA, "64.1", 1.0),
        (TPSA, "64.2", 0.0),
        (TPSA, "63.6 Å²", 1.0),
        (TPSA, "0.636 nm²", 1.0),
        ({**TPSA, "tolerance": 0.0}, "63.6", 1.0),
        ({**TPSA, "tolerance": 0.0}, "63.61", 0.0),
        ({**TPSA, "tolerance": 5}, "60", 1.0),
        ({**TPSA, "property": "hbd"}, "1", 1.0),
        ({**TPSA, "property": "hbd"}, "1.0", 1.0),
        ({**TPSA, "property": "hbd", "tolerance": 3}, "2", 0.0),
        ({**TPSA, "property": "formal_charge", "molecule": "CC(=O)[O-]"}, "-1", 1.0),
        ({**TPSA, "property": "formal_charge", "molecule": "CC(=O)[O-]"}, "1", 0.0),
        ({**TPSA, "property": "molecular_weight"}, "0.18016 kDa", 1.0),
        ({**TPSA, "property": "molecular_weight"}, "180.16 g", None),
        (TPSA, "63.6 or 60", None),
        (TPSA, "nan", None),
        (TPSA, "sixty", None),
    ],
    ids=str,
)
def test_numbers_are_held_against_the_descriptor(judge, task, answer, reward):
    found = judge("chem-property", asked(task, answer))
    assert found.reward == (reward or 0.0)
    assert found.status == ("ok" if reward is not None else "invalid")


@pytest.mark.parametrize(
    ("profile", "task", "truth", "reason", "status", "retryable"),
    [
        ("chem-representation", EQUAL, "CCO", "TOO_LONG", "invalid", False),
        ("chem-design", ESTER, None, "TOO_LONG", "invalid", False),
        ("chem-property", TPSA, None, "TOO_LONG", "error", False),
        ("chem-representation", EQUAL, "CCO", "DEADLINE", "error", True),
        ("chem-design", ESTER, None, "MODEL_ERROR", "error", True),
        ("chem-property", TPSA, None, "DEADLINE", "error", True),
    ],
    ids=str,
)
def test_work_that_did_not_end(profiles, profile, task, truth, reason, status, retryable):
    """Over the budget it is the completion's doing, but where only the task was computed."""
    recipe = profiles[profile]
    item = asked(task, "3", truth=truth)
    answer = recipe.read(item)
    assert answer.reason == "OK"
    findings = {index: Finding(Reason(reason)) for index in recipe.works(item, answer)}
    found = recipe.compose(item, answer, (), findings)
    assert (found.status, found.retryable) == (status, retryable)
    assert found.reward == (0.0 if status == "invalid" else None)
    if profile == "chem-property" and reason == "TOO_LONG":
        assert found.reason == "BAD_ITEM"
        assert "task.molecule" in found.message


@pytest.mark.parametrize("name", CHEMISTRY)
def test_works_are_plain_data_and_asked_once_a_group(profiles, name):
    recipe = profiles[name]
    item = msgspec.convert(recipe.recipe.examples[0].item(), Item)
    answer = recipe.read(item)
    works = recipe.works(item, answer)
    assert works
    assert works == recipe.works(item, answer)
    for work in works.values():
        assert hash(work) is not None
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(work.arguments)) is not None
    plain = {
        index: Finding(Reason.OK, msgspec.msgpack.decode(msgspec.msgpack.encode(done.value)))
        for index, done in ((index, carry_out(work)) for index, work in works.items())
    }
    assert recipe.compose(item, answer, (), plain).reward == 1.0


def test_the_property_of_a_molecule_is_computed_once_for_all_answers(profiles):
    recipe = profiles["chem-property"]
    items = [asked(TPSA, "1"), asked(TPSA, "2")]
    assert len({recipe.works(item, recipe.read(item))[0] for item in items}) == 1


SHARE = """
extends = "chem-design"
[[component]]
name = "constraints"
score = "share"
salts = "ignore"
"""
GRADED = """
extends = "chem-representation"
[[component]]
name = "equal"
score = "similarity"
stereo = "ignore"
"""


def test_constraints_may_earn_their_share(tmp_path, judge):
    task = {**ESTER, "constraints": [{"group": "ester"}, {"group": "thiol"}]}
    profile = mine(tmp_path, SHARE)
    assert judge(profile, asked(task, ASPIRIN)).reward == 0.5
    assert judge(profile, asked(task, ASPIRIN + ".[Na+]")).reward == 0.5
    assert judge(profile, asked(task, ASPIRIN + ".CS")).reward == 0.0
    assert judge(profile, asked(task, "CCCNNNNN")).reward == 0.0
    assert judge("chem-design", asked(task, ASPIRIN)).reward == 0.0


def test_another_molecule_may_earn_its_similarity(tmp_path, judge):
    profile = mine(tmp_path, GRADED)
    assert judge(profile, asked(EQUAL, "NC(C)C(=O)O", truth="N[C@@H](C)C(=O)O")).reward == 1.0
    assert judge(profile, asked(EQUAL, "CCCO", truth="CCO")).reward == 0.5
    assert judge(profile, asked(EQUAL, "C" * 60, truth="C" * 20)).reward < 0.34
    fractions = ("CCCCO", "CC(C)CO", "c1ccccc1CO", "CCN")
    earned = [judge(profile, asked(EQUAL, one, truth="CCO")).reward for one in fractions]
    assert any(earned)
    assert all(round(reward, 2) == reward for reward in earned)  # lexi_sum counts on the steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHARE + "least_atoms = 50\nmost_atoms = 10\n", "least_atoms: 50 is more than most_atoms"),
        (SHARE + 'stereo = "strict"\n', "unknown key 'stereo'"),
        (GRADED.replace('"ignore"', '"maybe"'), "stereo"),
        (GRADED.replace("similarity", "near"), "score"),
    ],
    ids=["crossed sizes", "another verifier's key", "no such policy", "no such score"],
)
def test_wrong_options_are_found_at_load(tmp_path, text, message):
    with pytest.raises(ProfileFault, match=message):
        mine(tmp_path, text)


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert molecules.lacking() == ("rdkit and selfies: pip install 'soft-verifier[chem]'",)
    for name in CHEMISTRY:
        assert load_profiles()[name].lacks == molecules.lacking()


def test_profiles_load_without_importing_chemistry():
    program = (
        "import sys; from service.rewards.profiles import load_profiles; load_profiles();"
        "print([name for name in ('rdkit', 'selfies') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
