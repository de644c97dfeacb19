"""Speed of the whole server, each figure beside the one that it is compared with, in one run.

    python benchmarks/serving.py [--seconds 5] [--only NAME]

Needs wrk and h2load (Debian: apt-get install wrk nghttp2-client). The server is pinned to one
core and the load generator to another. Compare ratios, not absolute figures: machines differ, and
the same machine differs from hour to hour.
"""

from __future__ import annotations

import random
import time
import urllib.request
from pathlib import Path

import parts
import servers
import toy
from parts import Report

ROWS = 256


def in_process(folder: Path, seconds: float) -> float:
    """Pairs/s of the factorised model alone, in batches of 256, in this process on one core."""
    from worldmodels import registry
    from worldmodels.core import Queries
    from worldmodels.genes import GeneResolver

    model = registry.open_folder(folder, genes=GeneResolver.as_they_are())
    draw, genes = random.Random(1), toy.names()
    batches = [
        Queries(
            "perturbation.de",
            draw.sample(genes, ROWS),
            draw.sample(genes, ROWS),
            [toy.CELL_LINE] * ROWS,
        )
        for _ in range(50)
    ]
    for queries in batches:
        model.predict(queries)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        model.predict(batches[done % len(batches)])
        done += 1
    return done * ROWS / (time.perf_counter() - start)


def predict(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """Batches of 256 pairs over gRPC and HTTP against the model in process."""
    draw, genes = random.Random(2), toy.names()
    with servers.soft_verifier([folder]) as (url, grpc, _):
        path = "/softverifier.v1.WorldModels/Predict"
        message = toy.predict_message(draw, genes, ROWS)
        servers.h2load(grpc, path, message, 1, 500, work)
        for connections in (1, 8):
            found = servers.h2load(grpc, path, message, connections, 1000 * seconds, work)
            pairs = found["rps"] * ROWS
            report(f"gRPC Predict, 256 pairs, {connections} connections", f"{pairs:,.0f} pairs/s")
            if connections == 8:
                best = pairs
        bodies = [toy.predict_body(draw, genes, ROWS) for _ in range(20)]
        http = servers.wrk_many(f"{url}/v1/predict", bodies, 8, seconds, work)
        report("HTTP predict, 256 pairs, 8 connections", f"{http['rps'] * ROWS:,.0f} pairs/s")
    limit = in_process(folder, seconds)
    report("model in process, 256 pairs", f"{limit:,.0f} pairs/s")
    report("gRPC as a share of in process (aim ≥ 50 %)", f"{best / limit:.0%}")


def score(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """Batches of 256 completions of 1 kB, all stages, and where the time goes."""
    draw, genes = random.Random(3), toy.names()
    with servers.soft_verifier([folder]) as (url, _, pid):
        bodies = [toy.score_body(draw, genes, ROWS, "rbio-mlp") for _ in range(40)]
        servers.wrk_many(f"{url}/v1/score", bodies[:2], 2, 1, work)
        before, cpu = _stages(url), _cpu_seconds(pid)
        start = time.perf_counter()
        found = servers.wrk_many(f"{url}/v1/score", bodies, 4, seconds, work)
        elapsed, cpu = time.perf_counter() - start, _cpu_seconds(pid) - cpu
        size = len(bodies[0]) / ROWS
        rate = found["rps"] * ROWS
        report(f"score, 256 completions of {size:,.0f} bytes", f"{rate:,.0f} completions/s")
        report("  the server's core was busy", f"{cpu / elapsed:.0%}")
        after = _stages(url)
        spent = {stage: after[stage] - before.get(stage, 0.0) for stage in after}
        for stage, share in spent.items():
            report(f"  stage {stage}", f"{share / elapsed:.1%} of the wall time")
        report("  rest (HTTP, loop)", f"{1 - sum(spent.values()) / elapsed:.1%}")


def small(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """One-item requests at 256 connections and at one, against a bare FastAPI route."""
    draw, genes = random.Random(4), toy.names()
    bodies = [toy.score_body(draw, genes, 1, "rbio-mlp") for _ in range(500)]
    pair = b'{"perturbation": "TOY1", "gene": "TOY2"}'
    with servers.bare_fastapi() as url:
        servers.wrk(f"{url}/predict", pair, 32, 1, work)
        bare = servers.wrk(f"{url}/predict", pair, 256, seconds, work)
        same = servers.wrk_many(f"{url}/score", bodies, 256, seconds, work)
        bare_one = servers.wrk(f"{url}/predict", pair, 1, seconds, work)
    with servers.soft_verifier([folder]) as (url, _, _):
        servers.wrk_many(f"{url}/v1/score", bodies, 32, 1, work)
        ours = servers.wrk_many(f"{url}/v1/score", bodies, 256, seconds, work)
        ours_one = servers.wrk_many(f"{url}/v1/score", bodies, 1, seconds, work)
    rows = (
        ("bare FastAPI, a gene pair, no work", bare),
        ("bare FastAPI, our body, no work", same),
        ("score, one item of 1 kB", ours),
    )
    for name, found in rows:
        latency = f"p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms"
        report(f"{name}, 256 connections", f"{found['rps']:,.0f} requests/s, {latency}")
    report("  to bare FastAPI with our body (aim ≥ 2.5)", f"{ours['rps'] / same['rps']:.2f}")
    report("  to bare FastAPI with a gene pair", f"{ours['rps'] / bare['rps']:.2f}")
    for name, found in (("bare FastAPI, a pair", bare_one), ("score, one item", ours_one)):
        report(f"{name}, 1 connection", f"p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms")


def life(folder: Path, seconds: int, report: Report, work: Path) -> None:
    """Start, memory with the starter, and its growth over 200,000 requests."""
    del folder, seconds
    start = time.perf_counter()
    with servers.soft_verifier([]) as (url, _, pid):
        body = (
            b'{"profile":"starter","items":[{"completion":"<think>They may well be.</think>'
            b'<answer>yes</answer>","task":{"type":"gene.coexpression","genes":["CD3D","CD3E"]}}]}'
        )
        request = urllib.request.Request(f"{url}/v1/score", body)
        urllib.request.urlopen(request, timeout=10).close()
        report("start to the first reward", f"{time.perf_counter() - start:.1f} s")
        report("resident memory with the starter", f"{servers.resident_mb(pid):,.0f} MB")
        requests = 0.0
        while requests < 20_000:
            requests += servers.wrk(f"{url}/v1/score", body, 64, 2, work)["rps"] * 2
        warm = servers.resident_mb(pid)
        requests = 0.0
        while requests < 200_000:
            requests += servers.wrk(f"{url}/v1/score", body, 64, 5, work)["rps"] * 5
        grown = servers.resident_mb(pid) - warm
        report(f"growth over {requests:,.0f} more requests", f"{grown:+,.1f} MB")


def _stages(url: str) -> dict[str, float]:
    """Seconds spent by stage since the start."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    return {
        line.split('"')[1]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("softverifier_stage_seconds_sum")
    }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


PARTS = {"predict": predict, "score": score, "small": small, "life": life}


if __name__ == "__main__":
    parts.run(__doc__, PARTS, ("wrk", "h2load"), width=55)
