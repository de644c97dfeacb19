"""Tables of what ``benchmarks/peers.py`` measured: figures, ratios, what was to be reached."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from peers_contestants import OURS, PEERS, TWO, Peer
from peers_faults import BEHAVIOURS
from peers_loads import Load, loads_of

Found = Mapping[str, Any]
MANY: Final = "256 conn"
ONE: Final = "1 conn"
LATENCY: Final = (
    "1 conn, p50: times as quick",
    "256 conn: times less CPU",
    "256 pairs × 8: times less CPU",
)
BATCHES: Final = ("256 pairs × 1", "256 pairs × 8")


class Results:
    """The files of a run, by part."""

    def __init__(self, folder: Path):
        self._folder = folder

    def part(self, name: str) -> dict[str, Any] | None:
        """What was found, or that it is unavailable; None: not measured."""
        file = self._folder / f"{name}.json"
        if not file.is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def load_average(self) -> float:
        """Of the machine as the parts of the run began: their median; NaN for none."""
        parts = [json.loads(file.read_text()) for file in self._folder.glob("*.json")]
        loads = [part["load_average"] for part in parts if "load_average" in part]
        return statistics.median(loads) if loads else math.nan

    def figure(self, name: str, load: str, what: str, whose: str = "peer") -> float:
        """Median over the repeats; NaN if it was not measured."""
        loads = (self.part(name) or {}).get("loads", {}).get(load)
        return statistics.median(f[what] for f in loads[whose]) if loads else math.nan

    def ratio(self, name: str, load: str, what: str = "rps") -> float:
        """This server to the peer: median of the ratios of measurements side by side."""
        return self._ratio(name, load, what, "ours", "peer")

    def less(self, name: str, load: str, what: str) -> float:
        """The peer to this server: how many times less of something this server takes."""
        return self._ratio(name, load, what, "peer", "ours")

    def _ratio(self, name: str, load: str, what: str, over: str, under: str) -> float:
        loads = (self.part(name) or {}).get("loads", {}).get(load)
        if not loads:
            return math.nan
        both = zip(loads[over], loads[under], strict=True)
        return statistics.median(o[what] / u[what] if u[what] else math.inf for o, u in both)


def write(folder: Path, chosen: argparse.Namespace) -> str:
    """All tables that the run has something for."""
    results = Results(folder)
    peers = [PEERS[name] for name in chosen.peers]
    parts = [_head(chosen, results.load_average())]
    for model in chosen.models:
        parts.append(_absolute(results, peers, model))
        parts.append(_ratios(results, peers, model))
    parts += [_reach(results, peers), _faults(results, peers), _missing(results, peers, chosen)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(chosen: argparse.Namespace, load: float) -> str:
    return (
        "# This server beside its peers\n\n"
        "Printed by `python benchmarks/peers.py`: gene pair → probability, rbio's network "
        "(2×1280 → 64 → 1) over 20,000 genes, the same arrays for all, every server's answers "
        "checked before it is measured. Each measurement of a peer is preceded by the same one of "
        f"this server; medians of {chosen.repeats} × {chosen.seconds} s. "
        f"{os.cpu_count()} cores of {_processor()}, shared with wrk and h2load; "
        f"Python {platform.python_version()}. Run `{chosen.run}`. Load average as "
        f"the parts of the run began: {load:.1f} (a run alone makes some 2)."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _loads(results: Results, name: str) -> dict[str, Any] | None:
    found = (results.part(name) or {}).get("loads")
    return dict(found) if found else None


def _absolute(results: Results, peers: Sequence[Peer], model: str) -> str:
    rows = []
    shown = [*peers, *([TWO] if model == "factorised" else [])]
    for whose, own in (("ours", True), ("peer", False)):
        for peer in shown:
            name = f"{peer.name}-{model}"
            loads = _loads(results, name)
            if loads is None or (own and (peer is not _reference(results, shown, model, peer))):
                continue
            label = ("this server, gRPC" if peer.grpc else "this server") if own else _label(peer)
            rows.append(
                [label, *(_cell(loads[load.name][whose], load) for load in loads_of(model))]
            )
    if not rows:
        return ""
    heads = [f"{load.name}, {'requests' if load.single else 'pairs'}/s" for load in loads_of(model)]
    return f"## {model.capitalize()} model, (p50/p99 ms)\n\n" + _table(["server", *heads], rows)


def _reference(results: Results, peers: Sequence[Peer], model: str, peer: Peer) -> Peer | None:
    """The first measured peer over the same wire: this server's row is the one beside it."""
    same = (p for p in peers if p.grpc == peer.grpc and _loads(results, f"{p.name}-{model}"))
    return next(same, None)


