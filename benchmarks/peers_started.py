"""A peer on this machine: its environment, its process, its answers.

One with a requirements file ``benchmarks/peers/NAME.txt`` gets an environment of its own in
``build/peers/NAME``, built anew when the file changes; FastAPI and grpc.aio are dependencies of
this server and run in its own. All get the arrays of one toy. Nothing is pinned to a core: peers
that use several processes get the whole machine, as does the load generator.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import servers
import toy
from peers_contestants import HERE, Peer

BUILD = Path(__file__).resolve().parents[1] / "build" / "peers"
EMBEDDING = 1280
Pair = tuple[list[str], list[str]]


class Unavailable(Exception):
    """A peer that cannot be measured here, with why."""


def write_toy(folder: Path) -> Path:
    """The arrays that all share, and our checkpoint ``folder/ours`` of the same network."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "w.npy").is_file() and (folder / "ours").is_dir():
        return folder
    draw = np.random.default_rng(0)
    embeddings = draw.normal(0, 1, (toy.GENES, EMBEDDING)).astype("f4")
    first = (draw.normal(0, 1, (2 * EMBEDDING, toy.HIDDEN)) / EMBEDDING**0.5).astype("f4")
    w = draw.normal(0, 0.2, toy.HIDDEN).astype("f4")
    h1, h2 = embeddings @ first[:EMBEDDING], embeddings @ first[EMBEDDING:]
    arrays = {"embeddings": embeddings, "first": first, "h1": h1, "h2": h2, "w": w}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    toy.write_model(folder / "ours", (h1, h2, w))
    return folder


def build(peer: Peer, say: Callable[[str], None]) -> Path:
    """Its interpreter, after installing what it lacks.

    Raises:
        Unavailable: pip failed; the reason is its last line.
    """
    file = peer.requirements
    if file is None:
        return Path(sys.executable)
    folder = BUILD / peer.name
    stamp = folder / ".installed"
    python = shutil.which(peer.interpreter) or sys.executable
    wanted = f"{python} {sys.version}\n{file.read_text()}"
    if not stamp.is_file() or stamp.read_text() != wanted:
        say(f"{peer.name}: installing {file.name} into {folder}")
        _run([python, "-m", "venv", "--clear", str(folder)], peer)
        pip = [str(folder / "bin" / "pip"), "--quiet", "--disable-pip-version-check"]
        _run([*pip, "install", "-r", str(file)], peer)
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def _run(command: list[str], peer: Peer) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Unavailable(f"{peer.name} cannot be installed here: {lines[-1]}")


