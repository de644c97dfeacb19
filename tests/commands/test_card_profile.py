"""``soft-verifier card --profile``: what blind policies earn, by hand and on a planted screen."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from planted_pairs import plant
from running import RunningService
from service.commands.card import card
from service.commands.card_policies import POLICIES, Columns, panel, policies
from service.errors import ServiceError
from service.rewards.errors import ProfileFault
from worldmodels.core import ModelFault

Run = Callable[..., tuple[int, str, str]]
BLIND = ("always no", "always yes", "coin at the base rate", "base rate", "best blind")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder, perturbations=120, readouts=60)
    return folder


@pytest.fixture(scope="module")
def run() -> Run:
    """Exit code, standard output and standard error."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(card)

    def call(*arguments: Any) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, ServiceError | ModelFault | ProfileFault):
            return 2, "", str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture(scope="module")
def of(run: Run, planted: Path) -> Callable[..., dict[str, Any]]:
    """The JSON of one profile on the planted screen; its policies by name."""

    def evaluated(profile: str, *more: Any, config: str = "planted.toml") -> dict[str, Any]:
        code, out, err = run(
            "--profile", profile, "--data", planted / "k562-de.csv", "--config", planted / config,
            "--json", "--resamples", 50, *more,
        )  # fmt: skip
        assert code == 0, err
        made: dict[str, Any] = json.loads(out)
        made["policies"] = {one["policy"]: one for one in made["overall"]["policies"]}
        return made

    return evaluated


def columns(**changes: Any) -> Columns:
    """Four perturbations by two readouts of one line: the second readout always changes."""
    labels = np.array([0, 1, 1, 1, 0, 1, 0, 1], np.uint8)
    given: dict[str, Any] = {
        "lines": ("k562",),
        "line": np.zeros(8, np.intp),
        "perturbation": np.repeat(np.arange(4), 2),
        "readout": np.tile([0, 1], 4),
        "labels": labels,
        "yes": labels.astype(float),
        "no": 1.0 - labels,
        "weight": np.ones(8),
        "p": np.full(8, np.nan),
    }
    return Columns(**{**given, **changes})


def earned(rows: Columns, trained: Any = None, **more: Any) -> dict[str, float]:
    of = np.ones(8, bool) if trained is None else ~trained
    found = panel(rows, policies(rows, trained), of, **more)
    assert found is not None
    assert [one.policy for one in found.policies] == list(POLICIES)
    return {one.policy: one.reward for one in found.policies}


def test_policies_by_hand() -> None:
    found = earned(columns())
    assert found["coin"] == 0.5
    assert found["always yes"] == 5 / 8
    assert found["always no"] == 3 / 8
    assert found["coin at the base rate"] == pytest.approx((5 / 8) ** 2 + (3 / 8) ** 2)
    assert found["oracle"] == found["best answer"] == 1.0


def test_blind_policies_learn_from_training_rows_and_are_not_judged_by_them() -> None:
    trained = columns().perturbation < 2  # readout 0: once in two; readout 1: always
    found = earned(columns(), trained)
    assert found["base rate"] == found["best blind"] == 0.5  # the tie goes by the line: yes
    assert found["always yes"] == 0.5
    assert found["oracle"] == 1.0


def test_a_readout_that_nothing_was_learnt_of_falls_back_on_the_line() -> None:
    rows = columns(readout=np.array([0, 1, 0, 1, 2, 1, 2, 1]))
    said = policies(rows, rows.perturbation < 2)["base rate"]
    assert said[4:].tolist() == [1.0, 1.0, 1.0, 1.0]  # three of four training labels are 1


def test_rows_without_a_reward_count_for_coverage_alone() -> None:
    yes = np.array([0.9, np.nan] * 4)
    found = panel(columns(yes=yes, no=1 - yes), policies(columns()), np.ones(8, bool))
    assert found is not None
    assert (found.rows, found.answered, found.coverage) == (8, 4, 0.5)
    nothing = np.full(8, np.nan)
    assert panel(columns(yes=nothing), policies(columns()), np.ones(8, bool)) is None


def test_side_and_weight() -> None:
    yes = np.array([0.9, 0.4, 0.4, 0.4, 0.9, 0.4, 0.4, 0.4])
    weight = np.array([0.8, 0.2, 0.2, 0.2, 0.8, 0.2, 0.2, 0.2])
    found = panel(
        columns(yes=yes, no=1 - yes, weight=weight), policies(columns()), np.ones(8, bool)
    )
    assert found is not None
    assert found.of("always no").side == pytest.approx((6 * 0.2 - 2 * 0.8) / 2.8, abs=1e-6)
    assert found.of("always yes").weighted == pytest.approx((1.6 * 0.9 + 1.2 * 0.4) / 2.8, abs=1e-6)
    nothing = panel(columns(weight=np.zeros(8)), policies(columns()), np.ones(8, bool))
    assert nothing is not None
    assert nothing.of("oracle").weighted is None


