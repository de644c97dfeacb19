"""Questions of neighbours that ask the same are put once, and are always what each item asks."""

from __future__ import annotations

import pytest

from service.questions import Questions
from service.rewards.core import Item
from service.rewards.profiles import Profile, load_profiles
from service.rewards.tasks import PerturbationDE, PerturbationDir


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return dict(load_profiles())


def item(
    gene: str = "CALR",
    line: str = "k562",
    perturbation: str | list[str] = "AARS1",
    truth: str | None = "yes",
) -> Item:
    return Item("text", PerturbationDE(perturbation, gene, line), truth)


ROWS = {
    "a group": [item(), item(), item()],
    "two groups": [item(), item(), item("MYC"), item("MYC")],
    "by turns": [item(), item("MYC"), item(), item("MYC")],
    "other lines": [item(), item(line="rpe1"), item(line="hepg2")],
    "combinations": [item(perturbation=["A", "B"]), item(perturbation="A"), item()],
    "a truth and none": [item(), item(truth=None), item(truth="no"), item(truth=None)],
}


@pytest.mark.parametrize("name", ["rbio-mlp", "rbio-exp", "rbio-tf+go+mlp+exp"])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_each_item_asks_what_it_would_ask_alone(
    profiles: dict[str, Profile], name: str, rows: list[Item]
) -> None:
    questions = Questions(profiles[name])
    assert [questions.of(row) for row in rows] == [profiles[name].queries(row) for row in rows]


def test_a_task_of_another_type_asks_another_question(profiles: dict[str, Profile]) -> None:
    changes = item()
    direction = Item("text", PerturbationDir("AARS1", "CALR", "k562"), "up")
    questions = Questions(profiles["rbio-mlp"])
    first, second = questions.of(changes), questions.of(direction)
    assert first != second
    assert second == profiles["rbio-mlp"].queries(direction)


def test_neighbours_that_ask_the_same_share_one_plan(profiles: dict[str, Profile]) -> None:
    questions = Questions(profiles["rbio-mlp"])
    first, second, other = (questions.of(row) for row in (item(), item(), item("MYC")))
    assert first is second
    assert other is not first
