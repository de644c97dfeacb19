"""Work behind a real server: in order, by every worker, and gone with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from complete_server import complete_server
from servers import ServerProcess, get, post, wait_until

GOOD = "<think>One carbon is one heavy atom.</think> <answer>{}</answer>"
PAIR = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


def chemistry(atoms: int, claimed: int | None = None) -> dict[str, Any]:
    task = {"type": "molecule.property", "molecule": "C" * atoms, "property": "heavy_atoms"}
    item = {"id": f"chem-{atoms}", "completion": GOOD.format(claimed or atoms), "task": task}
    return {"profile": "chem-property", "items": [item]}


def pair(name: str) -> dict[str, Any]:
    item = {"id": name, "completion": GOOD.format("yes"), "task": PAIR}
    return {"profile": "rbio-mlp", "items": [item]}


def children() -> set[int]:
    """Processes of any workshop on this machine that are ours."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if b"service.workbench" in command and state != "Z":
            found.add(int(folder.name))
    return found


def of_session(pids: set[int], folder: Path) -> set[int]:
    """Those that run in a server's folder."""
    mine = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/cwd").readlink() == folder:
                mine.add(pid)
        except OSError:
            continue
    return mine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = complete_server(tmp_path_factory.mktemp("work")).start()
    yield running
    running.stop()
    assert of_session(children(), running.folder) == set()


def test_pipelined_requests_are_answered_in_their_order(server: ServerProcess) -> None:
    asked = [pair("P1"), chemistry(3), pair("P2"), chemistry(4), chemistry(5, 6), pair("P3")]
    sent = b""
    for one in asked:
        content = json.dumps(one).encode()
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        sent += head.encode() + content
    sent += b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=20) as sock:
        for at in range(0, len(sent), 700):  # in pieces that end anywhere
            sock.sendall(sent[at : at + 700])
        received = b""
        while received.count(b"HTTP/1.1 200") < len(asked) + 1 or not received.endswith(b"}"):
            part = sock.recv(65536)
            assert part, received
            received += part
    marks = (b"P1", b"chem-3", b"P2", b"chem-4", b"chem-5", b"P3", b"alive")
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert [mark in answer for mark, answer in zip(marks, answers, strict=True)] == [True] * 7


def test_a_lane_that_is_killed_is_replaced(server: ServerProcess) -> None:
    assert post(f"{server.url}/v1/score", json=chemistry(7)).status_code == 200
    found = of_session(children(), server.folder)
    for pid in found:
        os.kill(pid, signal.SIGKILL)  # the bench and every lane
    answer = post(f"{server.url}/v1/score", json=chemistry(8), timeout=30)
    assert answer.status_code == 200, (answer.text, server.log())
    (result,) = answer.json()["results"]
    assert result["reward"] == 1.0
    assert get(f"{server.url}/healthz").status_code == 200
    assert not found & of_session(children(), server.folder)


def test_a_killed_server_leaves_no_process(tmp_path: Path) -> None:
    server = complete_server(tmp_path).start()
    try:
        assert post(f"{server.url}/v1/score", json=chemistry(9), timeout=30).status_code == 200
        assert of_session(children(), tmp_path)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not of_session(children(), tmp_path), 5, "processes are left")
    finally:
        server.stop()


def test_every_worker_has_a_workshop_and_ends_it(tmp_path: Path) -> None:
    server = complete_server(tmp_path, "--workers", "2").start()
    try:
        for atoms in range(1, 25):
            (result,) = post(f"{server.url}/v1/score", json=chemistry(atoms), timeout=30).json()[
                "results"
            ]
            assert result["reward"] == 1.0
        assert len(of_session(children(), tmp_path)) >= 4
        server.terminate()
        assert server.wait() == 0
        wait_until(lambda: not of_session(children(), tmp_path), 5, "processes are left")
    finally:
        server.stop()
