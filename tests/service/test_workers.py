"""Several processes: crashes, drains and orphans, with real signals and under load."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from processes import alive, metric, pids, standing
from served import SETTINGS, write_profiles
from servers import ServerProcess, get, post, wait_until
from softverifier._pb import worldmodels_pb2 as wm

AUDIT = '\n[audit]\npath = "audit.jsonl"\n'
ITEMS = "softverifier_items_total"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two workers, and a host for the slow model."""
    folder = tmp_path_factory.mktemp("workers")
    write_profiles(folder)
    running = ServerProcess(folder, SETTINGS.replace('"20"', '"400"'), "--workers", "2").start()
    yield running
    running.stop()


def whole(server: ServerProcess, *gone: int) -> bool:
    """All three processes are ready, as whoever answers sees it, and those are none of them."""
    found = standing(server)
    return all(one["state"] == "ready" and one["pid"] not in gone for one in found)


@pytest.fixture(autouse=True)
def settled(server: ServerProcess) -> None:
    wait_until(lambda: whole(server), 30, "the server is not whole")


def body(profile: str, subject: str) -> dict[str, Any]:
    task = {"type": "perturbation.de", "gene": "CALR", "cell_line": "k562", "perturbation": subject}
    completion = "<think>It may well be so.</think>\n<answer>yes</answer>"
    return {"profile": profile, "items": [{"completion": completion, "task": task}]}


def outcome(url: str, profile: str, subject: str) -> str:
    """What became of one item, or of its request."""
    try:
        answer = post(f"{url}/v1/score", json=body(profile, subject), timeout=30)
    except httpx.TimeoutException:
        return "hung"
    except httpx.TransportError:
        return "reset"
    if answer.status_code != 200:
        return str(answer.status_code)
    (result,) = answer.json()["results"]
    return f"{result['status']} {result['reason']}"


def in_flight(pool: ThreadPoolExecutor, server: ServerProcess, tag: str) -> list[Any]:
    """64 requests to the slow model, all of them taken in by one worker or the other."""
    depth, wait = "softverifier_queue_depth", "softverifier_queue_wait_seconds_count"
    begun = metric(server, wait, model="slow")
    asked = [pool.submit(outcome, server.url, "slow", f"{tag}0")]
    wait_until(lambda: metric(server, wait, model="slow") > begun, 10, "nothing is computed")
    asked += [pool.submit(outcome, server.url, "slow", f"{tag}{i}") for i in range(1, 64)]
    wait_until(lambda: metric(server, depth, model="slow") > 20, 10, "nothing is queued")
    return asked


def listened_at(pid: int) -> list[Path]:
    """Unix sockets with a path that a process has."""
    held = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(handle.readlink()))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [Path(row[7]) for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in held]


def test_nobody_else_on_the_machine_reaches_a_model_host(server: ServerProcess) -> None:
    """It asks for no key: its socket, and the metrics beside it, are in a folder of our user's."""
    (pid,) = (one["pid"] for one in standing(server) if one["role"].startswith("model host"))
    sockets = [path for path in listened_at(pid) if path.name.startswith("host-")]
    assert sockets
    for path in sockets:
        found = path.parent.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == os.getuid()


def test_a_killed_worker_takes_only_its_own_requests_with_it(server: ServerProcess) -> None:
    victim, other = pids(server, "worker")
    with ThreadPoolExecutor(64) as pool:
        asked = in_flight(pool, server, "KILLED")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: whole(server, victim), 20, "not back")
        back = time.monotonic() - killed
        found = Counter(one.result() for one in asked)
    assert set(found) <= {"ok OK", "reset"}
    assert found["ok OK"] > 0
    assert alive(other)
    print(f"worker back after {back:.2f} s: {dict(found)}")
    assert back < 10  # 2 s where the machine is free


def test_what_a_killed_host_had_is_asked_again_when_it_is_back(server: ServerProcess) -> None:
    (victim,) = pids(server, "model host")
    with ThreadPoolExecutor(65) as pool:
        asked = in_flight(pool, server, "HOST")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: get(f"{server.url}/readyz").status_code == 503 or whole(server, victim),
            10,
            "nobody noticed",
        )
        assert outcome(server.url, "rbio-mlp", "INLINE") == "ok OK"  # another model
        wait_until(lambda: whole(server, victim), 20, "not back")
        assert outcome(server.url, "slow", f"B{time.time()}") == "ok OK"
        back = time.monotonic() - killed
        assert Counter(one.result() for one in asked) == {"ok OK": 64}
    assert metric(server, "softverifier_model_retries_total", model="slow") > 0
    print(f"host answers after {back:.2f} s")
    assert back < 15  # 2 s where the machine is free