def test_standard_errors_are_of_perturbations() -> None:
    """Labels that all rows of a perturbation share: as uncertain as that many coin tosses."""
    rows = 4000
    draw = np.random.default_rng(0)
    of = np.repeat(np.arange(40), rows // 40)
    labels = draw.integers(0, 2, 40)[of].astype(np.uint8)
    zeros = np.zeros(rows, np.intp)
    made = Columns(("a",), zeros, of, zeros, labels, labels * 1.0, 1.0 - labels, labels * 1.0,
                   np.full(rows, np.nan))  # fmt: skip
    found = panel(made, policies(made), np.ones(rows, bool))
    assert found is not None
    assert found.of("always yes").se == pytest.approx(0.5 / np.sqrt(40), rel=0.2)
    assert found.of("coin").se == 0.0


@pytest.mark.parametrize("profile", ["rbio-mlp", "screen-de"])
def test_a_reward_of_p_pays_for_the_base_rate(
    of: Callable[..., dict[str, Any]], profile: str
) -> None:
    found = of(profile)["policies"]
    assert found["base rate"]["beyond_chance"] > 0.3
    assert found["base rate"]["reward"] > found["oracle"]["reward"]
    assert found["always no"]["beyond_chance"] > 0.02


def test_a_reward_of_lift_does_not(of: Callable[..., dict[str, Any]]) -> None:
    made = of("screen-de-lift")
    found = made["policies"]
    assert made["overall"]["chance"] == 0.5
    for policy in BLIND:
        assert found[policy]["beyond_chance"] <= 0.02, policy
        assert found[policy]["weighted"] <= 0.52, policy
    for policy in ("always no", "always yes"):
        assert abs(found[policy]["beyond_chance"]) <= 0.005
    for policy in ("oracle", "model", "best answer"):
        assert found[policy]["beyond_chance"] > 5 * found[policy]["beyond_chance_se"]
    assert made["overall"]["coverage"] > 0.9


def test_the_side_of_a_lift_is_worth_something_to_a_blind_policy_unless_weighted(
    of: Callable[..., dict[str, Any]], planted: Path
) -> None:
    """Why un-normalised advantages, or the weight: group normalisation leaves the side alone."""
    text = 'extends = "screen-de-lift"\n[[component]]\nname = "perturbation.de"\n'
    own(planted, "weighted", text + 'weight_by = "lift"\n')
    plain, weighted = (
        of(name, config="own.toml")["policies"]["always no"]
        for name in ("screen-de-lift", "weighted")
    )
    assert plain["side"] > 0.2
    assert abs(weighted["side"]) < 0.02
    assert abs(plain["weighted"] - 0.5) < 0.005


def own(planted: Path, name: str, text: str) -> None:
    """A profile of one's own beside the shipped ones, bound to the planted model."""
    folder = planted / "own"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text)
    names = [*(path.stem for path in folder.glob("*.toml")), "screen-de-lift"]
    bound = "\n".join(f'"{one}" = "planted"' for one in names)
    (planted / "own.toml").write_text(
        (planted / "planted.toml").read_text().partition("[profiles.models]")[0]
        + f"[profiles]\nfolder = {json.dumps(str(folder))}\n[profiles.models]\n{bound}\n"
    )


def test_coverage_answers_what_the_card_proves_and_nothing_without_one(
    run: Run, of: Callable[..., dict[str, Any]], planted: Path
) -> None:
    text = 'extends = "screen-de-lift"\n[[component]]\nname = "perturbation.de"\n'
    own(planted, "surest", text + "coverage = 0.2\n")
    data = ("--data", planted / "k562-de.csv")
    code, _, said = run("--profile", "surest", *data, "--config", planted / "own.toml")
    assert code == 2
    assert "planted has no card" in said
    assert run(planted / "model", *data, "--shuffle-control", 1, "--resamples", 2)[0] == 0
    made = of("surest", config="own.toml")
    assert 0.17 < made["overall"]["coverage"] <= 0.2
    for policy in BLIND[:-1]:
        assert made["policies"][policy]["beyond_chance"] <= 0.02, policy
    # Balance is by bands of p0: who learns each readout by heart still finds a little.
    assert made["policies"]["best blind"]["beyond_chance"] <= 0.04
    assert (
        made["policies"]["oracle"]["reward"] > of("screen-de-lift")["policies"]["oracle"]["reward"]
    )
    (planted / "model" / "card.json").unlink()


