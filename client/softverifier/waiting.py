"""A bound on an awaitable that never loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(awaitable: Awaitable[T], seconds: float) -> T:
    """The outcome, if it comes in time.

    ``asyncio.wait_for`` of Python before 3.12 swallows a cancellation that arrives together with
    the outcome, and the cancelled caller goes on.

    Raises:
        TimeoutError: it did not come; what was awaited is cancelled.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        in_time, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            task.cancel()
    if not in_time:
        raise TimeoutError
    return task.result()
