"""rbio in miniature on a planted screen: TRL's own GRPO against a server, and what rewards pay."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import planted
import trainer_packages

COMMAND = Path(__file__).parents[1] / "examples" / "rbio_miniature" / "run.py"
RUNS = ["rbio-mlp", "screen-de-lift", "rbio-exp"]
STEPS = 14
BESIDE = ["base-rate table", "verifier `pair-mlp`", "verifier `screen`", "policy, warm start"]


def make(
    data: Path, out: Path, *more: str, line: str = "k562", seconds: float = 900
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, COMMAND, "--data", data, "--out", out, "--line", line]
    command += ["--quick", "--steps", str(STEPS)]
    return subprocess.run(
        [*map(str, command), *more],
        env={**os.environ, **trainer_packages.ONE_THREAD},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small screen whose effects the graphs show: the truth itself has an AUROC of .81."""
    folder = tmp_path_factory.mktemp("planted")
    planted.world(folder, lines=("k562",), perturbations=120, readouts=60, modules=5, seed=5)
    return folder


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command made."""
    trainer = str(trainer_packages.python("trl"))
    folder = tmp_path_factory.mktemp("miniature")
    done = make(data, folder, "--trainer", trainer)
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    return folder


def test_everybody_is_judged(out: Path) -> None:
    report = json.loads((out / "report.json").read_text())
    assert list(report["figures"]) == [*BESIDE, *(f"policy, `{name}`" for name in RUNS)]
    for name, row in report["figures"].items():
        figures = [value for key, value in row.items() if key != "mcc"]
        assert all(map(math.isfinite, figures)), (name, row)  # a policy of one answer has no MCC
    assert report["figures"]["base-rate table"]["per_gene_auroc"] == pytest.approx(0.5)
    assert (out / "report.md").read_text().count("\n| ") == 1 + len(report["figures"]) - 1
    assert "<svg" in (out / "curves.svg").read_text()


def rewards(out: Path, name: str) -> list[float]:
    run = json.loads((out / "report.json").read_text())["runs"][name]
    return [row["reward"] for row in run["history"]]


@pytest.mark.parametrize("name", RUNS)
def test_every_step_has_a_reward_and_truth_is_followed(out: Path, name: str) -> None:
    run = json.loads((out / "report.json").read_text())["runs"][name]
    assert [row["step"] for row in run["history"]] == list(range(1, STEPS + 1))
    assert all(0 <= reward <= 1 for reward in rewards(out, name))
    assert len(run["truth"]) == len(run["steps"]) >= 5
    assert all(map(math.isfinite, run["truth"]))
    assert all(row["sv_error"] == 0 for row in run["history"])
    assert sum(row["sv_invalid"] for row in run["history"]) / STEPS < 0.05


def test_no_is_learnt_first_and_lift_does_not_pay_for_it(out: Path) -> None:
    """Within a few steps policies always say no: it earns 0.7 of rbio-mlp, and a coin's of lift."""
    figures = json.loads((out / "report.json").read_text())["figures"]
    late = {name: sum(rewards(out, name)[-7:]) / 7 for name in RUNS}
    assert rewards(out, "rbio-mlp")[0] < 0.55
    assert late["rbio-mlp"] > 0.62
    assert late["rbio-exp"] > 0.58
    assert abs(late["screen-de-lift"] - 0.5) < 0.06
    assert figures["policy, `rbio-mlp`"]["yes"] < 0.1
    assert abs(figures["policy, `rbio-mlp`"]["per_gene_auroc"] - 0.5) < 0.1


def test_nothing_held_out_is_learnt_from(out: Path) -> None:
    pairs = json.loads((out / "work" / "pairs.json").read_text())
    held_out = {a for a, _, _ in pairs["held_out"]}
    assert len(held_out) == 18  # a fifth of the 90 with train rows
    assert not held_out & {a for a, _, _ in pairs["train"]}
    for table in (out / "work" / "tables").iterdir():
        rows = table.read_text().splitlines()[1:]
        assert rows
        assert not held_out & {row.split(",")[0] for row in rows}


def test_what_is_finished_is_used_again(out: Path, data: Path) -> None:
    trainer = str(trainer_packages.python("trl"))
    kept = [*(out / "work").rglob("done.json"), *(out / "work").rglob("manifest.toml")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    said = (out / "report.json").read_bytes()
    done = make(data, out, "--trainer", trainer, seconds=120)
    assert done.returncode == 0, done.stderr[-4000:]
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert len(before) == len(RUNS) + 2
    assert (out / "report.json").read_bytes() == said
    other = make(data, out, "--trainer", trainer, "--seed", "1", seconds=120)
    assert (other.returncode, "name another --out" in other.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "line", "words"),
    [
        (["--trainer", "nowhere/python"], "k562", "run `make trainers`"),
        (["--trainer", sys.executable], "hela", "wanted one hela-de.csv"),
    ],
    ids=["no trainer", "no table"],
)
def test_mistakes_are_a_line(
    data: Path, tmp_path: Path, options: list[str], line: str, words: str
) -> None:
    done = make(data, tmp_path, *options, line=line, seconds=120)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
