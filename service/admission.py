"""Who is let into a model's queue: what would be answered in time, and nothing else.

Work that is let in and comes too late has cost the model's time and helped nobody; under overload a
queue of such work grows until nothing is answered in time. So a request is refused at once if what
is predicted for it does not fit its deadline, and told when it will: refused requests are given
moments one behind the other, as if each had its place in the queue, so that those who keep to them
do not meet again. An idle model lets in whatever comes, since a prediction may be wrong and only
asking shows it. Limits: one process's queue; a moment is no reservation, and who comes meanwhile
may be first.
"""

from __future__ import annotations

import math
import time
from typing import Final

from service.errors import Overloaded, TooLarge
from service.pace import Pace
from service.requests import Priority
from service.settings import Batching
from service.waiting import TURNS, Waiting

LONGEST_RETRY_S: Final = 10.0
"""Nobody is told to come back later than this: by then everything may be different."""
_SHORTEST_RETRY_S: Final = 0.1


class Door:
    """Of one model's queue.

    Args:
        name: the model's, for messages.
        settings: bounds of the queue and of a batch.
        waiting: the queue.
        pace: how long a batch takes.
    """

    def __init__(self, name: str, settings: Batching, waiting: Waiting, pace: Pace):
        self._name = name
        self._settings = settings
        self._waiting = waiting
        self._pace = pace
        self._since: float | None = None
        self._rows = 0
        self._invited_until = 0.0

    def begin(self, rows: int) -> None:
        """A batch of so many queries goes to the model."""
        self._since, self._rows = time.monotonic(), rows

    def end(self) -> None:
        """It came back."""
        self._since = None

    @property
    def computing_s(self) -> float:
        """How long the model has been at a batch; 0 while it is at none."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def admit(self, new: int, deadline: float, priority: Priority) -> None:
        """Let in so many more queries, to be answered by ``deadline`` (``time.monotonic``).

        Raises:
            Overloaded: the queue is full, or the predicted wait does not fit the deadline.
            TooLarge: they would not fit an empty queue.
        """
        depth, most = len(self._waiting), self._settings.max_queue
        if new > most:
            raise TooLarge(
                f"model {self._name!r}: {new} queries at once, its queue holds {most}; send "
                "them in several requests, or raise batching.max_queue"
            )
        # Evaluation does not fill the queue: a burst of it would turn training away.
        room = most if priority is Priority.TRAIN else max(most // 2, new)
        if depth + new > room:
            raise Overloaded(
                f"model {self._name!r}: {depth} queries are waiting and {new} more do not fit "
                f"its queue of {room}; try again later or send less at once",
                retry_after=self._invited(self._drained(depth + new - room), new),
            )
        wait = self.predicted_wait(new, priority)
        late = time.monotonic() + wait - deadline
        if late > 0 and (depth or self._since is not None):
            raise Overloaded(
                f"model {self._name!r} would answer in {wait:.2f} s, after the request's deadline; "
                "try again later or allow more time",
                retry_after=self._invited(late, new),
            )

    def predicted_wait(self, new: int, priority: Priority) -> float:
        """Seconds until ``new`` more queries are done: the running batch, then what goes before.

        Where training and evaluation do not fit one batch, evaluation is promised no more than its
        least share.
        """
        most = self._settings.max_batch
        train, evaluation = map(self._waiting.rows, Priority)
        if train + evaluation + new <= most:
            queue = self._pace.seconds(train + evaluation + new)
        elif priority is Priority.TRAIN:
            between = math.ceil((train + new) / (TURNS - 1)) if evaluation else 0
            queue = self._drained(train + new + between)
        elif train:
            queue = math.ceil((evaluation + new) * TURNS / most) * self._pace.seconds(most)
        else:
            queue = self._drained(evaluation + new)
        return self._left() + queue + 2 * self._pace.spread_s

    def _left(self) -> float:
        """Of the running batch. One that is overdue is taken to be so for as long again.

        A model that hangs soon takes no more work.
        """
        if self._since is None:
            return 0.0
        return abs(self._pace.seconds(self._rows) - self.computing_s)

    def _drained(self, rows: int) -> float:
        """Seconds that so many queries take, in the largest batches."""
        full, rest = divmod(rows, self._settings.max_batch)
        return full * self._pace.seconds(self._settings.max_batch) + self._pace.seconds(rest)

    def _invited(self, after_s: float, new: int) -> float:
        """Seconds after which a refused request will fit, behind those told so before it."""
        now = time.monotonic()
        start = min(max(now + after_s, self._invited_until), now + LONGEST_RETRY_S)
        self._invited_until = start + self._pace.seconds(new)
        return max(start - now, _SHORTEST_RETRY_S)
