"""From tables and graphs to a served, carded model that pays no blind policy, by real commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carded import invoke, make_card
from planted import LINES, World, world
from servers import ServerProcess, get, post
from service.commands.train_screen import screen
from worldmodels import checkpoints

RELATIONS = ("perturbation.de", "perturbation.dir")
CONFIG = "[starter]\nenabled = false\n[work]\nwarm = false\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("screen")


@pytest.fixture(scope="module")
def planted(folder: Path) -> World:
    return world(folder, perturbations=100, with_test=True)


@pytest.fixture(scope="module")
def model(folder: Path, planted: World) -> Path:
    """Trained by the command, with its card of the held-out rows."""
    out = folder / "models" / "screen"
    given = ("--perturbqa", planted.perturbqa, "--graphs", planted.graphs, "--out", out)
    run = invoke(screen, *given)
    assert run.exit_code == 0, run.output
    code, output = make_card(
        out, *_data(planted), "--shuffle-control", 5, "--resamples", 10, "--force"
    )
    assert code == 0, output
    return out


def _data(planted: World, *kinds: str) -> list[object]:
    """The tables of all lines; a card takes the rows that are not of split train."""
    names = [f"{line}-{kind}.csv" for kind in kinds or ("de", "dir") for line in LINES]
    return [part for name in names for part in ("--data", planted.perturbqa / name)]


@pytest.fixture(scope="module")
def served(folder: Path, model: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(folder, CONFIG, "--model", str(model)).start()
    yield running
    running.stop()


def _held_out_rows(planted: World) -> list[list[str]]:
    """Line, perturbation, readout, label, split."""
    return [
        [line, *row.split(",")]
        for line in LINES
        for row in (planted.perturbqa / f"{line}-de.csv").read_text().split()[1:]
        if row.endswith(",test")
    ]


def test_its_card_is_evidence(model: Path, planted: World) -> None:
    made: dict[str, Any] = json.loads((model / "card.json").read_text())
    assert made["evidence"] is True
    assert made["overlap"]["rows"] == 0
    assert made["model"]["digest"] == checkpoints.read(model).digest
    assert [section["relation"] for section in made["sections"]] == list(RELATIONS)
    for section, least in zip(made["sections"], (0.64, 0.68), strict=True):
        assert section["splits"] == ["test"]
        assert set(section["lines"]) == set(LINES)
        assert section["statuses"] == {"OK": section["rows"]}
        overall = section["overall"]
        assert overall["figures"]["per_gene_auroc"] > least
        shuffled = overall["shuffled"]["mean"]["per_gene_auroc"]
        assert shuffled == pytest.approx(0.5, abs=0.06)
        assert overall["p0"]["per_gene_auroc"] == 0.5
        assert overall["figures"]["ece"] < 0.1
    de = made["sections"][0]["overall"]
    assert de["figures"]["mcc"] > de["frequency"]["mcc"], "it knows more than base rates"
    assert de["figures"]["brier"] < de["frequency"]["brier"]
    assert len(_held_out_rows(planted)) == made["sections"][0]["rows"]


def test_it_is_served_with_its_card(served: ServerProcess, model: Path, planted: World) -> None:
    rows = _held_out_rows(planted)
    card = get(f"{served.url}/v1/models/screen/card")
    assert card.status_code == 200
    assert card.content == (model / "card.json").read_bytes()
    labels, found = [], []
    for line in LINES:
        of_line = [row for row in rows if row[0] == line]
        asked = {
            "model": "screen",
            "relation": RELATIONS[0],
            "context": line,
            "subjects": [row[1] for row in of_line],
            "objects": [row[2] for row in of_line],
        }
        said = post(f"{served.url}/v1/predict", json=asked).json()
        assert said["digest"] == checkpoints.read(model).digest
        assert set(said["status"]) == {"OK"}
        labels += [int(row[3]) for row in of_line]
        found += said["p"]
    squared = sum((p - label) ** 2 for p, label in zip(found, labels, strict=True)) / len(labels)
    stated = json.loads(card.content)["sections"][0]["overall"]["figures"]["brier"]
    assert squared == pytest.approx(stated, abs=1e-5), "the server says what the card judged"


def test_a_line_it_never_saw_and_a_gene_nobody_knows(served: ServerProcess) -> None:
    pairs = {"subjects": ["P1", "NOPE"], "objects": ["R1", "R1"]}
    asked = {"model": "screen", "relation": RELATIONS[1], "context": "hela", **pairs}
    said = post(f"{served.url}/v1/predict", json=asked).json()
    assert said["status"] == ["POOLED", "UNKNOWN_GENE"]
    assert 0 < said["p"][0] < 1
    assert said["p"][1] is None


MOST = 0.04
"""Beyond chance. Measured: always yes .021, the best blind policy .025, an oracle .065."""


def _profile(model: Path, planted: World, name: str, *more: object) -> tuple[int, str]:
    config = planted.graphs.parent / "profile.toml"
    config.write_text(CONFIG)
    data = [*_data(planted, "de"), "--config", config]
    return make_card("--profile", name, "--model", model, *data, "--resamples", 5, *more)


def test_no_blind_policy_earns_by_lift(model: Path, planted: World) -> None:
    code, output = _profile(model, planted, "screen-de-lift", "--json")
    assert code == 0, output
    made = json.loads(output[output.index("{") : output.rindex("}") + 1])
    earned = {one["policy"]: one["beyond_chance"] for one in made["overall"]["policies"]}
    blind = ("always no", "always yes", "coin at the base rate", "base rate", "best blind")
    assert max(earned[name] for name in blind) <= MOST
    assert earned["oracle"] > MOST
    assert earned["model"] > 0.07
    code, output = _profile(model, planted, "screen-de-lift", "--max-blind", MOST)
    assert code == 0, output
    code, output = _profile(model, planted, "screen-de", "--max-blind", MOST)
    assert code == 1, "p itself pays for base rates"
