"""Counters, gauges and histograms that cost a fraction of a microsecond, for one event loop.

The client library takes a lock per observation, for threads that we do not have: eight of them
were a tenth of a one-item request. These are dictionaries of plain numbers; the library still
writes the exposition. With several workers the numbers lie where the siblings can read them
(``service.shelf``), and whichever is scraped adds them up: sums over all that ever ran for counters
and histograms, over the living for gauges.

Not thread-safe: a model's thread reports through ``guarded`` only, where a lost increment is the
worst that can happen.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from service.shelf import Shelf

log = structlog.get_logger(__name__)

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]
Numbers = MutableSequence[float]


class Series:
    """One metric with its label names.

    Args:
        kind: counter and gauge hold one number per child; a histogram holds one count per bucket,
            then the sum.
        name: without the ``softverifier_`` prefix.
        help_text: one line.
        labels: label names.
        buckets: upper bounds of a histogram, ascending; +Inf is added.
        of_machine: a gauge that every worker sees alike: the greatest is shown, not the sum.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        help_text: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = (),
        *,
        of_machine: bool = False,
    ):
        self.kind = kind
        self.name = name
        self.help_text = help_text
        self.combine: Callable[[float, float], float] = max if of_machine else operator.add
        self.labels = tuple(labels)
        self.buckets = tuple(buckets)
        self.children: dict[Labels, Numbers] = {}
        self.shelf: Shelf | None = None
        """Where the numbers lie if siblings are to see them."""

    def child(self, *labels: str) -> Numbers:
        """The numbers of one child, made at first use."""
        numbers = self.children.get(labels)
        if numbers is None:
            width = len(self.buckets) + 2 if self.kind == "histogram" else 1
            numbers = self.children[labels] = self._allotted(labels, width)
        return numbers

    def _allotted(self, labels: Labels, width: int) -> Numbers:
        if self.shelf is not None:
            try:
                return self.shelf.allot(self.name, labels, width)
            except OSError as error:
                log.error("metrics of this worker are not shared", why=str(error), series=self.name)
        return [0.0] * width

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        """Count."""
        try:
            self.children[labels][0] += amount
        except KeyError:
            self.child(*labels)[0] += amount

    def set(self, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self.child(*labels)[0] = value

    def observe(self, labels: Labels, value: float) -> None:
        """Put a value into a histogram."""
        numbers = self.children.get(labels)
        if numbers is None:
            numbers = self.child(*labels)
        numbers[bisect_left(self.buckets, value)] += 1.0
        numbers[-1] += value

    def family(self, children: dict[Labels, list[float]]) -> Metric:
        """The exposition of given children."""
        name, labels = f"softverifier_{self.name}", self.labels
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(name, self.help_text, labels=labels)
            bounds = [*(f"{bound:g}" for bound in self.buckets), "+Inf"]
            for key, numbers in children.items():
                total, cumulated = 0.0, []
                for bound, count in zip(bounds, numbers[:-1], strict=True):
                    total += count
                    cumulated.append((bound, total))
                histogram.add_metric(key, cumulated, numbers[-1])
            return histogram
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family: CounterMetricFamily | GaugeMetricFamily = made(name, self.help_text, labels=labels)
        for key, numbers in children.items():
            family.add_metric(key, numbers[0])
        return family


class Exposition:
    """All series of a process, and those of its sibling workers if they share a shelf.

    Args:
        series: what to expose.
        shelf: where the workers keep their numbers; None for a single process.
    """

    def __init__(self, series: Iterable[Series], shelf: Shelf | None = None):
        self._series = {one.name: one for one in series}
        self._shelf = shelf
        for one in self._series.values():
            one.shelf = shelf
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The families, for the client library."""
        found = {
            name: {key: list(numbers) for key, numbers in one.children.items()}
            for name, one in self._series.items()
        }
        for kept in self._shelf.siblings() if self._shelf is not None else ():
            one = self._series.get(kept.series)
            if one is None or (one.kind == "gauge" and not kept.alive):
                continue
            ours = found[one.name].setdefault(kept.labels, [0.0] * len(kept.numbers))
            for i, number in enumerate(kept.numbers):
                ours[i] = one.combine(ours[i], number)
        for name, children in found.items():
            yield self._series[name].family(children)

    def text(self) -> bytes:
        """The exposition in Prometheus' text format."""
        return generate_latest(self._registry)
