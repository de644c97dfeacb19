"""Build the image, bring the compose stack up, and see it work: ``python3 deploy/check``.

Scores through it, takes its Redis away, drains it under load, brings it down. Only the standard
library is needed, and Podman or Docker. Exit code 0: all held; 1: something did not; 77: containers
cannot run on this machine, which is said loudly. ``--install`` gets Podman from apt (root only).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cluster
import images
from engine import CannotRun, Engine, Failed, say
from stack import Stack, wait

REPOSITORY = Path(__file__).resolve().parents[2]
SKIPPED = 77
FORBIDDEN = ("gcc", "cc", "g++", "c++", "clang", "make", "ld", "as")
ITEM = {
    "completion": "<think>Both mark the few progenitors among blood cells.</think>\n"
    "<answer>yes</answer>",
    "task": {"type": "gene.coexpression", "genes": ["CYTL1", "C19orf77"]},
}
SCORE = {"profile": "starter", "items": [ITEM] * 3}
SLOW = {"model": "slow", "relation": "perturbation.de", "context": "k562",
        "subjects": ["AARS"], "objects": ["CALR"]}  # fmt: skip
IN_FLIGHT = 8
GENES = ("CD79A", "CD79B", "CD3D", "CD3E", "CD8A", "CD8B", "GNLY", "NKG7", "LYZ", "CST3", "PPBP",
         "PF4", "FCER1A")  # fmt: skip
"""To ask about; the pairs that the starter cannot answer are not kept in Redis."""
INSPECT = """
import json, os, pathlib, shutil, sys
packages = pathlib.Path(sys.prefix).glob("lib/python3*/site-packages")
found = {
    "uid": os.getuid(),
    "first": pathlib.Path("/proc/1/comm").read_text().strip(),
    "compilers": [name for name in json.loads(sys.argv[1]) if shutil.which(name)],
    "pip": [str(p) for folder in packages for p in folder.glob("pip*")],
    "tests": [str(p) for name in ("service", "worldmodels", "softverifier")
              for p in pathlib.Path(__import__(name).__file__).parent.rglob("*test*")],
    "writable": [p for p in ("/", "/opt/soft-verifier", "/work", "/models", "/data", "/tmp")
                 if os.access(p, os.W_OK)],
}
bill = pathlib.Path(sys.prefix, "sbom.json")
if bill.exists():
    found["bill"] = [one["name"] for one in json.loads(bill.read_text())["components"]]
print(json.dumps(found))
"""
OVER_GRPC = """
import json, sys
from softverifier import RewardClient
with RewardClient("grpc://127.0.0.1:50051", profile="starter") as client:
    print(json.dumps(client.rewards(json.loads(sys.argv[1]))))
