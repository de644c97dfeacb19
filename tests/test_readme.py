"""The README is executed: its quick start on any machine, rbio's part where the real data are."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import planted
from servers import ServerProcess
from softverifier.trainers import ADAPTERS

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(start: str) -> list[list[str]]:
    """The command lines of the README that begin with a word."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


def run(command: list[str], folder: Path) -> str:
    """Run a README command with this interpreter."""
    runner = {"soft-verifier": [sys.executable, "-m", "service"], "python": [sys.executable]}
    done = subprocess.run(
        [*runner[command[0]], *command[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(value: Any) -> Any:
    """The keys and types of a document, its values left out."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return type(value).__name__


def test_the_quick_start_gives_the_reward_that_it_shows(tmp_path: Path) -> None:
    (curl,) = commands("curl")
    shown = json.loads(blocks("json")[0])
    server = ServerProcess(tmp_path).start()
    try:
        body = curl[curl.index("-d") + 1]
        found = httpx.post(f"{server.url}/v1/score", content=body).json()
        printed = re.findall(r"-d '(.*)'", server.output)
        again = [httpx.post(f"{server.url}/v1/score", content=text).json() for text in printed]
    finally:
        server.stop()
    assert shape(found) == shape(shown)
    assert found["profile"] == shown["profile"]
    (result,), (expected,) = found["results"], shown["results"]
    assert result["status"] == "ok"
    assert result["reward"] == pytest.approx(expected["reward"], abs=1e-3)
    assert [answer["results"][0]["status"] for answer in again] == ["ok"]


@pytest.mark.parametrize("target", ["serve", "test", "lint", "bench", "protos", "image"])
def test_every_make_target_that_is_named_exists(target: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert f"make {target}" in README


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"`soft-verifier ([a-z]+)", README))
    listed = run(["soft-verifier", "--help"], REPOSITORY)
    assert named
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in named)


def test_the_settings_that_are_shown_are_settings(tmp_path: Path) -> None:
    from service import settings

    file = tmp_path / "soft-verifier.toml"
    file.write_text(blocks("toml")[0])
    loaded = settings.load(file)
    assert loaded.server.workers == 4
    assert [model.path or model.family for model in loaded.models] == [
        Path("models/k562-mlp"),
        "remote",
    ]


def test_the_flagship_is_trained_carded_served_and_aligned(tmp_path: Path) -> None:
    """The README's commands, on a generated world in place of PerturbQA and the graphs."""
    made = planted.world(tmp_path, perturbations=60, readouts=40, with_test=True)
    (tmp_path / "held-out").symlink_to(made.perturbqa)
    train, card, serve, align = (
        line
        for line in commands("soft-verifier")
        if line[1:3] in (["train", "screen"], ["card", "models/screen"])
        or line[1:] == ["serve", "--model", "models/screen"]
        or line[1] == "align"
    )
    run(train, tmp_path)
    assert "Evidence: no row and no perturbation" in run(card, tmp_path)
    perturbation = made.perturbations[int((~made.train[0]).argmax())]
    audit = f"[starter]\nenabled = false\n[audit]\npath = {json.dumps(str(tmp_path / align[2]))}\n"
    server = ServerProcess(tmp_path, audit, *serve[2:]).start()
    try:
        found = httpx.get(f"{server.url}/v1/models/screen/card").json()
        assert found["evidence"] is True
        task = {"type": "perturbation.de", "perturbation": perturbation, "cell_line": "k562"}
        items = [
            {
                "id": f"{gene}-{answer}",
                "completion": f"<think>By its module.</think>\n<answer>{answer}</answer>",
                "task": {**task, "gene": gene},
            }
            for gene in made.readouts
            for answer in ("yes", "no")
        ]
        for step in range(12):
            context = {"run": "a1", "step": step, "split": "train"}
            asked = {"profile": "screen-de-lift", "context": context, "items": items}
            scored = httpx.post(f"{server.url}/v1/score", json=asked).json()["results"]
            assert {one["status"] for one in scored} <= {"ok", "abstain"}
            assert any(one["status"] == "ok" for one in scored)
    finally:
        server.stop()
    assert "a1 screen-de-lift@sha256" in run(align, tmp_path)
    assert (tmp_path / "alignment" / "report.svg").is_file()


@pytest.mark.data
def test_rbio_rewards_from_real_data(data_folder: Path, tmp_path: Path) -> None:
    """Train, serve and score as the README says; both wires, twice, to the last bit."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    (train,) = (c for c in commands("soft-verifier train") if "pair-mlp" in c)
    (make,) = commands("python examples")
    real = [str(data_folder / word[len("../shared/data") :].lstrip("/")) if "shared/data" in word
            else word for word in train]  # fmt: skip
    printed = run(real, tmp_path)
    auroc = re.search(r"per_gene_auroc +│ (0\.\d+)", printed)
    assert auroc is not None
    assert float(auroc[1]) > 0.55  # chance is 0.5; the README shows what came out
    run([word.replace("../shared/data", str(data_folder)) for word in make], tmp_path)
    server = ServerProcess(tmp_path, "", "--model", "models/k562-mlp").start()
    try:
        rewards = []
        for score in commands("soft-verifier score"):
            for attempt in ("first", "second"):
                out = tmp_path / f"{attempt}-{score[-1]}"
                at = score.index("--url") + 1
                url = server.grpc_url if "grpc" in score[at] else server.url
                run([*score[:at], url, "--out", str(out)], tmp_path)
                rows = [json.loads(line) for line in out.read_text().splitlines()]
                rewards.append([(r["id"], r["status"], r["reward"], r["reason"]) for r in rows])
    finally:
        server.stop()
    assert len(rewards) == 4
    assert rewards.count(rewards[0]) == 4
    statuses = [status for _, status, _, _ in rewards[0]]
    assert len(statuses) == 10_000
    assert statuses.count("ok") >= 9_500
    assert {reason for _, status, _, reason in rewards[0] if status != "ok"} == {"UNKNOWN_GENE"}


def systems() -> list[list[str]]:
    """Rows of the table of systems: cells without blanks."""
    table = README.split("| system |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def profiles_named(cell: str) -> list[str]:
    """The profiles of a cell; `-f` after `rbio-go` is `rbio-go-f`."""
    names: list[str] = []
    for name in re.findall(r"`([^`]+)`", cell):
        stem = names[0].removesuffix("-dna") if names else ""
        names.append(f"{stem}{name}" if name.startswith("-") else name)
    return names


def test_every_shipped_profile_is_in_the_table_of_systems() -> None:
    named = [name for row in systems() for name in profiles_named(row[1])]
    shipped = {path.stem for path in (REPOSITORY / "service" / "profiles").glob("*.toml")}
    assert sorted(named) == sorted(shipped - {"starter"})


@pytest.mark.parametrize("row", systems(), ids=lambda row: row[1])
def test_every_line_of_the_table_is_backed_by_a_test(row: list[str]) -> None:
    path, _, name = row[5].strip("`").partition("::")
    text = (REPOSITORY / "tests" / path).read_text()
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)


def trainers() -> list[str]:
    """Rows of the two tables of trainers."""
    text = README.split("\n## Trainers\n")[1].split("\n## ")[0]
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    return [row for row in rows if not row.startswith("| trainer, ")]


@pytest.mark.parametrize("row", trainers(), ids=lambda row: row.strip("| ").split(" | ")[0])
def test_every_trainer_says_how_it_is_tested(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    tested = cells[-1]
    named = re.findall(r"`((?:compat|trainers)/test_\w+\.py)`", tested)
    assert tested.startswith("replay") or (named and "itself" in tested)
    assert [name for name in named if not (REPOSITORY / "tests" / name).is_file()] == []


def test_every_adapter_is_in_the_table_of_trainers() -> None:
    text = "\n".join(trainers())
    named = set(re.findall(r"softverifier(?:\.trainers\.| path )(\w+)", text))
    assert named == set(ADAPTERS)


def test_every_verifier_is_named() -> None:
    from service.rewards.verifiers import VERIFIERS

    text = README.split("Verifiers: ")[1].split("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", text)) == set(VERIFIERS)
