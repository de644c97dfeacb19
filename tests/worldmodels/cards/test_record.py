"""``card.json`` is read strictly: what is damaged, newer or strange is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldmodels import checkpoints, reliability
from worldmodels.cards import record
from worldmodels.cards.record import Card
from worldmodels.core import ModelFault


def test_a_card_survives_storage_to_the_byte(card: Card, tmp_path: Path) -> None:
    path = tmp_path / record.FILE
    path.write_bytes(record.encode(card))
    assert record.read(path) == card
    assert record.encode(record.read(path)) == path.read_bytes()
    assert "NaN" not in path.read_text()


def test_what_a_profile_reads_of_it_is_there(card: Card, tmp_path: Path) -> None:
    path = tmp_path / record.FILE
    path.write_bytes(record.encode(card))
    found = reliability.of_card(path, card.model.digest)
    assert set(found) == {"perturbation.de", "perturbation.dir"}
    assert set(found["perturbation.de"]) == {"", "k562", "rpe1"}
    assert reliability.of_card(path, "sha256:other") == {}


def test_the_file_is_the_one_that_a_checkpoint_looks_for() -> None:
    assert record.FILE == checkpoints.CARD


def _drop(content: dict[str, Any]) -> None:
    del content["evidence"]


def _add(content: dict[str, Any]) -> None:
    content["more"] = 1


def _retype(content: dict[str, Any]) -> None:
    content["sections"][0]["rows"] = "many"


def _null(content: dict[str, Any]) -> None:
    content["sections"][0]["overall"]["figures"]["ece"] = None


def _newer(content: dict[str, Any]) -> None:
    content["schema"] = 2


def _evidence(content: dict[str, Any]) -> None:
    content["evidence"] = "certainly"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_drop, "missing required field `evidence`", id="missing"),
        pytest.param(_add, "unknown field `more`", id="unknown"),
        pytest.param(_retype, r"Expected `int`, got `str` - at `\$.sections\[0\].rows`", id="type"),
        pytest.param(_null, r"got `null` - at", id="null"),
        pytest.param(_newer, "the card's schema is 2, this version reads 1", id="newer"),
        pytest.param(_evidence, "Invalid enum value", id="evidence"),
    ],
)
def test_a_strange_card_is_refused(
    card: Card, tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    content = json.loads(record.encode(card))
    change(content)
    path = tmp_path / record.FILE
    path.write_text(json.dumps(content))
    with pytest.raises(ModelFault, match=f"(?s)card.json: .*{says}.*soft-verifier card"):
        record.read(path)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="truncated"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"schema": "1"}', id="schema-of-text"),
        pytest.param(b'{"schema": 1}', id="schema-alone"),
    ],
)
def test_a_damaged_card_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / record.FILE
    path.write_bytes(data)
    with pytest.raises(ModelFault, match="damaged card"):
        record.read(path)


def test_no_card_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="cannot read the card"):
        record.read(tmp_path / "card.json")


def test_the_summary(card: Card) -> None:
    told = record.summary(card, "/v1/models/told/card")
    assert told["evidence"] is True
    assert set(told["per_gene_auroc"]) == {"perturbation.de", "perturbation.dir"}
    assert 0.5 < told["per_gene_auroc"]["perturbation.de"] < 1
    assert told["url"] == "/v1/models/told/card"
