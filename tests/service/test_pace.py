from __future__ import annotations

import random

import pytest

from service.pace import Pace


def learned(pace: Pace, *batches: tuple[int, float]) -> Pace:
    for rows, seconds in batches:
        pace.learn(rows, seconds)
    return pace


def test_warm_up_gives_both_terms() -> None:
    pace = Pace()
    pace.begin(0.02, 256, 0.02 + 255 * 0.001)
    assert pace.seconds(1) == pytest.approx(0.02)
    assert pace.seconds(1024) == pytest.approx(0.02 + 1023 * 0.001)
    assert pace.seconds(0) == 0.0


@pytest.mark.parametrize(
    ("fixed", "each"), [(0.05, 0.0), (0.0, 0.002), (0.03, 0.001)], ids=["fixed", "each", "both"]
)
def test_a_line_is_found_from_sizes_that_differ(fixed: float, each: float) -> None:
    draw = random.Random(1)
    pace = Pace()
    pace.begin(0.5, 256, 0.5)
    sizes = [draw.choice([1, 40, 300, 900]) for _ in range(200)]
    learned(pace, *((n, fixed + each * n) for n in sizes))
    for n in (1, 100, 1000):
        assert pace.seconds(n) == pytest.approx(fixed + each * n, rel=0.05, abs=0.002)
    assert pace.spread_s < 0.01


def test_equal_sizes_move_the_level_and_keep_the_slope() -> None:
    pace = Pace()
    pace.begin(0.1, 101, 0.2)
    learned(pace, *[(101, 0.4)] * 60)
    assert pace.seconds(101) == pytest.approx(0.4, rel=0.01)
    assert pace.query_s == pytest.approx(0.001)


def test_a_hiccup_is_soon_forgotten_and_a_slower_model_soon_known() -> None:
    hiccup, slower = Pace(), Pace()
    for pace in (hiccup, slower):
        pace.begin(0.1, 256, 0.1)
    learned(hiccup, (256, 60.0))
    assert hiccup.seconds(256) < 0.2
    learned(slower, *[(256, 1.0)] * 12)
    assert slower.seconds(256) > 0.8


def test_nothing_known_is_no_prediction() -> None:
    pace = Pace()
    assert pace.seconds(1000) == 0.0
    learned(pace, (10, 0.5))
    assert pace.seconds(10) == pytest.approx(0.5)


def test_never_less_than_nothing() -> None:
    pace = Pace()
    pace.begin(0.0, 256, 1.0)
    learned(pace, *[(256, 0.001), (1, 0.5)] * 30)
    assert all(pace.seconds(n) >= 0.0 for n in (0, 1, 2, 100, 10_000))


def test_a_known_cost_is_the_least() -> None:
    pace = Pace()
    pace.begin(0.0001, 256, 0.0002)
    pace.at_least(0.01)
    assert pace.seconds(256) >= 2.56
