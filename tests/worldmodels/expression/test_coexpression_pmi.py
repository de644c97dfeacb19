"""Counts, PMI, its scaling and its test, against straight implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from worldmodels.core import ModelFault
from worldmodels.expression import pmi


def detected(cells: int, genes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    module = rng.random(cells) < 0.3
    rate = np.where(module[:, None] & (np.arange(genes) < genes // 3), 0.8, 0.2)
    return (rng.random((cells, genes)) < rate).astype(np.float32)


def straight_pmi(table: np.ndarray) -> np.ndarray:
    cells, genes = table.shape
    result = np.zeros((genes, genes))
    for a in range(genes):
        for b in range(genes):
            both = sum(1 for row in table if row[a] and row[b]) / cells
            pa = sum(1 for row in table if row[a]) / cells
            pb = sum(1 for row in table if row[b]) / cells
            result[a, b] = max(0.0, math.log(both / (pa * pb))) if both else 0.0
    return result


def straight_scaling(table: np.ndarray) -> np.ndarray:
    """The formula of rbio's TranscriptFormer source, pair by pair."""
    genes = len(table)
    values = sorted(table[a, b] for a in range(genes) for b in range(a + 1, genes))
    low, high = values[0], values[-1]
    cut = values[-math.ceil(0.01 * len(values))]
    result = np.full((genes, genes), np.nan)
    for a in range(genes):
        for b in range(genes):
            m = table[a, b]
            if a == b:
                continue
            if m < cut:
                result[a, b] = 0.5 * (m - low) / (cut - low)
            else:
                result[a, b] = 0.5 + 0.5 * (m - cut) / (high - cut)
    return result


def test_pmi_and_scaling_are_the_formula() -> None:
    table = detected(90, 30)
    counter = pmi.CoOccurrence(30)
    for start in range(0, 90, 17):
        counter.add(np.ascontiguousarray(table[start : start + 17]))
    assert counter.cells == 90
    np.testing.assert_array_equal(counter.table(), table.T @ table)
    mine = pmi.pmi(counter.table(), 90)
    straight = straight_pmi(table)
    np.testing.assert_allclose(mine, straight, atol=1e-6)
    scale = pmi.stretch(mine)
    np.testing.assert_allclose(pmi.normalised(mine, scale), straight_scaling(straight), atol=5e-4)
    assert scale.apply(np.array([scale.least, scale.cut, scale.most])).tolist() == [0, 0.5, 1]


def test_table_is_symmetric_beyond_one_block_of_rows() -> None:
    table = detected(40, pmi.ROWS + 30)
    counter = pmi.CoOccurrence(table.shape[1])
    counter.add(table[:20])
    counter.table()  # a look in between does not disturb the count
    counter.add(table[20:])
    np.testing.assert_array_equal(counter.table(), table.T @ table)
    matrix = pmi.pmi(counter.table(), 40)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_a_top_percent_of_equal_pairs_earns_one_half() -> None:
    table = np.zeros((20, 20), np.float32)
    table[0, 1:5] = table[1:5, 0] = 2.0
    assert np.nanmax(pmi.normalised(table, pmi.stretch(table))) == 0.5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(np.zeros((1, 1), np.float32), "1 genes make no pair", id="one-gene"),
        pytest.param(
            np.zeros((9, 9), np.float32), "say nothing about co-expression", id="all-zero"
        ),
        pytest.param(
            np.ones((9, 9), np.float32), "say nothing about co-expression", id="all-equal"
        ),
    ],
)
def test_no_scale_without_a_spread(table: np.ndarray, message: str) -> None:
    with pytest.raises(ModelFault, match=message):
        pmi.stretch(table)


def test_cells_beyond_exact_counting_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmi, "MAX_CELLS", 10)
    counter = pmi.CoOccurrence(3)
    with pytest.raises(ModelFault, match="cannot be counted exactly"):
        counter.add(np.zeros((11, 3), np.float32))


def test_chance_of_overlap_is_fishers_exact_test() -> None:
    from scipy.stats import hypergeom

    rng = np.random.default_rng(1)
    for cells in (5, 40, 300):
        a, b = rng.integers(0, cells + 1, (2, 400))
        least = np.maximum(0, a + b - cells)
        both = rng.integers(least, np.minimum(a, b) + 1)
        mine = pmi.chance_of_overlap(both, a, b, cells)
        np.testing.assert_allclose(mine, hypergeom.sf(both - 1, cells, a, b), rtol=1e-9, atol=1e-12)


def test_chance_of_overlap_stays_finite_in_a_million_cells() -> None:
    both = np.array([0, 95_000, 250_000, 500_000])
    alone = np.array([300_000, 300_000, 500_000, 500_000])
    found = pmi.chance_of_overlap(both, alone, alone, 1_000_000)
    assert found[[0, 3]].tolist() == [1.0, 0.0]
    assert 0 < found[1] < 1e-100
    assert found[2] == pytest.approx(0.5, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.integers(2, 8)),
        elements=st.sampled_from([0.0, 1.0]),
    )
)
def test_pmi_is_never_negative_nor_infinite(table: np.ndarray) -> None:
    counter = pmi.CoOccurrence(table.shape[1])
    counter.add(table)
    found = pmi.pmi(counter.table(), len(table))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