@dataclasses.dataclass(frozen=True)
class Started:
    """A server that answers rightly."""

    peer: Peer
    port: int
    seconds: float
    child: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Where pairs are posted to."""
        return f"http://127.0.0.1:{self.port}{self.peer.path}"


@contextlib.contextmanager
def started(
    peer: Peer,
    python: Path,
    arrays: Path,
    model: str,
    work: Path,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Iterator[Started]:
    """The peer from the moment that it answers a pair rightly until it has been ended.

    Raises:
        Unavailable: it ends or stays silent; its last words are in the message.
    """
    port = free_ports()
    log = work / f"{peer.name}.log"
    surroundings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    surroundings |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    surroundings |= {"PEERS_TOY": str(arrays), "PEERS_MODEL": model, **(environment or {})}
    surroundings |= {"BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    if peer.own:
        http, rpc = (port + 1, port) if peer.grpc else (port, port + 1)
        command = [sys.executable, "-m", "service", "serve", "--http-port", str(http)]
        command += ["--grpc-port", str(rpc), *peer.options]
        command += ["--config", str(config)] if config else ["--model", str(arrays / "ours")]
        surroundings |= {"SOFT_VERIFIER_STARTER__ENABLED": "false"}
        surroundings.setdefault("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    else:
        surroundings["PATH"] = f"{python.parent}{os.pathsep}{surroundings['PATH']}"
        command = [str(python), str(HERE / peer.program), str(port)]
    begun = time.perf_counter()
    with log.open("wb") as words:
        child = subprocess.Popen(
            command, env=surroundings, stdout=words, stderr=words, start_new_session=True
        )
    try:
        _wait(peer, port, child, log, arrays, check=config is None)
        yield Started(peer, port, time.perf_counter() - begun, child, log)
    finally:
        end(child)


def free_ports() -> int:
    """The first of three ports in a row that nothing listens on now."""
    while True:
        port = servers.free_port()
        if port < 60_000 and all(_is_free(port + i) for i in range(3)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait(
    peer: Peer, port: int, child: subprocess.Popen[bytes], log: Path, arrays: Path, *, check: bool
) -> None:
    subjects, objects = toy.names()[:3], toy.names()[3:6]
    wanted = expected(arrays, subjects, objects)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if child.poll() is not None:
            raise Unavailable(f"{peer.name} ended with {child.returncode}: {_last_words(log)}")
        try:
            found = ask(peer, port, subjects, objects)
        except (OSError, ValueError, urllib.error.URLError):
            time.sleep(0.05)
            continue
        if check and not np.allclose(found, wanted, atol=2e-6):
            raise Unavailable(f"{peer.name} answers {found} where {wanted.tolist()} is right")
        return
    raise Unavailable(f"{peer.name} did not answer within 120 s: {_last_words(log)}")


def ask(peer: Peer, port: int, subjects: list[str], objects: list[str]) -> list[float]:
    """One request.

    Raises:
        OSError: no connection, or an answer other than 200. ValueError: one that is no JSON.
    """
    if peer.grpc:
        return _ask_grpc(peer, port, subjects, objects)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{peer.path}",
        peer.payload(subjects, objects),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return peer.answer(json.load(response))


def _ask_grpc(peer: Peer, port: int, subjects: list[str], objects: list[str]) -> list[float]:
    import grpc

    from softverifier._pb import worldmodels_pb2 as pb

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reader = pb.PredictResponse.FromString
        call: Any = channel.unary_unary(peer.path, response_deserializer=reader)
        try:
            return list(call(peer.payload(subjects, objects), timeout=20).p)
        except grpc.RpcError as error:
            raise OSError(str(error)) from None


def expected(arrays: Path, subjects: list[str], objects: list[str]) -> np.ndarray[Any, Any]:
    """What the network says."""
    rows = {name: i for i, name in enumerate(toy.names())}
    h1, h2, w = (np.load(arrays / f"{name}.npy", "r") for name in ("h1", "h2", "w"))
    hidden = h1[[rows[a] for a in subjects]] + h2[[rows[b] for b in objects]]
    logits = np.maximum(hidden, 0) @ w
    answer: np.ndarray[Any, Any] = 1 / (1 + np.exp(-logits.astype("f8")))
    return answer


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for whatever of its family is left 15 seconds later."""
    family = {*descendants(child.pid)}
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(15)
    if child.poll() is None:
        child.kill()
    # Orphans too: some servers leave theirs behind, serving.
    for pid in (family | {*session(child.pid)}) - {child.pid}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait()


def session(leader: int) -> list[int]:
    """Processes of the session that a child was started with."""
    return [pid for pid, (_, of) in _processes().items() if of == leader]


def descendants(pid: int) -> list[int]:
    """Processes that it started, and theirs."""
    children: dict[int, list[int]] = {}
    for each, (parent, _) in _processes().items():
        children.setdefault(parent, []).append(each)
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _processes() -> dict[int, tuple[int, int]]:
    """Of every process its parent and its session."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rsplit(")", 1)[1].split()
            found[int(entry.parent.name)] = (int(fields[1]), int(fields[3]))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and all its descendants have taken."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pairs(draw: random.Random, rows: int) -> Pair:
    """So many random pairs of different genes."""
    chosen = draw.sample(toy.names(), 2 * rows)
    return chosen[:rows], chosen[rows:]
