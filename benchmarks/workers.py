"""What several processes gain and cost: a second worker, a model host, and crashes.

    python benchmarks/workers.py [--seconds 5] [--only NAME]

Needs wrk (Debian: apt-get install wrk). The server takes any core, and so does the load generator:
on a machine with two cores they share them, and the gain shows as less than it is. CPU time per
request does not depend on that.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import parts
import servers
import toy
from parts import Report

ROUNDS = 3
KILLS = 5
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(folder: Path, work: Path, workers: int, run: str) -> Iterator[tuple[str, int]]:
    """A server of the toy, without memory of verdicts: its URL and process."""
    config = work / f"{workers}-{run}.toml"
    config.write_text(
        "[starter]\nenabled = false\n[work]\nwarm = false\n[cache]\nmemory_entries = 0\n"
        f'[[models]]\npath = "{folder}"\nrun = "{run}"\n'
    )
    port = servers.free_port()
    command = [sys.executable, "-m", "service", "serve", "--http-port", str(port)]
    command += ["--grpc-port", "0", "--workers", str(workers), "--config", str(config)]
    url = f"http://127.0.0.1:{port}"
    with servers.running(command, f"{url}/readyz", core=None) as child:
        servers.wait_for(f"{url}/readyz", child)
        while workers > 1 and servers.get(f"{url}/readyz")["down"]:
            time.sleep(0.05)
        yield url, child.pid


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    below = sum(cpu_seconds(int(child)) for child in children)
    return (int(fields[11]) + int(fields[12])) / _TICKS + below


def measured(
    url: str, pid: int, bodies: list[bytes], route: str, connections: int, seconds: int, work: Path
) -> tuple[float, float, float]:
    """Requests/s, CPU microseconds of the server per request, p50 in ms."""
    before = cpu_seconds(pid)
    found = servers.wrk_many(f"{url}{route}", bodies, connections, seconds, work)
    spent = cpu_seconds(pid) - before
    return found["rps"], spent / (found["rps"] * seconds) * 1e6, found["p50"]


def growth(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """One-item score requests, 64 connections: one worker and two, in turn."""
    draw, genes = random.Random(4), toy.names()
    bodies = [toy.score_body(draw, genes, 1, "rbio-mlp") for _ in range(500)]
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for workers, runs in found.items():
            with serving(folder, work, workers, "inline") as (url, pid):
                servers.wrk_many(f"{url}/v1/score", bodies, 64, 1, work)
                runs.append(measured(url, pid, bodies, "/v1/score", 64, seconds, work))
    rates = {workers: max(run[0] for run in runs) for workers, runs in found.items()}
    costs = {workers: min(run[1] for run in runs) for workers, runs in found.items()}
    for workers, rate in rates.items():
        report(f"{workers} worker(s)", f"{rate:,.0f} requests/s, {costs[workers]:.0f} µs CPU each")
    report("  two to one, requests/s", f"{rates[2] / rates[1]:.2f}")
    report("  two to one, CPU per request", f"{costs[2] / costs[1]:.2f}")


def hop(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """A model that costs microseconds, in the workers' loop and in a host, fresh questions."""
    draw, genes = random.Random(5), toy.names()
    for rows in (1, 256):
        bodies = [toy.predict_body(draw, genes, rows) for _ in range(200)]
        costs = {}
        for name, run in (("in the loop", "inline"), ("in a model host", "thread")):
            with serving(folder, work, 2, run) as (url, pid):
                servers.wrk_many(f"{url}/v1/predict", bodies, 8, 1, work)
                many = measured(url, pid, bodies, "/v1/predict", 32, seconds, work)
                one = measured(url, pid, bodies, "/v1/predict", 1, seconds, work)
            costs[run] = one[1]
            report(
                f"predict, {rows} pair(s), {name}",
                f"1 connection p50 {one[2]:.2f} ms, {one[1]:.0f} µs CPU; "
                f"32 connections {many[0]:,.0f} requests/s, {many[1]:.0f} µs CPU",
            )
        report(f"  the hop, {rows} pair(s)", f"{costs['thread'] - costs['inline']:.0f} µs CPU")


def crash(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """Seconds from kill -9 until the server is whole again, the median of some."""
    del seconds
    with serving(folder, work, 2, "thread") as (url, _):
        for role in ("worker", "model host"):
            times = sorted(_killed(url, role) for _ in range(KILLS))
            report(f"a {role} is back after", f"{times[KILLS // 2]:.2f} s (worst {times[-1]:.2f})")


def _killed(url: str, role: str) -> float:
    """Kill one process of a kind, once the last one's early death is forgiven."""
    pid = next(one["pid"] for one in _processes(url) if one["role"].startswith(role))
    time.sleep(31)  # a child that lived for 30 s is replaced without a pause
    os.kill(pid, signal.SIGKILL)
    start = time.perf_counter()
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            found = _processes(url)
            if all(one["state"] == "ready" and one["pid"] != pid for one in found):
                return time.perf_counter() - start
        time.sleep(0.01)


def _processes(url: str) -> list[dict[str, object]]:
    found = servers.get(f"{url}/readyz")["processes"]
    assert isinstance(found, list)
    return found


PARTS = {"growth": growth, "hop": hop, "crash": crash}


if __name__ == "__main__":
    parts.run(__doc__, PARTS, ("wrk",), width=45)
