"""Clients that go away: nobody reads the answer, so the work for it is cancelled.

Limits: ASGI says that a client has gone only to who asks, so each request that waits is watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from starlette.types import Message, Receive

from service.front.hot import Reply

LATE_S: Final = 0.01
"""Requests that were not to wait and do are watched from then on."""


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""


async def watched(reply: Awaitable[Reply], receive: Receive) -> Reply:
    """The answer of what waits.

    Raises:
        ClientGone: the client went away meanwhile, and the work was cancelled.
    """
    work = asyncio.ensure_future(reply)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGone
    finally:
        for task in (work, gone):
            if not task.done():
                task.cancel()


async def watched_late(reply: Awaitable[Reply], receive: Receive) -> Reply:
    """The answer of what hardly ever waits: no task is made unless it does, for ``LATE_S``.

    Raises as ``watched``.
    """
    own, watchers = asyncio.current_task(), list[asyncio.Future[None]]()
    assert own is not None

    def watch() -> None:
        watchers.append(asyncio.ensure_future(_disconnected(receive)))
        watchers[0].add_done_callback(leave)

    def leave(gone: asyncio.Future[None]) -> None:
        if watchers and not gone.cancelled():
            own.cancel()

    timer = asyncio.get_running_loop().call_later(LATE_S, watch)
    try:
        return await reply
    except asyncio.CancelledError:
        if watchers and watchers[0].done():
            own.uncancel()
            raise ClientGone from None
        raise
    finally:
        timer.cancel()
        while watchers:  # and one that is done already may not cancel what comes after this
            watchers.pop().cancel()


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
