from __future__ import annotations

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from service.alignment import statistics
from service.alignment.curves import commonest
from service.alignment.statistics import MetricName

NAN = math.nan


def sample(seed: int, classes: int = 2, n: int = 200) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, n)
    said = np.where(generator.random(n) < 0.6, true, generator.integers(0, classes, n))
    return [str(one) for one in true], [str(one) for one in said]


@pytest.mark.parametrize("classes", [2, 5])
def test_metrics_are_those_of_scikit_learn(classes: int) -> None:
    from sklearn import metrics

    true, said = sample(classes, classes)
    outcomes = Counter(zip(true, said, strict=True))
    assert statistics.metric(outcomes, "accuracy") == pytest.approx(
        metrics.accuracy_score(true, said)
    )
    assert statistics.metric(outcomes, "balanced_accuracy") == pytest.approx(
        metrics.balanced_accuracy_score(true, said)
    )
    assert statistics.metric(outcomes, "mcc") == pytest.approx(
        metrics.matthews_corrcoef(true, said)
    )


@pytest.mark.parametrize(
    ("outcomes", "name", "value"),
    [
        ({}, "accuracy", NAN),
        ({}, "balanced_accuracy", NAN),
        ({}, "mcc", NAN),
        ({("0", "0"): 9, ("0", "1"): 1}, "accuracy", 0.9),
        ({("0", "0"): 9, ("0", "1"): 1}, "balanced_accuracy", NAN),
        ({("0", "0"): 9, ("1", "0"): 1}, "mcc", NAN),
        ({("0", "0"): 9, ("1", "0"): 1}, "balanced_accuracy", 0.5),
        ({("0", "0"): 3, ("1", "1"): 2}, "mcc", 1.0),
        ({("0", "maybe"): 3, ("1", "1"): 3}, "balanced_accuracy", 0.5),
    ],
)
def test_metrics_at_the_edges(
    outcomes: dict[tuple[str, str], int], name: MetricName, value: float
) -> None:
    assert statistics.metric(outcomes, name) == pytest.approx(value, nan_ok=True)


def test_spearman_is_that_of_scipy_and_its_interval_holds_it() -> None:
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    a = generator.integers(0, 20, 60).astype(float)  # with ties
    b = a + generator.normal(0, 8, 60)
    found = statistics.spearman(a, b)
    assert found["rho"] == pytest.approx(spearmanr(a, b).statistic)
    assert -1 <= found["low"] < found["rho"] < found["high"] <= 1
    assert found == statistics.spearman(a, b)
    assert found["low"] != statistics.spearman(a, b, seed=1)["low"]


@pytest.mark.parametrize(
    ("a", "b"),
    [([], []), ([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5])],
    ids=["empty", "three", "constant"],
)
def test_spearman_is_undefined_without_variation(a: list[float], b: list[float]) -> None:
    found = statistics.spearman(np.array(a, float), np.array(b, float))
    assert math.isnan(found["rho"])
    assert math.isnan(found["low"])


def test_the_interval_of_a_long_run_takes_little_memory_and_is_the_same_drawn_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    short = draw.normal(size=(2, 60))
    whole = statistics.spearman(*short)
    monkeypatch.setattr(statistics, "_DRAWN", 100)
    assert statistics.spearman(*short) == whole
    monkeypatch.undo()
    long = draw.normal(size=(2, 20_000))
    tracemalloc.start()
    statistics.spearman(*long, draws=200)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 150e6  # 200 × 20,000 steps at once: 290 MB


def test_dependent_steps_widen_the_interval() -> None:
    """Two random walks: taken for independent points, their interval is far too narrow."""
    generator = np.random.default_rng(1)
    widths, naive = [], []
    for _ in range(20):
        a, b = generator.normal(size=(2, 120)).cumsum(axis=1)
        found = statistics.spearman(a, b, draws=200)
        widths.append(found["high"] - found["low"])
        rows = generator.integers(0, 120, (200, 120))
        drawn = statistics.correlate(statistics.ranks(a[rows]), statistics.ranks(b[rows]))
        naive.append(float(np.subtract(*np.quantile(drawn, [0.975, 0.025]))))
    assert np.mean(widths) > 1.5 * np.mean(naive)


@pytest.mark.parametrize(
    ("rewards", "right", "pairs", "concordant", "flat"),
    [
        ([], [], 0, 0, 0),
        ([0.5], [True], 0, 0, 0),
        ([0.9, 0.1], [True, False], 1, 1.0, 0),
        ([0.1, 0.9], [True, False], 1, 0.0, 0),
        ([0.5, 0.5], [True, False], 1, 0.5, 1),
        ([0.9, 0.5, 0.1], [True, None, False], 1, 1.0, 0),
        ([0.9, 0.1], [True, True], 0, 0, 0),
        ([3, 2, 2, 1], [True, True, False, False], 4, 3.5, 0),
    ],
)
def test_group_sums(
    rewards: list[float], right: list[bool | None], pairs: int, concordant: float, flat: int
) -> None:
    found = statistics.group_sums(rewards, right)
    assert (found.pairs, found.concordant, found.flat) == (pairs, concordant, flat)
    assert found.groups == int(len(rewards) > 1)
    if found.groups:
        assert found.variance == pytest.approx(np.var(rewards))


def test_group_correlation_is_pearsons() -> None:
    generator = np.random.default_rng(5)
    rewards, right = generator.random(12), generator.random(12) < 0.4
    found = statistics.group_sums(rewards.tolist(), right.tolist())
    assert found.correlated == 1
    assert found.correlation == pytest.approx(np.corrcoef(rewards, right)[0, 1])


@pytest.mark.parametrize(
    ("judged", "j"),
    [
        ({(True, True): 8, (True, False): 2, (False, True): 1, (False, False): 9}, 0.7),
        ({(True, False): 5, (False, True): 5}, -1.0),
        ({(True, True): 5}, NAN),
        ({}, NAN),
    ],
    ids=["usual", "upside down", "none wrong", "nothing"],
)
def test_youden(judged: dict[tuple[bool, bool], int], j: float) -> None:
    assert statistics.youden(judged)["j"] == pytest.approx(j, nan_ok=True)


def test_smoothing_keeps_lines_and_fills_no_hole_wider_than_its_window() -> None:
    x = np.arange(20.0)
    assert statistics.smooth(x, np.ones(20), 5) == pytest.approx(x)
    holed = np.where((x > 5) & (x < 14), np.nan, 1.0)
    assert np.isnan(statistics.smooth(holed, np.ones(20), 5)[9:11]).all()
    heavy = statistics.smooth(np.array([0.0, 1.0, 0.0]), np.array([1.0, 8.0, 1.0]), 3)
    assert heavy[1] == pytest.approx(0.8)
    assert len(statistics.smooth(np.array([]), np.array([]), 3)) == 0


@pytest.mark.parametrize(
    ("answers", "found"),
    [({"yes": 3, "no": 1}, ("yes", 0.75)), ({"b": 2, "a": 2}, ("a", 0.5))],
    ids=["usual", "tie"],
)
def test_commonest_answer(answers: dict[str, int], found: tuple[str, float]) -> None:
    assert commonest(Counter(answers)) == found


def test_no_answer_is_no_commonest_one() -> None:
    assert commonest(Counter())[0] == ""
