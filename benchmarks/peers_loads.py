"""The loads that every server gets, one beside the other in time.

Each measurement of a peer is preceded by the same one of this server, so that whatever else the
machine does meets both; ratios are made within such a pair, and the median of those is reported.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import servers
import toy
from peers_started import Started, cpu_seconds, pairs

Found = dict[str, float]
DISTINCT: Final = 100
"""Bodies that a load sends in turn."""


@dataclasses.dataclass(frozen=True)
class Load:
    """So many connections, each with one request of so many pairs at a time."""

    name: str
    connections: int
    rows: int

    @property
    def single(self) -> bool:
        """One pair a request."""
        return self.rows == 1


LOADS: Final = (
    Load("1 conn", 1, 1),
    Load("32 conn", 32, 1),
    Load("256 conn", 256, 1),
    Load("256 pairs × 1", 1, 256),
    Load("256 pairs × 8", 8, 256),
)


def loads_of(model: str) -> tuple[Load, ...]:
    """All for the factorised network; for the naive one those that its arithmetic decides."""
    return LOADS[2:] if model == "naive" else LOADS


def bodies(started: Started, rows: int) -> list[bytes]:
    """The same pairs for every server, in its own words."""
    draw = random.Random(rows)
    return [started.peer.payload(*pairs(draw, rows)) for _ in range(DISTINCT if rows == 1 else 20)]


def measure(started: Started, load: Load, seconds: int, work: Path) -> Found:
    """One load.

    Returns:
        ``rps``: requests/s answered well; ``p50`` and ``p99`` in ms; ``failed``: how many were not;
        ``cpu_us``: CPU time of all the server's processes for one request, in µs.
    """
    folder = work / started.peer.name
    folder.mkdir(exist_ok=True)
    sent = bodies(started, load.rows)
    busy = cpu_seconds(started.child.pid)
    if started.peer.grpc:
        path, connections = started.peer.path, load.connections
        found = servers.h2load_timed(started.port, path, sent[0], connections, seconds, folder)
    else:
        found = servers.wrk_many(
            started.url, sent, load.connections, seconds, folder, core=None, strict=False
        )
    busy = cpu_seconds(started.child.pid) - busy
    return found | {"cpu_us": 1e6 * busy / max(1.0, found["rps"] * seconds)}


def warm(started: Sequence[Started], work: Path) -> None:
    """A second of load each: what is loaded lazily or adapts has done so."""
    for each in started:
        for load in (LOADS[1], LOADS[4]):
            measure(each, load, 1, work)


def beside(
    ours: Started,
    peer: Started,
    loads: Sequence[Load],
    seconds: int,
    repeats: int,
    work: Path,
    step: Callable[[str], None],
) -> dict[str, dict[str, list[Found]]]:
    """The loads, this server and the peer by turns: load → whose → one figure a repeat."""
    warm((ours, peer), work)
    found: dict[str, dict[str, list[Found]]] = {}
    for load in loads:
        both: dict[str, list[Found]] = {"ours": [], "peer": []}
        for _ in range(repeats):
            for whose, server in (("ours", ours), ("peer", peer)):
                step(f"{peer.peer.name}, {load.name}")
                both[whose].append(measure(server, load, seconds, work))
        found[load.name] = both
    return found


def score(
    ours: Started, items: int, connections: int, seconds: int, work: Path, copies: int = 1
) -> Found:
    """Score requests of so many completions of 1 kB, so many of them about the same pair."""
    draw, genes = random.Random(3), toy.names()
    folder = work / "score"
    folder.mkdir(exist_ok=True)
    sent = []
    for _ in range(200 if items == 1 else 40):
        batch = [toy.item(draw, genes) for _ in range(items)]
        for i, item in enumerate(batch):
            item["task"] = batch[i - i % copies]["task"]
        sent.append(json.dumps({"profile": "rbio-mlp", "items": batch}).encode())
    url = f"http://127.0.0.1:{ours.port}/v1/score"
    return servers.wrk_many(url, sent, connections, seconds, folder, core=None, strict=False)
