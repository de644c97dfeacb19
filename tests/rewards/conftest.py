"""Items, verdicts and a small gene table that the tests of rewards share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from service.rewards.core import Item, Result, Verdict
from service.rewards.profiles import Profile, load_profiles
from service.rewards.specimens import specimen_library
from service.rewards.works import carry_out
from worldmodels.core import Status
from worldmodels.gene_tables import GeneRecord
from worldmodels.genes import GeneResolver

PROSE = "Loss of AARS stalls translation, and CALR is a chaperone that the stress response raises."
TASK = {"type": "perturbation.de", "perturbation": "AARS", "gene": "CALR", "cell_line": "k562"}
GENES = [
    GeneRecord("AARS1", ("AARS",), ("AlaRS", "CMT2N"), ("alanyl-tRNA synthetase 1",)),
    GeneRecord("CALR", (), ("RO", "cC1qR"), ("calreticulin",)),
    GeneRecord("AR", (), ("KD", "NR3C4"), ("androgen receptor",)),
    GeneRecord("WAS", (), ("WASP",), ("WASP actin nucleation promoting factor",)),
    GeneRecord("REST", (), ("NRSF",), ("RE1 silencing transcription factor",)),
    GeneRecord("MARCHF1", ("MARCH1",), (), ()),
]


def make_item(completion: Any, **changes: Any) -> Item:
    fields = {
        "id": "r1",
        "completion": completion,
        "task": TASK,
        "truth": {"classes": ["no", "yes"], "confidences": [0.1, 0.9]},
        "keywords": ["AARS", "CALR"],
        **changes,
    }
    return msgspec.convert(fields, Item)


@pytest.fixture(scope="session")
def genes() -> GeneResolver:
    return GeneResolver([GENES], "six genes")


@pytest.fixture(scope="session")
def profiles(genes: GeneResolver) -> dict[str, Profile]:
    return load_profiles(library=specimen_library(genes))


@pytest.fixture(scope="session")
def judge(profiles: dict[str, Profile]) -> Callable[..., Result]:
    """Everything that the pipeline does with an item, with one verdict for every query."""

    def run(profile: str | Profile, item: Item, *verdicts: Verdict, p: float = 0.9) -> Result:
        recipe = profiles[profile] if isinstance(profile, str) else profile
        fault = recipe.fault(item)
        if fault is not None:
            return recipe.failed(item.id, *fault)
        answer = recipe.read(item)
        plan = recipe.queries(item) if answer.reason == "OK" else ()
        works = recipe.works(item, answer)
        findings = {index: carry_out(work) for index, work in works.items()}
        given = verdicts or (Verdict(Status.OK, p, 0.4, 0.04, p),) * len(plan)
        return recipe.compose(item, answer, given, findings)

    return run


@pytest.fixture(scope="session")
def item() -> Callable[..., Item]:
    return make_item


@pytest.fixture(scope="session")
def prose() -> str:
    return PROSE
