from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from chaos_traffic import body
from jumping_clock import DAY_AHEAD, TWO_BACK, jump, with_jumping_clock
from keyed_server import KEYED, add, keyed_server
from servers import RedisProcess, post, wait_until
from service.errors import OverLimit, TooLarge
from service.front.hot import Waited, finished
from service.metrics import Metrics
from service.security.allowance import Allowance
from service.security.buckets import DAY_S, Bucket
from service.security.gate import Caller
from service.security.keys import Key, mint
from service.settings import Cache

T = TypeVar("T")
NOON = 20_000 * DAY_S + DAY_S / 2
BOOT = NOON - 1000.0


def key(quota: int | None = None, rate: float | None = None) -> Key:
    return mint("k", ["score"], quota=quota, rate=rate)[1]


def outcome(work: Callable[[], Awaitable[None]]) -> Awaitable[str]:
    async def run() -> str:
        try:
            await work()
        except OverLimit as error:
            return "rate" if "rate" in error.message else "quota"
        except TooLarge:
            return "large"
        return "ok"

    return run()


@pytest.mark.parametrize(
    ("quota", "rate", "steps"),
    [
        pytest.param(None, 10.0, [(0, 10, ""), (0, 1, "rate"), (0.11, 1, ""), (0, 1, "rate")],
                     id="a second's worth, then the rate"),
        pytest.param(None, 10.0, [(0, 40, ""), (3.05, 1, "rate"), (0.1, 1, "")],
                     id="a large batch goes whole and is paid for"),
        pytest.param(None, 0.5, [(0, 1, ""), (1.9, 1, "rate"), (0.2, 1, "")],
                     id="less than one a second"),
        pytest.param(3, None, [(0, 2, ""), (0, 2, "quota"), (0, 1, ""), (0, 1, "quota")],
                     id="the quota is never overdrawn"),
        pytest.param(3, None, [(0, 3, ""), (DAY_S / 2 - 1, 1, "quota"), (2, 3, "")],
                     id="the next day"),
        pytest.param(3, None, [(0, 3, ""), (0, -2, ""), (0, 2, ""), (0, 1, "quota")],
                     id="given back"),
        pytest.param(3, 10.0, [(0, 0, ""), (0, 3, ""), (0, 0, "")], id="empty requests pass"),
    ],
)  # fmt: skip
def test_a_bucket(
    quota: int | None, rate: float | None, steps: list[tuple[float, int, str]]
) -> None:
    bucket, whose, now = Bucket(), key(quota, rate), NOON
    for wait, items, refused in steps:
        now += wait
        verdict = bucket.take(whose, items, now - BOOT, now)
        assert verdict.refused == refused
        if refused == "rate":  # asked again after what it was told, it is let in
            later = Bucket(bucket.level, bucket.at, bucket.day, bucket.used)
            then = now + verdict.wait_s
            assert later.take(whose, items, then - BOOT, then).refused == ""
        if refused == "quota":
            assert now + verdict.wait_s == (int(now // DAY_S) + 1) * DAY_S


@pytest.mark.parametrize(
    ("jumps", "items", "refused"),
    [
        pytest.param([DAY_S / 4], 1, "rate", id="ahead"),
        pytest.param([-DAY_S / 4], 1, "rate", id="back"),
        pytest.param([-DAY_S], 3, "quota", id="back to a day before"),
        pytest.param([-DAY_S, DAY_S], 3, "", id="and at the next midnight"),
    ],
)
def test_a_clock_that_is_set_refills_nothing(jumps: list[float], items: int, refused: str) -> None:
    whose, bucket, now = key(3, 0.01 if refused == "rate" else None), Bucket(), NOON
    bucket.take(whose, 3, 0.0, now)
    for jump_ in jumps:
        now += jump_
        found = bucket.take(whose, items, 1.0, now).refused
    assert found == refused


@pytest.mark.parametrize("where", ["redis", "here"])
def test_a_server_whose_clock_jumps_keeps_to_rates(
    tmp_path: Path, own_redis: RedisProcess, where: str
) -> None:
    redis = f'\n[cache]\nredis_url = "{own_redis.url}"\n' if where == "redis" else ""
    server, keys = keyed_server(tmp_path, KEYED + redis)
    keys["rare"] = add(tmp_path, "rare", ["score"], rate=0.01)  # a day would fill it
    keys["brisk"] = add(tmp_path, "brisk", ["score"], rate=4.0)
    with_jumping_clock(server).start()

    def ask(name: str, items: int = 1) -> httpx.Response:
        head = {"authorization": f"Bearer {keys[name]}"}
        asked = body("rbio-mlp", *(f"{name}{i}" for i in range(items)))
        return post(f"{server.url}/v1/score", json=asked, headers=head)

    try:
        assert [ask("rare").status_code for _ in range(2)] == [200, 429]
        jump(server, DAY_AHEAD)
        assert ask("rare").status_code == 429
        own_redis.kill()  # what it said last counts on here, by another clock
        assert ask("rare").status_code == 429
        jump(server, TWO_BACK)
        assert ask("rare").status_code == 429
        assert ask("brisk", 12).status_code == 200  # two seconds of debt
        told, began = ask("brisk"), time.monotonic()
        assert (told.status_code, told.headers["retry-after"]) in {(429, "3"), (429, "2")}
        wait_until(lambda: ask("brisk").status_code == 200, 20, "it is never refilled")
        assert time.monotonic() - began > 1.0
    finally:
        server.stop()


def cache(redis: RedisProcess | None, **more: object) -> Cache:
    url = None if redis is None else redis.url
    return Cache(redis_url=url, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quota", "rate", "items", "expected"),
    [
        (None, None, [10**6, 1], ["ok", "ok"]),
        (5, None, [3, 3, 2, 1, 0], ["ok", "quota", "ok", "quota", "ok"]),
        (5, None, [6, 5], ["large", "ok"]),
        (None, 0.01, [1, 1, 0], ["ok", "rate", "ok"]),
        (None, 0.01, [50, 1], ["ok", "rate"]),
        (2, 0.01, [1, 1], ["ok", "rate"]),
    ],
)
@pytest.mark.parametrize("where", ["redis", "here"])
def test_redis_and_this_process_decide_alike(
    redis_server: RedisProcess,
    where: str,
    quota: int | None,
    rate: float | None,
    items: list[int],
    expected: list[str],
) -> None:
    async def run() -> list[str]:
        counts = Allowance(cache(redis_server if where == "redis" else None), Metrics())
        whose = key(quota, rate)
        found = [await outcome(lambda n=n: counts.charge(whose, n)) for n in items]  # type: ignore[misc]
        await counts.close()
        return found

    assert asyncio.run(run()) == expected


def test_several_processes_share_one_quota(redis_server: RedisProcess) -> None:
    async def run() -> list[str]:
        several = [Allowance(cache(redis_server), Metrics()) for _ in range(4)]
        whose = key(quota=100)
        asked = [outcome(lambda a=a: a.charge(whose, 1)) for a in several * 60]  # type: ignore[misc]
        found = await asyncio.gather(*asked)
        for one in several:
            await one.close()
        return found

    found = asyncio.run(run())
    assert (found.count("ok"), found.count("quota")) == (100, 140)


def test_one_turn_of_the_loop_makes_one_trip(redis_server: RedisProcess) -> None:
    async def run() -> int:
        from redis.asyncio import Redis

        counts, whose = Allowance(cache(redis_server), Metrics()), key(quota=1000)
        await counts.charge(whose, 1)
        async with Redis.from_url(redis_server.url) as client:
            before = (await client.info("stats"))["total_reads_processed"]
            await asyncio.gather(*(counts.charge(whose, 1) for _ in range(200)))
            after = (await client.info("stats"))["total_reads_processed"]
        await counts.close()
        return int(after - before)

    assert asyncio.run(run()) <= 6  # 200 evaluations of 100 bytes are read in two pieces


def test_what_was_refused_can_be_given_back(redis_server: RedisProcess) -> None:
    async def run() -> list[str]:
        counts, whose = Allowance(cache(redis_server), Metrics()), key(quota=2)
        found = [await outcome(lambda: counts.charge(whose, 2))]
        counts.refund(whose, 2)
        await asyncio.sleep(0)
        found.append(await outcome(lambda: counts.charge(whose, 2)))
        found.append(await outcome(lambda: counts.charge(whose, 1)))
        await counts.close()
        return found

    assert asyncio.run(run()) == ["ok", "ok", "quota"]


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        pytest.param(OverflowError(), "ok", id="a fault of ours is given back"),
        pytest.param(TooLarge("x"), "ok", id="what is refused is given back"),
        pytest.param(asyncio.CancelledError(), "quota", id="who goes away has had it"),
    ],
)
def test_what_was_not_answered_costs_nothing(fault: BaseException, after: str) -> None:
    caller = Caller(key(quota=2), Allowance(Cache(), Metrics()))  # type: ignore[call-arg]

    async def pay(then: BaseException | None = None) -> None:
        async with caller.paying(2):
            if then is not None:
                raise then

    with pytest.raises(type(fault)):
        asyncio.run(pay(fault))
    assert asyncio.run(_once(outcome, pay)) == after


