"""Verdicts remembered: process memory first, then Redis.

A key holds everything that decides an answer (model digest, which covers weights and calibration,
gene table, relation, entities and context as they were asked), so an entry is never wrong and needs
no invalidation. Entities are not resolved first: a model may keep two spellings apart that the
server's gene table takes for one; that an alias has an entry of its own costs a little memory. Only
answers are stored, never errors or abstentions. Redis away means slower, counted, never an error:
a breaker keeps requests from waiting for it. Writes go out behind the response.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from service.errors import StartupFault
from service.metrics import Metrics
from service.settings import Cache as CacheSettings
from worldmodels.core import ANSWERED, Status

log = structlog.get_logger(__name__)


class Key(NamedTuple):
    """What decides a verdict."""

    model: str
    """Digest and gene table."""
    relation: str
    subject: str
    object: str
    context: str


class Row(NamedTuple):
    """A remembered verdict, in the order of ``Verdict``; its status is one of ``ANSWERED``."""

    status: Status
    p: float
    p0: float | None
    uncertainty: float | None
    raw: float | None


_PACKED: Final = struct.Struct("<B4d")
_NAMESPACE: Final = b"sv2:"
_MAX_PENDING_WRITES: Final = 64


def pack(row: Row) -> bytes:
    """33 bytes: the status; p, p0, uncertainty, raw as little-endian doubles, NaN for none."""
    status, *figures = row
    nan = float("nan")
    return _PACKED.pack(status, *(nan if value is None else value for value in figures))


def unpack(data: bytes) -> Row | None:
    """The row; None for what is not 33 bytes of an answer with a finite p in [0, 1]."""
    if len(data) != _PACKED.size:
        return None
    status, p, *rest = _PACKED.unpack(data)
    if status not in ANSWERED or not 0.0 <= p <= 1.0:
        return None
    p0, uncertainty, raw = (None if value != value else value for value in rest)
    return Row(Status(status), p, p0, uncertainty, raw)


def spell(key: Key) -> bytes:
    """The key in Redis, each field with its length before it so that none runs into the next."""
    text = "".join(f"{len(field)}:{field}" for field in key)
    return _NAMESPACE + text.encode("utf-8", "backslashreplace")


class Memory:
    """The tier in this process: least recently used out first, bounded by entries."""

    def __init__(self, entries: int):
        self._entries = entries
        self._rows: OrderedDict[Key, Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Row | None:
        """The row, marked as used."""
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def put(self, key: Key, row: Row) -> None:
        """Keep a row; the least recently used one goes if the tier is full."""
        if not self._entries:
            return
        rows = self._rows
        rows[key] = row
        if len(rows) > self._entries:
            rows.popitem(last=False)


class Breaker:
    """Open after some failures in a row; after a pause lets one attempt through at a time."""

    def __init__(self, failures: int, pause_s: float):
        self._limit = failures
        self._pause = pause_s
        self._failures = 0
        self._retry_at = 0.0

    @property
    def open(self) -> bool:
        """Too many failures in a row, and no success since."""
        return self._failures >= self._limit

    def allows(self) -> bool:
        """Whether to make an attempt now. Of an open breaker one caller gets True per pause."""
        if self._failures < self._limit:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._pause
        return True

    def success(self) -> bool:
        """Note a success; True if this closed the breaker."""
        closed = self._failures >= self._limit
        self._failures = 0
        return closed

    def failure(self) -> bool:
        """Note a failure; True if this opened the breaker."""
        self._failures += 1
        self._retry_at = time.monotonic() + self._pause
        return self._failures == self._limit


class RedisTier:
    """The shared tier: one MGET to read, one pipelined SET EX to write."""

    def __init__(self, settings: CacheSettings, metrics: Metrics):
        assert settings.redis_url is not None
        self.url = redacted(settings.redis_url)
        self._client, self._clustered, self._watchers = connect(
            settings.redis_url, settings.timeout_ms / 1000
        )
        self._ttl = settings.ttl_s
        self._timeout = settings.timeout_ms / 1000
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_s)
        self._metrics = metrics
        self._writes: set[asyncio.Task[None]] = set()
        self.trip_s: float | None = None
        """Seconds of one round trip with 256 keys, measured at warm-up; None while unreachable."""
        metrics.watch(lambda seen: seen.redis_down(down=self.away))

    @property
    def away(self) -> bool:
        """Not reached yet, or the breaker is open: nothing is read there."""
        return self.trip_s is None or self._breaker.open

    async def warm(self) -> None:
        """Measure the trip: the second of two reads of 256 absent keys. None while away."""
        keys = [Key("warm-up", "", str(i), "", "") for i in range(256)]
        await self.get_many(keys)
        start = time.perf_counter()
        reached = await self._read(keys) is not None
        self.trip_s = time.perf_counter() - start if reached else None

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """What Redis holds of the keys; empty while it is away."""
        values = await self._read(keys)
        if values is None:
            return {}
        found = {}
        for key, value in zip(keys, values, strict=True):
            row = unpack(value) if value is not None else None
            if row is not None:
                found[key] = row
        self._metrics.cache("redis", len(found), len(keys) - len(found))
        return found

    async def _read(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        if not self._breaker.allows():
            return None
        spelt = [spell(key) for key in keys]
        mget = self._client.mget_nonatomic if self._clustered else self._client.mget
        try:
            values: list[bytes | None] = await asyncio.wait_for(mget(spelt), self._timeout)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        self._succeeded()
        return values

    def put_soon(self, rows: Mapping[Key, Row]) -> None:
        """Write behind the response. Dropped, and counted, if writes pile up."""
        if not rows or self._breaker.open:
            return
        if len(self._writes) >= _MAX_PENDING_WRITES:
            self._metrics.redis("dropped_write")
            return
        task = asyncio.create_task(self._write(rows))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, rows: Mapping[Key, Row]) -> None:
        pipe = (
            self._client.pipeline(transaction=False)
            if not self._clustered
            else (self._client.pipeline())
        )
        for key, row in rows.items():
            pipe.set(spell(key), pack(row), ex=self._ttl)
        try:
            await asyncio.wait_for(pipe.execute(), max(1.0, self._timeout))
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
        else:
            self._succeeded()

    def _failed(self, error: BaseException) -> None:
        self._metrics.redis(f"failure_{type(error).__name__}")
        if self._breaker.failure():
            self._metrics.redis("opened")
            log.warning("Redis fails; going on without it", url=self.url, error=repr(error))

    def _succeeded(self) -> None:
        if self._breaker.success():
            self._metrics.redis("closed")
            log.info("Redis answers again", url=self.url)

    async def close(self) -> None:
        """Finish pending writes, then disconnect."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=2.0)
        for client in (self._client, *self._watchers):
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()


