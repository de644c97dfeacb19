"""``AsyncRewardClient``: the interface of ``RewardClient`` for asyncio.

    async with AsyncRewardClient("http://localhost:8080", profile="rbio-mlp") as client:
        rewards = await client.rewards([{"completion": "…", "task": {…}}, …])

One client serves thousands of calls at a time: small ones that are made at the same time travel
together (see ``gathering``). It serves several event loops, one after the other: a trainer that
calls ``asyncio.run`` for every step keeps its client. A request that all its callers cancelled is
cancelled; over gRPC the server may still finish what it had begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TypeVar

from softverifier.client import ROWS_PER_PREDICT
from softverifier.errors import SoftVerifierError
from softverifier.exchange import (
    AsyncChannel,
    Chunk,
    Conversation,
    ListAsk,
    ProbeAsk,
    chunks,
    converse_async,
    patiently,
    predicted,
    scored,
    whole,
)
from softverifier.gathering import SMALL, Gathering
from softverifier.items import ItemLike
from softverifier.loops import PerLoop
from softverifier.options import Options
from softverifier.patience import Deadline, Fault
from softverifier.rewards import Prediction, Reward
from softverifier.sessions import Session, checked_columns

T = TypeVar("T")
REQUESTS_AT_A_TIME: Final = 64
"""Over all calls of one client in one event loop; the rest wait for their turn."""
MOST_GATHERINGS: Final = 256


class AsyncRewardClient:
    """A soft-verifier server, awaited. Arguments and errors are those of ``RewardClient``."""

    def __init__(
        self,
        url: str,
        *,
        profile: str | None = None,
        timeout: float = 30.0,
        deadline: float | None = None,
        retries: int = 8,
        item_retries: int = 2,
        max_items_per_request: int = 256,
        max_bytes_per_request: int = 3 << 20,
        concurrency: int = 4,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        verify: bool = True,
        run: str | None = None,
        split: str | None = None,
    ) -> None:
        options = Options(
            url=url,
            profile=profile,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            item_retries=item_retries,
            max_items_per_request=max_items_per_request,
            max_bytes_per_request=max_bytes_per_request,
            concurrency=concurrency,
            headers=dict(headers or {}),
            api_key=api_key,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            verify=verify,
            run=run,
            split=split,
        )
        self._start(options)

    def _start(self, options: Options) -> None:
        self._session: Session[AsyncChannel] = Session(options, _connect)
        self._turns = PerLoop(lambda: asyncio.Semaphore(REQUESTS_AT_A_TIME))
        self._gatherings: PerLoop[dict[tuple[Any, ...], Gathering]] = PerLoop(dict)

    async def score(
        self,
        items: Iterable[ItemLike],
        profile: str | None = None,
        context: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> list[Reward]:
        """Score completions; see ``RewardClient.score``."""
        session = self._session
        session.channel()
        recipe, about = session.profile(profile), session.options.context(context)
        until = session.deadline(deadline)
        if isinstance(items, list | tuple) and 0 < len(items) <= SMALL:
            return await self._gathering(recipe, about).score(items, until)
        return await self._scored(items, recipe, about, until)

    async def _scored(
        self, items: Iterable[ItemLike], recipe: str, about: Mapping[str, Any], until: Deadline
    ) -> list[Reward]:
        session = self._session
        channel = session.channel()

        async def run(chunk: Chunk) -> list[Reward]:
            # The turn comes first: waiting for it must not use up the time of a try.
            async with self._turns.here():
                options = session.options
                patience = session.patience(until)
                steps = scored(chunk, recipe, about, patience, options.item_retries)
                return await converse_async(steps, channel, asyncio.sleep)

        limits = session.options.max_items_per_request, session.options.max_bytes_per_request
        parts = chunks(items, channel.encode, *limits)
        return await _spread(run, parts, session.options.concurrency)

    async def rewards(
        self,
        items: Iterable[ItemLike],
        profile: str | None = None,
        context: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> list[float | None]:
        """Only the numbers of ``score``; None where there is none. Same arguments and errors."""
        return [reward.reward for reward in await self.score(items, profile, context, deadline)]

    async def predict(
        self,
        model: str,
        relation: str,
        subjects: Iterable[str],
        objects: Iterable[str],
        context: str | Iterable[str] = "",
        deadline: float | None = None,
    ) -> Prediction:
        """Ask a world model directly; see ``RewardClient.predict``."""
        left, right, contexts = checked_columns(subjects, objects, context)
        until = self._session.deadline(deadline)
        parts = []
        for start in range(0, max(1, len(left)), ROWS_PER_PREDICT):
            rows = slice(start, start + ROWS_PER_PREDICT)
            there = contexts if isinstance(contexts, str) else contexts[rows]
            patience = self._session.patience(until)
            steps = predicted(model, relation, left[rows], right[rows], there, patience)
            parts.append(await self._converse(steps))
        return whole(parts)

    async def models(self) -> list[dict[str, Any]]:
        """The served world models, as ``GET /v1/models`` lists them."""
        return await self._listed("models")

    async def profiles(self) -> list[dict[str, Any]]:
        """The profiles, as ``GET /v1/profiles`` lists them; over HTTP only."""
        return await self._listed("profiles")

    async def _listed(self, what: Any) -> list[dict[str, Any]]:
        patience = self._session.patience(self._session.deadline(None))
        found: list[dict[str, Any]] = await self._converse(
            patiently(lambda timeout: ListAsk(what, timeout), patience)
        )
        return found

    async def _converse(self, steps: Conversation[T]) -> T:
        channel = self._session.channel()
        async with self._turns.here():
            return await converse_async(steps, channel, asyncio.sleep)

    def _gathering(self, recipe: str, about: Mapping[str, Any]) -> Gathering:
        """Where small calls of this recipe and context meet, in the running loop."""
        there = self._gatherings.here()
        key = (recipe, *sorted(about.items()))
        found = there.get(key)
        if found is None:
            if len(there) >= MOST_GATHERINGS:  # a new step is a new context
                there.clear()

            async def send(items: list[ItemLike], until: Deadline) -> list[Reward]:
                return await self._scored(items, recipe, about, until)

            options = self._session.options
            most = options.max_items_per_request
            found = there[key] = Gathering(send, most, options.concurrency)
        return found

    async def health(self) -> bool:
        """Is the server alive? Asked once, no retries, no exception for "no"."""
        return await self._probe(ProbeAsk("healthz", self._session.options.timeout))

    async def ready(self) -> bool:
        """Are its models warm? Asked once, no retries, no exception for "no"."""
        return await self._probe(ProbeAsk("readyz", self._session.options.timeout))

    async def _probe(self, ask: ProbeAsk) -> bool:
        try:
            return bool(await self._session.channel().perform(ask))
        except Fault:
            return False

    async def close(self) -> None:
        """Let go of every connection; twice is fine."""
        channel = self._session.taken()
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> AsyncRewardClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Options travel between processes, connections do not."""
        return _made, (self._session.options,)


