"""Start and stop the servers that the benchmarks measure, each on a core of its own.

The load generator gets the other core. On a machine with one core both share it, and the figures
say so by being low.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command on one core, where the machine lets us; None: on any."""
    if core is None:
        return command
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(cores[core % len(cores)]), *command]


@contextlib.contextmanager
def running(
    command: list[str], ready: str, core: int | None = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """A child server, from the moment that a URL answers until it is told to stop."""
    child = subprocess.Popen(pinned(core, command), stdout=subprocess.DEVNULL)
    try:
        wait_for(ready, child)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def wait_for(url: str, child: subprocess.Popen[bytes], seconds: float = 120.0) -> float:
    """Seconds until the URL answered 200."""
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        if child.poll() is not None:
            raise SystemExit(f"the server ended with code {child.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=1.0) as response:
                if response.status == 200:
                    return time.perf_counter() - start
        except (urllib.error.URLError, OSError):
            pass  # not listening yet
        time.sleep(0.02)
    raise SystemExit(f"{url} did not answer within {seconds:.0f} s")


@contextlib.contextmanager
def soft_verifier(
    models: list[Path], *options: str, core: int | None = 0
) -> Iterator[tuple[str, int, int]]:
    """Our server: its URL, gRPC port and process id."""
    http, grpc = free_port(), free_port()
    command = [sys.executable, "-m", "service", "serve", "--http-port", str(http)]
    command += ["--grpc-port", str(grpc), *options]
    for model in models:
        command += ["--model", str(model)]
    url = f"http://127.0.0.1:{http}"
    with running(command, f"{url}/readyz", core) as child:
        yield url, grpc, child.pid


@contextlib.contextmanager
def bare_fastapi() -> Iterator[str]:
    """A FastAPI route that only validates a pair and answers: what we are compared with."""
    port = free_port()
    here = str(Path(__file__).parent)
    command = [sys.executable, "-m", "uvicorn", "bare_fastapi:app", "--app-dir", here]
    command += ["--port", str(port), "--log-level", "error", "--no-access-log"]
    url = f"http://127.0.0.1:{port}"
    with running(command, f"{url}/ready"):
        yield url


def wrk(url: str, body: bytes, connections: int, seconds: int, folder: Path) -> dict[str, float]:
    """Requests/s and latencies in ms of POSTing one body again and again."""
    return wrk_many(url, [body], connections, seconds, folder)


def wrk_many(
    url: str,
    bodies: list[bytes],
    connections: int,
    seconds: int,
    folder: Path,
    *,
    core: int | None = 1,
    strict: bool = True,
) -> dict[str, float]:
    """The same over several bodies in turn.

    Args:
        url: where to.
        bodies: JSON documents.
        connections: how many, each with one request at a time.
        seconds: how long.
        folder: for files.
        core: that wrk is pinned to; None: any.
        strict: answers other than 200 end the benchmark; else ``failed`` counts them, and
            ``rps`` leaves them out.
    """
    for i, body in enumerate(bodies):
        (folder / f"body-{i}.json").write_bytes(body)
    script = folder / "post.lua"
    script.write_text(
        f"""
local bodies = {{}}
for i = 0, {len(bodies) - 1} do
  local f = io.open("{folder}/body-" .. i .. ".json", "rb")
  bodies[i + 1] = f:read("*a")
  f:close()
end
local requests = {{}}
init = function(args)
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", nil, {{["content-type"] = "application/json"}}, body)
  end
end
local n = 0
request = function()
  n = n % #requests + 1
  return requests[n]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("\\nRESULT %d %d %d %d %.3f %.3f %.3f\\n", summary.requests,
    summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    done = subprocess.run(
        pinned(core, [*command, "-s", str(script), url]),
        capture_output=True,
        text=True,
        check=True,
    )
    number = r"([\d.]+)"
    match = re.search("RESULT" + 7 * f" {number}", done.stdout)
    if match is None:
        raise SystemExit(f"wrk said nothing that could be read:\n{done.stdout}{done.stderr}")
    requests, microseconds, refused, broken, p50, p99, worst = map(float, match.groups())
    errors = refused + broken
    if errors and strict:
        raise SystemExit(f"{errors:.0f} of {requests:.0f} requests to {url} failed")
    good = max(0.0, requests - refused)
    return {
        "rps": good / microseconds * 1e6,
        "p50": p50,
        "p99": p99,
        "max": worst,
        "failed": errors,
    }


def h2load(
    port: int, path: str, message: bytes, connections: int, requests: int, folder: Path
) -> dict[str, float]:
    """Calls/s and mean latency in ms of one unary gRPC call again and again."""
    framed = folder / "message.bin"
    framed.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    command = ["h2load", "-n", str(requests), "-c", str(connections), "-m", "1", "-d", str(framed)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run(
        pinned(1, [*command, f"http://127.0.0.1:{port}{path}"]),
        capture_output=True,
        text=True,
        check=True,
    )
    rate = re.search(r"finished in [\d.a-z]+, ([\d.]+) req/s", done.stdout)
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if rate is None or good is None or int(good[1]) != requests:
        raise SystemExit(f"h2load: not every call succeeded:\n{done.stdout}{done.stderr}")
    return {"rps": float(rate[1])}


def h2load_timed(
    port: int, path: str, message: bytes, connections: int, seconds: int, folder: Path
) -> dict[str, float]:
    """The same for so many seconds, unpinned, with latencies in ms from h2load's own log."""
    framed, log = folder / "message.bin", folder / "h2load.log"
    framed.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    log.unlink(missing_ok=True)
    command = ["h2load", "-D", str(seconds), "-c", str(connections), "-m", "1", "-d", str(framed)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += ["--log-file", str(log), f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in log.read_text().splitlines()]  # start µs, status, length µs
    took = sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")
    if not took:
        raise SystemExit(f"h2load: no call succeeded:\n{done.stdout}{done.stderr}")
    return {
        "rps": len(took) / seconds,
        "p50": took[len(took) // 2],
        "p99": took[len(took) * 99 // 100],
        "max": took[-1],
        "failed": float(len(rows) - len(took)),
    }


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10⁶ bytes), its children left out."""
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) * 1024 / 1e6


def get(url: str) -> dict[str, object]:
    """A JSON document."""
    with urllib.request.urlopen(url, timeout=10) as response:
        found: dict[str, object] = json.load(response)
    return found


def require(*programs: str) -> None:
    """End with what to install, unless the load generators are there."""
    for program in programs:
        if shutil.which(program) is None:
            package = {"h2load": "nghttp2-client"}.get(program, program)
            raise SystemExit(f"{program} is missing (Debian: apt-get install {package})")
