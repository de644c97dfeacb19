"""Servers restarted one after the other, told to stop under load, on a full disk, with a clock that
jumps, before clients that say half of what they want.
"""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import resource
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos_traffic import Breakable, Recovery, Traffic, body, check, metric, read, rewards_of
from jumping_clock import DAY_AHEAD, TWO_BACK, jump, with_jumping_clock
from listening import Listening
from served import SETTINGS, write_profiles
from servers import ServerProcess, get, post, wait_until

ROOT = Path(__file__).parents[2]


class Balancer:
    """Leads each connection to the next server in turn; to another where that one refuses."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.failed = 0
        self._turn = 0
        self._listening = Listening(self._take)
        self.url = self._listening.url

    def close(self) -> None:
        self._listening.close()

    def _take(self, client: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        for _ in self.ports:
            self._turn += 1
            with contextlib.suppress(OSError):
                return socket.create_connection(
                    ("127.0.0.1", self.ports[self._turn % len(self.ports)]), timeout=30
                )
        self.failed += 1
        return None

    def _serve(self, client: socket.socket) -> None:
        server = self._connected()
        if server is None:
            client.close()
            return
        with client, server:
            there = threading.Thread(target=_pump, args=(client, server), daemon=True)
            there.start()
            _pump(server, client)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            there.join()


def _pump(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := here.recv(65_536):
            there.sendall(piece)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def test_three_replicas_restarted_in_turn_lose_nothing(
    breakable: Breakable, server: ServerProcess, recovery: Recovery
) -> None:
    replicas = [breakable() for _ in range(3)]
    balancer = Balancer([one.http_port for one in replicas])
    with Traffic(balancer.url, "slow", clients=6, keep_alive=False, name="ROLL") as traffic:
        for replica in replicas:
            traffic.more(10, "ok")
            began = time.monotonic()
            port = replica.http_port
            replica.terminate()
            assert replica.wait() == 0
            replica.command[replica.command.index("--http-port") + 1] = str(port)
            replica.start()
            recovery("a replica restarted", time.monotonic() - began, "until it is ready again")
        traffic.more(20, "ok")
    balancer.close()
    assert balancer.failed == 0
    traffic.held_to(server)


def test_told_to_stop_with_64_in_flight_answers_64(
    breakable: Breakable, server: ServerProcess, recovery: Recovery
) -> None:
    ending = breakable(delay_ms="1500")
    begun = 'softverifier_queue_wait_seconds_count{model="slow"}'
    depth = 'softverifier_queue_depth{model="slow"}'
    subjects = [f"END{i}" for i in range(64)]
    with ThreadPoolExecutor(64) as pool:

        def ask(subject: str) -> float | None:
            began = time.monotonic()
            found = post(f"{ending.url}/v1/score", json=body("slow", subject), timeout=60)
            heard = read(subject, found.status_code, found.content, began)
            check([heard], truths)
            return heard.reward

        truths = rewards_of(server, "slow", subjects)
        first = pool.submit(ask, subjects[0])
        wait_until(lambda: metric(ending, begun) >= 1, 10, "nothing is computed")
        asked = [first, *(pool.submit(ask, subject) for subject in subjects[1:])]
        wait_until(lambda: metric(ending, depth) == 63 or first.done(), 10, "not all queued")
        assert not first.done(), "the machine is too slow for this test's batch"
        told = time.monotonic()
        ending.terminate()
        assert [one.result() for one in asked] == [truths[subject] for subject in subjects]
    assert ending.wait() == 0
    recovery("SIGTERM with 64 in flight", time.monotonic() - told, "until all were answered")


def test_who_is_let_in_is_answered_while_the_server_ends(
    breakable: Breakable, server: ServerProcess
) -> None:
    """A connection for each question, as fast as they come: refused, or answered; never cut off."""
    ending = breakable()
    with Traffic(ending.url, "slow", clients=8, keep_alive=False, name="LAST") as traffic:
        traffic.more(40, "ok")
        ending.terminate()
        assert ending.wait() == 0
        traffic.more(3, "refused")
    traffic.held_to(server, {"refused"})


def test_what_an_idle_connection_asks_as_the_server_ends_is_answered(
    breakable: Breakable,
) -> None:
    """Half of the connections have asked before; each asks once more after the signal."""
    ending = breakable()
    opened = []
    for i in range(16):
        one = http.client.HTTPConnection("127.0.0.1", ending.http_port, timeout=30)
        one.connect()
        if i % 2:
            one.request("POST", "/v1/score", json.dumps(body("slow", f"IDLE{i}")))
            assert one.getresponse().read()
        opened.append(one)
    ending.terminate()
    wait_until(lambda: "draining" in ending.log(), 10, "it was not told")
    for i, one in enumerate(opened):
        route = "/v1/score" if i % 4 < 2 else "/v1/nothing"
        one.request("POST", route, json.dumps(body("slow", f"LAST{i}")))
    for i, one in enumerate(opened):
        answer = one.getresponse()
        assert answer.status == (200 if i % 4 < 2 else 404)
        assert answer.read()
        one.close()
    assert ending.wait() == 0


@pytest.fixture(scope="module")
def steady(breakable: Breakable) -> ServerProcess:
    """One for all that clients and disks may do."""
    more = '[audit]\npath = "audit.jsonl"\n[batching]\nmax_batch = 4\n'
    return breakable(more)


def test_connections_that_say_half_and_stay_keep_nobody_waiting(
    steady: ServerProcess, server: ServerProcess
) -> None:
    head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
    pieces = (b"", b"POST /v1/sco", head[:-2], head, head + b'{"profile": "slow", "items": [')
    opened = []
    for i in range(200):
        sock = socket.create_connection(("127.0.0.1", steady.http_port))
        sock.sendall(pieces[i % len(pieces)])
        opened.append(sock)
    with Traffic(steady.url, "slow", name="HALF") as traffic:
        traffic.more(30, "ok")
    traffic.held_to(server)
    for sock in opened:
        sock.close()


def test_clients_that_vanish_cost_nobody_an_answer(
    steady: ServerProcess, server: ServerProcess
) -> None:
    """Half of the clients reset their connection before the answer."""
    over = threading.Event()

    def vanish(name: str) -> None:
        reset = struct.pack("ii", 1, 0)
        i = 0
        while not over.is_set():
            one = http.client.HTTPConnection("127.0.0.1", steady.http_port)
            one.request("POST", "/v1/score", json.dumps(body("slow", f"{name}{i}")))
            assert one.sock is not None
            one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            one.close()
            i += 1
            over.wait(0.01)

    with ThreadPoolExecutor(3) as pool:
        vanishing = [pool.submit(vanish, f"VANISH{i}N") for i in range(3)]
        with Traffic(steady.url, "slow", name="STAY") as traffic:
            traffic.more(40, "ok")
        over.set()
        for one in vanishing:
            one.result()
    traffic.held_to(server)
    assert metric(steady, 'softverifier_requests_total{code="client_gone"') > 0
    depth = 'softverifier_queue_depth{model="slow"}'
    wait_until(lambda: metric(steady, depth) == 0, 10, "what they left still waits")


def test_a_full_disk_costs_lines_of_the_log_and_no_reward(
    steady: ServerProcess, server: ServerProcess, recovery: Recovery
) -> None:
    log = steady.folder / "audit.jsonl"
    outcomes = 'softverifier_audit_lines_total{outcome="%s"}'

    def limit(size: int) -> None:
        _, hard = resource.prlimit(steady.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(steady.pid, resource.RLIMIT_FSIZE, (size, hard))

    with Traffic(steady.url, "slow", name="DISK") as traffic:
        traffic.more(5, "ok")
        wait_until(log.exists, 10, "nothing is logged")
        limit(log.stat().st_size + 100)
        wait_until(lambda: metric(steady, outcomes % "failed") > 0, 30, "no line failed")
        traffic.more(10, "ok")
        written = metric(steady, outcomes % "written")
        limit(resource.RLIM_INFINITY)
        mended = time.monotonic()
        wait_until(lambda: metric(steady, outcomes % "written") > written, 30, "never again")
        recovery("disk full, audit log", time.monotonic() - mended, "until lines are written again")
    traffic.held_to(server)
    lines = log.read_text().splitlines()
    whole = [line for line in lines if line.startswith("{") and line.endswith("}")]
    assert len(lines) - len(whole) <= 1  # the line that the disk was full in


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, server: ServerProcess) -> None:
    """A day ahead, then two back, as Python tells the time of day."""
    write_profiles(tmp_path)
    broken = ServerProcess(tmp_path, SETTINGS + "[cache]\nmemory_entries = 1000\n")
    with_jumping_clock(broken).start()
    try:
        with Traffic(broken.url, "slow", deadline_ms=5000, name="CLOCK") as traffic:
            for which in (DAY_AHEAD, TWO_BACK):
                traffic.more(10, "ok")
                jump(broken, which)
            traffic.more(10, "ok")
        traffic.held_to(server)
        assert get(f"{broken.url}/healthz").status_code == 200
    finally:
        broken.stop()


WALL_CLOCK = {  # dates of log lines and keys, and the day that a quota counts
    "service/metrics.py",
    "service/audit.py",
    "service/audit_files.py",
    "service/security/allowance.py",
    "service/security/keys.py",
}
"""Who states the time of day, for people to read."""


def test_no_deadline_is_by_the_clock_on_the_wall() -> None:
    found = set()
    for path in [*(ROOT / "service").rglob("*.py"), *(ROOT / "worldmodels").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
                found.add(path.relative_to(ROOT).as_posix())
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert "time" not in [name.name for name in node.names], path
    assert found <= WALL_CLOCK, found - WALL_CLOCK
