"""What this server gains by remembering verdicts: Redis, memory as it grows, repeated questions.

Limits: Redis runs on this machine, without persistence. How memory grows is measured in this
process: ten million verdicts through a socket would take an hour.

    python benchmarks/peers_memory.py    # the three alone
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import servers
import toy
from peers_contestants import OURS
from peers_started import BUILD, Started, cpu_seconds, started, write_toy

STEPS: Final = 3
ROWS: Final = 256
ROUNDS: Final = 9
BATCHES: Final = 20
KEPT: Final = 200_000
"""Verdicts that memory is set to keep in the growth: the default."""
PASSED: Final = 10_000_000
"""Verdicts that have gone through it."""
Found = dict[str, float]


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis of our own on loopback: its URL."""
    port = servers.free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.terminate()
        child.wait()


async def read_together(url: str) -> Found:
    """256 remembered verdicts read as the server reads them, and one after the other.

    Returns:
        ``ms``: p50 of the whole, spelling and unpacking included; ``one_ms``: the same key by key;
        ``trips``: commands that Redis was given for each 256.
    """
    from service.cache import Key, RedisTier, Row, connect, spell, unpack
    from service.metrics import Metrics
    from service.settings import Cache
    from worldmodels.core import Status

    tier = RedisTier(Cache(redis_url=url, timeout_ms=5000), Metrics())
    client, _, _ = connect(url, 5.0)
    names = toy.names()
    digest = f"sha256:{'0' * 64}|symbols as they are"
    keys = [Key(digest, "perturbation.de", *names[2 * i : 2 * i + 2], "k562") for i in range(ROWS)]
    rows = {key: Row(Status.OK, i / ROWS, 0.25, None, 0.5) for i, key in enumerate(keys)}
    await wait_for_redis(client)
    tier.put_soon(rows)
    while await client.dbsize() < ROWS:
        await asyncio.sleep(0.01)
    together, apart, commands = [], [], []
    for _ in range(ROUNDS * BATCHES):
        before = (await client.info("stats"))["total_commands_processed"]
        begun = time.perf_counter()
        found = await tier.get_many(keys)
        together.append(time.perf_counter() - begun)
        after = (await client.info("stats"))["total_commands_processed"]
        commands.append(after - before - 1)  # the second look is one itself
        if found != rows:
            raise SystemExit("Redis does not give back what was kept there")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        one_by_one = {key: unpack(await client.get(spell(key))) for key in keys}
        apart.append(time.perf_counter() - begun)
        if one_by_one != rows:
            raise SystemExit("Redis does not give back what was kept there, key by key")
    await tier.close()
    await client.aclose()
    return {
        "ms": statistics.median(together) * 1000,
        "one_ms": statistics.median(apart) * 1000,
        "trips": statistics.median(commands),
    }


async def wait_for_redis(client: Any) -> None:
    """Until it answers, ten seconds at most."""
    until = time.monotonic() + 10
    while True:
        try:
            await client.ping()
        except (OSError, ConnectionError) as error:
            if time.monotonic() > until:
                raise SystemExit(f"redis-server does not answer: {error}") from None
            await asyncio.sleep(0.02)
        else:
            return


