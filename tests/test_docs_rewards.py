"""``docs/rewards.md`` is executed: its table, its numeric example, its recipes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from planted_pairs import plant
from service.commands.card_profile import Request, evaluate
from service.rewards.profiles import load_profiles

PAGE = (Path(__file__).parents[1] / "docs" / "rewards.md").read_text("utf-8")


def rows_below(header: str) -> list[list[str]]:
    table = PAGE.split(header, 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]


def test_the_table_is_what_the_command_prints(tmp_path: Path) -> None:
    config = plant(tmp_path)
    data = [tmp_path / "k562-de.csv"]
    prob, lift = (
        evaluate(Request(profile=name, data=data, config=config, resamples=2)).overall
        for name in ("rbio-mlp", "screen-de-lift")
    )
    assert prob is not None
    assert lift is not None
    shown = rows_below("| policy | `rbio-mlp` |")
    assert [row[0] for row in shown] == [one.policy for one in lift.policies]
    for policy, *cells in shown:
        a, b = prob.of(policy), lift.of(policy)
        figures = (a.reward, a.beyond_chance, b.reward, b.beyond_chance, b.side)
        assert [float(cell) for cell in cells] == pytest.approx(figures, abs=6e-4), policy
    share = prob.of("base rate").beyond_chance / prob.of("best answer").beyond_chance
    assert f"{share:.0%}".replace("%", " %") in PAGE
    assert prob.of("base rate").reward > prob.of("oracle").reward


def test_normalised_advantages_are_the_same_for_every_p() -> None:
    for p, rewards, centred, divided in rows_below("| p | rewards |"):
        own = np.array([float(p)] * 3 + [1 - float(p)])
        assert [float(cell) for cell in rewards.split()] == pytest.approx(own)
        less = own - own.mean()
        told = [float(cell.replace("−", "-")) for cell in centred.split()]
        assert told == pytest.approx(less)
        told = [float(cell.replace("−", "-")) for cell in divided.split()]
        assert told == pytest.approx(less / own.std(ddof=1))


def test_the_recipes_load(tmp_path: Path) -> None:
    fifth, settings, recipe = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fifth-lift.toml").write_text(fifth)
    (tmp_path / "rbio-screen.toml").write_text(recipe)
    known = load_profiles(tmp_path)
    assert known["fifth-lift"].range == (-1.0, 1.0)
    assert ("family:screen", "perturbation.de") in known["rbio-screen"].selectors
    assert ("family:coexpression", "gene.coexpression") in known["rbio-screen"].selectors
    for name, model in tomllib.loads(settings)["profiles"]["models"].items():
        assert known[name].with_model(model).selectors == ((model, "perturbation.de"),)
