"""Rewards as public code computes them fail, each by the attack that was seen to work on it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from service.cli import application
from service.redteam.report import Verdict
from service.rewards import verifiers
from service.rewards.profiles import load_profiles

EXAMPLE = """
[[example]]
completion = "<think>It charges transfer RNA.</think> <answer>{claim}</answer>"
truth = "{truth}"
task = {task}
"""
YES = EXAMPLE.format(claim="yes", truth="yes", task='{ type = "label", classes = ["yes", "no"] }')
OPEN = EXAMPLE.format(claim="ALS", truth="ALS", task='{ type = "label" }')
TEXT = EXAMPLE.format(
    claim="it charges alanine on transfer RNA in the cell",
    truth="it charges alanine on transfer RNA in the cell",
    task='{ type = "text" }',
)
FORMAT = """
[compose]
operator = "sum"
style_may_outrank = true
[[component]]
name = "answer"
verifier = "answer"
[[component]]
name = "mention"
verifier = "mention"
role = "auxiliary"
weight = 3.0
"""
PUBLIC = {
    "style outranks truth": (
        'tasks = ["label"]' + FORMAT + YES.replace("truth =", 'keywords = ["RNA"]\ntruth ='),
        "a polished lie beside the plain truth",
        Verdict.BEATEN,
    ),
    "15 recall": (
        'tasks = ["text"]\n[[component]]\nname = "recall"\nverifier = "public recall"\n' + TEXT,
        "free text without knowledge",
        Verdict.EQUALLED,
    ),
    "14 substring": (
        'tasks = ["label"]\n[[component]]\nname = "label"\nverifier = "public substring"\n' + OPEN,
        "both answers at once",
        Verdict.EQUALLED,
    ),
    "01 out of range": (
        'tasks = ["label"]\n[extract]\ngrammar = "released"\n'
        '[compose]\noperator = "sum"\nstyle_may_outrank = true\n'
        '[[component]]\nname = "answer"\nverifier = "answer"\n[[component]]\nname = "glued"\n'
        'verifier = "public glued"\nrole = "auxiliary"\n' + YES,
        "glued think blocks",
        Verdict.UNBOUNDED,
    ),
    "20 surrogates": (
        'tasks = ["text"]\n[[component]]\nname = "breaks"\nverifier = "public breaks"\n' + TEXT,
        "strange characters",
        Verdict.CRASH,
    ),
    "12 one half": (
        'tasks = ["label"]\n[[component]]\nname = "half"\nverifier = "public defaults"\n' + YES,
        "no opinion",
        Verdict.NOT_NULL,
    ),
}
JUDGES = {
    "public recall": "redteam.public:Recall",
    "public substring": "redteam.public:Substring",
    "public glued": "redteam.public:Glued",
    "public breaks": "redteam.public:Breaks",
    "public defaults": "redteam.public:Defaults",
}


@pytest.fixture
def public(monkeypatch):
    """The registry with the public judges in it."""
    assert isinstance(verifiers.VERIFIERS, Mapping)
    monkeypatch.setattr(verifiers, "VERIFIERS", {**verifiers.VERIFIERS, **JUDGES})


@pytest.mark.parametrize(("text", "family", "verdict"), PUBLIC.values(), ids=PUBLIC)
def test_public_rewards_fail(public, tmp_path, attack, text, family, verdict):
    (tmp_path / "public.toml").write_text(text)
    report = attack(load_profiles(tmp_path)["public"])
    assert not report.holds
    line = next(line for line in report.lines if line.name == family)
    assert verdict in {found.verdict for found in line.failures}


STATED = {
    "wrong reward stated": ("reward = 0.3\n", "states reward = 0.3, it earns 1"),
    "honest listed as dishonest": (
        'dishonest = ["<think>Charged.</think> <answer>yes</answer>"]\n',
        "",
    ),
}


@pytest.mark.parametrize(("line", "fault"), STATED.values(), ids=STATED)
def test_a_profile_is_held_to_its_own_examples(tmp_path, attack, line, fault):
    example = YES.replace("truth =", f"{line}truth =")
    head = 'tasks = ["label"]\n[[component]]\nname = "answer"\nverifier = "answer"\n'
    (tmp_path / "mine.toml").write_text(head + example)
    report = attack(load_profiles(tmp_path)["mine"])
    assert not report.holds
    assert fault in " ".join(report.faults)
    if not fault:
        assert {found.verdict for found in report.failures} == {Verdict.EQUALLED}


def test_the_command_fails_and_says_by_what(tmp_path):
    (tmp_path / "mine.toml").write_text(PUBLIC["style outranks truth"][0])
    arguments = ["redteam", "mine", "--folder", str(tmp_path)]
    shown = CliRunner().invoke(application(), arguments)
    assert shown.exit_code == 1
    assert "BEATEN a polished lie" in shown.stdout
    assert "mine can be beaten" in shown.stdout
    told = CliRunner().invoke(application(), [*arguments, "--json"])
    assert told.exit_code == 1
    (report,) = json.loads(told.stdout)
    assert report["holds"] is False
    beaten = [line for line in report["families"] if line["verdict"] == "BEATEN"]
    assert beaten[0]["failures"][0]["earned"] > beaten[0]["failures"][0]["honest"]