"""


def main() -> int:
    """Check; the exit code."""
    parser = argparse.ArgumentParser(prog="python3 deploy/check", description=__doc__)
    parser.add_argument("--install", action="store_true", help="get Podman from apt (root only)")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "containers")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        engine = Engine(options.work, install=options.install)
        check(engine, options.work, keep=not options.install)
    except CannotRun as reason:
        line = "=" * 78
        print(f"{line}\nCONTAINERS WERE NOT CHECKED: {reason}\n{line}", flush=True)
        return SKIPPED
    except Failed as fault:
        print(f"containers: FAILED: {fault}", file=sys.stderr, flush=True)
        return 1
    return 0


def check(engine: Engine, work: Path, *, keep: bool) -> None:
    """All of it. ``keep``: the layers of the image, so that the next check is quicker.

    Raises:
        CannotRun: containers cannot run here.
        Failed: something does not hold.
    """
    begun = time.monotonic()
    say(f"with {engine.run('--version').stdout.strip()}")
    base = images.base(engine, work)
    timed("image built", lambda: images.server(engine, base, REPOSITORY, work, keep=keep))
    whole, below = images.size(engine, images.SERVER), images.size(engine, base)
    say(f"image {whole / 1e6:,.0f} MB, of which its base {below / 1e6:,.0f} MB")
    found = {"SERVER_IMAGE": images.SERVER, **images.others(engine, base, work)}
    if "GRAFANA_IMAGE" not in found:
        print("containers: GRAFANA IS NOT BROUGHT UP: its image cannot be had here", flush=True)
    stack = Stack(engine, REPOSITORY, found, work)
    stack.down(check=False)  # what an interrupted check left
    try:
        story(engine, stack)
    finally:
        stack.down(check=False)
    cluster.joins(engine, found["REDIS_IMAGE"], REPOSITORY)
    say(f"all held, {time.monotonic() - begun:.0f} s")


def story(engine: Engine, stack: Stack) -> None:
    """Up, asked, without Redis, drained, down."""
    timed("stack up and ready", lambda: (stack.up(), ready(stack)))
    contents(stack)
    if engine.run("healthcheck", "run", stack.container("server"), check=False).returncode:
        raise Failed("the health check of the image fails")
    rewards = scored(stack)
    watched(stack)
    without_redis(engine, stack, rewards)
    drained(engine, stack)
    stack.down()
    left = engine.run("ps", "-aq", "--filter", "name=soft-verifier-check").stdout.split()
    hold(not left, f"down left {len(left)} containers")
    say("down: nothing is left")


def ready(stack: Stack) -> None:
    """Wait for /readyz; a server that ended says why."""

    def answers() -> bool:
        if stack.state("server")["Status"] == "exited":
            raise Failed(f"the server ended:\n{stack.logs('server')}")
        stack.asked("/readyz", seconds=2)
        return True

    wait(answers, 120, "ready")


def contents(stack: Stack) -> None:
    """Who runs in the image, and what is not in it."""
    found = json.loads(stack.inside("server", "python", "-c", INSPECT, json.dumps(FORBIDDEN)))
    hold(found["uid"] == 10001, f"runs as user {found['uid']}, expected 10001")
    hold(found["first"].startswith("tini"), f"process 1 is {found['first']}, expected tini")
    for what in ("compilers", "pip", "tests"):
        hold(not found[what], f"{what} in the image: {found[what]}")
    hold(found["writable"] == ["/data", "/tmp"], f"writable: {found['writable']}")
    if "bill" in found:
        lacking = {"torch", "soft-verifier", "grpcio"} - set(found["bill"])
        hold(not lacking, f"the bill of materials lacks {lacking}")
        say(f"its bill of materials names {len(found['bill'])} packages")
    stack.inside("server", "soft-verifier", "models", "verify", "/opt/soft-verifier/models/starter")
    say("in the image: user 10001, tini, no compiler, no pip, no tests; only /data, /tmp writable")


def scored(stack: Stack) -> list[float]:
    """Rewards over HTTP, the same over gRPC."""
    answer = stack.asked("/v1/score", SCORE)
    rewards = [result["reward"] for result in answer["results"]]
    hold(all(0.9 < reward <= 1 for reward in rewards), f"rewards over HTTP: {rewards}")
    items = json.dumps(SCORE["items"])
    over_grpc = json.loads(stack.inside("server", "python", "-c", OVER_GRPC, items))
    hold(over_grpc == rewards, f"gRPC says {over_grpc}, HTTP {rewards}")
    wait(lambda: kept(stack) > 0, 10, "verdicts in Redis")
    say(f"scored {rewards[0]} over HTTP and gRPC; Redis keeps {kept(stack)} verdicts")
    return rewards


def kept(stack: Stack) -> int:
    """Keys in the stack's Redis."""
    return int(stack.inside("redis", "redis-cli", "dbsize").split()[-1])


