"""Redis killed, frozen, slow, full, restarted, cut off, failing over: slower, and never wrong.

The server keeps nothing in its own memory here and asks Redis for everything, through a wire that
can be changed. While Redis is broken every question is answered by the model, as if there were no
Redis; once it is mended a question asked again comes from it.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos_traffic import Breakable, Recovery, Traffic, body, read, rewards_of
from servers import RedisProcess, ServerProcess, post, wait_until
from switchable_wire import SwitchableWire

PATIENCE_S = 5.0
"""No answer takes longer, Redis or not: its time-out is 0.1 s, the model's batch 0.02 s."""


@dataclass
class Stage:
    """A Redis, another that follows it, and the wire between them and a server."""

    first: RedisProcess
    second: RedisProcess
    wire: SwitchableWire
    server: ServerProcess

    def say(self, redis: RedisProcess, *words: str) -> bytes:
        """One command, as redis-cli would."""
        with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as sock:
            sock.sendall(" ".join(words).encode() + b"\r\n")
            return sock.recv(65_536)

    def cached(self, subject: str) -> bool:
        """Whether the answer to a question comes from Redis."""
        began = time.monotonic()
        found = post(f"{self.server.url}/v1/score", json=body("slow", subject), timeout=30)
        heard = read(subject, found.status_code, found.content, began)
        assert heard.outcome == "ok"
        return heard.cached


@pytest.fixture(scope="module")
def stage(breakable: Breakable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("two")
    first, second = RedisProcess(folder).start(), RedisProcess(folder).start()
    wire = SwitchableWire(first.port)
    url = f"redis://127.0.0.1:{wire.port}/0"
    cache = f'[cache]\nredis_url = "{url}"\nredis_mode = "always"\nmemory_entries = 0\n'
    server = breakable(f"{cache}breaker_s = 0.2\n")
    yield Stage(first, second, wire, server)
    server.stop()
    wire.close()
    for redis in (first, second):
        if redis.process is not None:
            redis.process.send_signal(signal.SIGCONT)
        redis.kill()


def sent(redis: RedisProcess, number: signal.Signals) -> None:
    assert redis.process is not None
    redis.process.send_signal(number)


def swallow(stage: Stage, yes: bool) -> None:
    stage.wire.swallows = yes
    if not yes:
        stage.wire.cut()


def fail_over(stage: Stage) -> None:
    """The follower takes over; connections end, new ones lead to it."""
    stage.second.kill()
    stage.second.start()
    stage.say(stage.second, "REPLICAOF", "127.0.0.1", str(stage.first.port))
    wait_until(
        lambda: b"master_link_status:up" in stage.say(stage.second, "INFO", "replication"),
        10,
        "the follower does not follow",
    )
    stage.first.kill()
    stage.wire.cut()


def take_over(stage: Stage) -> None:
    stage.say(stage.second, "REPLICAOF", "NO", "ONE")
    stage.wire.target = stage.second.port
    stage.first, stage.second = stage.second, stage.first


Act = Callable[[Stage], object]
FAULTS: dict[str, tuple[Act, Act]] = {
    "killed": (lambda s: s.first.kill(), lambda s: s.first.start()),
    "frozen": (
        lambda s: sent(s.first, signal.SIGSTOP),
        lambda s: sent(s.first, signal.SIGCONT),
    ),
    "slow": (
        lambda s: setattr(s.wire, "delay_s", 0.4),
        lambda s: setattr(s.wire, "delay_s", 0.0),
    ),
    "full": (
        lambda s: s.say(s.first, "CONFIG", "SET", "maxmemory", "1"),
        lambda s: s.say(s.first, "CONFIG", "SET", "maxmemory", "0"),
    ),
    "restarted": (lambda s: (s.first.kill(), s.first.start()), lambda s: None),
    "silent": (lambda s: swallow(s, True), lambda s: swallow(s, False)),
    "connections cut": (lambda s: s.wire.cut(), lambda s: s.wire.cut()),
    "failing over": (fail_over, take_over),
}


@pytest.mark.parametrize("name", FAULTS)
def test_redis(stage: Stage, name: str, server: ServerProcess, recovery: Recovery) -> None:
    breaks, mends = FAULTS[name]
    fresh = name.replace(" ", "")
    wait_until(lambda: stage.cached(f"{fresh}BEFORE"), 20, "Redis is not used")
    with Traffic(stage.server.url, "slow", timeout=PATIENCE_S * 4, name=fresh) as traffic:
        traffic.more(5, "ok")
        breaks(stage)
        traffic.more(15, "ok")
        mends(stage)
        mended = time.monotonic()
        wait_until(lambda: stage.cached(f"{fresh}AFTER"), 20, "Redis was not taken up again")
        recovery(f"Redis {name}", time.monotonic() - mended, "until answers come from it again")
        traffic.more(5, "ok")
    traffic.held_to(server)
    longest = max(one.ended - one.began for one in traffic.heard)
    assert longest < PATIENCE_S


def test_what_was_written_survives_a_fail_over(stage: Stage) -> None:
    wait_until(lambda: stage.cached("KEPT"), 20, "Redis is not used")
    fail_over(stage)
    take_over(stage)
    wait_until(lambda: stage.cached("KEPT"), 20, "the follower was not taken up")


def test_what_lies_damaged_in_redis_is_computed_anew(stage: Stage, server: ServerProcess) -> None:
    subjects = [f"DAMAGED{i}" for i in range(4)]
    for subject in subjects:
        wait_until(lambda s=subject: stage.cached(s), 20, "Redis is not used")  # type: ignore[misc]
    keys = stage.say(stage.first, "KEYS", "*DAMAGED*").split(b"\r\n")
    spoilt = [key for key in keys if b"DAMAGED" in key]
    assert len(spoilt) == len(subjects)
    values = ('""', '"x"', '"' + "\\xff" * 33 + '"', '"' + "\\x00" * 32 + '"')
    for key, value in zip(spoilt, values, strict=True):
        assert b"OK" in stage.say(stage.first, "SET", f'"{key.decode()}"', value)
    found = post(f"{stage.server.url}/v1/score", json=body("slow", *subjects), timeout=30).json()
    truths = rewards_of(server, "slow", subjects)
    assert [one["reward"] for one in found["results"]] == [truths[s] for s in subjects]
    assert not any(one["components"][0]["cached"] for one in found["results"])
