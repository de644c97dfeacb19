"""Trainers' routes under their normal load: a thousand one-item POSTs at once, each on its own TCP.

    python benchmarks/compat.py [--connections 1024] [--rounds 5] [--route /rm]

A round opens all connections at the same moment, sends one sample on each, and waits for every
answer. Latency is from the attempt to connect to the last byte. Every answer is parsed as its
client would and must be a finite reward: one that is refused, lost or not a number ends the
benchmark with exit code 1. The first round meets a cold cache. The server (with the starter model)
is on one core, the clients are where the system puts them. Latencies grow with whatever else the
machine does: the load is printed, and the CPU time of both sides, of which less depends on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import servers

GENES: Final = (
    "CD3D",
    "CD3E",
    "CYTL1",
    "C19orf77",
    "LYZ",
    "CST3",
    "NKG7",
    "GNLY",
    "MS4A1",
    "CD79A",
)
PROMPT: Final = (
    "<|im_start|>user\nAre {0} and {1} expressed together?<|im_end|>\n<|im_start|>assistant\n"
)
LONGEST_S: Final = 60.0
NUMBERS: Final = ("reward", "rewards", "score", "scores", "results", "runtimes")
"""Keys of answers that trainers make tensors of."""


class Route(NamedTuple):
    """How one client asks, and what it takes from the answer."""

    body: Callable[[str, str, dict[str, Any]], dict[str, Any]]
    reward: Callable[[Any], float]


ROUTES: Final = {
    "/get_reward": Route(
        lambda prompt, response, task: {
            "query": [prompt + response],
            "prompts": [prompt],
            "labels": [json.dumps(task)],
        },
        lambda told: told["rewards"][0],
    ),
    "/rm": Route(
        lambda prompt, response, task: {"prompt": prompt, "response": response, "label": task},
        lambda told: told["reward"],
    ),
    "/verify": Route(
        lambda prompt, response, task: {
            "responses_create_params": {"input": prompt},
            "response": {
                "output": [
                    {"type": "message", "content": [{"type": "output_text", "text": response}]}
                ]
            },
            "task": task,
        },
        lambda told: told["reward"],
    ),
    "/test_program": Route(
        lambda prompt, response, task: {"program": response, "tests": [json.dumps(task)]},
        lambda told: sum(told["results"]) / len(told["results"]),
    ),
}


def requests_of(route: str, count: int, port: int, draw: random.Random) -> list[bytes]:
    """One request each, as bytes."""
    made = []
    for i in range(count):
        pair = draw.sample(GENES, 2)
        task = {"type": "gene.coexpression", "genes": pair}
        words = " ".join(draw.choices(("both", "mark", "few", "cells", "so", "they"), k=120))
        response = (
            f"<think>Sample {i}: {words}.</think>\n<answer>{draw.choice(('yes', 'no'))}</answer>"
        )
        body = json.dumps(ROUTES[route].body(PROMPT.format(*pair), response, task)).encode()
        head = (
            f"POST {route}?profile=starter HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def ask(port: int, request: bytes) -> tuple[float, bytes]:
    """Seconds and answer of one request on a connection of its own."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read(-1)
        return time.perf_counter() - started, answer
    finally:
        writer.close()


async def round_of(port: int, requests: list[bytes]) -> tuple[list[float], list[bytes], int]:
    """Latencies and answers of all at once, and how many never got one."""
    found = await asyncio.wait_for(
        asyncio.gather(*(ask(port, one) for one in requests), return_exceptions=True), LONGEST_S
    )
    lost = [one for one in found if isinstance(one, BaseException)]
    kept = [one for one in found if not isinstance(one, BaseException)]
    return [seconds for seconds, _ in kept], [answer for _, answer in kept], len(lost)


def reward_in(answer: bytes, route: str) -> float | None:
    """The reward as the route's client reads it; None where there is none."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return None
    value = ROUTES[route].reward(json.loads(body))
    return value if isinstance(value, float) and math.isfinite(value) else None


def percentile(seconds: list[float], share: float) -> float:
    """Nearest-rank percentile in ms."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] * 1000


def cpu_s(pid: int) -> float:
    """CPU time of a process so far; NaN where the system does not say."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return math.nan
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def measure(route: str, port: int, pid: int, connections: int, rounds: int) -> bool:
    """Print each round of a route; whether every request was answered with a reward."""
    draw, good = random.Random(1), True
    for number in range(1, rounds + 1):
        requests = requests_of(route, connections, port, draw)
        started, own, its = time.perf_counter(), time.process_time(), cpu_s(pid)
        seconds, answers, lost = asyncio.run(round_of(port, requests))
        own, its = time.process_time() - own, cpu_s(pid) - its
        elapsed = time.perf_counter() - started
        refused = sum(reward_in(answer, route) is None for answer in answers)
        good = good and not lost and not refused
        print(
            f"{route:<14} round {number}: {len(answers) - refused} rewards, {refused} refused, "
            f"{lost} lost, p50 {percentile(seconds, 0.5):,.0f} ms, "
            f"p99 {percentile(seconds, 0.99):,.0f} ms, worst {max(seconds) * 1000:,.0f} ms, "
            f"{connections / elapsed:,.0f}/s; CPU: server {its * 1000:,.0f} ms, clients "
            f"{own * 1000:,.0f} ms; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    return good


def main() -> None:
    """Start the server, run the rounds, end with 1 where a request was not answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1024, help="at the same moment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--route", choices=ROUTES, help="one route alone")
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))
    good = True
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "compat.toml"
        config.write_text(f'[starter]\npath = "{name}/starter"\n')
        with servers.soft_verifier([], "--config", str(config)) as (url, _, pid):
            port = int(url.rsplit(":", 1)[1])
            for route in ROUTES:
                if chosen.route in (None, route):
                    good = measure(route, port, pid, chosen.connections, chosen.rounds) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