def _made(options: Options) -> AsyncRewardClient:
    client = AsyncRewardClient(options.url)
    client._start(options)
    return client


def _connect(options: Options) -> AsyncChannel:
    if options.remote_procedure:
        from softverifier.grpc_channel import AsyncGrpcChannel

        return AsyncGrpcChannel(options)
    from softverifier.http_channel import AsyncHttpChannel

    return AsyncHttpChannel(options)


async def _spread(
    run: Callable[[Chunk], Awaitable[list[Reward]]], parts: Iterable[Chunk], concurrency: int
) -> list[Reward]:
    """Run every chunk, ``concurrency`` at a time, and join the outcomes in order."""
    done: list[Reward] = []
    window: deque[asyncio.Future[list[Reward]]] = deque()
    free = asyncio.Semaphore(concurrency)

    async def bounded(part: Chunk) -> list[Reward]:
        async with free:
            return await run(part)

    try:
        for part in parts:
            if len(window) == 2 * concurrency:
                done += await window[0]
                window.popleft()
            window.append(asyncio.ensure_future(bounded(part)))
            # Encoding a long list must not keep the loop from everything else.
            await asyncio.sleep(0)
        while window:
            done += await window[0]
            window.popleft()
    except SoftVerifierError as error:
        error.partial = done
        raise
    finally:
        for waiting in window:
            waiting.cancel()
        await asyncio.gather(*window, return_exceptions=True)
    return done
