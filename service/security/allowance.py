"""What keys have used, counted in Redis for all processes, or in this one where there is none.

A request of a limited key costs one script in Redis; those of one turn of the loop share a trip.
Where Redis is away, this process counts on from what it last heard, alone: the limit then holds for
each process, and what was let in meanwhile is not told to Redis afterwards. Rates go by the
monotonic clock here and by Redis' own there, never by what this machine's clock is set to; that
tells which day a quota is of, where this process counts. Keys without limits
cost no trip. Limits: a Redis that evicts keys (allkeys-*) may forget what was used.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any, Final

import structlog
from redis.exceptions import NoScriptError, RedisError

from service.cache import Breaker, connect, redacted
from service.metrics import Metrics
from service.security.buckets import ADMITTED, SCRIPT, Bucket, Verdict, check_possible, refusal
from service.security.keys import Key
from service.settings import Cache

log = structlog.get_logger(__name__)

_NAMESPACE: Final = "sv2:limit:"
_DIGEST: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""By which Redis knows a script."""


class Allowance:
    """Counts what each key asks.

    Args:
        cache: where Redis is, and how long to wait for it.
        metrics: counts of items by key.
    """

    def __init__(self, cache: Cache, metrics: Metrics):
        self._metrics = metrics
        self._buckets: dict[str, Bucket] = {}
        self._redis = _Counter(cache, metrics) if cache.redis_url else None

    @property
    def waits(self) -> bool:
        """Whether a limited key's request waits for Redis just now."""
        return self._redis is not None and not self._redis.away

    async def charge(self, key: Key, items: int) -> None:
        """Count a request's items.

        Raises:
            OverLimit: the key has asked enough for now. TooLarge: it may never ask so much at once.
        """
        if not key.limited or not self.waits:
            self.charge_now(key, items)
            return
        check_possible(key, items)
        assert self._redis is not None
        found = await self._redis.take(key, items)
        if found is None:
            self.charge_now(key, items)
            return
        bucket = self._buckets.setdefault(key.id, Bucket())
        verdict, bucket.level, bucket.day, bucket.used = found
        bucket.at = time.monotonic()
        self._settle(key, items, verdict)

    def charge_now(self, key: Key, items: int) -> None:
        """The same by what this process knows; raises likewise."""
        if not key.limited:
            self._metrics.key_items(key.name, "admitted", items)
            return
        check_possible(key, items)
        bucket = self._buckets.setdefault(key.id, Bucket())
        self._settle(key, items, _taken(bucket, key, items))

    def _settle(self, key: Key, items: int, verdict: Verdict) -> None:
        self._metrics.key_items(key.name, verdict.refused or "admitted", items)
        if verdict.refused:
            raise refusal(key, verdict)

    def refund(self, key: Key, items: int) -> None:
        """Give back what was charged for a request that the server then could not answer."""
        self._metrics.key_items(key.name, "refunded", items)
        if not key.limited:
            return
        _taken(self._buckets.setdefault(key.id, Bucket()), key, -items)
        if self.waits:
            assert self._redis is not None
            self._redis.take_soon(key, -items)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._redis is not None:
            await self._redis.close()


def _taken(bucket: Bucket, key: Key, items: int) -> Verdict:
    return bucket.take(key, items, time.monotonic(), time.time())


Counted = tuple[Verdict, float, int, int]
"""The verdict; of the bucket after it level, day and how much of that is used."""


class _Counter:
    """The script in Redis, asked behind a breaker, once for all that ask in one turn."""

    def __init__(self, cache: Cache, metrics: Metrics):
        assert cache.redis_url is not None
        self._url = redacted(cache.redis_url)
        self._timeout = cache.timeout_ms / 1000
        self._client, self._clustered, self._watchers = connect(cache.redis_url, self._timeout)
        self._breaker = Breaker(cache.breaker_failures, cache.breaker_s)
        self._metrics = metrics
        self._waiting: list[tuple[Key, int, asyncio.Future[Counted | None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def away(self) -> bool:
        """Redis failed so often that it is not waited for; a probe goes out now and then."""
        if not self._breaker.open:
            return False
        if self._breaker.allows():
            self._begin(self._probe())
        return True

    def take_soon(self, key: Key, items: int) -> asyncio.Future[Counted | None]:
        """Ask in the loop's next turn, together with whoever else does."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Counted | None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append((key, items, answered))
        return answered

    async def take(self, key: Key, items: int) -> Counted | None:
        """The verdict and the bucket after it; None: Redis is away."""
        return await self.take_soon(key, items)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._begin(self._ask(waiting))

    async def _ask(self, waiting: list[tuple[Key, int, asyncio.Future[Counted | None]]]) -> None:
        try:
            answers = await asyncio.wait_for(self._run(waiting), self._timeout)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            answers = [None] * len(waiting)
        else:
            if self._breaker.success():
                log.info("Redis counts what keys use again", url=self._url)
        for (_, _, answered), answer in zip(waiting, answers, strict=True):
            if not answered.done():  # a client that has gone has cancelled it
                answered.set_result(None if answer is None else _read(answer))

    async def _run(self, waiting: list[tuple[Key, int, Any]]) -> list[Any]:
        """One trip; a second one where Redis does not know the script yet."""
        asked = [(_NAMESPACE + k.id, n, k.rate or 0, k.quota or 0) for k, n, _ in waiting]
        found = await self._executed("evalsha", _DIGEST, asked)
        unknown = [i for i, answer in enumerate(found) if isinstance(answer, NoScriptError)]
        if unknown:
            again = await self._executed("eval", SCRIPT, [asked[i] for i in unknown])
            for i, answer in zip(unknown, again, strict=True):
                found[i] = answer
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    async def _executed(self, command: str, script: str, asked: list[Any]) -> list[Any]:
        pipe = self._client.pipeline() if self._clustered else self._client.pipeline(False)
        for words in asked:
            getattr(pipe, command)(script, 1, *words)
        found: list[Any] = await pipe.execute(raise_on_error=False)
        return found

    async def _probe(self) -> None:
        try:
            await asyncio.wait_for(self._client.ping(), self._timeout)
        except (RedisError, OSError, TimeoutError):
            self._breaker.failure()
        else:
            self._breaker.success()
            log.info("Redis counts what keys use again", url=self._url)

    def _failed(self, error: BaseException) -> None:
        self._metrics.redis(f"failure_{type(error).__name__}")
        if self._breaker.failure():
            log.warning(
                "Redis fails; limits of keys hold for each process on its own",
                url=self._url,
                error=repr(error),
            )

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish what is under way, then disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for client in (self._client, *self._watchers):
            try:
                await client.aclose()
            except (RedisError, OSError) as error:
                log.debug("closing the connection to Redis failed", error=repr(error))


def _read(answer: list[bytes]) -> Counted:
    """What the script answers."""
    refused, wait, level, day, used = answer
    verdict = Verdict(_text(refused), float(wait)) if refused else ADMITTED
    return verdict, float(level), int(day), int(used)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