def _label(peer: Peer) -> str:
    return peer.note if peer.own else f"{peer.name} ({peer.note})"


def _cell(found: Sequence[Mapping[str, float]], load: Load) -> str:
    rps, p50, p99, failed = (
        statistics.median(f[what] for f in found) for what in ("rps", "p50", "p99", "failed")
    )
    told = f"{rps * load.rows:,.0f} ({_short(p50)}/{_short(p99)})"
    return told + (f", {failed:,.0f} failed" if failed else "")


def _short(ms: float) -> str:
    return f"{ms:.2g}" if ms < 10 else f"{ms:,.0f}"


def _ratios(results: Results, peers: Sequence[Peer], model: str) -> str:
    rows = []
    for peer in [*peers, *([TWO] if model == "factorised" else [])]:
        name = f"{peer.name}-{model}"
        if _loads(results, name) is not None:
            times = [results.ratio(name, load.name) for load in loads_of(model)]
            times.append(results.less(name, ONE, "p50"))
            times += [results.less(name, load, "cpu_us") for load in (MANY, BATCHES[1])]
            rows.append([_label(peer), *("–" if math.isnan(x) else f"{x:.2f}" for x in times)])
    if not rows:
        return ""
    head = ["times as many as", *(load.name for load in loads_of(model)), *LATENCY]
    return f"### Ratios, {model}: this server to each\n\n" + _table(head, rows)


Line = tuple[str, str, str, bool | None]


def _reach(results: Results, peers: Sequence[Peer]) -> str:
    lines = [*_beside(results, peers), *_alone(results)]
    if not lines:
        return ""
    words = {True: "met", False: "**missed**", None: ""}
    rows = [[what, aim, found, words[met]] for what, aim, found, met in lines]
    return "## What was to be reached\n\n" + _table(["", "at least", "found", ""], rows)


def _line(what: str, aim: float, found: float, tell: Callable[[float], str] = "{:.2f}".format,
          most: bool = False) -> Line:  # fmt: skip
    met = None if math.isnan(found) else found <= aim if most else found >= aim
    told = "not measured" if met is None else tell(found)
    return what, ("≤ " if most else "≥ ") + tell(aim), told, met


def _beside(results: Results, peers: Sequence[Peer]) -> list[Line]:
    """What is a ratio to a peer that was measured."""
    http = [p for p in peers if not p.grpc and _loads(results, f"{p.name}-factorised")]
    names = {p.name for p in http}
    lines = []
    for name, aim in (("fastapi", 2.5), ("litserve", 10), ("bentoml", 10), ("ray", 10)):
        if name in names:
            lines.append(_line(f"256 connections, throughput to {name}", aim,
                               results.ratio(f"{name}-factorised", MANY)))  # fmt: skip
    if "mosec" in names:
        one = results.ratio("mosec-factorised", MANY)
        two = one / results.ratio(f"{TWO.name}-factorised", MANY)
        lines.append(_line("256 connections, throughput to mosec, one process", 0.8, one))
        lines.append(_line("the same, two processes", 1.2, two))
    if http:
        ours = [results.figure(f"{p.name}-factorised", MANY, "p99", "ours") for p in http]
        python = [results.figure(f"{p.name}-factorised", MANY, "p99")
                  for p in http if p.name != "mosec"]  # fmt: skip
        p99 = statistics.median(ours)
        lines.append(_line("256 connections, p99, ms", 150, p99, "{:.1f}".format, most=True))
        if python:
            lines.append(_line("the same, to the best Python peer's", min(python), p99,
                               "{:.1f}".format, most=True))  # fmt: skip
        p50 = statistics.median(
            results.figure(f"{p.name}-factorised", ONE, "p50", "ours") for p in http
        )
        lines.append(_line("1 connection, p50, ms", 0.4, p50, most=True))
    for name in ("litserve", "mosec", "mlserver", "pytriton"):
        if name in names:
            quicker = results.less(f"{name}-factorised", ONE, "p50")
            lines.append(_line(f"1 connection, p50, times below {name}", 8, quicker))
    for model, aim in (("naive", 8), ("factorised", 1.3)):
        for peer in http:
            least = min(results.ratio(f"{peer.name}-{model}", load) for load in BATCHES)
            lines.append(_line(f"256 pairs, JSON, to {peer.name}, {model}", aim, least))
    return lines


