"""What asking for a key costs: CPU of the server for a one-item request, with and without.

    python benchmarks/security.py [--seconds 4] [--rounds 5]

Needs wrk and redis-server. Servers without keys, with a key, with a key of a rate counted here, and
with one counted in Redis take turns under the same load, so that a machine that changes its speed
changes it for all of them.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import timeit
from contextlib import ExitStack
from hmac import compare_digest
from pathlib import Path

import servers
import toy
from service.metrics import Metrics
from service.security import key_file
from service.security.allowance import Allowance
from service.security.gate import Gate
from service.security.keys import Keyring, mint
from service.settings import Cache

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def pieces() -> dict[str, float]:
    """Microseconds of what a key adds to a request, each the best of seven runs."""
    keys = [mint(f"k{i}", ["score"]) for i in range(100)]
    spelt = b"Bearer " + keys[50][0].encode()
    metrics = Metrics()
    gate = Gate(metrics, Allowance(Cache(), metrics))  # type: ignore[call-arg]
    gate.adopt(Keyring(key for _, key in keys))
    caller = gate.admit("score", spelt, None, certified=False)
    works = {
        "let in, on a fresh connection": lambda: gate.admit("score", spelt, None, certified=False),
        "know what a connection has shown": lambda: compare_digest(spelt, spelt),
        "charge": lambda: (caller.waits, caller.charge_now(1)),
    }
    return {
        what: min(timeit.repeat(work, number=20_000, repeat=7)) / 20_000 * 1e6
        for what, work in works.items()
    }


def asked(url: str, body: bytes, seconds: int, folder: Path, key: str) -> dict[str, float]:
    """Requests/s and the median latency in ms of one body at 64 connections; 200 is expected."""
    script, sent = folder / "keyed.lua", folder / "body.json"
    sent.write_bytes(body)
    script.write_text(
        f"""
wrk.method = "POST"
wrk.body = io.open("{sent}", "rb"):read("*a")
wrk.headers["content-type"] = "application/json"
{f'wrk.headers["authorization"] = "Bearer {key}"' if key else ""}
done = function(summary, latency, requests)
  io.write(string.format("\\nRESULT %d %d %d %.3f\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.read, latency:percentile(50) / 1000))
end
"""
    )
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(servers.pinned(1, command), capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+)", done.stdout)
    if found is None or int(found[3]):
        raise SystemExit(f"wrk met errors:\n{done.stdout}{done.stderr}")
    return {"rps": int(found[1]) / int(found[2]) * 1e6, "p50": float(found[4])}


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=4, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server")
    chosen = parser.parse_args()
    servers.require("wrk", "redis-server")
    for what, found in pieces().items():
        print(f"{what:<34} {found:.2f} µs", flush=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        folder = toy.write_model(work / "toy")
        redis = servers.free_port()
        command = ["redis-server", "--port", str(redis), "--save", "", "--appendonly", "no"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(child.wait)
        stack.callback(child.terminate)
        plain, key = mint("plain", ["score"])
        limited, rated = mint("limited", ["score"], rate=1e7)
        for made in (key, rated):
            key_file.add(work / "keys.toml", made)
        secured = f'[starter]\nenabled = false\n[security]\nkeys = "{work}/keys.toml"\n'
        shared = f'{secured}[cache]\nredis_url = "redis://127.0.0.1:{redis}"\n'
        kinds = {
            "no keys": ("[starter]\nenabled = false\n", ""),
            "a key": (secured, plain),
            "a key with a rate": (secured, limited),
            "a key with a rate, in Redis": (shared, limited),
            "no limit, Redis there": (shared, plain),
        }
        running = {}
        for i, (what, (settings, shown)) in enumerate(kinds.items()):
            config = work / f"{i}.toml"
            config.write_text(settings)
            url, _, pid = stack.enter_context(
                servers.soft_verifier([folder], "--config", str(config))
            )
            running[what] = (f"{url}/v1/score", pid, shown)
        draw, genes = random.Random(4), toy.names()
        body = toy.score_body(draw, genes, 1, "rbio-mlp")
        spent: dict[str, list[float]] = {what: [] for what in running}
        median: dict[str, list[float]] = {what: [] for what in running}
        for turn in range(chosen.rounds + 1):
            for what, (url, pid, shown) in running.items():
                before = cpu_s(pid)
                found = asked(url, body, chosen.seconds, work, shown)
                if turn:  # the first warms up
                    spent[what].append((cpu_s(pid) - before) / found["rps"] / chosen.seconds)
                    median[what].append(found["p50"])
        base = statistics.median(spent["no keys"])
        for what, figures in spent.items():
            figure = statistics.median(figures)
            pairs = [a / b - 1 for a, b in zip(figures, spent["no keys"], strict=True)]
            print(
                f"{what:<30} {figure * 1e6:6.1f} µs CPU a request, {figure / base - 1:+6.1%} "
                f"(by turns {', '.join(f'{pair:+.1%}' for pair in pairs)}), "
                f"p50 {statistics.median(median[what]):.2f} ms",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
