"""The soak of ``benchmarks/soak.py``: for seconds, and that it would notice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import soak_watch

REPOSITORY = Path(__file__).parents[2]

SECONDS = 600
CALM = {"memory": 90.0, "children's memory": 120.0, "file descriptors": 40.0, "threads": 10.0}
GROWS: dict[str, tuple[str, Callable[[int], float], bool]] = {
    "nothing grows": ("memory", lambda second: 0.0, False),
    "warms up": ("memory", lambda second: 60.0 * min(second, 90) / 90, False),
    "a pause of the collector": ("memory", lambda second: 30.0 * (second % 120 < 10), False),
    "creeps": ("memory", lambda second: second / 600, False),
    "leaks memory": ("memory", lambda second: second / 20, True),
    "leaks memory after a while": ("memory", lambda second: max(0, second - 350) / 10, True),
    "children leak": ("children's memory", lambda second: second / 5, True),
    "comes and goes": ("file descriptors", lambda second: 20.0 * (second % 3 == 0), False),
    "leaks descriptors": ("file descriptors", lambda second: float(second // 20), True),
    "leaks threads": ("threads", lambda second: float(second // 60), True),
}

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="the soak reads Linux's /proc"
)


@pytest.mark.parametrize("case", GROWS.values(), ids=GROWS)
def test_what_is_a_leak(case: tuple[str, Callable[[int], float], bool]) -> None:
    name, more, leaks = case
    noise = random.Random(0)
    series = soak_watch.Series()
    for second in range(SECONDS):
        seen = {key: value + noise.uniform(-0.3, 0.3) for key, value in CALM.items()}
        seen[name] += more(second)
        series.add(float(second), seen, [0.01])
    found = {trend.name: trend.leaks for trend in soak_watch.trends(series)}
    assert found == {key: leaks and key == name for key in CALM}


def test_too_few_samples_are_no_verdict() -> None:
    series = soak_watch.Series()
    for second in range(8):
        series.add(float(second), dict(CALM), [])
    with pytest.raises(ValueError, match="8 are the least"):
        soak_watch.trends(series)


@needs_proc
def test_a_server_that_is_gone_is_said_to_be() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError, match="is gone"):
        soak_watch.sample(child.pid)


@needs_proc
def test_descriptors_threads_and_children_are_seen(tmp_path: Path) -> None:
    with (tmp_path / "held").open("w"):
        before = soak_watch.sample(os.getpid())
    after = soak_watch.sample(os.getpid())
    assert before["file descriptors"] - after["file descriptors"] == 1
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        seen: Any = soak_watch.sample(os.getpid())
    finally:
        child.communicate(b"\n")
    assert seen["children's memory"] > after["children's memory"]
    assert seen["memory"] > 10


@needs_proc
def test_twenty_seconds(tmp_path: Path) -> None:
    figure = tmp_path / "soak.svg"
    command = [sys.executable, "benchmarks/soak.py", "--minutes", "0.34", "--every", "0.5"]
    command += ["--rate", "50", "--no-starter", "--faults", "--redis", "--figure", str(figure)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    assert "verdict: sound" in done.stdout
    assert figure.read_text().count("<svg") == 1
