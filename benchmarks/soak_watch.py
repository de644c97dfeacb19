"""What a soak looks at while a server serves, and what it makes of it: series, slopes, a verdict.

Memory is the proportional set size (Linux's ``smaps_rollup``: pages shared with others count by
their share) of the server and of the processes that it started, in MB of 10⁶ bytes. Slopes are
Theil–Sen's (the median of the slopes of all pairs of samples), which a garbage collection or a busy
moment of the machine does not move, over what is left when the warm-up is cut off. Limits: Linux.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

WARM_UP: Final = 1 / 3
"""Share of a run that is not judged: caches fill, pools grow."""
LONGEST_WARM_UP_S: Final = 300.0
FEWEST: Final = 8
"""Samples without which nothing can be said."""
_PSS: Final = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_THREADS: Final = re.compile(r"^Threads:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Bound:
    """What a quantity may grow: neither more than ``floor`` in all nor than ``per_hour``.

    A leak is more than both: a short run cannot tell a steep slope from noise, a long one can.
    """

    unit: str
    floor: float
    per_hour: float


BOUNDS: Final = {
    "memory": Bound("MB", 8.0, 20.0),
    "children's memory": Bound("MB", 40.0, 40.0),
    "file descriptors": Bound("", 16.0, 6.0),  # as many clients come and go
    "threads": Bound("", 3.0, 3.0),
}


@dataclass
class Series:
    """What was seen, one entry a sample."""

    seconds: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)
    p50_ms: list[float | None] = field(default_factory=list)
    p99_ms: list[float | None] = field(default_factory=list)

    def add(self, second: float, sample: dict[str, float], latencies_s: Sequence[float]) -> None:
        """Keep one sample, with the latencies since the last one."""
        self.seconds.append(second)
        for name, value in sample.items():
            self.seen.setdefault(name, []).append(value)
        ordered = sorted(latencies_s)
        for share, column in ((0.5, self.p50_ms), (0.99, self.p99_ms)):
            at = min(int(share * len(ordered)), len(ordered) - 1)
            column.append(ordered[at] * 1000 if ordered else None)


@dataclass(frozen=True)
class Trend:
    """How a quantity moved after the warm-up."""

    name: str
    first: float
    last: float
    highest: float
    per_hour: float
    growth: float
    """The slope times the time judged."""
    leaks: bool

    def line(self) -> str:
        """For a person."""
        unit, places = BOUNDS[self.name].unit, 1 if BOUNDS[self.name].unit else 0
        verdict = "LEAKS" if self.leaks else "holds"
        return (
            f"{self.name:<20} {self.first:8.{places}f} → {self.last:8.{places}f} {unit:<2} "
            f"(highest {self.highest:.{places}f}), slope {self.per_hour:+.1f} {unit}/h: {verdict}"
        )


def sample(pid: int) -> dict[str, float]:
    """What a server holds now.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        memory = _memory_mb(pid)
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError as error:
        raise ProcessLookupError(f"the server (process {pid}) is gone: {error}") from None
    threads = _THREADS.search(status)
    assert threads is not None
    return {
        "memory": memory,
        "children's memory": sum(map(_memory_or_none, _children(pid))),
        "file descriptors": float(descriptors),
        "threads": float(threads[1]),
    }


def _memory_mb(pid: int) -> float:
    found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def _memory_or_none(pid: int) -> float:
    try:
        return _memory_mb(pid)
    except OSError:
        return 0.0  # it ended meanwhile


def _children(pid: int) -> list[int]:
    """Processes that descend from it."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            own = [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue  # the thread ended meanwhile
        for child in own:
            found += [child, *(_children(child) if Path(f"/proc/{child}/task").exists() else [])]
    return found


def judged_from(seconds: Sequence[float]) -> int:
    """The first sample after the warm-up."""
    until = min(seconds[-1] * WARM_UP, LONGEST_WARM_UP_S)
    return next(i for i, second in enumerate(seconds) if second >= until)


def trends(series: Series) -> list[Trend]:
    """How each quantity moved.

    Raises:
        ValueError: too few samples to say.
    """
    start = judged_from(series.seconds) if series.seconds else 0
    seconds = series.seconds[start:]
    if len(seconds) < FEWEST:
        raise ValueError(
            f"{len(seconds)} samples after the warm-up, {FEWEST} are the least that show a slope"
        )
    return [
        _trend(name, seconds, values[start:], BOUNDS[name]) for name, values in series.seen.items()
    ]


def _trend(name: str, seconds: Sequence[float], values: Sequence[float], bound: Bound) -> Trend:
    from scipy.stats import theilslopes

    slope = float(theilslopes(values, seconds)[0])
    growth, per_hour = slope * (seconds[-1] - seconds[0]), slope * 3600
    leaks = growth > bound.floor and per_hour > bound.per_hour
    return Trend(name, values[0], values[-1], max(values), per_hour, growth, leaks)


def draw(series: Series, file: Path) -> None:
    """Memory, descriptors, threads and latency over time, as SVG or PNG by the file's suffix."""
    from matplotlib.figure import Figure

    minutes = [second / 60 for second in series.seconds]
    figure = Figure(figsize=(8, 9), layout="constrained")
    panels = figure.subplots(len(series.seen) + 1, 1, sharex=True)
    warm = series.seconds[judged_from(series.seconds)] / 60
    for panel, (name, values) in zip(panels, series.seen.items(), strict=False):
        panel.plot(minutes, values, color="#1f6f8b", linewidth=1)
        unit = BOUNDS[name].unit
        panel.set_ylabel(f"{name}\n({unit})" if unit else name)
        panel.set_ylim(bottom=0, top=1.15 * max(*values, 1))
    for column, label in ((series.p50_ms, "median"), (series.p99_ms, "99th percentile")):
        shown = [float("nan") if value is None else value for value in column]
        panels[-1].plot(minutes, shown, linewidth=1, label=label)
    panels[-1].set_yscale("log")
    panels[-1].set_ylabel("latency (ms)")
    panels[-1].legend(frameon=False)
    panels[-1].set_xlabel("minutes")
    for panel in panels:
        panel.axvspan(0, warm, color="#eeeeee", zorder=0)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)
