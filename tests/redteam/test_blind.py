"""The red team's blind policies: a lift resists them, and a map that does not is found out."""

from __future__ import annotations

import pytest

from service.redteam.arena import Local
from service.redteam.bench import Bench
from service.redteam.suite import run
from service.rewards import lift
from service.rewards.profiles import load_profiles

NAME = "one answer whatever the perturbation"
COVERED = 'extends = "screen-de-lift"\n[[component]]\nname = "perturbation.de"\ncoverage = 0.2\n'


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "covered.toml").write_text(COVERED)
    return load_profiles(folder)


def attacked(profile):
    with Bench() as bench:
        report = run(profile, Local(profile, bench), rounds=1)
    return report, next(line for line in report.lines if line.name == NAME)


@pytest.mark.parametrize("name", ["screen-de-lift", "screen-dir-lift", "covered"])
def test_a_lift_pays_a_blind_answer_nothing(mine, name):
    report, line = attacked(mine[name])
    assert line.attacks == 6
    assert not line.failures
    assert report.holds


def test_a_map_of_the_log_odds_is_found_out(mine, monkeypatch):
    monkeypatch.setattr(lift, "earned", lambda p, p0: 0.5 + lift.change(p, p0) / 60)
    _, line = attacked(mine["screen-de-lift"])
    assert {found.attack.name for found in line.failures} == {
        "always no, few changes", "always yes, many changes"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["rbio-mlp", "rbio-exp"])
def test_what_does_not_score_by_lift_says_where_to_look(mine, name):
    _, line = attacked(mine[name])
    assert not line.applies
    assert "card --profile" in line.reason