def _alone(results: Results) -> list[Line]:
    """What is this server's own."""
    own = results.part("own")
    if own is None or "unavailable" in own:
        return []
    whole = "{:,.0f}".format
    pairs = own["grpc"]["rps"] * 256
    score = own["score"]["rps"] * 256
    return [
        _line("256 pairs, gRPC, pairs/s", 500_000, pairs, whole),
        _line("the same, share of the model in process", 0.4, pairs / own["in-process"]),
        _line("score, 256 completions of 1 kB, completions/s", 12_000, score, whole),
        _line("groups of 16 about one pair, to the same of different pairs", 0.9,
              own["score-groups"]["rps"] / own["score"]["rps"]),
        ("score, one completion, 256 connections, requests/s", "", whole(own["score-one"]["rps"]),
         None),
        _line("1,024 fresh connections: answered", 1024, own["fresh"]["answered"], whole),
        _line("the same, p99, ms", 1000, own["fresh"]["p99"], whole, most=True),
        _line("start to ready, this model, s", 8, own["start_s"], "{:.1f}".format, most=True),
        _line("the same with the starter, s", 25, own["start_starter_s"], "{:.1f}".format,
              most=True),
        *_remembered(own),
    ]  # fmt: skip


def _remembered(own: Found) -> list[Line]:
    """What verdicts that are kept gain, and what keeping them costs."""
    redis, growth, repeated = (own.get(name) for name in ("redis", "growth", "repeated"))
    if redis is None or growth is None or repeated is None:  # of a run from before they were
        return []
    changed = abs(growth["ratio"] - 1)
    bound = growth["full_mb"] / 20
    return [
        _line("Redis, 256 keys: commands", 1, redis["trips"], "{:.0f}".format, most=True),
        _line("the same, p50, ms", 1.5, redis["ms"], most=True),
        _line("the same, times as quick as key by key", 3, redis["one_ms"] / redis["ms"],
              "{:.1f}".format),
        _line("completions/s after 10,000,000 verdicts to after 10: change", 0.05, changed,
              "{:.1%}".format, most=True),
        _line(f"memory after 2,000,000 verdicts {growth['full_mb']:.0f} MB; what 8,000,000 more "
              "add, MB", bound, growth["more_mb"], "{:.1f}".format, most=True),
        _line(f"groups of 16, {repeated['hits']:.0%} of questions remembered, to format and truth "
              "alone, by CPU", 0.9, repeated["ratio"]),
    ]  # fmt: skip


def _faults(results: Results, peers: Sequence[Peer]) -> str:
    rows = []
    for peer in (OURS, *peers):
        found = (results.part(f"faults-{peer.name}") or {}).get("behaviours")
        if found:
            label = "this server" if peer.own else peer.name
            rows.append([label, *(str(found[name]) for name in BEHAVIOURS)])
    if not rows:
        return ""
    aims = ["*to reach*", "63 good", "1", "0", "all answered or refused, ≤ 1 s",
            "64 answered or refused; back ≤ 2 s", "64 answered"]  # fmt: skip
    note = (
        "\n\nA batch takes 50 ms here, so a server that computes request by request answers 200 of "
        "2,000 in the ten seconds after which a request counts as hung. Where a process is killed, "
        "this server has two workers, and what dies is the model host that computes for both; "
        "null: an answer with the status MODEL_ERROR and no figure."
    )
    head = ["", *BEHAVIOURS.values()]
    return "## Behaviour when it matters\n\n" + _table(head, [*rows, aims]) + note


def _missing(results: Results, peers: Sequence[Peer], chosen: argparse.Namespace) -> str:
    """Peers that could not be measured, with why."""
    names = [f"{p.name}-{model}" for model in chosen.models for p in peers]
    names += [f"faults-{p.name}" for p in peers] + ["own", f"{TWO.name}-factorised"]
    said = {
        name: found["unavailable"]
        for name in names
        if (found := results.part(name)) is not None and "unavailable" in found
    }
    if not said:
        return ""
    lines = [f"* `{name}`: {why}" for name, why in said.items()]
    return "## **Not measured**\n\n" + "\n".join(lines)
