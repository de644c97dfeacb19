"""How long a model takes over a batch, by its size: so much for each call, so much for each query.

Begun with what warm-up measured, then learned from every batch: a straight line through
exponentially weighted means, whose slope changes only while sizes differ enough to show it. A
single hiccup moves it little (``_MOST``), so that one long pause does not turn work away long after
it is over; a model that has become slower is known after a handful of batches. Limits: what makes
one query dearer than the next (its length, its genes) is not looked at; it shows in ``spread_s``.
"""

from __future__ import annotations

from typing import Final

_MEMORY: Final = 0.2
"""Weight of the newest batch."""
_DIFFERENT: Final = 0.1
"""Standard deviation of sizes, of their mean, from which on they show a slope."""
_MOST: Final = 4.0
"""A batch is learned as taking so many times what was expected, at most."""
_LEAST_S: Final = 0.02
"""Below this a batch is learned as it is."""


class Pace:
    """Seconds of a batch, expected and learned."""

    def __init__(self) -> None:
        self.query_s = 0.0
        """Seconds that one more query adds."""
        self.spread_s = 0.0
        """Mean absolute error of what was expected."""
        self._rows = self._seconds = self._variance = self._covariance = 0.0

    def begin(self, alone_s: float, rows: int, together_s: float) -> None:
        """Take one query alone, and ``rows`` at once, as what is known."""
        self._rows, self._seconds = float(rows), together_s
        more = (together_s - alone_s) / (rows - 1) if rows > 1 else 0.0
        self._lean(more)

    def at_least(self, query_s: float) -> None:
        """A query is known to cost so much, whatever was measured."""
        if query_s > self.query_s:
            self.query_s = query_s
            self._seconds = max(self._seconds, query_s * self._rows)

    def seconds(self, rows: int) -> float:
        """What a batch of so many queries takes; 0 for none, and while nothing is known."""
        if rows <= 0:
            return 0.0
        return max(0.0, self._seconds + self.query_s * (rows - self._rows))

    def learn(self, rows: int, seconds: float) -> None:
        """A batch of so many queries took so long."""
        expected = self.seconds(rows)
        if self._rows == 0.0:
            self._rows, self._seconds = float(rows), seconds
            return
        seconds = min(seconds, max(_MOST * expected, _LEAST_S))
        self.spread_s += _MEMORY * (abs(seconds - expected) - self.spread_s)
        more_rows, more_s = rows - self._rows, seconds - self._seconds
        self._rows += _MEMORY * more_rows
        self._seconds += _MEMORY * more_s
        self._variance = (1 - _MEMORY) * (self._variance + _MEMORY * more_rows * more_rows)
        self._covariance = (1 - _MEMORY) * (self._covariance + _MEMORY * more_rows * more_s)
        shown = self._variance > (_DIFFERENT * self._rows) ** 2
        self._lean(self._covariance / self._variance if shown else self.query_s)

    def _lean(self, slope: float) -> None:
        """Take a slope, as far as a batch of no queries still takes no less than nothing."""
        self.query_s = min(max(slope, 0.0), self._seconds / max(self._rows, 1.0))