def test_an_exit_code_for_ci(run: Run, planted: Path) -> None:
    rest = ("--data", planted / "k562-de.csv", "--config", planted / "planted.toml",
            "--perturbations", 60, "--resamples", 2, "--max-blind", 0.02)  # fmt: skip
    code, out, _ = run("--profile", "rbio-mlp", *rest)
    assert code == 1
    assert "base rate" in out
    code, out, err = run("--profile", "screen-de-lift", *rest)
    assert code == 0, err
    assert "60 perturbations" in out


def test_rows_that_teach_and_a_figure(run: Run, planted: Path, tmp_path: Path) -> None:
    lines = (planted / "k562-de.csv").read_text().splitlines()
    teach, judge = tmp_path / "k562-de-a.csv", tmp_path / "k562-de-b.csv"
    half = len(lines) // 2
    teach.write_text("\n".join([lines[0], *lines[half + 1 :]]))
    judge.write_text("\n".join(lines[: half + 1]))
    bars = tmp_path / "bars.svg"
    rest = ("--config", planted / "planted.toml", "--resamples", 2, "--json")
    code, out, _ = run(
        "--profile", "rbio-mlp", "--data", judge, "--train", teach, "--figure", bars, *rest
    )
    assert code == 0
    made = json.loads(out)
    assert made["overall"]["rows"] == half
    assert made["learnt_from"] == [teach.name]
    drawn = ET.parse(bars).getroot()
    assert len(drawn.findall(".//{*}rect")) == 1 + len(POLICIES)
    code, _, said = run("--profile", "rbio-mlp", "--data", judge, "--train", judge, *rest)
    assert code == 2
    assert "60 perturbations are in --data and in --train (P0 in k562" in said


FAULTS = {
    "no data": (["--profile", "rbio-mlp"], "no table given"),
    "unknown profile": (["--profile", "rbio-mpl", "--data", "x.csv"], "did you mean 'rbio-mlp'"),
    "another task": (["--profile", "litmus", "--data", "x.csv"], "judges"),
    "another relation": (
        ["--profile", "rbio-mlp", "--data", "x.csv", "--relation", "perturbation.dir"],
        "not 'perturbation.dir'",
    ),
    "no such file": (["--profile", "rbio-mlp", "--data", "nowhere.csv"], "nowhere.csv"),
    "a model's place": (["models/x", "--profile", "rbio-mlp"], "as --model models/x"),
    "a profile's option": (["models/x", "--max-blind", "0.02"], "--max-blind is of --profile"),
    "no server": (
        ["--profile", "rbio-mlp", "--data", "DATA", "--url", "http://127.0.0.1:9"], "127.0.0.1:9"
    ),
    "models of a server": (
        ["--profile", "rbio-mlp", "--data", "DATA", "--url", "http://a", "--model", "x"], "--url"
    ),
    "a bitmap": (
        ["--profile", "rbio-mlp", "--data", "DATA", "--figure", "bars.png"], "name a file *.svg"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_mistakes_are_named(run: Run, planted: Path, name: str) -> None:
    arguments, said = FAULTS[name]
    data = str(planted / "k562-de.csv")
    config = planted / "planted.toml"
    given = [data if one == "DATA" else one for one in arguments]
    code, _, message = run(*given, "--config", config)
    assert code == 2
    assert said in message


def test_nothing_to_say_is_no_success(run: Run, planted: Path, tmp_path: Path) -> None:
    table = tmp_path / "k562-de.csv"
    table.write_text("pert,gene,label\nNOBODY,NOTHING,1\nNOBODY,R1,0\n")
    rest = ("--data", table, "--config", planted / "planted.toml")
    code, out, _ = run("--profile", "screen-de-lift", *rest)
    assert code == 0
    assert "UNKNOWN_GENE 2" in out
    assert run("--profile", "screen-de-lift", *rest, "--max-blind", 0.02)[0] == 1


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_server_gives_what_this_process_gives(
    run: Run, service: RunningService, config: Path, tmp_path: Path, wire: str
) -> None:
    table = tmp_path / "k562-de.csv"
    rows = [f"A{i},B{j},{(i + j) % 2}" for i in range(6) for j in range(5)]
    table.write_text("\n".join(["pert,gene,label", *rows, "NOBODY,B0,1"]) + "\n")
    rest = ("--profile", "soft", "--data", table, "--config", config, "--json", "--resamples", 5)
    here, there = (
        json.loads(run(*rest, *more)[1]) for more in ((), ("--url", getattr(service, wire)))
    )
    assert here["overall"]["answered"] == 30
    assert here["reasons"] == {"OK": 30, "UNKNOWN_GENE": 1}
    for made in (here, there):
        made.pop("digest")  # gRPC has no list of profiles
    assert here == there
