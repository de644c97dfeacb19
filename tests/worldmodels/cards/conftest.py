from __future__ import annotations

import pytest

from told import make_card
from worldmodels.cards.record import Card


@pytest.fixture(scope="session")
def card() -> Card:
    return make_card()
