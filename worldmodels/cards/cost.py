"""What a query costs: median time in batches of 256 and alone, on the card's own rows.

Limits: wall time on the machine at hand, the model's own work only (no cache, no network front).
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import Final

import numpy as np

from worldmodels.cards.record import Cost
from worldmodels.core import Queries, WorldModel
from worldmodels.perturbation.tables import EffectTable

BATCH: Final = 256
REPEATS: Final = 50
MOST_S: Final = 2.0
"""Seconds that each of the two measurements may take; one repeat is always made."""


def measure(model: WorldModel, relation: str, table: EffectTable) -> Cost:
    """Ask rows of the table, from its beginning on, and take the medians."""
    single = _median_us(model, relation, table, 1)
    return Cost(
        single_us=round(single, 3),
        batch_us=round(_median_us(model, relation, table, BATCH) / BATCH, 3),
        batch=BATCH,
    )


def _median_us(model: WorldModel, relation: str, table: EffectTable, size: int) -> float:
    rows = cycle(range(len(table)))
    taken: list[float] = []
    until = time.perf_counter() + MOST_S
    model.predict(_queries(relation, table, list(islice(rows, size))))  # warm
    while not taken or (len(taken) < REPEATS and time.perf_counter() < until):
        queries = _queries(relation, table, list(islice(rows, size)))
        start = time.perf_counter()
        model.predict(queries)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e6


def _queries(relation: str, table: EffectTable, rows: list[int]) -> Queries:
    return Queries(relation, table.perturbations, table.readouts, table.contexts).take(rows)
