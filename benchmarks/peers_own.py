"""This server's own figures that ``benchmarks/peers.py`` holds against what it should reach."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import peers_memory
import servers
import serving
from peers_contestants import OURS, OURS_GRPC
from peers_loads import LOADS, score, warm
from peers_loads import measure as measure_load
from peers_started import Started, pairs, started

STEPS: Final = 7 + peers_memory.STEPS
FRESH: Final = 1024
PATIENCE_S: Final = 10.0


class Keeper(Protocol):
    """Where files go, and who is told the progress (``peers.Run``)."""

    folder: Path
    step: Callable[[str], None]


def measure(seconds: int, keeper: Keeper, arrays: Path) -> dict[str, Any]:
    """Figures by name."""
    folder, step, python = keeper.folder, keeper.step, Path(sys.executable)
    found: dict[str, Any] = {}
    with started(OURS, python, arrays, "factorised", folder) as ours:
        found["start_s"] = ours.seconds
        warm((ours,), folder)
        step("score, 256 completions")
        found["score"] = score(ours, 256, 4, seconds, folder)
        step("score, one completion")
        found["score-one"] = score(ours, 1, 256, seconds, folder)
        step("a group's copies")
        found["score-groups"] = score(ours, 256, 4, seconds, folder, copies=16)
        step("fresh connections")
        found["fresh"] = asyncio.run(fresh(ours))
    with started(OURS_GRPC, python, arrays, "factorised", folder) as ours:
        measure_load(ours, LOADS[4], 1, folder)
        step("gRPC, 256 pairs")
        found["grpc"] = measure_load(ours, LOADS[4], seconds, folder)
    step("in process")
    found["in-process"] = serving.in_process(arrays / "ours", seconds)
    step("start with the starter")
    begun = time.perf_counter()
    with servers.soft_verifier([arrays / "ours"], core=None):
        found["start_starter_s"] = time.perf_counter() - begun
    return found | peers_memory.measure(arrays, seconds, folder, step)


async def fresh(ours: Started) -> dict[str, float]:
    """1,024 connections opened at once, one pair each: how many are answered, and when in ms."""
    free_files()
    draw = random.Random(5)
    bodies = [ours.peer.payload(*pairs(draw, 1)) for _ in range(FRESH)]
    took = await asyncio.gather(*(_answered(ours.port, ours.peer.path, body) for body in bodies))
    good = sorted(each for each in took if each is not None)
    if not good:
        raise SystemExit("none of the fresh connections was answered")
    return {"answered": float(len(good)), "p99": good[len(good) * 99 // 100] * 1000}


async def _answered(port: int, path: str, body: bytes) -> float | None:
    """Seconds from the moment that all begin to the answer 200; None without one."""
    begun = time.perf_counter()
    head = f"POST {path} HTTP/1.1\r\nhost: ours\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            reply = await reader.read()
            writer.close()
            if reply.startswith(b"HTTP/1.1 200"):
                return time.perf_counter() - begun
    return None


def free_files() -> None:
    """Allow as many open files as this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