def watched(stack: Stack) -> None:
    """Prometheus scrapes the server and has what it counted."""
    stack.inside("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yaml")
    wait(lambda: stack.prometheus('up{job="soft-verifier"}') == 1, 60, "scraped by Prometheus")
    counted = "sum(softverifier_items_total)"
    wait(lambda: (stack.prometheus(counted) or 0) >= 6, 60, "six items in Prometheus")
    say("Prometheus scrapes the server")


def without_redis(engine: Engine, stack: Stack, rewards: list[float]) -> None:
    """The same rewards while Redis is away, and Redis in use again afterwards."""
    redis = stack.container("redis")
    engine.run("kill", redis)
    engine.run("stop", "--time", "0", redis, check=False)  # the restart policy would bring it back
    pairs = [["CYTL1", "SOX4"], ["C19orf77", "SOX4"]]  # asked for the first time: Redis is tried
    fresh = [{**ITEM, "task": {"type": "gene.coexpression", "genes": pair}} for pair in pairs]
    for item in fresh * 3:
        answer = stack.asked("/v1/score", {"profile": "starter", "items": [*SCORE["items"], item]})
        same = [result["reward"] for result in answer["results"]][: len(rewards)]
        hold(same == rewards, f"without Redis {same}, with {rewards}")
        hold(answer["results"][-1]["status"] == "ok", f"without Redis: {answer['results'][-1]}")
    failures = stack.metric("softverifier_redis_events_total")
    hold(failures > 0, "Redis was away and no failure was counted")
    engine.run("start", redis)
    genes = itertools.cycle(GENES)

    def used() -> bool:
        task = {"type": "gene.coexpression", "genes": ["CYTL1", next(genes)]}
        stack.asked("/v1/score", {"profile": "starter", "items": [{**ITEM, "task": task}]})
        return kept(stack) > 0

    seconds = wait(used, 30, "Redis in use again")
    counted = f"{failures:.0f} failures counted"
    say(f"Redis killed: same rewards, {counted}; used again in {seconds:.1f} s")


def drained(engine: Engine, stack: Stack) -> None:
    """SIGTERM with requests in flight: each is answered, and the server ends with 0."""
    with ThreadPoolExecutor(IN_FLIGHT + 1) as pool:
        answers = in_flight(stack, pool)
        engine.run("stop", stack.container("server"))  # SIGTERM, then the time of stop_grace_period
        found = [answer.result() for answer in answers]
    hold(all(one["status"] == ["OK"] for one in found), f"answers while draining: {found}")
    state, code = stack.state("server")["Status"], stack.state("server")["ExitCode"]
    hold(state == "exited" and code == 0, f"{state} with {code}:\n{stack.logs('server')}")
    say(f"drained: {len(found)} requests in flight at SIGTERM, all answered, exit code 0")


def in_flight(stack: Stack, pool: ThreadPoolExecutor) -> list[Future[Any]]:
    """Requests of which one is computed and all others wait, seen in /metrics.

    Raises:
        Failed: four times, the others had not all arrived while the first was computed.
    """
    for attempt in range(4):
        bodies = [{**SLOW, "objects": [f"GENE{attempt}-{i}"]} for i in range(IN_FLIGHT + 1)]
        answers = [pool.submit(stack.asked, "/v1/predict", bodies[0])]
        stack.asked("/healthz")  # on a connection made after the first
        answers += [pool.submit(stack.asked, "/v1/predict", body) for body in bodies[1:]]
        while not answers[0].done():
            if stack.metric('softverifier_queue_depth{model="slow"}') == IN_FLIGHT:
                return answers
            time.sleep(0.02)
        for answer in answers:
            answer.result()
    raise Failed("requests did not come together at the slow model")


def hold(condition: bool, otherwise: str) -> None:
    """Raises Failed with what is the case otherwise."""
    if not condition:
        raise Failed(otherwise)


def timed(what: str, step: Callable[[], object]) -> None:
    """Do it, and say how long it took."""
    started = time.monotonic()
    step()
    say(f"{what} in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