async def _once(told: Callable[..., Awaitable[str]], work: Callable[[], Awaitable[None]]) -> str:
    return await told(work)


def test_what_is_begun_anew_is_charged_once() -> None:
    caller = Caller(key(quota=2), Allowance(Cache(), Metrics()))  # type: ignore[call-arg]

    async def work() -> None:
        async with caller.paying(2):
            await asyncio.sleep(0)

    async def run() -> list[str]:
        with pytest.raises(Waited):
            finished(work())
        return [await outcome(work), await outcome(work)]

    assert asyncio.run(run()) == ["ok", "quota"]


def test_without_redis_the_process_counts_on_and_comes_back(own_redis: RedisProcess) -> None:
    async def run() -> tuple[list[str], float]:
        settings = cache(own_redis, breaker_failures=1, breaker_s=0.2, timeout_ms=300)
        counts, whose = Allowance(settings, Metrics()), key(quota=3)
        found = [await outcome(lambda: counts.charge(whose, 2))]
        own_redis.kill()
        found.append(await outcome(lambda: counts.charge(whose, 1)))
        started = time.perf_counter()
        found.append(await outcome(lambda: counts.charge(whose, 1)))
        away = time.perf_counter() - started
        assert not counts.waits
        own_redis.start()
        until = time.monotonic() + 10
        while not counts.waits:
            assert time.monotonic() < until, "Redis is not taken into use again"
            await asyncio.sleep(0.02)
        found.append(await outcome(lambda: counts.charge(whose, 3)))  # that Redis knows nothing
        await counts.close()
        return found, away

    found, away = asyncio.run(run())
    assert found == ["ok", "ok", "quota", "ok"]
    assert away < 0.1  # an open breaker is not waited for


def test_items_are_counted_by_the_name_of_the_key(tmp_path: Path) -> None:
    async def run() -> str:
        metrics = Metrics()
        counts, whose = Allowance(cache(None), metrics), key(quota=3)
        await counts.charge(whose, 2)
        await outcome(lambda: counts.charge(whose, 2))
        counts.refund(whose, 1)
        return metrics.expose().decode()

    shown = asyncio.run(run())
    for outcome_, number in (("admitted", 2.0), ("quota", 2.0), ("refunded", 1.0)):
        assert f'softverifier_key_items_total{{key="k",outcome="{outcome_}"}} {number}' in shown
