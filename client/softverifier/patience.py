"""How long one request is tried: full-jitter backoff inside a number of retries and a deadline.

The n-th pause is uniform in [0, min(8 s, 0.25 s * 2^n)] (Brooker, "Exponential backoff and
jitter", AWS 2015), at least what the server's Retry-After asks for. Only a ``Fault`` that says so
is tried again. The deadline belongs to the whole call and is shared by its requests; the counts
belong to one request.
"""

from __future__ import annotations

import random
import time
from typing import Final

from softverifier.errors import DeadlineExceeded, RequestRejected, ServerUnavailable

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 8.0
LONGEST_RETRY_AFTER_S: Final = 300.0
MARGIN: Final = 0.95
"""Share of what is left that the server is given, so that its answer still arrives in time."""


class Fault(Exception):
    """One request went wrong. Internal: becomes an error of the tree or another try."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        status: int | None = None,
        code: str = "",
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.status = status
        self.code = code
        self.field = field
        self.retry_after = retry_after


class Deadline:
    """A moment; None: never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the moment, not below 0; infinite without one."""
        return float("inf") if self._end is None else max(0.0, self._end - time.monotonic())

    def milliseconds(self) -> int | None:
        """What the server is told."""
        return None if self._end is None else max(1, int(self.left() * 1000 * MARGIN))


class Patience:
    """The tries of one request."""

    def __init__(self, retries: int, timeout: float, deadline: Deadline, address: str) -> None:
        self.deadline = deadline
        self._retries = retries
        self._timeout = timeout
        self._address = address
        self._pauses = 0
        self.attempts = 0

    def timeout(self) -> float:
        """Seconds that the next try may take.

        Raises:
            DeadlineExceeded: nothing is left.
        """
        left = self.deadline.left()
        if left <= 0.0:
            raise self._late("the deadline passed before the request could be sent")
        self.attempts += 1
        return min(self._timeout, left)

    def after(self, fault: Fault) -> float:
        """Seconds to wait before the next try.

        Raises:
            RequestRejected: another try cannot help.
            ServerUnavailable: the retries are used up.
            DeadlineExceeded: the deadline leaves no room for another try.
        """
        if not fault.retryable:
            raise RequestRejected(
                fault.message, status=fault.status or 400, code=fault.code, field=fault.field
            ) from fault
        if self.deadline.left() <= 0.0:
            raise self._late(fault.message) from fault
        if self.attempts > self._retries:
            raise ServerUnavailable(
                f"{self._address} gave no answer in {self.attempts} attempts; the last: "
                f"{fault.message}. Is the server up (GET /readyz) and within its capacity?",
                attempts=self.attempts,
                status=fault.status,
            ) from fault
        pause = self.pause(fault.retry_after)
        if pause >= self.deadline.left():
            raise self._late(f"{fault.message}; the next try would be in {pause:.2f} s") from fault
        return pause

    def pause(self, at_least: float | None = None) -> float:
        """The next pause, longer on average than the one before."""
        cap = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses)
        self._pauses += 1
        jitter = random.uniform(0.0, cap)
        if at_least is None:
            return jitter
        # Clients that were refused together should not come back together.
        return min(at_least, LONGEST_RETRY_AFTER_S) + min(jitter, 1.0)

    def _late(self, why: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"no answer from {self._address} within the deadline of {self.deadline.seconds} s "
            f"({self.attempts} attempts): {why}. Give a longer deadline or send fewer items."
        )