def test_nobody_who_waits_at_the_door_is_lost_with_a_worker(server: ServerProcess) -> None:
    victim, other = pids(server, "worker")
    for pid in (victim, other):
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as pool:
            asked = [pool.submit(outcome, server.url, "rbio-mlp", f"D{i}") for i in range(20)]
            port = f"{server.http_port:04X}"
            wait_until(lambda: queued(port) == 20, 10, "not all are at the door")
            os.kill(victim, signal.SIGKILL)
            os.kill(other, signal.SIGCONT)
            assert {one.result() for one in asked} == {"ok OK"}
    finally:
        os.kill(other, signal.SIGCONT)
    wait_until(lambda: whole(server, victim), 30, "the killed worker is not replaced")


def queued(port: str) -> int:
    """Connections that the kernel has taken and no worker."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(port) and row[3] == "0A"
    )


def test_long_lived_connections_are_spread(server: ServerProcess) -> None:
    workers, answered = set(pids(server, "worker")), Counter[int]()
    clients: list[httpx.Client] = []
    try:
        # A worker that a busy machine holds up for a millisecond leaves its share to the others.
        while len(clients) < 64 and min(answered[worker] for worker in workers) < 2:
            clients.append(httpx.Client(verify=False))
            answered[clients[-1].get(f"{server.url}/readyz").json()["answered_by"]] += 1
    finally:
        for client in clients:
            client.close()
    assert set(answered) == workers
    assert min(answered.values()) >= 2


def test_what_the_dead_counted_stays_counted_to_the_last_item(server: ServerProcess) -> None:
    def counted() -> float:
        return metric(server, ITEMS, profile="rbio-mlp", status="ok")

    before = counted()
    for i in range(40):
        assert outcome(server.url, "rbio-mlp", f"C{i}") == "ok OK"
    dead = pids(server, "worker")
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: reachable(server) and whole(server, *dead), 20, "not back")
    assert counted() - before == 40


def reachable(server: ServerProcess) -> bool:
    try:
        return get(f"{server.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_grpc_is_served_by_whoever_lives(server: ServerProcess) -> None:
    request = wm.PredictRequest(
        model="fake", relation="perturbation.de", names=["A", "B"], subjects=[0], objects=[1],
        context="k562",
    )  # fmt: skip
    figures = set()
    for _ in range(6):
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            ask = channel.unary_unary(
                "/softverifier.v1.WorldModels/Predict",
                request_serializer=wm.PredictRequest.SerializeToString,
                response_deserializer=wm.PredictResponse.FromString,
            )
            figures.add(tuple(ask(request, timeout=10, wait_for_ready=True).p))
    assert len(figures) == 1


def test_a_host_counts_its_batches_and_no_requests(server: ServerProcess) -> None:
    def batches(model: str) -> float:
        return metric(server, "softverifier_batch_queries_count", model=model)

    def asked() -> float:
        return metric(server, "softverifier_requests_total", route="grpc.Predict")

    before = batches("slow"), batches("slow@host"), asked()
    assert outcome(server.url, "slow", f"N{time.time()}") == "ok OK"
    assert batches("slow") - before[0] == 1
    assert batches("slow@host") - before[1] == 1
    assert asked() == before[2]


def running(folder: Path, more: str = "") -> ServerProcess:
    write_profiles(folder)
    return ServerProcess(folder, SETTINGS.replace('"20"', '"400"') + more, "--workers", "2").start()


def test_sigterm_answers_all_that_is_in_flight_and_leaves_nobody(tmp_path: Path) -> None:
    server = running(tmp_path, AUDIT)
    try:
        children = [one["pid"] for one in standing(server)]
        with ThreadPoolExecutor(64) as pool:
            asked = in_flight(pool, server, "DRAIN")
            server.terminate()
            assert Counter(one.result() for one in asked) == {"ok OK": 64}
        assert server.wait() == 0
        assert not any(map(alive, children))
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", server.http_port))
        lines = (tmp_path / "audit.jsonl").read_text().splitlines()
        assert len(lines) == 64
        assert all(line.startswith("{") and line.endswith("}") for line in lines)
    finally:
        server.stop()


def test_nobody_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    server = running(tmp_path)
    children = [one["pid"] for one in standing(server)]
    assert len(children) == 3
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    wait_until(lambda: not any(map(alive, children)), 10, "children outlived their parent")