def growth(folder: Path, work: Path) -> Found:
    """Completions/s with ten verdicts kept, and after ten million have been, by turns.

    Requests of 256 completions of 1 kB ask 20 questions: ten that memory keeps, ten that nobody
    asked before. All stages but reading and writing JSON.

    Returns:
        ``few`` and ``many``: completions/s; ``ratio``: many to few, the median over rounds;
        ``full_mb``: what memory takes after two million verdicts; ``more_mb``: what eight million
        more add to it.
    """
    from service import app, settings
    from service.cache import Key, Memory, Row
    from service.front.hot import finished
    from service.inquiry import Inquiry
    from service.pipeline import Pipeline
    from worldmodels.core import Status

    config = work / "growth.toml"
    config.write_text(f'[starter]\nenabled = false\n[[models]]\npath = "{folder}"\n')
    built, names = app.build(settings.load(config)).pipeline, toy.names()
    (hosted,) = built.models

    def pair(n: int) -> tuple[str, str]:
        a, b = divmod(n, len(names) // 2)
        return names[a], names[-1 - b]

    def put(memory: Memory, n: int) -> None:
        key = Key(hosted.tag, "perturbation.de", *pair(n), toy.CELL_LINE)
        memory.put(key, Row(Status.OK, n / PASSED, 0.5, None, 0.25))

    def pipeline(memory: Memory) -> Pipeline:
        inquiry = Inquiry(built.models, memory, None, built.metrics, redis_always=False)
        return Pipeline(profiles=built.profiles, inquiry=inquiry, workshop=built.workshop,
                        limits=built.limits)  # fmt: skip

    many, pid = Memory(KEPT), os.getpid()
    before = full = servers.resident_mb(pid)
    for n in range(PASSED):
        put(many, n)
        if n == PASSED // 5:
            full = servers.resident_mb(pid)
    more = servers.resident_mb(pid) - full
    if len(many) != KEPT:
        raise SystemExit(f"memory keeps {len(many)} verdicts where {KEPT} are set")
    draw, new = random.Random(7), iter(range(PASSED, 2 * PASSED))
    rates: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(3 * ROUNDS):
        few = Memory(KEPT)
        for n in range(10):
            put(few, n)
        known = {"few": range(10), "many": range(PASSED - KEPT // 2, PASSED)}
        for name, memory in (("few", few), ("many", many)):
            asked = pipeline(memory)
            batches = [
                _items(draw, [pair(n) for n in (*draw.sample(known[name], 10), *_next(new, 10))])
                for _ in range(BATCHES)
            ]
            begun = time.perf_counter()
            for batch in batches:
                finished(asked.score("rbio-mlp", batch, deadline=asked.deadline(None)))
            rates[name].append(BATCHES * ROWS / (time.perf_counter() - begun))
    ratio = statistics.median(m / f for f, m in zip(rates["few"], rates["many"], strict=True))
    few_rate, many_rate = (statistics.median(rates[name]) for name in ("few", "many"))
    return {"few": few_rate, "many": many_rate, "ratio": ratio, "full_mb": full - before,
            "more_mb": more}  # fmt: skip


def _next(numbers: Iterator[int], n: int) -> list[int]:
    return [next(numbers) for _ in range(n)]


def _items(draw: random.Random, asked: Sequence[tuple[str, str]]) -> list[Any]:
    """256 completions about these pairs, as they are once read."""
    from service.front import wire

    items = []
    for _ in range(ROWS):
        a, b = draw.choice(asked)
        item = toy.item(draw, [a, b])
        item["task"] = {**item["task"], "perturbation": a, "gene": b}  # type: ignore[dict-item]
        items.append(item)
    body = json.dumps({"profile": "rbio-mlp", "items": items}).encode()
    return list(wire.read_score(body, ROWS)[1])


PROFILE: Final = """
description = "toy"
version = "1"
tasks = {tasks}
[extract]
grammar = "strict"
think = "required"
[compose]
operator = "sum"
style_may_outrank = true
floor = 0.0
range = [0.0, 2.0]
[[component]]
name = "format"
verifier = "format"
role = "auxiliary"
[[component]]
name = "claim"
{claim}
"""
CLAIMS: Final = {
    "text": ("[]", 'verifier = "answer"'),
    "asked": (
        '["perturbation.de"]',
        'verifier = "perturbation"\nmodel = "family:pair-mlp"\nscore = "prob"',
    ),
}
"""Profiles of the same format, whose claim is held against the item's own truth, or a model."""
BODIES: Final = 60
HOT: Final = 40
"""Questions that are asked again and again; of the others each is out of memory when it returns."""
MEMORY: Final = 80


def repeated(arrays: Path, seconds: int, work: Path) -> Found:
    """Groups of 16, nine of ten questions asked before, beside scoring of the text alone.

    Returns:
        ``text`` and ``asked``: completions a second of the server's CPU time, which other work on
        the machine changes less; ``ratio``: asked to text, the median over rounds; ``hits``: the
        share of questions that memory knew.
    """
    folder = work / "repeated"
    folder.mkdir(exist_ok=True)
    (folder / "profiles").mkdir(exist_ok=True)
    for name, (tasks, claim) in CLAIMS.items():
        (folder / "profiles" / f"{name}.toml").write_text(PROFILE.format(tasks=tasks, claim=claim))
    config = folder / "ours.toml"
    config.write_text(
        f'[cache]\nmemory_entries = {MEMORY}\n[profiles]\nfolder = "{folder}/profiles"\n'
        f'[[models]]\npath = "{arrays / "ours"}"\n'
    )
    batches = _grouped(random.Random(11))
    rates: dict[str, list[float]] = {name: [] for name in CLAIMS}
    python = Path(sys.executable)
    with started(OURS, python, arrays, "factorised", work, config=config) as server:
        for turn in range(1 + ROUNDS // 2):
            for name, found in rates.items():
                bodies = [json.dumps({"profile": name, "items": one}).encode() for one in batches]
                url = f"http://127.0.0.1:{server.port}/v1/score"
                busy = cpu_seconds(server.child.pid)
                rps = servers.wrk_many(url, bodies, 4, seconds, folder, core=None)["rps"]
                busy = cpu_seconds(server.child.pid) - busy
                if turn:  # the first warms up
                    found.append(rps * seconds * ROWS / busy)
        hits = _hits(server)
    ratio = statistics.median(a / t for t, a in zip(rates["text"], rates["asked"], strict=True))
    text, asked = (statistics.median(rates[name]) for name in ("text", "asked"))
    return {"text": text, "asked": asked, "ratio": ratio, "hits": hits}


def _grouped(draw: random.Random) -> list[list[dict[str, object]]]:
    """Requests of 16 groups, a tenth of them about a pair of their own."""
    genes = toy.names()
    hot = [toy.item(draw, genes)["task"] for _ in range(HOT)]
    batches = []
    for _ in range(BODIES):
        batch: list[dict[str, object]] = []
        for _ in range(ROWS // 16):
            group = [toy.item(draw, genes) | {"truth": "yes"} for _ in range(16)]
            task = group[0]["task"] if draw.random() < 0.1 else draw.choice(hot)
            batch += [one | {"task": task} for one in group]
        batches.append(batch)
    return batches


def _hits(server: Started) -> float:
    """Share of the questions that were in this server's memory."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    counted = {
        outcome: float(line.rsplit(" ", 1)[1])
        for line in lines
        for outcome in ("hit", "miss")
        if line.startswith("softverifier_cache") and 'tier="memory"' in line
        and f'"{outcome}"' in line
    }  # fmt: skip
    return counted["hit"] / (counted["hit"] + counted["miss"])


def measure(
    arrays: Path, seconds: int, work: Path, step: Callable[[str], None]
) -> dict[str, Found]:
    """All three, by name; ``step`` is told which begins."""
    step("Redis")
    with redis(work) as url:
        tier = asyncio.run(read_together(url))
    step("ten million verdicts")
    grown = growth(arrays / "ours", work)
    step("repeated questions")
    return {"redis": tier, "growth": grown, "repeated": repeated(arrays, seconds, work)}


def main() -> None:
    """Measure and print them."""
    servers.require("wrk", "redis-server")
    with tempfile.TemporaryDirectory() as name:
        arrays = write_toy(BUILD / "toy")
        for what, found in measure(arrays, 2, Path(name), lambda what: None).items():
            print(what, {key: round(value, 3) for key, value in found.items()}, flush=True)


if __name__ == "__main__":
    main()