def redacted(url: str) -> str:
    """The URL without its password, for logs; whatever stands where passwords stand is one."""
    bare = re.sub(r"(//[^:@/]*:?).*@", r"\1***@", url)
    return re.sub(r"(?i)([?&](?:password|username)=)[^&]*", r"\1***", bare)


def connect(url: str, timeout_s: float) -> tuple[Any, bool, list[Any]]:
    """A client for the URL, whether it is a cluster, and the Sentinels' clients.

    Does not connect yet.

    Raises:
        StartupFault: a scheme that is none of redis, rediss, unix, redis+cluster,
            rediss+cluster, redis+sentinel; or a Sentinel URL without a service name.
    """
    options: dict[str, Any] = {"socket_connect_timeout": timeout_s, "socket_timeout": timeout_s}
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss", "unix"):
            return aioredis.Redis.from_url(url, **options), False, []
        if parts.scheme in ("redis+cluster", "rediss+cluster"):
            plain = url.replace("+cluster", "", 1)
            return aioredis.RedisCluster.from_url(plain, **options), True, []
        if parts.scheme == "redis+sentinel":
            master, sentinels = _sentinel(parts.netloc, parts.path, options)
            return master, False, sentinels
    except (ValueError, RedisError) as error:
        # Not the error's own words where there is a password: they may quote a piece of it.
        said = "not a URL of that form" if "@" in url else str(error)
        raise StartupFault(f"cache.redis_url {redacted(url)!r}: {said}") from None
    raise StartupFault(
        f"cache.redis_url {redacted(url)!r}: scheme must be redis, rediss, unix, redis+cluster, "
        "rediss+cluster or redis+sentinel"
    )


def _sentinel(netloc: str, path: str, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """``redis+sentinel://[user:password@]h1:p1,h2:p2/service[/db]``."""
    credentials, _, hosts = netloc.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise StartupFault(
            "cache.redis_url: a Sentinel URL names the service: redis+sentinel://host:26379/mymaster"
        )
    username, _, password = credentials.partition(":")
    if username:
        options |= {"username": username, "password": password or None}
    addresses = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":")
        if not name or not port.isdigit():
            raise StartupFault(
                f"cache.redis_url: Sentinel address {redacted(host)!r} is not host:port"
            )
        addresses.append((name, int(port)))
    sentinel = aioredis.Sentinel(  # type: ignore[no-untyped-call]
        addresses, sentinel_kwargs=dict(options), **options
    )
    return sentinel.master_for(service, db=int(database or 0)), list(sentinel.sentinels)
