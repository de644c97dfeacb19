"""A bounded sample of the fuzzer that ``benchmarks/fuzz.py`` runs in full."""

from __future__ import annotations

from collections import Counter

from service.redteam.fuzzing import Fault, completion, fuzz, targets_of
from service.rewards.profiles import load_profiles

SAMPLE = 5_000
BROKEN = """
tasks = ["text"]
[[component]]
name = "breaks"
verifier = "public breaks"
[[example]]
completion = "<think>It charges transfer RNA.</think> <answer>alanine</answer>"
truth = "alanine"
task = { type = "text" }
"""


def test_nothing_crashes_and_everything_is_bounded(profiles, bench):
    targets = targets_of(list(profiles.values()), seed=1)
    outcomes = list(fuzz(targets, bench, 1, 0, SAMPLE))
    faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
    assert not faults, faults[:5]
    statuses = Counter(outcome.status for outcome in outcomes)
    assert statuses["ok"] > SAMPLE / 50  # honest ones are among them
    assert statuses["invalid"] > SAMPLE / 2
    assert set(statuses) <= {"ok", "invalid", "abstain"}


def test_every_profile_that_can_be_judged_is_fuzzed(profiles):
    targets = targets_of(list(profiles.values()), seed=1)
    assert {one.profile.name for one in targets} == {
        name for name, profile in profiles.items() if not profile.lacks
    }


def test_a_number_is_always_the_same_completion(profiles):
    (target,) = targets_of([profiles["rbio-mlp"]], seed=1)
    case = target.cases[0]
    first = [completion(number, 1, case) for number in range(64)]
    assert first == [completion(number, 1, case) for number in range(64)]
    assert first != [completion(number, 2, case) for number in range(64)]
    assert {type(one) for one in first} == {str, list}
    assert len({str(one) for one in first}) > 50


def test_a_crash_is_a_fault_with_its_number(monkeypatch, tmp_path, bench):
    from service.rewards import verifiers

    judges = {**verifiers.VERIFIERS, "public breaks": "redteam.public:Breaks"}
    monkeypatch.setattr(verifiers, "VERIFIERS", judges)
    (tmp_path / "broken.toml").write_text(BROKEN)
    targets = targets_of([load_profiles(tmp_path)["broken"]], seed=1)
    faults = [one for one in fuzz(targets, bench, 1, 0, 2_000) if isinstance(one, Fault)]
    assert faults
    assert all("UnicodeEncodeError" in fault.what for fault in faults)
    again = list(fuzz(targets, bench, 1, faults[0].number, faults[0].number + 1))
    assert again == faults[:1]
