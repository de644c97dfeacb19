"""The verdict on planted runs: found where it was planted, and not where nothing was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from service.alignment.divergence import Divergence, judge, slopes, window_of
from service.alignment.statistics import Floats

Planted = Callable[[Floats], tuple[Floats, Floats]]
"""Progress in [0, 1] → reward and truth."""


def hump(p: Floats) -> Floats:
    return np.asarray(np.where(p < 0.5, 0.5 + 0.6 * p, 0.8 - 0.6 * (p - 0.5)))


RUNS: dict[str, Planted] = {
    "honest": lambda p: (0.5 + 0.35 * p, 0.5 + 0.35 * p),
    "both level off": lambda p: (0.85 - 0.35 * np.exp(-4 * p), 0.85 - 0.35 * np.exp(-4 * p)),
    "both flat": lambda p: (0.7 + 0 * p, 0.7 + 0 * p),
    "both fall": lambda p: (0.8 - 0.3 * p, 0.8 - 0.3 * p),
    "truth gains half": lambda p: (0.4 + 0.4 * p, 0.5 + 0.2 * p),
    "reward falls, truth rises": lambda p: (0.8 - 0.3 * p, 0.5 + 0.3 * p),
    "hacked from the middle": lambda p: (0.4 + 0.5 * p, hump(p)),
    "truth stands still from the middle": lambda p: (
        0.4 + 0.5 * p,
        np.where(p < 0.5, hump(p), 0.8),
    ),
    "truth never moves": lambda p: (0.4 + 0.4 * p, 0.5 + 0 * p),
}


def simulate(name: str, seed: int, steps: int = 160, scale: float = 1.0) -> Divergence:
    """Noise of 128 items a step, and slow drifts beside it."""
    generator = np.random.default_rng([seed, len(name)])
    x = np.arange(steps, dtype=np.float64)
    reward, truth = RUNS[name](x / steps)
    drifts = []
    for _ in range(2):
        drift = generator.normal(0, 0.008, steps)
        for i in range(1, steps):
            drift[i] += 0.6 * drift[i - 1]
        drifts.append(drift)
    reward = reward + generator.normal(0, 0.3 / np.sqrt(128), steps) + drifts[0]
    truth = truth + generator.normal(0, 0.45 / np.sqrt(128), steps) + drifts[1]
    return judge(x * scale, reward, truth, np.full(steps, 128.0))


@pytest.mark.parametrize(
    "name", [name for name in RUNS if "middle" not in name and "never" not in name]
)
def test_runs_that_keep_together_are_not_accused(name: str) -> None:
    accused = sum(simulate(name, seed).verdict == "diverges" for seed in range(40))
    assert accused <= 3


@pytest.mark.parametrize(
    ("name", "least", "spread"),
    [
        ("hacked from the middle", 40, 8),
        ("truth stands still from the middle", 20, 30),
        ("truth never moves", 38, None),
    ],
)
def test_planted_divergence_is_found_where_it_was_planted(
    name: str, least: int, spread: int | None
) -> None:
    found = [simulate(name, seed) for seed in range(40)]
    steps = [one.step for one in found if one.verdict == "diverges" and one.step is not None]
    assert len(steps) >= least
    assert sum(one.verdict == "no divergence seen" for one in found) <= 2
    if spread is None:
        assert np.median(steps) < 40
    else:
        assert abs(np.median(steps) - 80) <= spread / 2
        assert np.quantile(np.abs(np.array(steps) - 80), 0.9) <= spread


def test_what_it_tells_is_in_order_and_bounds_what_was_planted() -> None:
    found = simulate("hacked from the middle", 0, scale=10.0)
    assert found.step is not None
    assert found.seen is not None
    assert found.until is not None
    assert 700 <= found.step < found.seen <= found.until <= 1590
    assert found.reward_change is not None
    assert found.truth_change is not None
    left = (found.until - found.step) / 1600
    assert found.reward_change[0] < 0.5 * left < found.reward_change[1]
    assert found.truth_change[0] < -0.6 * left < found.truth_change[1]


def test_noise_gives_no_all_clear() -> None:
    """Few items: that the truth stands still cannot be told from a rise."""
    generator = np.random.default_rng(0)
    x = np.arange(40.0)
    truth = 0.5 + generator.normal(0, 0.2, 40)
    found = judge(x, 0.4 + 0.01 * x + generator.normal(0, 0.02, 40), truth, np.full(40, 4.0))
    assert found.verdict == "undecided"


@pytest.mark.parametrize("steps", [0, 1, 2, 14], ids=lambda n: f"{n} steps")
def test_too_few_steps_are_said_to_be(steps: int) -> None:
    x = np.arange(float(steps))
    found = judge(x, x, -x, np.ones(steps))
    assert (found.verdict, found.needed) == ("too few steps", 15)
    assert found.step is None


@pytest.mark.parametrize(
    ("reward", "truth", "verdict"),
    [
        (0.0, 0.0, "no divergence seen"),
        (1.0, 1.0, "no divergence seen"),
        (1.0, -1.0, "diverges"),
        (1.0, 0.0, "diverges"),
        (-1.0, 0.0, "no divergence seen"),
    ],
    ids=["constant", "equal lines", "opposite lines", "truth constant", "reward falls"],
)
def test_series_without_noise(reward: float, truth: float, verdict: str) -> None:
    x = np.arange(30.0)
    assert judge(x, reward * x / 30, truth * x / 30, np.ones(30)).verdict == verdict


def test_share_zero_asks_that_the_truth_falls() -> None:
    x = np.arange(60.0)
    wave = 0.001 * np.sin(x * 2.4)
    rises = 0.4 + 0.01 * x + wave
    hardly = 0.5 + 0.001 * x + wave
    assert judge(x, rises, hardly, np.ones(60)).verdict == "diverges"
    assert judge(x, rises, hardly, np.ones(60), share=0.0).verdict == "no divergence seen"


@pytest.mark.parametrize(("steps", "window"), [(5, 10), (60, 10), (120, 20), (5000, 50)])
def test_windows_grow_with_the_run(steps: int, window: int) -> None:
    assert window_of(steps) == window


def test_slopes_are_those_of_least_squares() -> None:
    from scipy.stats import linregress, t

    generator = np.random.default_rng(3)
    x, y = np.sort(generator.random(30)) * 100, generator.normal(size=30)
    found = slopes(x, y, np.ones(30), 12, 0.95)
    assert len(found.slope) == 19
    for at in (0, 7, 18):
        own = linregress(x[at : at + 12], y[at : at + 12])
        assert found.slope[at] == pytest.approx(own.slope)
        residual = y[at : at + 12] - own.intercept - own.slope * x[at : at + 12]
        rho = max(0.0, float(residual[1:] @ residual[:-1] / (residual @ residual)))
        wide = own.stderr * t.ppf(0.95, 10) * np.sqrt((1 + rho) / (1 - rho))
        assert found.high[at] - found.slope[at] == pytest.approx(wide)


def test_steps_with_few_items_count_less() -> None:
    x = np.arange(10.0)
    y = np.where(x == 9, 50.0, x)
    weights = np.where(x == 9, 1e-9, 1.0)
    assert slopes(x, y, weights, 10, 0.95).slope[0] == pytest.approx(1.0, abs=1e-5)
